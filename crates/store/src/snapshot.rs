//! Everything that a decision reads, as of one moment.

use domain::{
    agent::{Agent, Key},
    credential::SealedCredentials,
    keyring::RingKey,
    kill::Kill,
    names::ServiceName,
    service::Service,
    world::Revision,
};

use crate::sql::{self, Connection};
use crate::{Store, StoreError, credentials, identities, keyring, kill, schema, services, tools};

/// Keys, agents, services, the key ring and the kill switch of one read transaction.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The revision that it shows.
    pub revision: Revision,
    /// All agents, in every state.
    pub agents: Vec<Agent>,
    /// All keys, in every state.
    pub keys: Vec<Key>,
    /// All services.
    pub services: Vec<Service>,
    /// The revisions of what is known of their tools ([`Store::tools`]).
    pub tool_revisions: Vec<(ServiceName, i64)>,
    /// The values of their credentials, sealed.
    pub credentials: SealedCredentials,
    /// The vault's key ring, oldest term first.
    pub keyring: Vec<RingKey>,
    /// The kill switch, while it is on.
    pub kill: Option<Kill>,
}

impl Store {
    /// Reads everything that a decision needs, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut transaction = self.lookout.begin().await?;
        let revision = revision(&mut transaction).await?;
        let (agents, keys) =
            (identities::agents(&mut transaction).await?, identities::keys(&mut transaction).await?);
        let services =
            services::services(&mut transaction).await?.into_iter().map(|stored| stored.service).collect();
        let tool_revisions = tools::revisions(&mut transaction).await?;
        let credentials = credentials::all(&mut transaction).await?;
        let keyring = keyring::terms(&mut transaction).await?.into_iter().map(|term| term.key).collect();
        let kill = kill::kill(&mut transaction).await?;
        Ok(Snapshot { revision, agents, keys, services, tool_revisions, credentials, keyring, kill })
    }

    /// The revision alone: one row, cheap enough to ask four times a second.
    ///
    /// # Errors
    /// [`StoreError::Newer`] when a newer program has changed the schema meanwhile and this one may not go on; else
    /// whatever the store says.
    pub async fn revision(&self) -> Result<Revision, StoreError> {
        revision(&mut self.lookout.acquire().await?).await
    }
}

async fn revision(connection: &mut Connection<'_>) -> Result<Revision, StoreError> {
    let select = "SELECT number, (SELECT value FROM meta WHERE name = 'oldest') FROM revisions \
                  WHERE area = 'world'";
    let row = sql::query(select).fetch_one(&mut *connection).await?;
    if row.try_get::<Option<&str>>(1)?.is_some_and(|oldest| !schema::is_known(oldest)) {
        schema::gate(connection).await?;
    }
    Ok(Revision(row.try_get(0)?))
}
