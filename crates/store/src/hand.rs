//! The one connection that writes, of either database.

use crate::{
    StoreError, postgres,
    sql::{self, Connection},
    sqlite,
};

/// Tables with work that a gateway may leave unfinished, and which of their rows are so.
const UNFINISHED: [(&str, &str); 2] =
    [("approvals", "status = 'executing'"), ("idempotency", "state = 'in_progress'")];

/// The one connection that writes.
pub enum Hand {
    Sqlite(sqlite::Hand),
    Postgres(postgres::Hand),
}

impl Hand {
    /// The connection, for a statement of its own that changes one row: what the trail does not tell of.
    pub async fn connection(&mut self) -> Result<Connection<'_>, StoreError> {
        Ok(match self {
            Self::Sqlite(hand) => Connection::from(&mut hand.connection),
            Self::Postgres(hand) => hand.connection().await?,
        })
    }

    /// Begins a transaction that locks out other writers.
    pub async fn begin(&mut self) -> Result<Connection<'_>, StoreError> {
        match self {
            Self::Sqlite(hand) => hand.begin().await,
            Self::Postgres(hand) => hand.begin().await,
        }
    }

    /// Which gateway claims with this connection; 0: none.
    pub fn node(&self) -> i64 {
        match self {
            Self::Sqlite(hand) => hand.number(),
            Self::Postgres(hand) => hand.number(),
        }
    }

    /// Makes this the connection of a gateway. What an earlier one of its number left unfinished is nobody's.
    pub async fn serve(&mut self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(hand) => hand.serve()?,
            Self::Postgres(hand) => hand.serve().await?,
        }
        let number = self.node();
        let mut transaction = self.begin().await?;
        for (table, unfinished) in UNFINISHED {
            let update = format!("UPDATE {table} SET node = 0 WHERE {unfinished} AND node = $1");
            sql::assembled(update).bind(number).execute(&mut transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Gives what gateways left unfinished that do not live any more to nobody; whether there was anything.
    pub async fn disown(&mut self) -> Result<bool, StoreError> {
        match self {
            // There is no other gateway.
            Self::Sqlite(_) => Ok(false),
            Self::Postgres(hand) => {
                let own = hand.number();
                let mut transaction = hand.begin().await?;
                let found = postgres::disown(&mut transaction, own, &UNFINISHED).await?;
                transaction.commit().await?;
                Ok(found)
            }
        }
    }

    /// Whether this gateway is the one that notifies.
    pub async fn is_notifier(&mut self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(_) => Ok(true),
            Self::Postgres(hand) => hand.is_notifier().await,
        }
    }

    pub async fn close(self) {
        match self {
            Self::Sqlite(hand) => {
                // Best effort: whatever is committed is safe already.
                let _ = sqlx::Connection::close(hand.connection).await;
            }
            Self::Postgres(hand) => hand.close().await,
        }
    }
}
