//! What trusted services' tools say about themselves. It is learned, not decided: no event tells of it, and what is lost
//! is learned anew.

use std::collections::{BTreeMap, HashMap};

use domain::{
    names::ServiceName,
    risk::{KeptHints, ToolHint},
};

use crate::sql::{self, Connection};
use crate::{Store, StoreError};

impl Store {
    /// Every service's tools.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn tool_hints(&self) -> Result<BTreeMap<ServiceName, KeptHints>, StoreError> {
        let select = "SELECT service, upstream, tool, hint FROM tool_hints ORDER BY service, tool";
        let mut kept: BTreeMap<ServiceName, KeptHints> = BTreeMap::new();
        for row in sql::query(select).fetch_all(&self.readers).await? {
            let damaged = || StoreError::damaged("a tool's hint");
            let service = ServiceName::parse(row.try_get(0)?).map_err(|_| damaged())?;
            let upstream = row.try_get::<&[u8]>(1)?.try_into().map_err(|_| damaged())?;
            let hint = ToolHint::parse(row.try_get(3)?).ok_or_else(damaged)?;
            let of = kept.entry(service).or_insert_with(|| KeptHints { upstream, tools: HashMap::new() });
            of.tools.insert(row.try_get(2)?, hint);
        }
        Ok(kept)
    }

    /// Keeps these tools of a service instead of those that were kept before; nothing for a service that is not there.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer; nothing is kept then.
    pub async fn keep_tool_hints(&self, service: &ServiceName, hints: &KeptHints) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        forget(&mut transaction, service).await?;
        let insert = "INSERT INTO tool_hints (service, upstream, tool, hint) \
                      SELECT name, $2, $3, $4 FROM services WHERE name = $1";
        for (tool, hint) in &hints.tools {
            let query = sql::query(insert).bind(service.as_str()).bind(hints.upstream.as_slice());
            query.bind(tool).bind(hint.as_str()).execute(&mut transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// Forgets a service's tools.
pub async fn forget(connection: &mut Connection<'_>, service: &ServiceName) -> Result<(), sqlx::Error> {
    let delete = "DELETE FROM tool_hints WHERE service = $1";
    sql::query(delete).bind(service.as_str()).execute(connection).await.map(|_| ())
}
