//! A decision against a call: what we said no to, with which status, and at which gate.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;

use super::{Gate, KeyFault, OverLimit, Unreadable};
use crate::{
    approval::{NotApproved, Status},
    names::{ApprovalId, RoleName},
    policy::RuleName,
    risk::RiskScore,
    tools::HeldBack,
};

/// A decision against a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// 401. One same answer whatever the cause; the trail knows it.
    Unauthorized(KeyFault),
    /// 403: the access token is good, and lacks the scope that its issuer's terms ask for.
    InsufficientScope(String),
    /// 503: the kill switch is on; nothing is forwarded for anybody.
    Stopped,
    /// 403: the service does not exist or is not in the agent's scope; the answer does not tell which.
    NotInScope,
    /// 403: the policy says no.
    Forbidden {
        /// The agent's role.
        role: RoleName,
        /// The deny that matched; none when nothing allows it.
        rule: Option<RuleName>,
        /// Why, for the agent.
        reason: String,
    },
    /// 403: the tool's definition is not the one that is pinned.
    ToolHeldBack(HeldBack),
    /// 429.
    RateLimited(OverLimit),
    /// 400: the request cannot be read in exactly one way.
    Unreadable(Unreadable),
    /// 413: the body is over the limit (bytes).
    TooLarge(u64),
    /// 415: MCP speaks JSON.
    UnsupportedMediaType,
    /// 403: a browser page of another site, or a name that is not ours (DNS rebinding).
    ForeignOrigin(&'static str),
    /// 404: the session has ended, or is not this agent's.
    UnknownSession,
    /// 404: the newest version of MCP has no such method.
    NoSuchMethod(String),
    /// 405: this endpoint does not take that method.
    MethodNotAllowed,
    /// 404: there is no such endpoint.
    NoSuchEndpoint,
    /// 404: the service is reached by another door.
    WrongDoor {
        /// Where it is reached: `/http/billing/`.
        endpoint: String,
    },
    /// 409: the first call with this idempotency key has not ended.
    InProgress,
    /// 422: the idempotency key was used for another request.
    KeyReused,
    /// 409: a call with this idempotency key was sent and its answer was lost. It is never sent again.
    OutcomeUnknown,
    /// 403: its risk is at or above `risk.refuse_at`.
    TooRisky {
        /// Its risk.
        score: RiskScore,
        /// The setting.
        refuse_at: RiskScore,
    },
    /// 403: a rule wants people's approval, and a message of this kind cannot wait for it.
    CannotWait(RuleName),
    /// 429: as many of the agent's calls as may wait for people do.
    PendingFull(u32),
    /// 403, 409 or 410: the held call was not sent, or nobody knows.
    NotApproved(NotApproved),
    /// 409: it was asked for the result of a held call that has none yet.
    NotDecided {
        /// Which approval.
        id: ApprovalId,
        /// How far it is.
        status: Status,
        /// When it expires.
        expires_at: Option<Timestamp>,
        /// How long that is from now.
        left: Option<Duration>,
    },
    /// 409: it was asked to take back a held call that is being sent, or was.
    NotTakenBack {
        /// Which approval.
        id: ApprovalId,
        /// How far it is.
        status: Status,
    },
    /// 404: there is no such approval, or it is another agent's.
    NoSuchApproval,
    /// 404: the tool that waits for an approval was called without naming one.
    NoApprovalNamed,
}

impl From<NotApproved> for Refusal {
    fn from(end: NotApproved) -> Self {
        Self::NotApproved(end)
    }
}
impl From<Unreadable> for Refusal {
    fn from(unreadable: Unreadable) -> Self {
        Self::Unreadable(unreadable)
    }
}

impl Refusal {
    /// The code of the contract's table.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "unauthorized",
            Self::Stopped => "stopped",
            Self::NotInScope
            | Self::Forbidden { .. }
            | Self::ToolHeldBack(_)
            | Self::ForeignOrigin(_)
            | Self::InsufficientScope(_) => "forbidden",
            Self::RateLimited(_) => "rate-limited",
            Self::Unreadable(_) => "malformed",
            Self::TooLarge(_) => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::UnknownSession => "unknown-session",
            Self::NoSuchMethod(_) => "no-such-method",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::NoSuchEndpoint | Self::WrongDoor { .. } => "no-such-endpoint",
            Self::InProgress => "in-progress",
            Self::KeyReused => "idempotency-mismatch",
            Self::OutcomeUnknown => "outcome-unknown",
            Self::TooRisky { .. } | Self::CannotWait(_) => "forbidden",
            Self::PendingFull(_) => "rate-limited",
            Self::NotApproved(end) => end.code(),
            Self::NotDecided { .. } => "not-decided",
            Self::NotTakenBack { .. } => "not-taken-back",
            Self::NoSuchApproval | Self::NoApprovalNamed => "no-such-approval",
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Unauthorized(_) => 401,
            Self::Stopped => 503,
            Self::NotInScope
            | Self::Forbidden { .. }
            | Self::ToolHeldBack(_)
            | Self::ForeignOrigin(_)
            | Self::TooRisky { .. }
            | Self::InsufficientScope(_)
            | Self::CannotWait(_) => 403,
            Self::RateLimited(_) | Self::PendingFull(_) => 429,
            Self::NotApproved(end) => end.status(),
            Self::Unreadable(_) => 400,
            Self::TooLarge(_) => 413,
            Self::UnsupportedMediaType => 415,
            Self::UnknownSession
            | Self::NoSuchMethod(_)
            | Self::NoSuchEndpoint
            | Self::WrongDoor { .. }
            | Self::NoSuchApproval
            | Self::NoApprovalNamed => 404,
            Self::MethodNotAllowed => 405,
            Self::InProgress | Self::OutcomeUnknown | Self::NotDecided { .. } | Self::NotTakenBack { .. } => {
                409
            }
            Self::KeyReused => 422,
        }
    }

    /// The cause in few words, for the trail. It may say more than the agent is told.
    #[must_use]
    pub fn cause(&self) -> Cow<'static, str> {
        match self {
            Self::Unauthorized(fault) => fault.as_str().into(),
            Self::InsufficientScope(_) => "token lacks a scope".into(),
            Self::Stopped => "kill switch".into(),
            Self::NotInScope => "not in scope".into(),
            Self::Forbidden { reason, .. } => reason.clone().into(),
            Self::ToolHeldBack(held) => held.reason().into(),
            Self::RateLimited(over) => over.quota.to_string().into(),
            Self::Unreadable(unreadable) => unreadable.to_string().into(),
            Self::TooLarge(bytes_max) => format!("the body is over {bytes_max} bytes").into(),
            Self::UnsupportedMediaType => "not application/json".into(),
            Self::ForeignOrigin(what) => (*what).into(),
            Self::UnknownSession => "unknown session".into(),
            Self::NoSuchMethod(_) => "no such method in this version".into(),
            Self::MethodNotAllowed => "method not allowed".into(),
            Self::NoSuchEndpoint => "no such endpoint".into(),
            Self::WrongDoor { .. } => "another door".into(),
            Self::InProgress => "in progress".into(),
            Self::KeyReused => "idempotency key of another request".into(),
            Self::OutcomeUnknown => "outcome unknown".into(),
            Self::TooRisky { score, refuse_at } => format!("risk {score}, refused at {refuse_at}").into(),
            Self::CannotWait(_) => "wants approval and cannot wait".into(),
            Self::PendingFull(max) => format!("{max} calls wait for approval").into(),
            Self::NotApproved(end) => end.cause().into(),
            Self::NotDecided { status, .. } | Self::NotTakenBack { status, .. } => {
                format!("approval {status}").into()
            }
            Self::NoSuchApproval => "no such approval".into(),
            Self::NoApprovalNamed => "no approval named".into(),
        }
    }

    /// The gate that decided.
    #[must_use]
    pub fn gate(&self) -> Gate {
        match self {
            Self::Unauthorized(_) | Self::InsufficientScope(_) => Gate::Authenticate,
            Self::Stopped
            | Self::NotInScope
            | Self::Forbidden { .. }
            | Self::ToolHeldBack(_)
            | Self::UnknownSession
            | Self::NoSuchMethod(_) => Gate::Authorize,
            Self::RateLimited(_) => Gate::RateLimit,
            Self::InProgress | Self::KeyReused | Self::OutcomeUnknown => Gate::Idempotency,
            Self::TooRisky { .. } => Gate::AssessRisk,
            Self::CannotWait(_)
            | Self::PendingFull(_)
            | Self::NotApproved(_)
            | Self::NotDecided { .. }
            | Self::NotTakenBack { .. }
            | Self::NoSuchApproval
            | Self::NoApprovalNamed => Gate::Approve,
            _ => Gate::Door,
        }
    }
}
