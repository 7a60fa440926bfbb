//! The one table from a stop to an answer: problem documents (RFC 9457) on HTTP, JSON-RPC errors on MCP.
//! Agents read these sentences: verdict, reason, what was not done, what to do now.

use std::fmt::Write as _;

use domain::{
    audit::write_json_string,
    call::{Action, Call},
    clock::Now,
    idempotency::StoredAnswer,
    names::CallId,
    service::RefusalForm,
    stop::{Fault, OverLimit, Refusal, Stop, Unreadable},
};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use pipeline::{
    Repeat, Reply,
    flow::{self, Flow},
    turn_away,
};

use wire::mcp::Version;

use crate::{
    Front,
    mcp::{Form, unreadable_code},
};

const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const PROXY_STATUS: HeaderName = HeaderName::from_static("x-proxy-status");
const IDEMPOTENCY_STATUS: HeaderName = HeaderName::from_static("x-idempotency-status");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The upstream's answer, with our two headers.
pub(crate) fn forwarded(reply: Reply, call: &Call) -> Response<Flow> {
    let mut response = Response::from_parts(reply.head, reply.body);
    if let Some(repeat) = reply.repeat {
        let status = match repeat {
            Repeat::Stored => "stored",
            Repeat::Unknown => "unknown",
        };
        response.headers_mut().insert(IDEMPOTENCY_STATUS, HeaderValue::from_static(status));
    }
    sign(&mut response, call, "forwarded");
    response
}

/// The answer to a call that an upstream did not answer.
pub(crate) fn stopped(
    stop: &Stop,
    call: &Call,
    form: &Form,
    refusals: Option<RefusalForm>,
) -> Response<Flow> {
    let words = match stop {
        Stop::Refused(refusal) => Words::of_refusal(refusal, call),
        Stop::Fault(fault) => Words::of_fault(fault, call),
        Stop::Replayed(answer) => return replayed(answer, call, form),
    };
    let mut response = match (form, stop) {
        (Form::Http, _) => problem(&words, call),
        (Form::Rpc { id, is_tool_call }, _) if speaks_rpc(stop) => {
            let hides_errors = *is_tool_call
                && refusals == Some(RefusalForm::Result)
                && !matches!(stop, Stop::Refused(Refusal::NotInScope));
            let body = if hides_errors {
                words.tool_result(id, call)
            } else {
                words.rpc_error(Some(id), words.status.into(), call)
            };
            rpc(StatusCode::OK, body)
        }
        // Whose protocol it would have been is not known yet.
        (_, Stop::Refused(Refusal::Unreadable(Unreadable::Head(_)))) => problem(&words, call),
        (form, Stop::Refused(Refusal::Unreadable(unreadable))) => {
            let id = match form {
                Form::Rpc { id, .. } => Some(id.as_str()),
                Form::Plain | Form::Http => None,
            };
            let body = words.rpc_error(id, unreadable_code(unreadable), call);
            rpc(StatusCode::BAD_REQUEST, body)
        }
        _ => problem(&words, call),
    };
    let headers = response.headers_mut();
    if let Some(wait) = words.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    if words.status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"toolgate\""));
    }
    if let Stop::Refused(Refusal::RateLimited(over)) = stop {
        limit_headers(headers, over);
    }
    if let Some(status) = idempotency_status(stop) {
        headers.insert(IDEMPOTENCY_STATUS, HeaderValue::from_static(status));
    }
    sign(&mut response, call, words.proxy_status);
    response
}

/// The answer that was kept under this call's idempotency key; on MCP with this request's own id.
fn replayed(answer: &StoredAnswer, call: &Call, form: &Form) -> Response<Flow> {
    let body = match form {
        Form::Rpc { id, .. } => answer.body_for(id),
        Form::Plain | Form::Http => answer.body.clone(),
    };
    let mut response = Response::new(flow::whole(body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
            response.headers_mut().append(name, value);
        }
    }
    response.headers_mut().insert(IDEMPOTENCY_STATUS, HeaderValue::from_static("replayed"));
    sign(&mut response, call, "replayed");
    response
}

/// Says of a call that stopped whether its idempotency key is spent on an outcome that nobody knows.
pub(crate) fn mark_unknown(response: &mut Response<Flow>, stop: &Stop) {
    if stop.may_have_happened() {
        response.headers_mut().insert(IDEMPOTENCY_STATUS, HeaderValue::from_static("unknown"));
    }
}

/// What `X-Idempotency-Status` says of a stop, where it is about an idempotency key.
fn idempotency_status(stop: &Stop) -> Option<&'static str> {
    match stop {
        Stop::Refused(Refusal::InProgress) => Some("in-progress"),
        Stop::Refused(Refusal::KeyReused) => Some("mismatch"),
        Stop::Refused(Refusal::OutcomeUnknown) => Some("unknown"),
        _ => None,
    }
}

/// Whether an MCP request is told this as a JSON-RPC error on HTTP 200 (contract §5).
fn speaks_rpc(stop: &Stop) -> bool {
    match stop {
        Stop::Refused(
            Refusal::NotInScope
            | Refusal::Forbidden { .. }
            | Refusal::InProgress
            | Refusal::KeyReused
            | Refusal::OutcomeUnknown,
        ) => true,
        // Without a good key there is no agent to speak to: like 401, it is plain HTTP.
        Stop::Refused(Refusal::RateLimited(over)) => !over.is_of_a_stranger(),
        Stop::Refused(_) => false,
        Stop::Fault(_) | Stop::Replayed(_) => true,
    }
}

/// 404 for paths that no door takes.
pub(crate) fn no_such_endpoint(front: &Front) -> Response<Flow> {
    let call = without_door(front, front.gateway.clock.now());
    stopped(&Refusal::NoSuchEndpoint.into(), &call, &Form::Plain, None)
}

/// The refusal of a request that no door was asked about, which the trail has all the same.
pub(crate) fn refused_at_the_door(front: &Front, path: &str, refusal: Refusal) -> Response<Flow> {
    let at = front.gateway.clock.now();
    let call = without_door(front, at);
    let stop = turn_away(&call, at, refusal.into(), &front.gateway);
    let form = if path.starts_with("/mcp") { Form::Plain } else { Form::Http };
    stopped(&stop, &call, &form, None)
}

fn without_door(front: &Front, at: Now) -> Call {
    Call {
        id: front.gateway.ids.next(at.wall),
        service: String::new(),
        method: "".into(),
        action: Action::Service,
        class: wire::mcp::Class::Housekeeping,
    }
}

/// Marks an answer that is ours and no refusal.
pub(crate) fn sign_own(response: &mut Response<Flow>, call: &Call) {
    if let Ok(id) = HeaderValue::try_from(call.id.to_string()) {
        response.headers_mut().insert(CALL_ID, id);
    }
}

/// 503 while the vault is sealed, whatever was asked.
pub(crate) fn sealed(id: CallId) -> Response<Flow> {
    let call = Call {
        id,
        service: String::new(),
        method: "".into(),
        action: Action::Service,
        class: wire::mcp::Class::Housekeeping,
    };
    stopped(&Fault::Sealed.into(), &call, &Form::Plain, None)
}

fn sign(response: &mut Response<Flow>, call: &Call, status: &'static str) {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::try_from(call.id.to_string()) {
        headers.insert(CALL_ID, id);
    }
    headers.insert(PROXY_STATUS, HeaderValue::from_static(status));
}

fn limit_headers(headers: &mut http::HeaderMap, over: &OverLimit) {
    for (name, text) in [(RATE_LIMIT, over.header()), (RATE_LIMIT_POLICY, over.policy_header())] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}

fn rpc(status: StatusCode, body: String) -> Response<Flow> {
    json(status, "application/json", body)
}

fn problem(words: &Words, call: &Call) -> Response<Flow> {
    let status = StatusCode::from_u16(words.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, "application/problem+json", words.document(call))
}

fn json(status: StatusCode, media: &'static str, body: String) -> Response<Flow> {
    let mut response = Response::new(flow::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What is said about one stop.
struct Words {
    code: &'static str,
    status: u16,
    proxy_status: &'static str,
    /// The problem's title.
    title: &'static str,
    /// The first word of the sentence for models.
    verdict: &'static str,
    /// What happened, ending in what was not done.
    detail: String,
    reason: Option<String>,
    rule: Option<String>,
    /// Seconds.
    retry_after: Option<u64>,
    /// What to do now, on HTTP.
    next: String,
    /// What to do now, on MCP, where it differs.
    next_for_model: Option<String>,
    /// The protocol version that nobody here speaks.
    requested_version: Option<String>,
}

impl Words {
    fn of_refusal(refusal: &Refusal, call: &Call) -> Self {
        let service = quoted(&call.service);
        let mut words = Self {
            code: refusal.code(),
            status: refusal.status(),
            proxy_status: "refused",
            title: "Forbidden",
            verdict: "Refused",
            detail: String::new(),
            reason: None,
            rule: None,
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
                              policy."
                        .into();
                words.next_for_model = Some(
                    "Do not retry; use a listed tool, or tell the user that an operator must change the policy."
                        .into(),
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
        }
        words
    }

    fn of_fault(fault: &Fault, call: &Call) -> Self {
        let service = quoted(&call.service);
        let (detail, wait, next) = match fault {
            Fault::AuditUnavailable => (
                "The audit record could not be written. Nothing was sent.".to_owned(),
                Some(30),
                "Wait 30 s, then repeat once. If it fails again, stop and tell the user to run `toolgate doctor`.",
            ),
            Fault::StoreUnavailable | Fault::StaleAuthorization => (
                "Keys and policy could not be confirmed. Nothing was sent.".to_owned(),
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
        let ours = fault.gate() != domain::stop::Gate::Forward || matches!(fault, Fault::UpstreamBusy);
        Self {
            code: fault.code(),
            status: fault.status(),
            proxy_status: if ours { "fault" } else { "upstream-error" },
            title: if ours { "Not available" } else { "Upstream error" },
            verdict: if ours { "Not available" } else { "Upstream error" },
            detail,
            reason: None,
            rule: None,
            retry_after: wait,
            next: next.to_owned(),
            next_for_model: None,
            requested_version: None,
        }
    }

    /// The sentence for models: clients drop everything of an error but its message.
    fn sentence(&self, call: &Call) -> String {
        // After the colon the sentence goes on, unless it starts with a name.
        let detail = lower(&self.detail);
        let next = self.next_for_model.as_ref().unwrap_or(&self.next);
        format!("{} ({}): {} {} Call {}.", self.verdict, self.status, detail, next, call.id)
    }

    fn rpc_error(&self, id: Option<&str>, code: i32, call: &Call) -> String {
        let mut body = String::with_capacity(1_024);
        body.push_str("{\"jsonrpc\":\"2.0\",");
        if let Some(id) = id {
            // Writing to a `String` cannot fail.
            let _ = write!(body, "\"id\":{id},");
        }
        let _ = write!(body, "\"error\":{{\"code\":{code},\"message\":");
        write_json_string(&mut body, &self.sentence(call));
        let _ = write!(body, ",\"data\":{}}}}}", self.document(call));
        body
    }

    /// A tool result with `isError`, for clients that hide errors from the model.
    fn tool_result(&self, id: &str, call: &Call) -> String {
        let mut body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":"
        );
        write_json_string(&mut body, &self.sentence(call));
        body.push_str("}],\"isError\":true}}");
        body
    }

    /// The problem document (RFC 9457), on one line.
    fn document(&self, call: &Call) -> String {
        let mut body = String::with_capacity(512);
        let _ = write!(
            body,
            "{{\"type\":\"urn:toolgate:{}\",\"title\":\"{}\",\"status\":{}",
            self.code, self.title, self.status
        );
        member(&mut body, "detail", &self.detail);
        member(&mut body, "call_id", &call.id.to_string());
        if let Some(reason) = &self.reason {
            member(&mut body, "reason", reason);
        }
        if let Some(rule) = &self.rule {
            member(&mut body, "rule", rule);
        }
        if let Some(wait) = self.retry_after {
            let _ = write!(body, ",\"retry_after\":{wait}");
        }
        member(&mut body, "next", &self.next);
        if let Some(requested) = &self.requested_version {
            // MCP 2026-07-28 wants both beside its code -32022.
            let supported: Vec<String> =
                Version::ALL.iter().rev().map(|version| format!("\"{version}\"")).collect();
            let _ = write!(body, ",\"supported\":[{}]", supported.join(","));
            member(&mut body, "requested", requested);
        }
        body.push('}');
        body
    }
}

fn member(body: &mut String, key: &str, value: &str) {
    let _ = write!(body, ",\"{key}\":");
    write_json_string(body, value);
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

/// A name that came with the request, in backticks: escaped and bounded, so that it cannot pose as our words.
fn quoted(text: &str) -> String {
    const CHARACTERS_MAX: usize = 120;
    let mut quoted = String::from("`");
    for character in text.chars().take(CHARACTERS_MAX) {
        match character {
            '`' => quoted.push_str("\\u{60}"),
            plain if plain.is_alphanumeric() || plain.is_ascii_graphic() || plain == ' ' => {
                quoted.push(plain)
            }
            other => {
                let _ = write!(quoted, "\\u{{{:x}}}", u32::from(other));
            }
        }
    }
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        quoted.push('…');
    }
    quoted.push('`');
    quoted
}

/// Whole seconds, rounded up, at least one.
fn seconds(duration: std::time::Duration) -> u64 {
    duration.as_millis().div_ceil(1_000).max(1).try_into().unwrap_or(u64::MAX)
}

/// The text with its first letter in lower case.
fn lower(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// The text with its first letter in upper case.
fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
