//! Approvals: calls that wait for people, and what becomes of them. What may happen to one is decided here, in
//! [`Standing::after`]; the store applies it, everybody else asks.

mod call;
mod digest;
mod standing;
mod status;
mod ticket;

use std::{borrow::Cow, num::NonZeroU8, time::Duration};

use jiff::Timestamp;

use crate::{
    audit::{Decision, Effect, Event, Kind},
    idempotency::IdempotencyKey,
    key::KeyId,
    names::{AgentName, ApprovalId, CallId, CredentialName, RoleName, ServiceName},
    operator::Email,
    policy::{PolicyHash, RuleName},
    risk::RiskScore,
    stop::{Fault, Gate},
};

pub use call::{HeldCall, HeldExchange};
pub use digest::approval_digest;
pub use standing::{Ending, Move, NotNow, Outcome, Standing};
pub use status::Status;
pub use ticket::{NotApproved, Ticket};

/// A counter that moves with every change of an approval; waiting doors look at it instead of at the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ApprovalsRevision(pub i64);

/// A call as it was when it was held. Nothing of this ever changes; the call itself is kept sealed beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The approval's id.
    pub id: ApprovalId,
    /// The call's id.
    pub call_id: CallId,
    /// Who called.
    pub agent: AgentName,
    /// With which key.
    pub key_id: KeyId,
    /// In which role.
    pub role: RoleName,
    /// The service.
    pub service: ServiceName,
    /// The protocol's word: `tools/call`, `POST`.
    pub method: String,
    /// What the method acts on: the tool's name, `METHOD /path`.
    pub action: String,
    /// Which call this is (contract §5): joins and resumes.
    pub call_digest: [u8; 32],
    /// What people decide on: see [`approval_digest`].
    pub approval_digest: [u8; 32],
    /// The rule that wants people.
    pub rule: RuleName,
    /// Where that rule stands: `policy.yaml:14`.
    pub rule_place: Option<String>,
    /// The part of the rule's condition that decided, with its values; holds arguments, so for operators only.
    pub because: Option<String>,
    /// How risky the call is, where that was assessed.
    pub risk: Option<HeldRisk>,
    /// Why the agent says that it calls: its own words.
    pub intent: Option<String>,
    /// The arguments as the trail may keep them: redacted, bounded JSON. The whole ones are in the sealed call.
    pub args: Option<Box<str>>,
    /// How many operators must approve.
    pub quorum: NonZeroU8,
    /// When it was held.
    pub created_at: Timestamp,
    /// Who decides must do so before this moment.
    pub decide_by: Timestamp,
    /// How long after the last approval it may still be executed.
    pub execute_within: Duration,
    /// The policy that held it.
    pub policy: PolicyHash,
    /// The credentials that would be added, with their versions.
    pub credentials: Vec<(CredentialName, u64)>,
    /// The idempotency key that came with the call.
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Held {
    /// Whether it is a request to an HTTP service: those methods are words (`POST`), those of MCP have a `/`.
    #[must_use]
    pub fn is_request(&self) -> bool {
        !self.method.contains('/')
    }
}

/// A risk and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRisk {
    /// The score.
    pub score: RiskScore,
    /// Its parts, as people read them: `POST 0.30; no model asked`.
    pub parts: String,
}

/// What one operator said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Who.
    pub operator: Email,
    /// Yes or no.
    pub approve: bool,
    /// Why.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What an operator found out about a call whose outcome was unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Who.
    pub operator: Email,
    /// How they know.
    pub reason: String,
}

/// An approval as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The call as it was held.
    pub held: Held,
    /// How far it is.
    pub status: Status,
    /// What operators said, the first of them first.
    pub decisions: Vec<Decided>,
    /// Once it is approved: execution must begin before this moment.
    pub execute_by: Option<Timestamp>,
    /// When its execution began.
    pub claimed_at: Option<Timestamp>,
    /// The call that executed it.
    pub executed_call: Option<CallId>,
    /// What the agent was, or would be, answered with.
    pub http_status: Option<u16>,
    /// The code of what went wrong, where it failed without an answer of the upstream.
    pub ended_with: Option<String>,
    /// When it reached its end.
    pub ended_at: Option<Timestamp>,
    /// When the agent was given its end.
    pub delivered_at: Option<Timestamp>,
    /// Who resolved it, where its outcome was unknown.
    pub resolved: Option<Resolved>,
}

impl Approval {
    /// Whether it failed before anything of it was sent, because what it was judged by has changed since it was held.
    /// Only our own refusals have a code that is no fault's: an upstream's refusal has none.
    #[must_use]
    pub fn is_void(&self) -> bool {
        let refused = |code: &String| Fault::of_execution(code, Duration::ZERO, 0).is_none();
        self.status == Status::Failed
            && self.resolved.is_none()
            && (self.claimed_at.is_none() || self.ended_with.as_ref().is_some_and(refused))
    }

    /// What moves are judged by.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let approvers = self.decisions.iter().filter(|decided| decided.approve);
        Standing {
            status: self.status,
            digest: self.held.approval_digest,
            quorum: self.held.quorum,
            approved_by: approvers.map(|decided| decided.operator.clone()).collect(),
            decide_by: self.held.decide_by,
            execute_within: self.held.execute_within,
            execute_by: self.execute_by,
        }
    }

    /// What the trail is told when somebody, or time, decides about it. It is bound to the approval digest.
    #[must_use]
    pub fn decision(&self, at: Timestamp, effect: Effect, reason: impl Into<Cow<'static, str>>) -> Event {
        let held = &self.held;
        let mut event = Event::new(at, Kind::Decision);
        event.call_id = Some(held.call_id);
        event.agent = Some(held.agent.clone());
        event.key_id = Some(held.key_id);
        event.role = Some(held.role.clone());
        event.service = Some(held.service.as_str().into());
        event.method = Some(held.method.clone().into());
        event.action = Some(held.action.as_str().into());
        event.decision = Some(Decision {
            gate: Gate::Approve,
            effect,
            rule: Some(held.rule.clone()),
            reason: reason.into(),
            risk: held.risk.as_ref().map(|risk| risk.score),
            policy: Some(held.policy.clone()),
        });
        event.digest = Some(held.approval_digest);
        event.approval_id = Some(held.id);
        event
    }

    /// Whether its gateway took it back: it could not tell the agent that the call was held.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.status == Status::Cancelled && self.ended_with.is_some()
    }

    /// The moment at which it expires, while it can: for decisions first, then for its execution.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self.status {
            Status::Pending => Some(self.held.decide_by),
            Status::Approved => self.execute_by,
            _ => None,
        }
    }
}
