//! Connections and pools of either database.

use sqlx::{
    Database, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool, Transaction, pool::PoolConnection,
};

use super::{PATIENCE, Result, Target, in_time, within};
use crate::weather::{self, Step};

/// A connection, in a transaction or not.
pub enum Connection<'c> {
    Sqlite(Link<'c, Sqlite>),
    Postgres(Link<'c, Postgres>),
}

/// Whose connection it is.
pub enum Link<'c, D: Database> {
    /// Somebody else's.
    Lent(&'c mut D::Connection),
    /// A pool's.
    Pooled(PoolConnection<D>),
    /// In a transaction, which is rolled back when this is dropped.
    Transaction(Transaction<'c, D>),
    /// A simulation's.
    #[cfg(feature = "simulation")]
    Kept(weather::Kept<D>),
}

/// Connections that read.
#[derive(Clone)]
pub enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl<D: Database> Link<'_, D> {
    fn get(&mut self) -> &mut D::Connection {
        match self {
            Self::Lent(connection) => connection,
            Self::Pooled(connection) => connection,
            Self::Transaction(transaction) => transaction,
            #[cfg(feature = "simulation")]
            Self::Kept(kept) => kept.get(),
        }
    }

    async fn commit(self) -> Result<()> {
        match self {
            Self::Transaction(transaction) => transaction.commit().await,
            Self::Lent(_) | Self::Pooled(_) => Ok(()),
            #[cfg(feature = "simulation")]
            Self::Kept(_) => Ok(()),
        }
    }
}

impl Connection<'_> {
    /// Commits the transaction.
    pub async fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(link) => weather::step(Step::Commit, link.commit()).await,
            Self::Postgres(link) => in_time(link.commit()).await,
        }
    }

    /// Commits a transaction of work on whole tables.
    pub async fn commit_patiently(self) -> Result<()> {
        match self {
            Self::Sqlite(link) => link.commit().await,
            Self::Postgres(link) => within(PATIENCE, link.commit()).await,
        }
    }
}

impl Pool {
    /// A connection for statements that need not see one moment.
    pub async fn acquire(&self) -> Result<Connection<'static>> {
        Ok(match self {
            Self::Sqlite(pool) => {
                Connection::Sqlite(weather::step(Step::Read, weather::acquire(pool)).await?)
            }
            // Boxed, here and below: these futures are large, and each caller's would have to have room for them.
            Self::Postgres(pool) => Connection::Postgres(Link::Pooled(Box::pin(pool.acquire()).await?)),
        })
    }

    /// A transaction that shows one moment to all its statements.
    pub async fn begin(&self) -> Result<Connection<'static>> {
        Ok(match self {
            Self::Sqlite(pool) => Connection::Sqlite(weather::step(Step::Read, weather::begin(pool)).await?),
            Self::Postgres(pool) => {
                // Postgres' own default shows each statement a moment of its own.
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Connection::Postgres(Link::Transaction(in_time(Box::pin(pool.begin_with(begin))).await?))
            }
        })
    }

    /// Closes all its connections.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl<'t> From<&'t mut Connection<'_>> for Target<'t> {
    fn from(connection: &'t mut Connection<'_>) -> Self {
        match connection {
            Connection::Sqlite(link) => Self::Sqlite(link.get()),
            Connection::Postgres(link) => Self::Postgres(link.get()),
        }
    }
}

impl<'t> From<&'t Pool> for Target<'t> {
    fn from(pool: &'t Pool) -> Self {
        match pool {
            Pool::Sqlite(pool) => Self::SqlitePool(pool),
            Pool::Postgres(pool) => Self::PostgresPool(pool),
        }
    }
}

impl<'c> From<&'c mut SqliteConnection> for Connection<'c> {
    fn from(connection: &'c mut SqliteConnection) -> Self {
        Self::Sqlite(Link::Lent(connection))
    }
}
