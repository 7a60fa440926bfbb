//! Something that broke, and whose it is.

use std::time::Duration;

use super::Gate;

/// Something that broke. Nothing was forwarded by `Ours`; an upstream's fault says how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 503: the record could not be made durable.
    AuditUnavailable,
    /// 503: the store did not say whether it has kept the call for people to approve. It is withdrawn where it has, unless
    /// they were quicker; to repeat it is safe.
    HoldUnknown,
    /// 503: the store did not answer.
    StoreUnavailable,
    /// 503: keys and policy could not be confirmed in time.
    StaleAuthorization,
    /// 503: the server that counts limits did not answer, and calls are refused then.
    CountersUnavailable,
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

impl Fault {
    /// The code of the contract's table.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AuditUnavailable => "audit-unavailable",
            Self::HoldUnknown => "hold-unknown",
            Self::StoreUnavailable => "store-unavailable",
            Self::StaleAuthorization => "stale-authorization",
            Self::CountersUnavailable => "counters-unavailable",
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
            Self::CountersUnavailable,
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
            Self::HoldUnknown => "the store did not say whether it has kept the call".into(),
            Self::StoreUnavailable => "the store does not answer".into(),
            Self::StaleAuthorization => "keys and policy could not be confirmed in time".into(),
            Self::CountersUnavailable => "the server that counts limits does not answer".into(),
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
            | Self::HoldUnknown
            | Self::StoreUnavailable
            | Self::StaleAuthorization
            | Self::CountersUnavailable
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
            Self::HoldUnknown => Gate::Approve,
            Self::StoreUnavailable | Self::StaleAuthorization | Self::Draining => Gate::Authenticate,
            Self::CountersUnavailable => Gate::RateLimit,
            Self::Sealed => Gate::Door,
            Self::CredentialMissing(_) | Self::CredentialFailed(_) => Gate::InjectCredential,
            _ => Gate::Forward,
        }
    }
}
