//! The kill switch: one row while it is on.

use domain::kill::{Kill, KillReason};

use crate::sql::{self, Connection};
use crate::{
    Store, StoreError,
    row::{micros, time},
};

impl Store {
    /// The kill switch; `None` while it is off.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or the row is damaged.
    pub async fn kill(&self) -> Result<Option<Kill>, StoreError> {
        kill(&mut self.readers.acquire().await?).await
    }
}

/// What cannot be read is an error, never "off".
pub async fn kill(connection: &mut Connection<'_>) -> Result<Option<Kill>, StoreError> {
    let select = "SELECT since, reason, set_by FROM kill_switch";
    let Some(row) = sql::query(select).fetch_optional(connection).await? else { return Ok(None) };
    match (time(row.try_get(0)?), KillReason::parse(row.try_get(1)?)) {
        (Some(since), Ok(reason)) => Ok(Some(Kill { since, reason, by: row.try_get(2)? })),
        _ => Err(StoreError::damaged("a kill switch")),
    }
}

/// Turns it on; whether it was off.
pub async fn turn_on(connection: &mut Connection<'_>, kill: &Kill) -> Result<bool, StoreError> {
    let insert = "INSERT INTO kill_switch (only_one, since, reason, set_by) VALUES (1, $1, $2, $3) \
                  ON CONFLICT DO NOTHING";
    let query = sql::query(insert).bind(micros(kill.since)).bind(kill.reason.as_str());
    Ok(query.bind(kill.by.as_str()).execute(connection).await? > 0)
}

/// Turns it off; whether it was the one that is lifted.
pub async fn turn_off(connection: &mut Connection<'_>, lifted: &Kill) -> Result<bool, StoreError> {
    let delete = "DELETE FROM kill_switch WHERE since = $1 AND reason = $2 AND set_by = $3";
    let query = sql::query(delete).bind(micros(lifted.since)).bind(lifted.reason.as_str());
    Ok(query.bind(lifted.by.as_str()).execute(connection).await? > 0)
}
