//! How a walk ends without an answer from an upstream.
//!
//! A refusal is a decision; a fault is something that broke, and says whose it is. Both mean: nothing was
//! forwarded, unless the fault says otherwise.

use std::{borrow::Cow, time::Duration};

use jiff::Timestamp;
use wire::{Malformed, http1::HeadFault, mcp::HeaderMismatch};

use crate::{
    approval::{NotApproved, Status, Ticket},
    idempotency::StoredAnswer,
    key::KeyId,
    names::{ApprovalId, RoleName},
    policy::RuleName,
    quota::{FAILED_AUTHENTICATION_NAME, Quota},
    risk::RiskScore,
};

/// Every end of a walk that is not the upstream's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Stop {
    /// We decided no.
    Refused(Refusal),
    /// The call was made before, under the same idempotency key: this is what it was answered.
    Replayed(Box<StoredAnswer>),
    /// People must approve it first. It is kept and will be executed once they have.
    Held(Box<Ticket>),
    /// People approved it and the gateway executed it: this is what it was answered.
    Executed(Box<StoredAnswer>),
    /// Something broke.
    Fault(Fault),
}

impl Stop {
    /// Whether the call may have happened all the same: what was sent cannot be called back.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::Fault(fault) if fault.may_have_happened())
    }
}
impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
impl From<Unreadable> for Stop {
    fn from(unreadable: Unreadable) -> Self {
        Self::Refused(unreadable.into())
    }
}
impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The gates in their order; the number is what the trail records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gate {
    /// Before the gates: the request could not be read.
    Door = 0,
    /// Who is asking?
    Authenticate = 10,
    /// May they ask for this?
    Authorize = 20,
    /// Not too often?
    RateLimit = 30,
    /// Was this call made before?
    Idempotency = 40,
    /// How risky is it?
    AssessRisk = 50,
    /// Has a person said yes?
    Approve = 60,
    /// Write the decision down.
    Record = 70,
    /// Add the service's credential.
    InjectCredential = 80,
    /// Send it.
    Forward = 90,
}

/// Why a key did not open the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFault {
    /// No key came with the request.
    Missing,
    /// It is not in the form of our keys.
    Misshapen,
    /// It has the right form, but nobody holds it.
    Unknown,
    /// An operator has revoked it.
    Revoked(KeyId),
    /// Its time has passed.
    Expired(KeyId),
    /// Its agent is disabled or deleted.
    AgentDisabled(KeyId),
}

impl KeyFault {
    /// One word for the trail.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "no key",
            Self::Misshapen => "not a key",
            Self::Unknown => "unknown key",
            Self::Revoked(_) => "revoked",
            Self::Expired(_) => "expired",
            Self::AgentDisabled(_) => "agent disabled",
        }
    }

    /// The key's id, where it is a key of ours.
    #[must_use]
    pub fn key_id(self) -> Option<KeyId> {
        match self {
            Self::Missing | Self::Misshapen | Self::Unknown => None,
            Self::Revoked(id) | Self::Expired(id) | Self::AgentDisabled(id) => Some(id),
        }
    }
}

/// A decision against a call.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// 401. One same answer whatever the cause; the trail knows it.
    Unauthorized(KeyFault),
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

/// Why a request cannot be read in exactly one way.
#[derive(Debug, Clone, PartialEq)]
pub enum Unreadable {
    /// The head is framed, or names its host and target, in a way that others read differently.
    Head(HeadFault),
    /// The body is not what the strict reader accepts.
    Body(Malformed),
    /// Headers of the newest protocol version are missing or say something else than the body.
    Headers(HeaderMismatch),
    /// The request asks for a protocol version that nobody here speaks.
    Version(String),
    /// Two different keys came in one request.
    TwoKeys,
    /// The body broke off, or took too long to arrive.
    CutOff,
    /// A request of the older protocol speaks to a service that keeps sessions, and names none.
    NoSession,
    /// A header that must stand alone came twice, or cannot be read.
    Header(String),
    /// Path, query or method of a request to an HTTP service.
    Target(String),
    /// The envelope of `POST /proxy`.
    Envelope(String),
    /// A header that asks for another method than the request's own.
    MethodOverride(String),
    /// A header that asks for another path than the request's own.
    PathOverride(String),
    /// The idempotency key is empty, too long, or not visible ASCII.
    IdempotencyKey,
    /// The stated intent is too long, or no text.
    Intent,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Head(fault) => write!(f, "{fault}"),
            Self::Body(malformed) => write!(f, "{malformed}"),
            Self::Headers(mismatch) => write!(f, "{mismatch}"),
            Self::Version(version) => {
                write!(f, "the protocol version `{}` is not supported", version.escape_default())
            }
            Self::TwoKeys => f.write_str("two different keys came in one request"),
            Self::CutOff => f.write_str("the body did not arrive whole and in time"),
            Self::NoSession => {
                f.write_str("the header `Mcp-Session-Id` is missing; `initialize` answers one")
            }
            Self::Header(name) => write!(f, "the header `{name}` came twice, or says what cannot be"),
            Self::Target(what) | Self::Envelope(what) => f.write_str(what),
            Self::MethodOverride(name) => {
                write!(f, "the header `{name}` asks for another method; send the method itself")
            }
            Self::PathOverride(name) => {
                write!(f, "the header `{name}` asks for another path; send the path itself")
            }
            Self::IdempotencyKey => f.write_str("an idempotency key is 1 to 255 visible ASCII characters"),
            Self::Intent => f.write_str("the intent is a text of at most 4 KiB"),
        }
    }
}

/// Which limit was reached, in words for the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverLimit {
    /// The limit's name in the `RateLimit` headers: `per_key`, `per_tool` …
    pub name: &'static str,
    /// What is limited, as the start of "… is limited to": "`read_file` on `files`", "this key" …
    pub what: String,
    /// The limit.
    pub quota: Quota,
    /// Until the next call would be admitted.
    pub retry_after: Duration,
}

impl OverLimit {
    /// Whether it limits requests without a good key.
    #[must_use]
    pub fn is_of_a_stranger(&self) -> bool {
        self.name == FAILED_AUTHENTICATION_NAME
    }

    /// The `RateLimit-Policy` header (draft-ietf-httpapi-ratelimit-headers).
    #[must_use]
    pub fn policy_header(&self) -> String {
        format!("\"{}\";q={};w={}", self.name, self.quota.count(), self.quota.period().as_secs())
    }

    /// The `RateLimit` header: nothing is left until `t` seconds have passed.
    #[must_use]
    pub fn header(&self) -> String {
        format!("\"{}\";r=0;t={}", self.name, self.retry_after.as_millis().div_ceil(1_000))
    }
}

/// Something that broke. Nothing was forwarded by `Ours`; an upstream's fault says how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 503: the record could not be made durable.
    AuditUnavailable,
    /// 503: the store did not answer.
    StoreUnavailable,
    /// 503: keys and policy could not be confirmed in time.
    StaleAuthorization,
    /// 503: as many processes or requests as the service may have are at work.
    UpstreamBusy,
    /// 503: the gateway is stopping.
    Draining,
    /// 503: the root key of the vault is not there.
    Sealed,
    /// 503: as many bytes of bodies as the gateway may hold are held.
    BodiesFull,
    /// 503: the service declares this credential, and nobody has set its value.
    CredentialMissing(String),
    /// 502: a credential could not be made ready: a token endpoint failed, a value cannot be opened. Nothing was
    /// sent. The text is for operators.
    CredentialFailed(String),
    /// 500: a walk ended by itself, a defect of ours; the call may have happened.
    Internal,
    /// 502: the upstream could not be reached, so nothing was sent. The text is for operators.
    UpstreamUnreachable(String),
    /// 502: the upstream was reached and then broke. The text is for operators.
    UpstreamBroken(String),
    /// 502: the upstream's answer is over the limit (bytes); the call happened.
    AnswerTooLarge(u64),
    /// 504: the upstream did not answer in time; the call may have happened.
    UpstreamTimeout(Duration),
    /// 499: the client of a stateless call hung up, which cancels it; only the trail reads this.
    ClientGone,
}

impl Refusal {
    /// The code of the contract's table.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "unauthorized",
            Self::Stopped => "stopped",
            Self::NotInScope | Self::Forbidden { .. } | Self::ForeignOrigin(_) => "forbidden",
            Self::RateLimited(_) => "rate-limited",
            Self::Unreadable(_) => "malformed",
            Self::TooLarge(_) => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::UnknownSession => "unknown-session",
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
            Self::NoSuchApproval => "no-such-approval",
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
            | Self::ForeignOrigin(_)
            | Self::TooRisky { .. }
            | Self::CannotWait(_) => 403,
            Self::RateLimited(_) | Self::PendingFull(_) => 429,
            Self::NotApproved(end) => end.status(),
            Self::Unreadable(_) => 400,
            Self::TooLarge(_) => 413,
            Self::UnsupportedMediaType => 415,
            Self::UnknownSession | Self::NoSuchEndpoint | Self::WrongDoor { .. } | Self::NoSuchApproval => {
                404
            }
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
            Self::Stopped => "kill switch".into(),
            Self::NotInScope => "not in scope".into(),
            Self::Forbidden { reason, .. } => reason.clone().into(),
            Self::RateLimited(over) => over.quota.to_string().into(),
            Self::Unreadable(unreadable) => unreadable.to_string().into(),
            Self::TooLarge(bytes_max) => format!("the body is over {bytes_max} bytes").into(),
            Self::UnsupportedMediaType => "not application/json".into(),
            Self::ForeignOrigin(what) => (*what).into(),
            Self::UnknownSession => "unknown session".into(),
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
        }
    }

    /// The gate that decided.
    #[must_use]
    pub fn gate(&self) -> Gate {
        match self {
            Self::Unauthorized(_) => Gate::Authenticate,
            Self::Stopped | Self::NotInScope | Self::Forbidden { .. } | Self::UnknownSession => {
                Gate::Authorize
            }
            Self::RateLimited(_) => Gate::RateLimit,
            Self::InProgress | Self::KeyReused | Self::OutcomeUnknown => Gate::Idempotency,
            Self::TooRisky { .. } => Gate::AssessRisk,
            Self::CannotWait(_)
            | Self::PendingFull(_)
            | Self::NotApproved(_)
            | Self::NotDecided { .. }
            | Self::NotTakenBack { .. }
            | Self::NoSuchApproval => Gate::Approve,
            _ => Gate::Door,
        }
    }
}

impl Fault {
    /// The code of the contract's table.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AuditUnavailable => "audit-unavailable",
            Self::StoreUnavailable => "store-unavailable",
            Self::StaleAuthorization => "stale-authorization",
            Self::UpstreamBusy => "upstream-busy",
            Self::Sealed => "sealed",
            Self::Draining => "draining",
            Self::BodiesFull => "busy",
            Self::CredentialMissing(_) => "credential-missing",
            Self::CredentialFailed(_) => "credential-failed",
            Self::Internal => "internal",
            Self::UpstreamUnreachable(_) => "upstream-unreachable",
            Self::UpstreamBroken(_) => "upstream-broken",
            Self::AnswerTooLarge(_) => "answer-too-large",
            Self::UpstreamTimeout(_) => "upstream-timeout",
            Self::ClientGone => "client-gone",
        }
    }

    /// What is kept of the fault that an execution ended with.
    #[must_use]
    pub fn ended_with(&self) -> String {
        match self {
            Self::CredentialMissing(name) => format!("{}:{name}", self.code()),
            _ => self.code().to_owned(),
        }
    }

    /// The fault that an execution [ended with](Fault::ended_with), under these bounds; `None` for what is no fault.
    /// What only operators read of it is in the trail.
    #[must_use]
    pub fn of_execution(ended_with: &str, timeout: Duration, bytes_max: u64) -> Option<Self> {
        let none = String::new;
        let (code, name) = ended_with.split_once(':').unwrap_or((ended_with, ""));
        let faults = [
            Self::AuditUnavailable,
            Self::StoreUnavailable,
            Self::StaleAuthorization,
            Self::UpstreamBusy,
            Self::Draining,
            Self::Sealed,
            Self::BodiesFull,
            Self::CredentialMissing(name.to_owned()),
            Self::CredentialFailed(none()),
            Self::Internal,
            Self::UpstreamUnreachable(none()),
            Self::UpstreamBroken(none()),
            Self::AnswerTooLarge(bytes_max),
            Self::UpstreamTimeout(timeout),
        ];
        faults.into_iter().find(|fault| fault.code() == code)
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::UpstreamUnreachable(_)
            | Self::UpstreamBroken(_)
            | Self::AnswerTooLarge(_)
            | Self::CredentialFailed(_) => 502,
            Self::UpstreamTimeout(_) => 504,
            Self::ClientGone => 499,
            Self::Internal => 500,
            _ => 503,
        }
    }

    /// The cause in words for operators.
    #[must_use]
    pub fn cause(&self) -> String {
        match self {
            Self::AuditUnavailable => "the trail cannot be written".into(),
            Self::StoreUnavailable => "the store does not answer".into(),
            Self::StaleAuthorization => "keys and policy could not be confirmed in time".into(),
            Self::UpstreamBusy => "all processes of the service are at work".into(),
            Self::Sealed => "the vault has no root key".into(),
            Self::Draining => "the gateway is stopping".into(),
            Self::BodiesFull => "the bodies that are held fill their bound".into(),
            Self::CredentialMissing(name) => format!("the credential `{name}` has no value"),
            Self::CredentialFailed(why) => why.clone(),
            Self::Internal => "the walk ended by itself".into(),
            Self::UpstreamUnreachable(why) | Self::UpstreamBroken(why) => why.clone(),
            Self::AnswerTooLarge(bytes_max) => format!("its answer is larger than {bytes_max} bytes"),
            Self::UpstreamTimeout(after) => format!("no answer within {} s", after.as_secs()),
            Self::ClientGone => "the client hung up, which cancels a stateless call".into(),
        }
    }

    /// Whether the call may have happened all the same. Every other fault means that nothing was sent.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self {
            Self::UpstreamBroken(_)
            | Self::AnswerTooLarge(_)
            | Self::UpstreamTimeout(_)
            | Self::Internal
            | Self::ClientGone => true,
            Self::AuditUnavailable
            | Self::StoreUnavailable
            | Self::StaleAuthorization
            | Self::UpstreamBusy
            | Self::Draining
            | Self::Sealed
            | Self::BodiesFull
            | Self::CredentialMissing(_)
            | Self::CredentialFailed(_)
            | Self::UpstreamUnreachable(_) => false,
        }
    }

    /// The gate where it broke.
    #[must_use]
    pub fn gate(&self) -> Gate {
        match self {
            Self::AuditUnavailable => Gate::Record,
            Self::StoreUnavailable | Self::StaleAuthorization | Self::Draining => Gate::Authenticate,
            Self::Sealed => Gate::Door,
            Self::CredentialMissing(_) | Self::CredentialFailed(_) => Gate::InjectCredential,
            _ => Gate::Forward,
        }
    }
}
