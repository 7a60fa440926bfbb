//! What only one of the gateways that share a store may do at a time: a lock on the server that lives as long as a
//! connection.

use std::time::Duration;

use sqlx::{Postgres, pool::PoolConnection};

use crate::{
    Store, StoreError,
    sql::{Pool, in_time},
};

/// How often somebody who waits asks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often at most: for half a minute.
const LOOKS_MAX: u32 = 300;

/// A gateway's turn. It ends when this is dropped, or the gateway dies.
pub struct Turn {
    /// The connection with the lock; on a file there is one gateway, and it is always its turn.
    _holding: Option<PoolConnection<Postgres>>,
}

impl Store {
    /// Waits until it is this gateway's turn to do what `name` names, for half a minute at most.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer, or another gateway takes longer.
    pub async fn turn(&self, name: &str) -> Result<Turn, StoreError> {
        let Pool::Postgres(pool) = &self.readers else { return Ok(Turn { _holding: None }) };
        let mut connection = pool.acquire().await?;
        // The lock belongs to the session: nobody else may be given it.
        connection.close_on_drop();
        for _ in 0..LOOKS_MAX {
            let lock = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
            let taken = sqlx::query_scalar::<_, bool>(lock).bind(name).fetch_one(&mut *connection);
            if in_time(taken).await? {
                return Ok(Turn { _holding: Some(connection) });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(sqlx::Error::PoolTimedOut.into())
    }
}
