//! What is written: a fact for the trail, and the change it tells of, together or not at all.

use std::{collections::BTreeSet, fmt};

use domain::{
    agent::{Agent, AgentState, Key},
    audit::Event,
    idempotency::IdempotencyKey,
    key::KeyId,
    keyring::RingKey,
    names::{AgentName, CallId, CredentialName, RoleName, ServiceName},
    operator::Operator,
    service::Service,
};
use jiff::Timestamp;

use crate::StoreError;

/// One event, and the change it tells of. Both are committed together.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What changes; intents, outcomes and refusals change nothing.
    pub change: Option<Change>,
    /// The fact. It is written only when the change took place.
    pub event: Event,
}

impl From<Event> for Entry {
    fn from(event: Event) -> Self {
        Self { change: None, event }
    }
}

/// A change with its condition. Where the condition does not hold, nothing happens.
#[derive(Debug, Clone)]
pub enum Change {
    /// A new agent. Condition: no agent ever had the name.
    CreateAgent(Agent),
    /// Another role or scope. Condition: the agent exists and is not deleted.
    UpdateAgent {
        /// Which agent.
        name: AgentName,
        /// Its role from now on.
        role: RoleName,
        /// Its scope from now on.
        scope: BTreeSet<ServiceName>,
    },
    /// Disables, enables, deletes. Condition: the agent is in another state, and not deleted.
    SetAgentState {
        /// Which agent.
        name: AgentName,
        /// Its state from now on.
        state: AgentState,
    },
    /// A new key. Condition: its agent exists and is not deleted, its id and its MAC are new.
    CreateKey(Key),
    /// Stops a key. Condition: it exists and is not revoked.
    RevokeKey {
        /// Which key.
        id: KeyId,
        /// Since when.
        at: Timestamp,
    },
    /// Adds or replaces a service. Condition: the stored one has the revision `replaces`; `None`: there is none.
    PutService {
        /// The service from now on.
        service: Service,
        /// The revision that the change was worked out from (see [`crate::StoredService`]).
        replaces: Option<i64>,
        /// The text of its documentation; `None`: it has none.
        documentation: Option<String>,
        /// The credentials whose values stay; those of all others are dropped.
        keeps: BTreeSet<CredentialName>,
    },
    /// Removes a service, the values of its credentials and its documentation. Condition: it exists.
    RemoveService(ServiceName),
    /// Sets a credential's value. Condition: the service is there, has the origin, declares the name; the stored
    /// version is `replaces`, or `None` and there is no value; `version` was never given before.
    PutCredential {
        /// Whose.
        service: ServiceName,
        /// Scheme, host and port that it is sealed for.
        origin: String,
        /// Which one.
        name: CredentialName,
        /// The version that it is sealed under.
        version: u64,
        /// The version that it takes the place of.
        replaces: Option<u64>,
        /// The ciphertext.
        sealed: Vec<u8>,
        /// When.
        at: Timestamp,
    },
    /// Drops a credential's value; its version stays taken. Condition: there is a value.
    RemoveCredential {
        /// Whose.
        service: ServiceName,
        /// Which one.
        name: CredentialName,
    },
    /// A new operator. Condition: the address is new.
    CreateOperator(Operator),
    /// Another key ring: a new term, terms that only open from now on, a new root key. Condition: the stored ring is
    /// `from`. Terms are added or changed, never removed.
    SetKeyring {
        /// The ring that the change was worked out from, oldest term first.
        from: Vec<RingKey>,
        /// The terms that are new or other than before.
        to: Vec<RingKey>,
        /// The salt of the passphrase that the root key is made of, where that is another one.
        salt: Option<[u8; 16]>,
        /// When.
        at: Timestamp,
    },
    /// An agent's idempotency key belongs to this call from now on. Condition: the agent has no such key, or it is
    /// not remembered any more.
    ClaimIdempotency(IdempotencyClaim),
    /// What became of a call that was made under an idempotency key. Condition: the key still belongs to it, and
    /// has no answer yet.
    SettleIdempotency {
        /// Whose key.
        agent: AgentName,
        /// The key.
        key: IdempotencyKey,
        /// The call that claimed it.
        call: CallId,
        /// What is known.
        settled: Settled,
    },
}

/// An idempotency key and the one call that may be made under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyClaim {
    /// Whose key.
    pub agent: AgentName,
    /// The key.
    pub key: IdempotencyKey,
    /// The call digest: another request under the same key is told apart by it.
    pub fingerprint: [u8; 32],
    /// The call.
    pub call: CallId,
    /// Since when.
    pub at: Timestamp,
    /// Until when the key is remembered.
    pub expires_at: Timestamp,
}

/// What is known of a call that was made under an idempotency key.
#[derive(Clone, PartialEq, Eq)]
pub enum Settled {
    /// It was answered: the answer, sealed.
    Answered(Vec<u8>),
    /// It may have happened, and its answer is lost. It is never made again under this key.
    Unknown,
    /// Nothing was sent: the key is as if it had never been used.
    NotSent,
}
impl fmt::Debug for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(sealed) => write!(f, "Answered({} bytes)", sealed.len()),
            Self::Unknown => f.write_str("Unknown"),
            Self::NotSent => f.write_str("NotSent"),
        }
    }
}

/// What became of an entry.
#[derive(Debug)]
pub enum Applied {
    /// It is written, and as durable as the store's [`crate::Sync`] says.
    Done,
    /// The change's condition did not hold; neither change nor event is written.
    ConditionFailed,
    /// This entry cannot be written, though others of its group can.
    Failed(StoreError),
}
