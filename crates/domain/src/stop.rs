//! How a walk ends without an answer from an upstream.
//!
//! A refusal is a decision; a fault is something that broke, and says whose it is. Both mean: nothing was
//! forwarded, unless the fault says otherwise.

mod fault;
mod refusal;
mod unreadable;

use std::time::Duration;

use crate::{
    approval::Ticket,
    idempotency::StoredAnswer,
    key::KeyId,
    oauth::TokenFault,
    quota::{FAILED_AUTHENTICATION_NAME, Quota},
};

pub use fault::Fault;
pub use refusal::Refusal;
pub use unreadable::Unreadable;

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
    /// It is an access token, and not a good one.
    Token(TokenFault),
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
            Self::Token(fault) => fault.as_str(),
        }
    }

    /// The key's id, where it is a key of ours.
    #[must_use]
    pub fn key_id(self) -> Option<KeyId> {
        match self {
            Self::Missing | Self::Misshapen | Self::Unknown | Self::Token(_) => None,
            Self::Revoked(id) | Self::Expired(id) | Self::AgentDisabled(id) => Some(id),
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
