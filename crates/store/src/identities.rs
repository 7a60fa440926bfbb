//! Agents and keys, read.

use domain::{
    agent::{Agent, AgentState, Key},
    key::KeyId,
    names::{AgentName, RoleName, ServiceName},
};
use jiff::Timestamp;

use crate::sql::{self, Connection, Row};
use crate::{
    Store, StoreError,
    row::{micros, time},
    verifier,
};

/// Whom a start of a key's id names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundKey {
    /// Nobody.
    None,
    /// This key.
    One(Key),
    /// Several; their ids.
    Several(Vec<KeyId>),
}

impl Store {
    /// All agents, deleted ones too, and all keys, revoked and expired ones too; both by name or id.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn load_identities(&self) -> Result<(Vec<Agent>, Vec<Key>), StoreError> {
        let mut transaction = self.readers.begin().await?;
        Ok((agents(&mut transaction).await?, keys(&mut transaction).await?))
    }

    /// One agent, in whatever state it is.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or the row is damaged.
    pub async fn agent(&self, name: &AgentName) -> Result<Option<Agent>, StoreError> {
        let select = "SELECT name, role, scope, state, created_at FROM agents WHERE name = $1";
        let row = sql::query(select).bind(name.as_str()).fetch_optional(&self.readers).await?;
        row.as_ref().map(agent).transpose()
    }

    /// The key whose id starts with `start`; eight characters are the whole id.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn find_key(&self, start: &str) -> Result<FoundKey, StoreError> {
        // `~` comes after every character of an id.
        let select = "SELECT id, agent, verifier, created_at, expires_at, revoked_at, last_used_at FROM keys \
                      WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 10";
        let rows = sql::query(select).bind(start).bind(format!("{start}~")).fetch_all(&self.readers).await?;
        let mut found = rows.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        Ok(match (found.len(), found.pop()) {
            (0, _) | (_, None) => FoundKey::None,
            (1, Some(key)) => FoundKey::One(key),
            (_, Some(last)) => FoundKey::Several(found.iter().chain([&last]).map(|key| key.id).collect()),
        })
    }

    /// Notes when keys were last used. It is no event and moves no revision; later times win.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer; nothing is noted then.
    pub async fn note_key_use(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        let update =
            "UPDATE keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
        for (id, at) in uses {
            sql::query(update).bind(id.as_str()).bind(micros(*at)).execute(&mut transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}

pub async fn agents(connection: &mut Connection<'_>) -> Result<Vec<Agent>, StoreError> {
    let select = "SELECT name, role, scope, state, created_at FROM agents ORDER BY name";
    sql::query(select).fetch_all(connection).await?.iter().map(agent).collect()
}

pub async fn keys(connection: &mut Connection<'_>) -> Result<Vec<Key>, StoreError> {
    let select =
        "SELECT id, agent, verifier, created_at, expires_at, revoked_at, last_used_at FROM keys ORDER BY id";
    sql::query(select).fetch_all(connection).await?.iter().map(key).collect()
}

/// The word for a state, as it is stored.
pub fn state_word(state: AgentState) -> &'static str {
    match state {
        AgentState::Active => "active",
        AgentState::Disabled => "disabled",
        AgentState::Deleted => "deleted",
    }
}

fn agent(row: &Row) -> Result<Agent, StoreError> {
    let name: &str = row.try_get(0)?;
    let read = || -> Result<Option<Agent>, sqlx::Error> {
        let state = match row.try_get(3)? {
            "active" => AgentState::Active,
            "disabled" => AgentState::Disabled,
            "deleted" => AgentState::Deleted,
            _ => return Ok(None),
        };
        let scope: Result<_, _> =
            row.try_get::<&str>(2)?.split_whitespace().map(ServiceName::parse).collect();
        let (Ok(name), Ok(role), Ok(scope), Some(created_at)) =
            (AgentName::parse(name), RoleName::parse(row.try_get(1)?), scope, time(row.try_get(4)?))
        else {
            return Ok(None);
        };
        Ok(Some(Agent { name, role, scope, state, created_at }))
    };
    read()?.ok_or_else(|| StoreError::damaged(format!("agent `{}`", name.escape_debug())))
}

fn key(row: &Row) -> Result<Key, StoreError> {
    let id: &str = row.try_get(0)?;
    let optional = |index: usize| -> Result<Option<Timestamp>, sqlx::Error> {
        Ok(row.try_get::<Option<i64>>(index)?.and_then(time))
    };
    let (Some(parsed), Ok(agent), Some(mac), Some(created_at)) = (
        KeyId::parse(id),
        AgentName::parse(row.try_get(1)?),
        verifier::read(row.try_get(2)?),
        time(row.try_get(3)?),
    ) else {
        return Err(StoreError::damaged(format!("key `{}`", id.escape_debug())));
    };
    let (expires_at, revoked_at, last_used_at) = (optional(4)?, optional(5)?, optional(6)?);
    Ok(Key { id: parsed, agent, mac, created_at, expires_at, revoked_at, last_used_at })
}
