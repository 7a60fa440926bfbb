//! Keys: made, listed, revoked. A key is shown once, to the person who makes it.

use std::{collections::BTreeSet, fmt};

use domain::{
    agent::{Agent, AgentState, Key},
    key::{self, KeyId, PresentedKey},
    names::{AgentName, RoleName, ServiceName},
};
use jiff::Timestamp;
use serde_json::json;
use store::{Change, FoundKey};
use vault::{Pepper, random};

use crate::{Actor, Admin, AdminError, event, scope_text};

/// The role of a new agent for which none is named.
const ROLE_DEFAULT: &str = "readonly";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Whose key; the agent is made when there is none of that name.
    pub agent: AgentName,
    /// The agent's role; for an existing agent only the one it has.
    pub role: Option<RoleName>,
    /// The agent's scope; for an existing agent only the one it has.
    pub scope: Option<BTreeSet<ServiceName>>,
    /// The key stops then; `None`: never.
    pub expires_at: Option<Timestamp>,
}

/// What was made. The key is in here and nowhere else.
pub struct CreatedKey {
    /// The agent as it is now.
    pub agent: Agent,
    /// Whether the agent was made too.
    pub agent_made: bool,
    /// The key, to be shown once.
    pub key: PresentedKey,
    /// Its public part.
    pub key_id: KeyId,
    /// When it stops.
    pub expires_at: Option<Timestamp>,
    /// What whoever asked should know.
    pub warnings: Vec<Warning>,
}

/// Something about a new key that its maker may not have meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// No role was named.
    RoleDefaulted,
    /// The agent reaches nothing yet.
    EmptyScope(AgentName),
    /// The agent may not call now.
    AgentDisabled(AgentName),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoleDefaulted => write!(f, "no --role: role `{ROLE_DEFAULT}`"),
            Self::EmptyScope(agent) => {
                write!(
                    f,
                    "its scope is empty, it reaches no service; to change it: toolgate agents update {agent} --scope a,b"
                )
            }
            Self::AgentDisabled(agent) => {
                write!(f, "the agent is disabled; to let it call: toolgate agents enable {agent}")
            }
        }
    }
}

/// A key in a list, with what its agent may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyView {
    /// The key, as it is stored.
    pub key: Key,
    /// Its agent's role.
    pub role: RoleName,
    /// Its agent's state.
    pub agent_state: AgentState,
}

/// What became of a key that was to be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The key, as it was before.
    pub key: Key,
    /// It was revoked before, at this moment; nothing was changed.
    pub already: Option<Timestamp>,
}

impl Admin {
    /// Makes a key, and its agent when there is none of that name (contract §2).
    ///
    /// # Errors
    /// [`AdminError`]: another role or scope than the agent has, an unknown service, a deleted agent.
    pub async fn create_key(
        &self,
        actor: &Actor,
        now: Timestamp,
        pepper: &Pepper,
        new: NewKey,
    ) -> Result<CreatedKey, AdminError> {
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(AdminError::ExpiresInThePast);
        }
        let mut warnings = Vec::new();
        let (agent, agent_made) = match self.store.agent(&new.agent).await? {
            Some(agent) => (same_agent(agent, &new)?, false),
            None => (self.make_agent(actor, now, &new, &mut warnings).await?, true),
        };
        if agent.scope.is_empty() {
            warnings.push(Warning::EmptyScope(agent.name.clone()));
        }
        if agent.state == AgentState::Disabled {
            warnings.push(Warning::AgentDisabled(agent.name.clone()));
        }
        let key = key::mint(random::bytes(), random::bytes());
        let stored = Key {
            id: key.id(),
            agent: agent.name.clone(),
            mac: pepper.mac(&key),
            created_at: now,
            expires_at: new.expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        let mut event = event(
            actor,
            now,
            "keys.create",
            &json!({ "expires_at": new.expires_at.map(|end| end.to_string()) }),
        );
        event.agent = Some(agent.name.clone());
        event.key_id = Some(stored.id);
        event.role = Some(agent.role.clone());
        if !self.write(Change::CreateKey(stored), event).await? {
            return Err(AdminError::ChangedMeanwhile(format!("agent `{}`", agent.name)));
        }
        Ok(CreatedKey { agent, agent_made, key_id: key.id(), key, expires_at: new.expires_at, warnings })
    }

    /// All keys by agent and id, whatever their state. They hold no secret.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn list_keys(&self) -> Result<Vec<KeyView>, AdminError> {
        let (agents, keys) = self.store.load_identities().await?;
        let mut views: Vec<KeyView> = keys
            .into_iter()
            .filter_map(|key| {
                let agent = agents.iter().find(|agent| agent.name == key.agent)?;
                Some(KeyView { role: agent.role.clone(), agent_state: agent.state, key })
            })
            .collect();
        views.sort_by(|a, b| (&a.key.agent, a.key.id).cmp(&(&b.key.agent, b.key.id)));
        Ok(views)
    }

    /// Revokes the key whose id starts with `start`; running gateways refuse it within a second. The whole
    /// key, or its shown beginning `agt_…`, will do too.
    ///
    /// # Errors
    /// [`AdminError::NoSuchKey`], [`AdminError::SeveralKeys`].
    pub async fn revoke_key(
        &self,
        actor: &Actor,
        now: Timestamp,
        start: &str,
    ) -> Result<Revoked, AdminError> {
        let bare = start.strip_prefix("agt_").unwrap_or(start);
        // Only the public part may come back in an error.
        let id: String = bare.chars().take(8).flat_map(char::escape_default).collect();
        let key = match self.store.find_key(&id).await? {
            // Nothing is the start of every id, and of the only one: a script's empty variable must revoke none.
            _ if id.is_empty() => return Err(AdminError::NoSuchKey(id)),
            FoundKey::One(key) => key,
            FoundKey::None => return Err(AdminError::NoSuchKey(id)),
            FoundKey::Several(found) => return Err(AdminError::SeveralKeys { start: id, found }),
        };
        if key.revoked_at.is_some() {
            return Ok(Revoked { already: key.revoked_at, key });
        }
        let mut event = event(actor, now, "keys.revoke", &json!({}));
        event.agent = Some(key.agent.clone());
        event.key_id = Some(key.id);
        let done = self.write(Change::RevokeKey { id: key.id, at: now }, event).await?;
        Ok(Revoked { already: (!done).then_some(now), key })
    }

    async fn make_agent(
        &self,
        actor: &Actor,
        now: Timestamp,
        new: &NewKey,
        warnings: &mut Vec<Warning>,
    ) -> Result<Agent, AdminError> {
        let scope = new.scope.clone().unwrap_or_default();
        let role = match &new.role {
            Some(role) => role.clone(),
            None => {
                warnings.push(Warning::RoleDefaulted);
                RoleName::parse(ROLE_DEFAULT)
                    .map_err(|_| AdminError::ChangedMeanwhile("the role".to_owned()))?
            }
        };
        self.create_agent(actor, now, new.agent.clone(), role, scope).await
    }
}

/// For an existing agent another role or scope is not a wish about a key.
fn same_agent(agent: Agent, new: &NewKey) -> Result<Agent, AdminError> {
    if agent.state == AgentState::Deleted {
        return Err(AdminError::AgentDeleted(agent.name));
    }
    if let Some(asked) = new.role.as_ref().filter(|role| **role != agent.role) {
        let (has, asked) = (agent.role.to_string(), asked.to_string());
        return Err(AdminError::OtherRole { agent: agent.name, has, asked });
    }
    if let Some(asked) = new.scope.as_ref().filter(|scope| **scope != agent.scope) {
        let (has, asked) = (scope_text(&agent.scope), scope_text(asked));
        return Err(AdminError::OtherScope { agent: agent.name, has, asked });
    }
    Ok(agent)
}
