//! Agents: listed, shown, updated, disabled, enabled, deleted.

use std::collections::BTreeSet;

use domain::{
    agent::{Agent, AgentState, Key},
    names::{AgentName, RoleName, ServiceName},
    yaml::did_you_mean,
};
use jiff::Timestamp;
use serde_json::json;
use store::Change;

use crate::{Actor, Admin, AdminError, event};

/// What is to be another.
#[derive(Debug, Clone, Default)]
pub struct AgentUpdate {
    /// Another role.
    pub role: Option<RoleName>,
    /// Another scope; it takes the place of the old one.
    pub scope: Option<BTreeSet<ServiceName>>,
    /// The agent as whoever asks has seen it; another one by now is left as it is. `None`: whatever it is.
    pub seen: Option<Agent>,
}

/// An agent and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentView {
    /// The agent.
    pub agent: Agent,
    /// All its keys, in every state.
    pub keys: Vec<Key>,
}

impl Admin {
    /// All agents by name, deleted ones too.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn list_agents(&self) -> Result<Vec<AgentView>, AdminError> {
        let (agents, keys) = self.store.load_identities().await?;
        let view = |agent: Agent| {
            let keys = keys.iter().filter(|key| key.agent == agent.name).cloned().collect();
            AgentView { agent, keys }
        };
        Ok(agents.into_iter().map(view).collect())
    }

    /// One agent with its keys.
    ///
    /// # Errors
    /// [`AdminError::NoSuchAgent`].
    pub async fn show_agent(&self, name: &AgentName) -> Result<AgentView, AdminError> {
        let mut all = self.list_agents().await?;
        match all.iter().position(|view| view.agent.name == *name) {
            Some(found) => Ok(all.swap_remove(found)),
            None => Err(no_such(name, all.iter().map(|view| &view.agent))),
        }
    }

    /// Makes an agent without a key.
    ///
    /// # Errors
    /// [`AdminError`]: there is or was one of that name, an unknown service.
    pub async fn create_agent(
        &self,
        actor: &Actor,
        now: Timestamp,
        name: AgentName,
        role: RoleName,
        scope: BTreeSet<ServiceName>,
    ) -> Result<Agent, AdminError> {
        self.check_scope(&scope).await?;
        match self.store.agent(&name).await? {
            Some(agent) if agent.state == AgentState::Deleted => {
                return Err(AdminError::AgentDeleted(agent.name));
            }
            Some(agent) => return Err(AdminError::AgentExists(agent.name)),
            None => {}
        }
        let agent = Agent { name, role, scope, state: AgentState::Active, created_at: now };
        let mut event = event(actor, now, "agents.create", &json!({ "scope": agent.scope }));
        event.agent = Some(agent.name.clone());
        event.role = Some(agent.role.clone());
        if !self.write(Change::CreateAgent(agent.clone()), event).await? {
            return Err(AdminError::ChangedMeanwhile(format!("agent `{}`", agent.name)));
        }
        Ok(agent)
    }

    /// Gives an agent another role or scope; returns it before and after. Where nothing differs, nothing is
    /// written.
    ///
    /// # Errors
    /// [`AdminError`]: no such agent, deleted, an unknown service.
    pub async fn update_agent(
        &self,
        actor: &Actor,
        now: Timestamp,
        name: &AgentName,
        update: AgentUpdate,
    ) -> Result<(Agent, Agent), AdminError> {
        let before = self.living(name).await?;
        if update.seen.is_some_and(|seen| seen != before) {
            return Err(AdminError::ChangedMeanwhile(format!("agent `{name}`")));
        }
        let after = Agent {
            role: update.role.unwrap_or_else(|| before.role.clone()),
            scope: update.scope.unwrap_or_else(|| before.scope.clone()),
            ..before.clone()
        };
        // What the agent has already stays allowed, even when its service was removed meanwhile.
        self.check_scope(&after.scope.difference(&before.scope).cloned().collect()).await?;
        if after == before {
            return Ok((before, after));
        }
        let args = json!({
            "from": { "role": before.role, "scope": before.scope },
            "to": { "role": after.role, "scope": after.scope },
        });
        let mut event = event(actor, now, "agents.update", &args);
        event.agent = Some(name.clone());
        event.role = Some(after.role.clone());
        let change = Change::UpdateAgent {
            name: name.clone(),
            from: (before.role.clone(), before.scope.clone()),
            role: after.role.clone(),
            scope: after.scope.clone(),
        };
        if !self.write(change, event).await? {
            return Err(AdminError::ChangedMeanwhile(format!("agent `{name}`")));
        }
        Ok((before, after))
    }

    /// Stops an agent until it is enabled again, lets a disabled one call again, or removes one for ever: its keys stop,
    /// its history stays, its name is not given again. Whether anything changed. `seen`: the agent as whoever asks has
    /// seen it; another one by now is left as it is.
    ///
    /// # Errors
    /// [`AdminError`]: no such agent, or one that was deleted and is to live again; [`AdminError::ChangedMeanwhile`].
    pub async fn set_agent_state(
        &self,
        actor: &Actor,
        now: Timestamp,
        name: &AgentName,
        state: AgentState,
        seen: Option<Agent>,
    ) -> Result<bool, AdminError> {
        let before = match self.living(name).await {
            // Nobody is better served by a delete that fails because there is nothing left to delete.
            Err(AdminError::AgentDeleted(_)) if state == AgentState::Deleted && seen.is_none() => {
                return Ok(false);
            }
            other => other?,
        };
        if seen.as_ref().is_some_and(|seen| *seen != before) {
            return Err(AdminError::ChangedMeanwhile(format!("agent `{name}`")));
        }
        if before.state == state {
            return Ok(false);
        }
        let action = match state {
            AgentState::Active => "agents.enable",
            AgentState::Disabled => "agents.disable",
            AgentState::Deleted => "agents.delete",
        };
        let mut event = event(actor, now, action, &json!({}));
        event.agent = Some(name.clone());
        let must_hold = seen.is_some();
        let seen = seen.map(|seen| (seen.role, seen.scope, seen.state));
        let done = self.write(Change::SetAgentState { name: name.clone(), state, seen }, event).await?;
        if must_hold && !done {
            return Err(AdminError::ChangedMeanwhile(format!("agent `{name}`")));
        }
        Ok(done)
    }

    /// An agent that exists and is not deleted.
    async fn living(&self, name: &AgentName) -> Result<Agent, AdminError> {
        match self.store.agent(name).await? {
            Some(agent) if agent.state == AgentState::Deleted => Err(AdminError::AgentDeleted(agent.name)),
            Some(agent) => Ok(agent),
            None => Err(no_such(name, &self.store.load_identities().await?.0)),
        }
    }
}

fn no_such<'a>(name: &AgentName, all: impl IntoIterator<Item = &'a Agent>) -> AdminError {
    let living = all.into_iter().filter(|agent| agent.state != AgentState::Deleted);
    let near = did_you_mean(name.as_str(), living.map(|agent| agent.name.as_str())).map(str::to_owned);
    AdminError::NoSuchAgent { name: name.clone(), near }
}
