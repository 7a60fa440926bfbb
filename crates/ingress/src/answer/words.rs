//! The one table from a stop to what is said about it. Agents read these sentences: verdict, reason, what was not
//! done, what to do now.

mod held;

pub(super) use held::standing;

use std::fmt::Write as _;

use domain::{
    approval::Status,
    call::{Action, Call},
    names::ApprovalId,
    stop::{Fault, Gate, Refusal, Unreadable},
    tools::HeldBack,
};
use wire::mcp::Version;

/// What is said about one stop.
pub(super) struct Words {
    pub(super) code: &'static str,
    pub(super) status: u16,
    pub(super) proxy_status: &'static str,
    /// The problem's title.
    pub(super) title: &'static str,
    /// The first word of the sentence for models.
    pub(super) verdict: &'static str,
    /// What happened, ending in what was not done.
    pub(super) detail: String,
    /// The same on MCP, where it differs.
    pub(super) detail_for_model: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) rule: Option<String>,
    /// The approval that it is about.
    pub(super) approval: Option<Note>,
    /// Seconds.
    pub(super) retry_after: Option<u64>,
    /// What to do now, on HTTP.
    pub(super) next: String,
    /// What to do now, on MCP, where it differs.
    pub(super) next_for_model: Option<String>,
    /// The protocol version that nobody here speaks.
    pub(super) requested_version: Option<String>,
}

/// What a document tells of an approval.
pub(super) struct Note {
    pub(super) id: ApprovalId,
    /// How far it is; `None` where that is not kept any more.
    pub(super) status: Option<Status>,
    /// RFC 3339, in whole seconds; `None` for one that does not expire any more.
    pub(super) expires_at: Option<String>,
}

impl Words {
    pub(super) fn of_refusal(refusal: &Refusal, call: &Call) -> Self {
        let service = quoted(&call.service);
        let mut words = Self {
            code: refusal.code(),
            status: refusal.status(),
            proxy_status: "refused",
            title: "Forbidden",
            verdict: "Refused",
            detail: String::new(),
            detail_for_model: None,
            reason: None,
            rule: None,
            approval: None,
            retry_after: None,
            next: String::new(),
            next_for_model: None,
            requested_version: None,
        };
        match refusal {
            Refusal::Unauthorized(_) => {
                words.title = "Unauthorized";
                words.detail = "No valid key came with this call. Nothing was sent.".into();
                words.next =
                    "Send the header `Authorization: Bearer agt_…`. If you did, ask the user for a new key; \
                              do not retry with this one."
                        .into();
            }
            Refusal::InsufficientScope(scope) => {
                words.detail =
                    format!("The access token lacks the scope {}. Nothing was sent.", quoted(scope));
                words.reason = Some("insufficient scope".into());
                words.next =
                    "Do not retry with this token; get one with that scope, or tell the user.".into();
            }
            Refusal::Stopped => {
                words.title = "Stopped";
                words.verdict = "Stopped";
                words.detail = "An operator has turned the kill switch on. Nothing was sent.".into();
                // For programs that repeat by themselves whatever they are told.
                words.retry_after = Some(60);
                words.next = "Do not retry; tell the user.".into();
            }
            Refusal::NotInScope => {
                words.detail =
                    format!("Service {service} is unknown or not in your scope. Nothing was sent.");
                words.reason = Some("not in scope".into());
                words.next =
                    "Do not retry. Use another service, or tell the user that an operator must widen the scope.".into();
            }
            Refusal::Forbidden { role, rule, reason } => {
                let wanted = format!("role `{role}` to {}", act(call));
                words.detail = match rule {
                    Some(rule) => {
                        format!("Rule {} forbids {wanted}. Nothing was sent.", quoted(rule.as_str()))
                    }
                    None => format!("No rule allows {wanted}. Nothing was sent."),
                };
                words.reason = Some(reason.clone());
                words.rule = rule.as_ref().map(|rule| rule.as_str().to_owned());
                words.next =
                    "Do not retry. Use another action, or tell the user that an operator must change the \
                              policy. POST /v1/explain answers beforehand."
                        .into();
                let instead = match call.action {
                    Action::Request(_) => "make another request",
                    _ => "use a listed tool",
                };
                words.next_for_model = Some(format!(
                    "Do not retry; {instead}, or tell the user that an operator must change the policy."
                ));
            }
            Refusal::ToolHeldBack(held) => {
                let what = match held {
                    HeldBack::New => "is new, and no operator has accepted it",
                    HeldBack::Changed => "has changed since it was accepted",
                };
                words.detail = format!("{} {what}. Nothing was sent.", capital(&the_tool(call)));
                words.reason = Some(held.reason().into());
                words.next = format!(
                    "Do not retry. Use another tool, or tell the user that an operator must look at it: \
                     `toolgate services tools {}`.",
                    call.service
                );
            }
            Refusal::RateLimited(over) => {
                let (wait, spacing) = (seconds(over.retry_after), seconds(over.quota.spacing()));
                let whose = if over.is_of_a_stranger() { "" } else { " for this key" };
                words.title = "Too many calls";
                words.verdict = "Too many calls";
                words.detail =
                    format!("{} is limited to {}{whose}. Nothing was sent.", capital(&over.what), over.quota);
                words.retry_after = Some(wait);
                words.next = format!("Wait {wait} s, then repeat this call; keep {spacing} s between calls.");
            }
            Refusal::Unreadable(unreadable) => {
                words.title = "Malformed";
                let sent = match unreadable {
                    Unreadable::CutOff => "No whole request",
                    _ => "Nothing",
                };
                words.detail = format!("The request cannot be read: {unreadable}. {sent} was sent.");
                words.next = match unreadable {
                    Unreadable::TwoKeys => "Send one key only.".into(),
                    Unreadable::NoSession => {
                        "Send `initialize` first, then its `Mcp-Session-Id` with each request.".into()
                    }
                    Unreadable::Version(version) => {
                        words.requested_version = Some(version.clone());
                        "Use 2026-07-28, 2025-11-25 or 2025-06-18.".into()
                    }
                    _ => "Do not retry it as it is; mend the request.".into(),
                };
            }
            Refusal::TooLarge(bytes_max) => {
                words.title = "Too large";
                // One whose length is not announced has flowed in part when it turns out too large.
                words.detail =
                    format!("The body is over the limit of {bytes_max} bytes. No whole request was sent.");
                words.next = "Do not retry it as it is; send less in one call.".into();
            }
            Refusal::UnsupportedMediaType => {
                words.title = "Unsupported media type";
                words.detail = "MCP messages are `application/json`. Nothing was sent.".into();
                words.next = "Send the header `Content-Type: application/json`.".into();
            }
            Refusal::ForeignOrigin(what) => {
                words.detail =
                    format!("The request does not come from where it may: {what}. Nothing was sent.");
                words.next = "Do not retry; an operator can add the name to the settings.".into();
            }
            Refusal::UnknownSession => {
                words.title = "Unknown session";
                words.detail = "This session has ended, or is not yours. Nothing was sent.".into();
                words.next = "Send `initialize` again, without a session id.".into();
            }
            Refusal::NoSuchMethod(method) => {
                words.title = "No such method";
                words.detail = format!(
                    "MCP {} has no method {}. Nothing was sent.",
                    Version::V2026_07_28,
                    quoted(method)
                );
                words.next = "Do not retry; use a method of that version, or an older version.".into();
            }
            Refusal::MethodNotAllowed => {
                words.title = "Method not allowed";
                words.detail = "This endpoint does not take that method. Nothing was sent.".into();
                words.next = "Send messages and envelopes with POST; read lists with GET.".into();
            }
            Refusal::NoSuchEndpoint => {
                words.title = "Not found";
                words.detail = "There is no such endpoint here. Nothing was sent.".into();
                words.next = "An MCP service is at /mcp/{service}, an HTTP API at /http/{service}/…; \
                              GET /v1/services lists yours."
                    .into();
            }
            Refusal::WrongDoor { endpoint } => {
                words.title = "Not found";
                words.detail = format!("Service {service} is not reached here. Nothing was sent.");
                words.next = format!("Use {endpoint} instead.");
            }
            Refusal::InProgress => {
                words.title = "In progress";
                words.verdict = "In progress";
                words.detail =
                    "The first call with this idempotency key has not ended. Nothing was sent.".into();
                words.retry_after = Some(1);
                words.next = "Wait 1 s, then repeat this exact call for its answer.".into();
            }
            Refusal::KeyReused => {
                words.title = "Idempotency key reused";
                words.detail = "This idempotency key belongs to another request. Nothing was sent.".into();
                words.next = "Use a new key for a new request; repeat a request without any change.".into();
            }
            Refusal::OutcomeUnknown => {
                words.title = "Outcome unknown";
                words.verdict = "Outcome unknown";
                words.detail =
                    "The call with this idempotency key was sent, and its answer was lost. It may have \
                                happened."
                        .into();
                words.next = "Do not repeat it; check first, or ask the user.".into();
            }
            Refusal::TooRisky { score, refuse_at } => {
                words.detail = format!(
                    "The risk of this call is {score}, and calls at {refuse_at} or above are refused. Nothing was sent."
                );
                words.reason = Some("too risky".into());
                words.next =
                    "Do not retry. Use another action, or tell the user that it is refused for its risk."
                        .into();
            }
            Refusal::CannotWait(rule) => {
                words.detail = format!(
                    "Rule {} wants a person's approval, and {} cannot wait for one. Nothing was sent.",
                    quoted(rule.as_str()),
                    quoted(&call.method)
                );
                words.rule = Some(rule.as_str().to_owned());
                words.next = "Do not retry. Use another action, or tell the user.".into();
            }
            Refusal::PendingFull(max) => {
                words.title = "Too many calls";
                words.verdict = "Too many calls";
                words.detail = format!(
                    "{max} of your calls wait for a person's approval, and no more may. Nothing was sent."
                );
                words.retry_after = Some(60);
                words.next =
                    "Wait until one of them is decided, or take one back; then repeat this call.".into();
            }
            Refusal::NotApproved(end) => words.not_approved(end),
            Refusal::NotDecided { id, status, expires_at, left } => {
                words.not_decided(*id, *status, *expires_at, *left);
            }
            Refusal::NotTakenBack { id, status } => words.not_taken_back(*id, *status),
            Refusal::NoApprovalNamed => {
                words.title = "Not found";
                words.detail = format!("{} was called without an approval id.", pipeline::WAIT_TOOL);
                words.next = format!(
                    "Call {} with {{\"approval\":\"ap_…\"}}, the id from the answer that held your call.",
                    pipeline::WAIT_TOOL
                );
            }
            Refusal::NoSuchApproval => {
                words.title = "Not found";
                words.detail = "There is no such approval, or it is not yours.".into();
                words.next =
                    "Use the id from the answer that held your call, on the service that held it.".into();
            }
        }
        words
    }

    pub(super) fn of_fault(fault: &Fault, call: &Call) -> Self {
        let service = quoted(&call.service);
        let (detail, wait, next) = match fault {
            Fault::AuditUnavailable => (
                "The audit record could not be written. Nothing was sent.".to_owned(),
                Some(30),
                "Wait 30 s, then repeat once. If it fails again, stop and tell the user to run `toolgate doctor`.",
            ),
            Fault::HoldUnknown => (
                "This call needs a person's approval, and the store did not say whether it is held for one. It may be \
                 held; it is sent only when a person approves it."
                    .to_owned(),
                Some(30),
                "Wait 30 s, then repeat this exact call: it meets the held one, or is held anew. If it fails again, stop and tell the user to run `toolgate doctor`.",
            ),
            Fault::StoreUnavailable | Fault::StaleAuthorization => (
                "Keys and policy could not be confirmed. Nothing was sent.".to_owned(),
                Some(5),
                "Wait 5 s, then repeat once. If it fails again, stop and tell the user to run `toolgate doctor`.",
            ),
            Fault::CountersUnavailable => (
                "The limits could not be counted. Nothing was sent.".to_owned(),
                Some(5),
                "Wait 5 s, then repeat once. If it fails again, stop and tell the user to run `toolgate doctor`.",
            ),
            Fault::UpstreamBusy => (
                format!("All processes of service {service} are at work. Nothing was sent."),
                Some(10),
                "Wait 10 s, then repeat this call.",
            ),
            Fault::Sealed => (
                "The vault is sealed: the gateway has no key to open it with. Nothing was sent.".to_owned(),
                Some(30),
                "Wait 30 s, then repeat once. If it fails again, stop and tell the user to run `toolgate doctor`.",
            ),
            Fault::Draining => (
                "The gateway is stopping. Nothing was sent.".to_owned(),
                Some(10),
                "Wait 10 s, then repeat this call.",
            ),
            Fault::BodiesFull => (
                "The gateway holds as many bodies as it may. Nothing was sent.".to_owned(),
                Some(5),
                "Wait 5 s, then repeat this call.",
            ),
            Fault::CredentialMissing(name) => (
                format!(
                    "Service {service} has no value for its credential {}. Nothing was sent.",
                    quoted(name)
                ),
                None,
                "Do not retry; tell the user that an operator must set it: `toolgate credentials set`.",
            ),
            Fault::CredentialFailed(_) => (
                format!("The credential of service {service} could not be made ready. Nothing was sent."),
                Some(30),
                "Wait 30 s, then repeat once. If it fails again, stop and tell the user to run `toolgate doctor`.",
            ),
            Fault::UpstreamUnreachable(_) => (
                format!("Service {service} cannot be reached. Nothing was sent."),
                Some(30),
                "Wait 30 s, then repeat once. If it fails again, stop and tell the user to run `toolgate doctor`.",
            ),
            Fault::UpstreamBroken(_) => (
                format!(
                    "Service {service} broke off or answered what cannot be read. The call may have happened."
                ),
                None,
                "Do not repeat a call that changes something; check first, or ask the user.",
            ),
            Fault::AnswerTooLarge(bytes_max) => (
                format!(
                    "Service {service} answered more than {bytes_max} bytes. The call may have happened."
                ),
                None,
                "Do not repeat it as it is; ask for less in one call.",
            ),
            Fault::UpstreamTimeout(after) => (
                format!(
                    "Service {service} did not answer within {} s. The call may have happened.",
                    after.as_secs()
                ),
                None,
                "Do not repeat a call that changes something; check first, or ask the user.",
            ),
            Fault::Internal => (
                "The gateway failed in the middle of this call. It may have happened.".to_owned(),
                None,
                "Do not repeat a call that changes something; check first, or ask the user.",
            ),
            Fault::ClientGone => {
                ("The client hung up.".to_owned(), None, "Repeat the call if it is still wanted.")
            }
        };
        let ours = fault.gate() != Gate::Forward || matches!(fault, Fault::UpstreamBusy);
        Self {
            code: fault.code(),
            status: fault.status(),
            proxy_status: if ours { "fault" } else { "upstream-error" },
            title: if ours { "Not available" } else { "Upstream error" },
            verdict: if ours { "Not available" } else { "Upstream error" },
            detail,
            detail_for_model: None,
            reason: None,
            rule: None,
            approval: None,
            retry_after: wait,
            next: next.to_owned(),
            next_for_model: None,
            requested_version: None,
        }
    }
}

/// What the call wanted to do, after "to": "call `write_file` on `files`".
fn act(call: &Call) -> String {
    let service = quoted(&call.service);
    match &call.action {
        Action::Tool(name) => format!("call {} on {service}", quoted(name)),
        // Its path was read strictly: visible ASCII only.
        Action::Request(request) => format!("{request} on {service}"),
        Action::Prompt(name) => format!("get the prompt {} of {service}", quoted(name)),
        Action::Resource(uri) => format!("read {} of {service}", quoted(uri)),
        Action::Resources(_) => format!("subscribe to all of these resources of {service}"),
        Action::List(_) | Action::Service | Action::Unknown => {
            format!("use {} on {service}", quoted(&call.method))
        }
    }
}

/// "tool `write_file` on `files`".
fn the_tool(call: &Call) -> String {
    format!("tool {} on {}", quoted(call.action_text()), quoted(&call.service))
}

/// A name that came with the request, in backticks: escaped and bounded, so that it cannot pose as our words.
pub(crate) fn quoted(text: &str) -> String {
    enclosed('`', text, 120)
}

fn enclosed(mark: char, text: &str, characters_max: usize) -> String {
    let mut quoted = String::from(mark);
    for character in text.chars().take(characters_max) {
        match character {
            plain
                if plain != mark && (plain.is_alphanumeric() || plain.is_ascii_graphic() || plain == ' ') =>
            {
                quoted.push(plain);
            }
            other => {
                let _ = write!(quoted, "\\u{{{:x}}}", u32::from(other));
            }
        }
    }
    if text.chars().nth(characters_max).is_some() {
        quoted.push('…');
    }
    quoted.push(mark);
    quoted
}

/// Whole seconds, rounded up, at least one.
fn seconds(duration: std::time::Duration) -> u64 {
    duration.as_millis().div_ceil(1_000).max(1).try_into().unwrap_or(u64::MAX)
}

/// The text with its first letter in upper case.
fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
