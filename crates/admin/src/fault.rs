//! Why a change was not made, in sentences that end in what to do.

use domain::{
    credential::{BadSlot, BadValue},
    key::KeyId,
    names::{AgentName, CredentialName, ServiceName},
    operator::Email,
};
use store::StoreError;
use thiserror::Error;
use vault::{HashFault, Unopened};

use crate::operators::PASSWORD_CHARACTERS_MIN;

/// Why an operator's wish was not carried out. Nothing was changed.
#[derive(Debug, Error)]
pub enum AdminError {
    /// A scope names a service that is not there.
    #[error("there is no service `{name}` (--scope); {}all: toolgate services list", hint(near.as_deref()))]
    NoSuchServiceInScope {
        /// As it was named.
        name: String,
        /// The service that it is close to.
        near: Option<String>,
    },
    /// There is no such service.
    #[error("there is no service `{name}`; {}all: toolgate services list", hint(near.as_deref()))]
    NoSuchService {
        /// As it was named.
        name: String,
        /// The service that it is close to.
        near: Option<String>,
    },
    /// The service declares no credential of that name, and nobody said of which kind a new one is.
    #[error("service `{service}` has no credential `{name}`; {}to add it, say its --kind", hint(near.as_deref()))]
    NoSuchCredential {
        /// Whose.
        service: ServiceName,
        /// As it was named.
        name: CredentialName,
        /// The credential that it is close to.
        near: Option<String>,
    },
    /// There is nothing to remove.
    #[error("credential `{name}` of `{service}` has no value; all: toolgate credentials list {service}")]
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
    #[error("there is no agent `{name}`; {}all: toolgate agents list", hint(near.as_deref()))]
    NoSuchAgent {
        /// As it was named.
        name: AgentName,
        /// The agent that it is close to.
        near: Option<String>,
    },
    /// The agent was deleted.
    #[error("agent `{0}` was deleted, and its name is not given again; choose another name")]
    AgentDeleted(AgentName),
    /// The agent exists with another role.
    #[error(
        "agent `{agent}` has role `{has}`, not `{asked}`; to change it: toolgate agents update {agent} --role {asked}"
    )]
    OtherRole {
        /// Which agent.
        agent: AgentName,
        /// Its role.
        has: String,
        /// The role that was asked for.
        asked: String,
    },
    /// The agent exists with another scope.
    #[error(
        "agent `{agent}` has scope `{has}`, not `{asked}`; to change it: toolgate agents update {agent} --scope {asked}"
    )]
    OtherScope {
        /// Which agent.
        agent: AgentName,
        /// Its scope.
        has: String,
        /// The scope that was asked for.
        asked: String,
    },
    /// A key that would be dead from the start.
    #[error("the key would expire before it is made (--expires); give a later time")]
    ExpiresInThePast,
    /// No key has an id that starts so.
    #[error("there is no key `{0}`; all: toolgate keys list")]
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
    /// A password that is guessed too soon.
    #[error("the password has {0} characters; use {PASSWORD_CHARACTERS_MIN} or more")]
    PasswordTooShort(usize),
    /// Somebody else changed the same thing in between.
    #[error("somebody else changed {0} at the same moment; look, and repeat the command")]
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

impl From<Unopened> for AdminError {
    fn from(_: Unopened) -> Self {
        Self::WrongVaultKey
    }
}

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default()
}

fn ids(found: &[KeyId]) -> String {
    found.iter().map(KeyId::as_str).collect::<Vec<_>>().join(", ")
}
