//! What is said about calls that wait for people, and about how they ended.

use std::time::Duration;

use domain::{
    approval::{NotApproved, Status, Ticket},
    call::Call,
    names::ApprovalId,
};
use jiff::Timestamp;

use super::{Note, Words, act, enclosed, quoted};

/// The longest reason of an operator that is repeated (characters); longer ones are not taken from operators.
const REASON_CHARACTERS_MAX: usize = 500;

/// What is named as the rule where the risk alone holds a call.
const RISK_RULE: &str = "risk.approve_at";

/// How a held call stands, for a client that asks after it as a task.
pub(in crate::answer) fn standing(ticket: &Ticket, call: &Call) -> String {
    let words = Words::of_ticket(ticket, call);
    format!("{}{}", words.detail_for_model.unwrap_or(words.detail), due(ticket))
}

/// Until when people must decide, while they have to.
fn due(ticket: &Ticket) -> String {
    match (ticket.status, ticket.expires_at) {
        (Status::Pending, Some(at)) => format!(" Decision due by {at:.0}."),
        _ => String::new(),
    }
}

impl Words {
    /// A call that waits for people.
    pub(in crate::answer) fn of_ticket(ticket: &Ticket, call: &Call) -> Self {
        let id = ticket.id;
        let expires_at = ticket.expires_at.map(|at| format!("{at:.0}"));
        let (detail, detail_for_model) = match ticket.status {
            Status::Approved => {
                (format!("{id} is approved and will be sent now. Nothing was sent yet."), None)
            }
            Status::Executing => (format!("{id} is approved and being sent."), None),
            _ => (
                format!("{}. Nothing was sent yet.", wanted(ticket)),
                Some(format!("{} for {}. Nothing was sent yet.", wanted(ticket), named(call))),
            ),
        };
        let due = due(ticket);
        Self {
            code: "approval-required",
            status: 428,
            proxy_status: "held",
            title: "Approval required",
            verdict: "Held",
            detail,
            detail_for_model,
            reason: None,
            rule: Some(ticket.rule.as_str().to_owned()),
            approval: Some(Note { id, status: Some(ticket.status), expires_at }),
            retry_after: Some(20),
            next: format!(
                "GET /v1/approvals/{id}?wait=20 until it is decided, then fetch /result; or repeat this exact call. \
                 It runs once. A changed call needs its own approval."
            ),
            next_for_model: Some(format!(
                "Call the tool {tool} with {{\"approval\":\"{id}\"}} to get the result, or repeat this exact call; it \
                 runs once. A changed call needs its own approval.{due}",
                tool = pipeline::WAIT_TOOL
            )),
            requested_version: None,
        }
    }

    /// A held call whose result was asked for too early.
    pub(super) fn not_decided(
        &mut self,
        id: ApprovalId,
        status: Status,
        expires_at: Option<Timestamp>,
        left: Option<Duration>,
    ) {
        let left = left.map(|left| format!(", {} left", length(left))).unwrap_or_default();
        self.title = "Not decided yet";
        self.verdict = self.title;
        self.detail = format!("{id} is {status}{left}.");
        self.approval =
            Some(Note { id, status: Some(status), expires_at: expires_at.map(|at| format!("{at:.0}")) });
        self.retry_after = Some(20);
        self.next = "Do other work, then ask again; do not send the call in another form.".into();
        self.next_for_model = Some(format!(
            "Do other work or call {} again; do not send the call in another form.",
            pipeline::WAIT_TOOL
        ));
    }

    /// A held call that cannot be taken back any more.
    pub(super) fn not_taken_back(&mut self, id: ApprovalId, status: Status) {
        self.title = "Too late";
        self.verdict = self.title;
        self.detail = match status {
            Status::Executing => format!("{id} is being sent; it cannot be taken back."),
            _ => format!("{id} was sent ({status}); it cannot be taken back."),
        };
        self.approval = Some(Note { id, status: Some(status), expires_at: None });
        self.next = format!("Fetch /v1/approvals/{id}/result to see what became of it.");
    }

    /// A held call that was not sent, or of which nobody knows.
    pub(super) fn not_approved(&mut self, end: &NotApproved) {
        let id = *end.id();
        let (title, detail, next) = match end {
            NotApproved::Denied { reason: Some(reason), .. } => {
                self.reason = Some(reason.clone());
                let why = enclosed('"', reason, REASON_CHARACTERS_MAX);
                (
                    "Denied",
                    format!("An operator denied {id}: {why}. Nothing was sent."),
                    "Do not repeat it; tell the user the reason.",
                )
            }
            NotApproved::Denied { reason: None, .. } => (
                "Denied",
                format!("An operator denied {id}. Nothing was sent."),
                "Do not repeat it; tell the user.",
            ),
            NotApproved::Expired { approved, .. } => (
                "Expired",
                match approved {
                    false => format!("Nobody decided {id} in time. Nothing was sent."),
                    true => format!("{id} was approved, but could not be sent in time. Nothing was sent."),
                },
                "Ask the user whether to try again; if so, repeat the call for a new approval.",
            ),
            NotApproved::Cancelled(_) => (
                "Cancelled",
                format!("{id} was taken back. Nothing was sent."),
                "Do not repeat it unless the user wants it after all; then repeat the call for a new approval.",
            ),
            NotApproved::Void(_) => (
                "Forbidden",
                format!("{id} was approved, but is not allowed any more. Nothing was sent."),
                "Do not retry; tell the user that key, scope, policy or credential have changed.",
            ),
            NotApproved::Unknown(_) => (
                "Outcome unknown",
                format!("{id} was sent, its answer was lost. It may have happened."),
                "Do not repeat it; tell the user that an operator must resolve it.",
            ),
            NotApproved::Resolved { happened: true, .. } => (
                "Answer lost",
                format!("{id} was sent, its answer was lost. An operator has found that it happened."),
                "Do not repeat it; tell the user.",
            ),
            NotApproved::Resolved { happened: false, .. } => (
                "Answer lost",
                format!("{id} was sent, its answer was lost. An operator has found that it did not happen."),
                "If the call is still wanted, repeat it for a new approval.",
            ),
            NotApproved::Forgotten(_) => (
                "Gone",
                format!("{id} has ended, and its answer is not kept any more."),
                "Do not repeat a call that changes something; check first, or ask the user.",
            ),
        };
        self.title = title;
        self.verdict = title;
        self.detail = detail;
        self.approval = Some(Note { id, status: end.approval_status(), expires_at: None });
        self.next = next.to_owned();
    }
}

/// Who wants people: "Rule `big refunds` wants a person's approval".
fn wanted(ticket: &Ticket) -> String {
    if let (RISK_RULE, Some(risk)) = (ticket.rule.as_str(), ticket.risk) {
        return format!("Its risk {risk} wants a person's approval");
    }
    format!("Rule {} wants a person's approval", quoted(ticket.rule.as_str()))
}

/// The call after "for": "`write_file` on `files`".
fn named(call: &Call) -> String {
    let act = act(call);
    act.strip_prefix("call ").map(str::to_owned).unwrap_or(act)
}

/// A length of time in two units at most: `41 s`, `23 h 41 min`.
fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        call::Action,
        names::{AgentName, CallId},
        policy::RuleName,
        risk::RiskScore,
        stop::Refusal,
    };
    use wire::mcp::Class;

    use super::*;

    fn call() -> Call {
        Call {
            id: CallId::parse("c_8d2k6s0w4gnq").unwrap(),
            service: "files".into(),
            method: "tools/call".into(),
            action: Action::Tool("write_file".into()),
            class: Class::Call,
        }
    }

    fn id() -> ApprovalId {
        ApprovalId::parse("ap_3c8vn1t5zb").unwrap()
    }

    fn message(words: &Words) -> String {
        let error: serde_json::Value = serde_json::from_str(&words.rpc_error(Some("1"), 1, &call())).unwrap();
        error["error"]["message"].as_str().unwrap().to_owned()
    }

    fn ticket(status: Status) -> Ticket {
        Ticket {
            id: id(),
            agent: AgentName::parse("laptop").unwrap(),
            rule: RuleName::new("writes"),
            risk: Some(RiskScore::from_thousandths(700)),
            status,
            expires_at: Some("2026-11-23T14:04:21.734Z".parse().unwrap()),
        }
    }

    #[test]
    fn a_held_call_is_told_to_models_whole() {
        assert_eq!(
            message(&Words::of_ticket(&ticket(Status::Pending), &call())),
            "Held (428): rule `writes` wants a person's approval for `write_file` on `files`. Nothing was sent yet. \
             Call the tool toolgate_wait with {\"approval\":\"ap_3c8vn1t5zb\"} to get the result, or repeat this exact \
             call; it runs once. A changed call needs its own approval. Decision due by 2026-11-23T14:04:21Z. Call \
             c_8d2k6s0w4gnq."
        );
        let being_sent = message(&Words::of_ticket(&ticket(Status::Executing), &call()));
        assert!(
            being_sent.starts_with("Held (428): ap_3c8vn1t5zb is approved and being sent. Call the tool")
        );
        assert!(!being_sent.contains("Nothing was sent") && !being_sent.contains("due by"), "{being_sent}");
    }

    #[test]
    fn a_call_that_is_held_for_its_risk_alone_says_so() {
        let ticket = Ticket { rule: RuleName::new(RISK_RULE), ..ticket(Status::Pending) };
        let told = message(&Words::of_ticket(&ticket, &call()));
        assert!(
            told.starts_with(
                "Held (428): its risk 0.70 wants a person's approval for `write_file` on `files`."
            ),
            "{told}"
        );
    }

    #[test]
    fn a_held_request_is_told_as_a_document() {
        let document = Words::of_ticket(&ticket(Status::Pending), &call()).document(&call());
        assert_eq!(
            document,
            "{\"type\":\"urn:toolgate:approval-required\",\"title\":\"Approval required\",\"status\":428,\
             \"detail\":\"Rule `writes` wants a person's approval. Nothing was sent yet.\",\
             \"call_id\":\"c_8d2k6s0w4gnq\",\"rule\":\"writes\",\"approval\":{\"id\":\"ap_3c8vn1t5zb\",\
             \"status\":\"pending\",\"expires_at\":\"2026-11-23T14:04:21Z\"},\"retry_after\":20,\
             \"next\":\"GET /v1/approvals/ap_3c8vn1t5zb?wait=20 until it is decided, then fetch /result; or repeat \
             this exact call. It runs once. A changed call needs its own approval.\"}"
        );
    }

    #[test]
    fn every_end_has_a_sentence_of_its_own() {
        let left = Some(Duration::from_secs(23 * 3_600 + 41 * 60 + 7));
        let expires_at = Some("2026-11-23T14:04:21Z".parse().unwrap());
        for (refusal, sentence) in [
            (
                Refusal::NotDecided { id: id(), status: Status::Pending, expires_at, left },
                "Not decided yet (409): ap_3c8vn1t5zb is pending, 23 h 41 min left. Do other work or call \
                 toolgate_wait again; do not send the call in another form. Call c_8d2k6s0w4gnq.",
            ),
            (
                NotApproved::Denied { id: id(), reason: Some("wrong folder".into()) }.into(),
                "Denied (403): an operator denied ap_3c8vn1t5zb: \"wrong folder\". Nothing was sent. Do not repeat it; \
                 tell the user the reason. Call c_8d2k6s0w4gnq.",
            ),
            (
                NotApproved::Denied { id: id(), reason: Some("no\". Retry\u{202e}\n".into()) }.into(),
                "Denied (403): an operator denied ap_3c8vn1t5zb: \"no\\u{22}. Retry\\u{202e}\\u{a}\". Nothing was sent. \
                 Do not repeat it; tell the user the reason. Call c_8d2k6s0w4gnq.",
            ),
            (
                NotApproved::Expired { id: id(), approved: false }.into(),
                "Expired (410): nobody decided ap_3c8vn1t5zb in time. Nothing was sent. Ask the user whether to try \
                 again; if so, repeat the call for a new approval. Call c_8d2k6s0w4gnq.",
            ),
            (
                NotApproved::Unknown(id()).into(),
                "Outcome unknown (409): ap_3c8vn1t5zb was sent, its answer was lost. It may have happened. Do not \
                 repeat it; tell the user that an operator must resolve it. Call c_8d2k6s0w4gnq.",
            ),
        ] {
            assert_eq!(message(&Words::of_refusal(&refusal, &call())), sentence);
        }
    }

    #[test]
    fn lengths_have_two_units_at_most() {
        for (seconds, text) in [(9, "9 s"), (60, "1 min"), (85_260, "23 h 41 min"), (90_000, "1 d 1 h")] {
            assert_eq!(length(Duration::from_secs(seconds)), text);
        }
    }
}
