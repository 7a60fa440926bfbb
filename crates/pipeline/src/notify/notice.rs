//! What a webhook is told about an event: who, what, how far it is, where to look. Never arguments, never what they
//! were compared with, never the agent's own words.

use domain::{
    approval::{Approval, Status},
    names::ApprovalId,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{EventRow, Store, StoreError};

/// One notification. The same event always makes the same one.
#[derive(Debug)]
pub(super) struct Notice {
    /// Stable, without a full stop: receivers know doubles by it.
    pub(super) id: String,
    pub(super) at: Timestamp,
    pub(super) about: About,
}

/// What happened.
#[derive(Debug)]
pub(super) enum About {
    Held(Box<Call>),
    Decided(Box<Call>),
    Kill { on: bool, by: Option<String>, reason: Option<String> },
}

/// A held call, as far as it is told.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: ApprovalId,
    pub(super) agent: String,
    pub(super) service: String,
    pub(super) action: String,
    pub(super) rule: String,
    /// Thousandths.
    pub(super) risk: Option<u16>,
    pub(super) quorum: u8,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) status: Status,
    pub(super) decided_by: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) url: String,
}

/// The members of a record that columns do not have.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record {
    writer: String,
    approval_id: Option<String>,
    operator: Option<String>,
    decision: Option<Decision>,
    args: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Decision {
    effect: String,
    reason: String,
}

impl Record {
    /// A record that cannot be read tells nothing: the trail itself says that it is damaged.
    fn of(event: &EventRow) -> Self {
        serde_json::from_str(&event.rec).unwrap_or_default()
    }

    /// The reason that a person gave; it stands among the arguments of operators' events.
    fn words(&self) -> Option<String> {
        self.args.as_ref()?.get("reason")?.as_str().map(str::to_owned)
    }
}

/// The approval that an event belongs to.
pub(super) fn approval_of(event: &EventRow) -> Option<String> {
    Record::of(event).approval_id
}

impl Notice {
    /// What is told of an event; `None` when it is nothing that people are notified of.
    pub(super) async fn of(
        event: &EventRow,
        store: &Store,
        console: &str,
    ) -> Result<Option<Self>, StoreError> {
        let record = Record::of(event);
        let approval = match record.approval_id.as_deref().and_then(ApprovalId::parse) {
            Some(id) => match store.approval(&id).await {
                // It will not mend: what comes after it is told all the same.
                Err(error @ StoreError::Damaged { .. }) => {
                    tracing::error!("event {} cannot be told: {error}", event.seq);
                    None
                }
                other => other?,
            },
            None => None,
        };
        let Some(about) = about(event, &record, approval.as_ref(), console) else { return Ok(None) };
        // Two installs may tell one receiver.
        let mut install = String::new();
        domain::audit::push_hex(&mut install, store.install().get(..4).unwrap_or_default());
        let id = format!("ev_{install}_{}_{}", record.writer, event.seq);
        Ok(Some(Self { id, at: event.at, about }))
    }

    /// The words for what happened, in `type`.
    fn word(&self) -> &'static str {
        match self.about {
            About::Held(_) => "approval.held",
            About::Decided(_) => "approval.decided",
            About::Kill { on: true, .. } => "kill.on",
            About::Kill { on: false, .. } => "kill.off",
        }
    }

    /// The body of format `json` (docs/notifications.md).
    pub(super) fn json(&self) -> Value {
        let (word, id, at) = (self.word(), &self.id, self.at.to_string());
        match &self.about {
            About::Held(call) | About::Decided(call) => {
                json!({ "type": word, "id": id, "at": at, "approval": call.json() })
            }
            About::Kill { by, reason, .. } => {
                json!({ "type": word, "id": id, "at": at, "kill": { "by": by, "reason": reason } })
            }
        }
    }
}

fn about(event: &EventRow, record: &Record, approval: Option<&Approval>, console: &str) -> Option<About> {
    let decision = record.decision.as_ref();
    match event.kind.as_str() {
        "held" => {
            let approval = approval?;
            // Who repeats a call that is held already joins it; that is no news.
            let first = event.call_id.as_deref() == Some(&approval.held.call_id.to_string());
            first.then(|| About::Held(Box::new(Call::of(approval, Status::Pending, console))))
        }
        "decision" => {
            let approval = approval?;
            let status = status_then(event, decision.map(|decision| decision.effect.as_str()), approval);
            let mut call = Call::of(approval, status, console);
            call.reason = match (record.words(), &record.operator, decision) {
                (Some(words), ..) => Some(words),
                // Nobody gave one: the gateway's own.
                (None, None, Some(decision)) => Some(decision.reason.clone()),
                (None, ..) => None,
            };
            call.decided_by = record.operator.clone();
            Some(About::Decided(Box::new(call)))
        }
        _ => Some(About::Kill {
            on: event.action.as_deref() == Some("kill.on"),
            by: record.operator.clone(),
            reason: record.words(),
        }),
    }
}

/// How far the approval was with this decision. The row may be further by now: an approved call is executed at once.
fn status_then(event: &EventRow, effect: Option<&str>, approval: &Approval) -> Status {
    match effect {
        Some("hold") => Status::Pending,
        Some("allow") if approval.claimed_at.is_none_or(|claimed| event.at <= claimed) => Status::Approved,
        _ => approval.status,
    }
}

impl Call {
    fn of(approval: &Approval, status: Status, console: &str) -> Self {
        let held = &approval.held;
        Self {
            id: held.id,
            agent: held.agent.as_str().to_owned(),
            service: held.service.as_str().to_owned(),
            action: held.action.clone(),
            rule: held.rule.as_str().to_owned(),
            risk: held.risk.as_ref().map(|risk| risk.score.thousandths()),
            quorum: held.quorum.get(),
            expires_at: match status {
                Status::Pending => Some(held.decide_by),
                Status::Approved => approval.execute_by,
                _ => None,
            },
            status,
            decided_by: None,
            reason: None,
            url: format!("{console}/approvals/{}", held.id),
        }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id.as_str(),
            "agent": self.agent,
            "service": self.service,
            "action": self.action,
            "rule": self.rule,
            "risk": self.risk.map(|thousandths| f64::from(thousandths) / 1_000.0),
            "quorum": self.quorum,
            "expires_at": self.expires_at.map(|at| at.to_string()),
            "status": self.status.as_str(),
            "decided_by": self.decided_by,
            "reason": self.reason,
            "url": self.url,
        })
    }
}
