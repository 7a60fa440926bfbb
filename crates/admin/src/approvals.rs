//! Held calls: listed, shown, approved, denied, resolved. Every decision is an operator's who has proven who they are;
//! an agent's key leads nowhere here.

mod body;
mod inbox;
mod json;
mod page;

use std::time::Duration;

use domain::{
    approval::{Approval, Decided, Move, NotNow, Outcome, Resolved, Status},
    audit::{Effect, Event},
    names::ApprovalId,
    operator::OperatorState,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use store::{ApprovalQuery, Before, Change, FoundApproval};

use crate::{ActingOperator, Admin, AdminError, redacted};

pub use body::ShownBody;
pub use inbox::{InboxPage, ShownAnswer};
pub use json::{approval_json, page_json};
pub use page::{AddedCredential, ApprovalPage, SecondLook, Sees, ShownCall, ShownTool, WholeCall};

/// The longest reason that is taken, in characters.
pub const REASON_CHARACTERS_MAX: usize = 500;

/// How far back the page of a held call looks.
const BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Others may decide at the same moment, each once; a bound all the same.
const TRIES_MAX: usize = 300;

/// A held call and what was before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalView {
    /// The call and how far it is.
    pub approval: Approval,
    /// What its agent did before with the same action, in 30 days.
    pub before: Before,
}

impl Admin {
    /// Held calls, the newest first.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn list_approvals(
        &self,
        query: &ApprovalQuery,
        limit: u32,
    ) -> Result<Vec<Approval>, AdminError> {
        Ok(self.store.approvals(query, limit).await?)
    }

    /// The held call whose id starts with `start`, with or without `ap_`.
    ///
    /// # Errors
    /// [`AdminError::NoSuchApproval`], [`AdminError::SeveralApprovals`].
    pub async fn show_approval(&self, now: Timestamp, start: &str) -> Result<ApprovalView, AdminError> {
        let shown = || start.chars().take(16).flat_map(char::escape_default).collect();
        let approval = match self.store.find_approval(start).await? {
            FoundApproval::One(approval) => *approval,
            FoundApproval::None => return Err(AdminError::NoSuchApproval(shown())),
            FoundApproval::Several(found) => {
                return Err(AdminError::SeveralApprovals { start: shown(), found });
            }
        };
        let since = now.checked_sub(BEFORE).unwrap_or(Timestamp::MIN);
        let before = self.store.before(&approval, since).await?;
        Ok(ApprovalView { approval, before })
    }

    /// Says yes to exactly the call that was shown; returns it as it stands then. It may still wait for others.
    ///
    /// # Errors
    /// [`AdminError`]: a viewer, another digest, approved before, decided by others, too late.
    pub async fn approve(
        &self,
        operator: &ActingOperator,
        now: Timestamp,
        id: &ApprovalId,
        digest: &[u8; 32],
        reason: Option<&str>,
    ) -> Result<Approval, AdminError> {
        self.decide(operator, now, id, Some(digest), (true, reason)).await
    }

    /// Says no, for everybody; the agent is told the reason. Without a digest it is about the call of that id.
    ///
    /// # Errors
    /// [`AdminError`]: a viewer, another digest, decided by others, too late, no reason.
    pub async fn deny(
        &self,
        operator: &ActingOperator,
        now: Timestamp,
        id: &ApprovalId,
        digest: Option<&[u8; 32]>,
        reason: &str,
    ) -> Result<Approval, AdminError> {
        self.decide(operator, now, id, digest, (false, Some(needed(reason)?))).await
    }

    /// Says what became of a call whose outcome was lost.
    ///
    /// # Errors
    /// [`AdminError`]: a viewer, an outcome that is known, a reason that is too long.
    pub async fn resolve(
        &self,
        operator: &ActingOperator,
        now: Timestamp,
        id: &ApprovalId,
        outcome: Outcome,
        reason: &str,
    ) -> Result<Approval, AdminError> {
        let reason = bounded(Some(reason))?;
        may_decide(operator)?;
        let mut approval = self.held(id).await?;
        match approval.standing().after(&Move::Resolve(outcome), now) {
            Ok(after) => approval.status = after.status,
            Err(not_now) => return Err(refused(&approval, operator, not_now, now)),
        }
        let (word, effect) = match outcome {
            Outcome::Executed => ("resolved as executed", Effect::Allow),
            Outcome::Failed => ("resolved as failed", Effect::Deny),
        };
        let event = event(&approval, operator, now, effect, word.to_owned(), reason.as_deref());
        let resolved = Resolved { operator: operator.email().clone(), reason: reason.unwrap_or_default() };
        approval.resolved = Some(resolved.clone());
        approval.ended_at = Some(now);
        if !self.write(Change::ResolveApproval { id: *id, outcome, resolved, at: now }, event).await? {
            self.still_active(operator).await?;
            return Err(refused(&self.held(id).await?, operator, NotNow::Is(Status::Unknown), now));
        }
        Ok(approval)
    }

    async fn decide(
        &self,
        operator: &ActingOperator,
        now: Timestamp,
        id: &ApprovalId,
        digest: Option<&[u8; 32]>,
        (approve, reason): (bool, Option<&str>),
    ) -> Result<Approval, AdminError> {
        let reason = bounded(reason)?;
        may_decide(operator)?;
        for _ in 0..TRIES_MAX {
            let mut approval = self.held(id).await?;
            let digest = *digest.unwrap_or(&approval.held.approval_digest);
            let email = operator.email();
            let wanted = if approve {
                Move::Approve { operator: email, digest: &digest }
            } else {
                Move::Deny { operator: email, digest: &digest }
            };
            let before = approval.standing();
            let after =
                before.after(&wanted, now).map_err(|not_now| refused(&approval, operator, not_now, now))?;
            let (effect, said) = match (approve, after.status) {
                (false, _) => (Effect::Deny, "denied".to_owned()),
                (true, status) => (
                    if status == Status::Approved { Effect::Allow } else { Effect::Hold },
                    format!("approved, {} of {}", after.approved_by.len(), after.quorum),
                ),
            };
            let event = event(&approval, operator, now, effect, said, reason.as_deref());
            let decided = Decided { operator: email.clone(), approve, reason: reason.clone(), at: now };
            let approved_before = before.approved_by.len();
            // It stands so exactly if this is written: asking again might fail, and it counts all the same.
            approval.decisions.retain(|one| one.operator != *email);
            approval.decisions.push(decided.clone());
            approval.status = after.status;
            approval.execute_by = after.execute_by;
            approval.ended_at = (!after.status.is_under_way()).then_some(now);
            if self.write(Change::DecideApproval { id: *id, digest, approved_before, decided }, event).await?
            {
                return Ok(approval);
            }
            // Somebody else was quicker, or an owner has just disabled this operator.
            self.still_active(operator).await?;
        }
        Err(AdminError::ChangedMeanwhile(id.to_string()))
    }

    async fn held(&self, id: &ApprovalId) -> Result<Approval, AdminError> {
        self.store.approval(id).await?.ok_or_else(|| AdminError::NoSuchApproval(id.to_string()))
    }

    async fn still_active(&self, operator: &ActingOperator) -> Result<(), AdminError> {
        match self.store.operator(operator.email()).await? {
            Some(stored) if stored.state == OperatorState::Active && stored.role.may_decide() => Ok(()),
            Some(stored) if stored.state == OperatorState::Active => {
                Err(AdminError::MayNotDecide(stored.email))
            }
            _ => Err(AdminError::OperatorDisabled(operator.email().clone())),
        }
    }
}

fn may_decide(operator: &ActingOperator) -> Result<(), AdminError> {
    let may = operator.role().may_decide();
    if may { Ok(()) } else { Err(AdminError::MayNotDecide(operator.email().clone())) }
}

fn needed(reason: &str) -> Result<&str, AdminError> {
    if reason.trim().is_empty() { Err(AdminError::NoReason) } else { Ok(reason) }
}

fn bounded(reason: Option<&str>) -> Result<Option<String>, AdminError> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    match reason.map(|reason| reason.chars().count()) {
        Some(length) if length > REASON_CHARACTERS_MAX => Err(AdminError::ReasonTooLong(length)),
        _ => Ok(reason.map(str::to_owned)),
    }
}

/// The event of a decision: about the call, by the person, bound to the approval digest.
fn event(
    approval: &Approval,
    operator: &ActingOperator,
    now: Timestamp,
    effect: Effect,
    said: String,
    reason: Option<&str>,
) -> Event {
    let mut event = approval.decision(now, effect, said);
    event.args = reason.and_then(|reason| redacted(&json!({ "reason": reason })));
    event.operator = Some(operator.email().as_str().into());
    event
}

/// Why a decision does not count, for the person who made it.
fn refused(approval: &Approval, operator: &ActingOperator, why: NotNow, now: Timestamp) -> AdminError {
    let id = approval.held.id;
    match why {
        NotNow::OtherDigest => AdminError::OtherDigest(id),
        NotNow::ApprovedBefore => AdminError::ApprovedBefore { id, operator: operator.email().clone() },
        NotNow::TooLate | NotNow::TooEarly => {
            AdminError::NotDecidable(format!("nobody decided {id} in time (status {})", approval.status))
        }
        NotNow::Is(_) => AdminError::NotDecidable(became(approval, now)),
    }
}

/// Whether people can still decide on it: the sentence otherwise.
fn decidable(approval: &Approval, now: Timestamp) -> Result<(), AdminError> {
    match approval.status {
        Status::Pending if now < approval.held.decide_by => Ok(()),
        Status::Pending => Err(AdminError::NotDecidable(format!(
            "nobody decided {} in time (status pending)",
            approval.held.id
        ))),
        _ => Err(AdminError::NotDecidable(became(approval, now))),
    }
}

/// `ap_7m2kd9q4xw was denied 3 s ago by grace@example.com (status denied)`.
fn became(approval: &Approval, now: Timestamp) -> String {
    let (id, status) = (approval.held.id, approval.status);
    let last = approval.decisions.last();
    let (what, at, by) = match status {
        Status::Denied => ("was denied", last.map(|decided| decided.at), last),
        Status::Expired => ("has expired", approval.ended_at, None),
        Status::Cancelled if approval.is_withdrawn() => {
            ("was withdrawn, its agent could not be told that it is held", approval.ended_at, None)
        }
        Status::Cancelled => ("was taken back by its agent", approval.ended_at, None),
        Status::Unknown => ("was sent, and its outcome is unknown", None, None),
        Status::Pending => ("waits for a decision", None, None),
        Status::Approved | Status::Executing | Status::Executed | Status::Failed => {
            ("was approved", last.map(|decided| decided.at), last)
        }
    };
    let ago = at.map(|at| format!(" {} ago", age(now, at))).unwrap_or_default();
    let by = by.map(|decided| format!(" by {}", decided.operator)).unwrap_or_default();
    format!("{id} {what}{ago}{by} (status {status})")
}

fn age(now: Timestamp, at: Timestamp) -> String {
    let seconds = Duration::try_from(now.duration_since(at)).unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
