//! How a walk ends that needs people: a ticket while they decide, or their no.

use jiff::Timestamp;

use super::{Approval, Status};
use crate::{
    names::{AgentName, ApprovalId},
    policy::RuleName,
    risk::RiskScore,
};

/// What an agent is handed while its call is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Which approval to ask for.
    pub id: ApprovalId,
    /// Whose call it is.
    pub agent: AgentName,
    /// The rule that wants people.
    pub rule: RuleName,
    /// How risky the call is, where that was assessed.
    pub risk: Option<RiskScore>,
    /// How far it is: pending, approved or executing.
    pub status: Status,
    /// When it expires; an executing one does not.
    pub expires_at: Option<Timestamp>,
}

impl Ticket {
    /// The ticket of an approval as it stands.
    #[must_use]
    pub fn of(approval: &Approval) -> Self {
        let held = &approval.held;
        Self {
            id: held.id,
            agent: held.agent.clone(),
            rule: held.rule.clone(),
            risk: held.risk.as_ref().map(|risk| risk.score),
            status: approval.status,
            expires_at: approval.expires_at(),
        }
    }
}

/// How a held call ended that was not sent, or of which nobody knows whether it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotApproved {
    /// 403: an operator said no.
    Denied {
        /// Which approval.
        id: ApprovalId,
        /// Why, in the operator's words.
        reason: Option<String>,
    },
    /// 410: nobody decided, or executed it, in time.
    Expired {
        /// Which approval.
        id: ApprovalId,
        /// Whether people had approved it by then.
        approved: bool,
    },
    /// 410: the agent took it back.
    Cancelled(ApprovalId),
    /// 403: people approved it, but by then it was not allowed any more: key, scope, policy or credential changed.
    Void(ApprovalId),
    /// 409: it was sent and its answer was lost. Only an operator ends this.
    Unknown(ApprovalId),
    /// 409: its answer was lost, and an operator has found out since whether it happened.
    Resolved {
        /// Which approval.
        id: ApprovalId,
        /// Whether it did.
        happened: bool,
    },
    /// 410: it ended, and what it was answered with is not kept any more.
    Forgotten(ApprovalId),
}

impl NotApproved {
    /// Which approval.
    #[must_use]
    pub fn id(&self) -> &ApprovalId {
        match self {
            Self::Denied { id, .. }
            | Self::Resolved { id, .. }
            | Self::Expired { id, .. }
            | Self::Cancelled(id)
            | Self::Void(id)
            | Self::Unknown(id)
            | Self::Forgotten(id) => id,
        }
    }

    /// How the approval stands, where that is kept.
    #[must_use]
    pub fn approval_status(&self) -> Option<Status> {
        match self {
            Self::Denied { .. } => Some(Status::Denied),
            Self::Expired { .. } => Some(Status::Expired),
            Self::Cancelled(_) => Some(Status::Cancelled),
            Self::Void(_) | Self::Resolved { happened: false, .. } => Some(Status::Failed),
            Self::Unknown(_) => Some(Status::Unknown),
            Self::Resolved { happened: true, .. } => Some(Status::Executed),
            Self::Forgotten(_) => None,
        }
    }

    /// The code of the contract's table.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied { .. } | Self::Void(_) => "forbidden",
            Self::Expired { .. } => "approval-expired",
            Self::Cancelled(_) => "approval-cancelled",
            Self::Unknown(_) => "outcome-unknown",
            Self::Resolved { .. } => "answer-lost",
            Self::Forgotten(_) => "answer-forgotten",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Denied { .. } | Self::Void(_) => 403,
            Self::Expired { .. } | Self::Cancelled(_) | Self::Forgotten(_) => 410,
            Self::Unknown(_) | Self::Resolved { .. } => 409,
        }
    }

    /// The cause in few words, for the trail.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "approval denied",
            Self::Expired { .. } => "approval expired",
            Self::Cancelled(_) => "approval cancelled",
            Self::Void(_) => "approved, but not allowed any more",
            Self::Unknown(_) => "outcome unknown",
            Self::Resolved { .. } => "answer lost",
            Self::Forgotten(_) => "the answer is not kept any more",
        }
    }
}
