//! Agents and the keys they hold.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    key::{KeyId, KeyMac},
    names::{AgentName, RoleName, ServiceName},
};

/// A non-human caller: one role, and the services in its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its name, unique for ever: a deleted agent's name is not given again.
    pub name: AgentName,
    /// The role that `policy.yaml` grants to it. A role that the policy does not define has no rights.
    pub role: RoleName,
    /// The services it may reach at all.
    pub scope: BTreeSet<ServiceName>,
    /// Disabled and deleted agents are refused like a bad key.
    pub state: AgentState,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Whether an agent may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentState {
    /// It may.
    Active,
    /// An operator has paused it.
    Disabled,
    /// An operator has removed it; the trail keeps its history.
    Deleted,
}

/// One key of an agent, as it is stored: never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The eight characters after `agt_`, shown to people.
    pub id: KeyId,
    /// Whose key it is.
    pub agent: AgentName,
    /// What a presented key must hash to.
    pub mac: KeyMac,
    /// When it was made.
    pub created_at: Timestamp,
    /// The key stops at this moment.
    pub expires_at: Option<Timestamp>,
    /// An operator has stopped it.
    pub revoked_at: Option<Timestamp>,
    /// When a call last came with it; noted within some seconds, off the call's path.
    pub last_used_at: Option<Timestamp>,
}
