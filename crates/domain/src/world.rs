//! The world: one consistent snapshot of everything a decision reads. Immutable; a change makes a new one.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    agent::{Agent, AgentState, Key},
    clock::Now,
    credential::SealedCredentials,
    key::KeyMac,
    kill::Kill,
    names::{AgentName, ServiceName},
    policy::Policy,
    service::Service,
    stop::{KeyFault, Refusal},
    tools::Catalogue,
};

/// A counter that moves with every change of keys, agents, services or the kill switch in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Revision(pub i64);

/// Keys, agents, services, policy and kill switch as they were at one moment.
#[derive(Debug)]
pub struct World {
    /// The store's revision that this snapshot shows.
    pub revision: Revision,
    /// When the store last confirmed that revision (monotonic).
    pub confirmed_at: Duration,
    /// The policy in force.
    pub policy: Arc<Policy>,
    /// Services by name.
    pub services: Arc<HashMap<ServiceName, Arc<Service>>>,
    /// What is known of their tools.
    pub tools: Arc<Catalogue>,
    /// Agents by name.
    pub agents: Arc<HashMap<AgentName, Arc<Agent>>>,
    /// The services' credentials, sealed.
    pub credentials: Arc<SealedCredentials>,
    /// Keys by what they hash to; revoked and expired ones too, so that the trail can tell.
    pub keys: Arc<HashMap<KeyMac, Key>>,
    /// The kill switch, while it is on.
    pub kill: Option<Kill>,
}

impl World {
    /// Whether the store confirmed this snapshot within `lease`.
    #[must_use]
    pub fn is_fresh(&self, now: Now, lease: Duration) -> bool {
        now.monotonic.saturating_sub(self.confirmed_at) <= lease
    }

    /// Whether anything may be forwarded at all.
    ///
    /// # Errors
    /// [`Refusal::Stopped`] while the kill switch is on.
    pub fn check_kill_switch(&self) -> Result<(), Refusal> {
        if self.kill.is_some() { Err(Refusal::Stopped) } else { Ok(()) }
    }

    /// Who holds the key with this MAC, if it is good now.
    ///
    /// # Errors
    /// The [`KeyFault`] says why not. The agent is never told which; the trail is.
    pub fn holder(&self, mac: &KeyMac, now: Now) -> Result<(&Key, &Arc<Agent>), KeyFault> {
        let key = self.keys.get(mac).ok_or(KeyFault::Unknown)?;
        if key.revoked_at.is_some() {
            return Err(KeyFault::Revoked(key.id));
        }
        if key.expires_at.is_some_and(|end| end <= now.wall) {
            return Err(KeyFault::Expired(key.id));
        }
        self.active(&key.agent).map(|agent| (key, agent)).ok_or(KeyFault::AgentDisabled(key.id))
    }

    /// The agent of this name, if it may call.
    #[must_use]
    pub fn active(&self, name: &AgentName) -> Option<&Arc<Agent>> {
        self.agents.get(name).filter(|agent| agent.state == AgentState::Active)
    }
}
