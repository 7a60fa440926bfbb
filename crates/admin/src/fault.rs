//! Why a change was not made, in sentences that end in what to do. The reader may be at a page, a script or a
//! terminal, so they name no flag and no command; the command line adds its own.

use std::time::Duration;

use domain::{
    credential::{BadSlot, BadValue},
    key::KeyId,
    names::{AgentName, ApprovalId, CredentialName, ServiceName},
    operator::{Email, TokenId},
};
use jiff::Timestamp;
use store::StoreError;
use thiserror::Error;
use vault::{HashFault, Unopened};

use crate::{
    approvals::REASON_CHARACTERS_MAX,
    operators::{PASSWORD_BYTES_MAX, PASSWORD_CHARACTERS_MIN},
};

/// Why an operator's wish was not carried out. Nothing was changed.
#[derive(Debug, Error)]
pub enum AdminError {
    /// A scope names a service that is not there.
    #[error("there is no service `{name}` (scope); {}look at the list of services", hint(near.as_deref()))]
    NoSuchServiceInScope {
        /// As it was named.
        name: String,
        /// The service that it is close to.
        near: Option<String>,
    },
    /// There is such a service already.
    #[error("there is a service `{0}` already; nothing was changed")]
    ServiceExists(ServiceName),
    /// There is no such service.
    #[error("there is no service `{name}`; {}look at the list of services", hint(near.as_deref()))]
    NoSuchService {
        /// As it was named.
        name: String,
        /// The service that it is close to.
        near: Option<String>,
    },
    /// The service declares no credential of that name, and nobody said of which kind a new one is.
    #[error("service `{service}` has no credential `{name}`; {}to add it, say of which kind it is", hint(near.as_deref()))]
    NoSuchCredential {
        /// Whose.
        service: ServiceName,
        /// As it was named.
        name: CredentialName,
        /// The credential that it is close to.
        near: Option<String>,
    },
    /// There is nothing to remove.
    #[error("credential `{name}` of `{service}` has no value; look at the service")]
    NoValue {
        /// Whose.
        service: ServiceName,
        /// Which one.
        name: CredentialName,
    },
    /// The credential does not fit the service.
    #[error("{}; {}", .0.what, .0.advice)]
    BadSlot(BadSlot),
    /// The value does not do for the credential's kind.
    #[error(transparent)]
    BadValue(#[from] BadValue),
    /// There is no such agent.
    #[error("there is no agent `{name}`; {}look at the list of agents", hint(near.as_deref()))]
    NoSuchAgent {
        /// As it was named.
        name: AgentName,
        /// The agent that it is close to.
        near: Option<String>,
    },
    /// There is such an agent already.
    #[error("there is an agent `{0}` already; nothing was changed")]
    AgentExists(AgentName),
    /// The agent was deleted.
    #[error("agent `{0}` was deleted, and its name is not given again; choose another name")]
    AgentDeleted(AgentName),
    /// The agent exists with another role.
    #[error("agent `{agent}` has role `{has}`, not `{asked}`; change the agent first")]
    OtherRole {
        /// Which agent.
        agent: AgentName,
        /// Its role.
        has: String,
        /// The role that was asked for.
        asked: String,
    },
    /// The agent exists with another scope.
    #[error("agent `{agent}` has scope `{has}`, not `{asked}`; change the agent first")]
    OtherScope {
        /// Which agent.
        agent: AgentName,
        /// Its scope.
        has: String,
        /// The scope that was asked for.
        asked: String,
    },
    /// A key that would be dead from the start.
    #[error("the key would expire before it is made; give a later time")]
    ExpiresInThePast,
    /// No key has an id that starts so.
    #[error("there is no key `{0}`; look at the keys of the agents")]
    NoSuchKey(String),
    /// Several keys have ids that start so.
    #[error("`{start}` is the start of several keys ({}); give more of it", ids(found))]
    SeveralKeys {
        /// As it was given.
        start: String,
        /// Their ids, ten at most.
        found: Vec<KeyId>,
    },
    /// There is such an operator already.
    #[error("there is an operator `{0}` already; nothing was changed")]
    OperatorExists(Email),
    /// There is no such operator.
    #[error("there is no operator `{email}`; {}look at the list of operators", hint(near.as_deref()))]
    NoSuchOperator {
        /// As they were named.
        email: Email,
        /// The operator that it is close to.
        near: Option<String>,
    },
    /// Somebody must be left who may change things.
    #[error(
        "`{0}` is the last active owner, and without one nobody could change anything; make another owner first"
    )]
    LastOwner(Email),
    /// Nobody has the address, or not that password.
    #[error("e-mail or password are wrong; repeat, or have an owner set another password")]
    WrongCredentials,
    /// Too many wrong passwords in a row.
    #[error("too many wrong passwords for `{email}`; wait {} s, then repeat", seconds_up(*left))]
    WrongPasswords {
        /// For whom.
        email: Email,
        /// How long the address waits.
        left: Duration,
    },
    /// The operator was disabled.
    #[error("operator `{0}` is disabled; an owner can let them in again")]
    OperatorDisabled(Email),
    /// A token that nobody has here.
    #[error("there is no operator token `{0}` here; make one")]
    UnknownToken(TokenId),
    /// A token that was stopped.
    #[error("the operator token `{id}` was revoked ({at}); make another")]
    TokenRevoked {
        /// Which one.
        id: TokenId,
        /// When.
        at: Timestamp,
    },
    /// A token that has run out.
    #[error("the operator token `{id}` has expired ({at}); make another")]
    TokenExpired {
        /// Which one.
        id: TokenId,
        /// When.
        at: Timestamp,
    },
    /// No token has an id that starts so.
    #[error("there is no operator token `{0}`; look at the list of tokens")]
    NoSuchToken(String),
    /// Several tokens have ids that start so.
    #[error("`{start}` is the start of several tokens ({}); give more of it", found.iter().map(TokenId::as_str).collect::<Vec<_>>().join(", "))]
    SeveralTokens {
        /// As it was given.
        start: String,
        /// Their ids, ten at most.
        found: Vec<TokenId>,
    },
    /// A login that has ended, or a token of one that is none.
    #[error("the session has ended; log in again")]
    SessionEnded,
    /// No session of that name, or none that is theirs to end.
    #[error("there is no session `{0}`; look at the list of sessions")]
    NoSuchSession(String),
    /// A password that is guessed too soon.
    #[error("the password has {0} characters; use {PASSWORD_CHARACTERS_MIN} or more")]
    PasswordTooShort(usize),
    /// A password that no login would take.
    #[error("the password is longer than {PASSWORD_BYTES_MAX} bytes; choose a shorter one")]
    PasswordTooLong,
    /// Nobody locks themselves out.
    #[error("`{0}` is you, and nobody changes their own role or state; another owner can")]
    Yourself(Email),
    /// No approval has an id that starts so.
    #[error("there is no approval `{0}`; look at the list of held calls")]
    NoSuchApproval(String),
    /// There is no such call in the trail, or several.
    #[error("no one call starts with `{0}`; look at the list of calls")]
    NoSuchCall(String),
    /// Several approvals have ids that start so.
    #[error("`{start}` is the start of several approvals ({}); give more of it", approval_ids(found))]
    SeveralApprovals {
        /// As it was given.
        start: String,
        /// Their ids, ten at most.
        found: Vec<ApprovalId>,
    },
    /// Its sealed call does not open, or is gone.
    #[error(
        "the sealed call of {0} does not open, and nobody can decide on what they cannot see; bring the store back from a backup, or let it expire"
    )]
    CallUnseen(ApprovalId),
    /// A viewer reads only.
    #[error("`{0}` is a viewer and may not decide; ask an approver or an owner")]
    MayNotDecide(Email),
    /// It was decided, or reached its end in another way; the text says how, when and by whom.
    #[error("{0}; nothing was changed")]
    NotDecidable(String),
    /// The decision was about something else than what is held.
    #[error("the digest is not that of {0}; look at it again, then decide")]
    OtherDigest(ApprovalId),
    /// A quorum is of different people.
    #[error("`{operator}` has approved {id} already; another operator must approve it too")]
    ApprovedBefore {
        /// Which approval.
        id: ApprovalId,
        /// Who.
        operator: Email,
    },
    /// A denial without a word helps nobody.
    #[error("there is no reason; say in a few words why, the agent is told")]
    NoReason,
    /// A reason that nobody reads.
    #[error("the reason has {0} characters; use {REASON_CHARACTERS_MAX} or fewer")]
    ReasonTooLong(usize),
    /// Only MCP services have tools.
    #[error("service `{0}` is an HTTP API and has no tools; look at the service")]
    NoTools(ServiceName),
    /// No list has shown such a tool.
    #[error("no list of `{service}` has shown a tool `{name}`; {}look at the list of its tools", hint(near.as_deref()))]
    NoSuchTool {
        /// The service.
        service: ServiceName,
        /// What was asked for, escaped.
        name: String,
        /// A tool of nearly that name, escaped.
        near: Option<String>,
    },
    /// Nobody accepts what they cannot read.
    #[error(
        "the definition of `{0}` is too large to be kept, so nobody can look at it; ask whoever runs the server to make it smaller"
    )]
    ToolUnread(String),
    /// Somebody else changed the same thing in between.
    #[error("somebody else changed {0} at the same moment; look again, then repeat")]
    ChangedMeanwhile(String),
    /// Hashing failed.
    #[error(transparent)]
    Hash(#[from] HashFault),
    /// The key ring, or what lies sealed under it, does not open with this vault key.
    #[error(
        "the vault key is not the one this home was made with, or its key ring was altered: it does not open; bring back the right copy"
    )]
    WrongVaultKey,
    /// A sealed value does not open though the key ring does.
    #[error(
        "a sealed value does not open ({0}); it was altered: set it again, or bring it back from a backup"
    )]
    SealedValue(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who has to do something about an [`AdminError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// Whoever asked, with another wish.
    Wish,
    /// Whoever asked: there is nothing of that name.
    Nothing,
    /// Nobody: it does not agree with how things are by now.
    State,
    /// Somebody with a higher role.
    Role,
    /// Whoever asked: they have not proven who they are.
    Credentials,
    /// Whoever asked, after so many seconds.
    Tries(u64),
    /// Whoever runs the install.
    Us,
}

impl AdminError {
    /// Who has to do something about it.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match self {
            Self::NoSuchServiceInScope { .. }
            | Self::BadSlot(_)
            | Self::BadValue(_)
            | Self::ExpiresInThePast
            | Self::PasswordTooShort(_)
            | Self::PasswordTooLong
            | Self::NoReason
            | Self::ReasonTooLong(_) => Blame::Wish,
            Self::NoSuchService { .. }
            | Self::NoTools(_)
            | Self::NoSuchTool { .. }
            | Self::NoSuchCredential { .. }
            | Self::NoValue { .. }
            | Self::NoSuchAgent { .. }
            | Self::NoSuchKey(_)
            | Self::NoSuchOperator { .. }
            | Self::NoSuchToken(_)
            | Self::NoSuchSession(_)
            | Self::NoSuchApproval(_)
            | Self::NoSuchCall(_) => Blame::Nothing,
            Self::AgentDeleted(_)
            | Self::AgentExists(_)
            | Self::ServiceExists(_)
            | Self::OtherRole { .. }
            | Self::OtherScope { .. }
            | Self::SeveralKeys { .. }
            | Self::OperatorExists(_)
            | Self::LastOwner(_)
            | Self::Yourself(_)
            | Self::SeveralTokens { .. }
            | Self::SeveralApprovals { .. }
            | Self::NotDecidable(_)
            | Self::OtherDigest(_)
            | Self::ApprovedBefore { .. }
            | Self::CallUnseen(_)
            | Self::ToolUnread(_)
            | Self::ChangedMeanwhile(_) => Blame::State,
            Self::MayNotDecide(_) => Blame::Role,
            Self::WrongCredentials
            | Self::OperatorDisabled(_)
            | Self::UnknownToken(_)
            | Self::SessionEnded
            | Self::TokenRevoked { .. }
            | Self::TokenExpired { .. } => Blame::Credentials,
            Self::WrongPasswords { left, .. } => Blame::Tries(seconds_up(*left)),
            Self::Hash(_) | Self::WrongVaultKey | Self::SealedValue(_) | Self::Store(_) => Blame::Us,
        }
    }
}

impl From<Unopened> for AdminError {
    fn from(_: Unopened) -> Self {
        Self::WrongVaultKey
    }
}

/// Whole seconds, so that whoever waits them has waited long enough.
fn seconds_up(left: Duration) -> u64 {
    left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0))
}

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default()
}

fn ids(found: &[KeyId]) -> String {
    found.iter().map(KeyId::as_str).collect::<Vec<_>>().join(", ")
}

fn approval_ids(found: &[ApprovalId]) -> String {
    found.iter().map(ApprovalId::as_str).collect::<Vec<_>>().join(", ")
}
