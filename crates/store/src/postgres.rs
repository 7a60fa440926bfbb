//! What only Postgres has: a server that may be away, hang or restart, other gateways beside us, and pushed news.
//!
//! Tables are in a schema of their own, `toolgate`. Whoever writes takes one lock for the transaction, as SQLite has it
//! anyway: what is read there stays so until the commit, whatever other gateways do (decision 0030).

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};

use sqlx::{
    Connection as _, Executor as _, PgConnection, PgPool, Row as _,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};

use crate::{
    ServerUrl, StoreError, Sync,
    sql::{self, Connection, Link, in_time},
};

/// How long a connection is waited for, whether it is in use or has to be made.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);
/// A connection that was not used for so long is asked whether it is still there.
const ASKED_AFTER: Duration = Duration::from_secs(1);
/// How long news are not listened for after the server went away.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);
/// The first half of a gateway's lock: "gate".
const GATEWAYS: i32 = 0x6761_7465;
/// The lock of the one gateway that notifies: "tell".
const NOTIFIER: i32 = 0x7465_6c6c;
/// How many gateways may share a store.
const GATEWAYS_MAX: i32 = 1_000;
/// What is notified when a revision moves; the payload is the area.
pub const CHANNEL: &str = "toolgate";

/// The lock of writers, held until the end of the transaction: "toolgate" in ASCII. Numbers of gateways are another kind
/// of lock, of two halves.
macro_rules! writers_lock {
    () => {
        "SELECT pg_advisory_xact_lock(8390047142196114533)"
    };
}
pub(crate) use writers_lock;

/// Begins a transaction that no other writer is in. Each statement sees what was committed before it, and that is
/// everything, once the lock is held.
const BEGIN: &str = concat!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ", writers_lock!());

/// The connection that writes: a pool of one, which makes it anew where it is broken, and which undoes what was given up
/// half way without waiting for its next use. Others wait for that.
pub struct Hand {
    pool: PgPool,
    /// This gateway's number; 0 where it is none. Its lock lives as long as the connection that claims are made with:
    /// whoever can take it knows that nobody claims under it any more.
    number: Arc<AtomicI32>,
}

impl Hand {
    /// Connects, as durably as asked.
    pub async fn open(url: &ServerUrl, sync: Sync) -> Result<Self, StoreError> {
        let synchronous = match sync {
            Sync::Flush => "on",
            Sync::Os => "off",
        };
        let number = Arc::new(AtomicI32::new(0));
        let own = Arc::clone(&number);
        let pool = pool(1)
            .after_connect(move |connection, _| {
                let own = Arc::clone(&own);
                Box::pin(async move { keep_number(connection, &own).await })
            })
            .connect_lazy_with(options(url).options([("synchronous_commit", synchronous)]));
        let hand = Self { pool, number };
        if sync == Sync::Flush {
            read_back(&mut *hand.pool.acquire().await?).await?;
        }
        Ok(hand)
    }

    /// The connection.
    pub async fn connection(&self) -> Result<Connection<'static>, StoreError> {
        Ok(Connection::Postgres(Link::Pooled(self.pool.acquire().await?)))
    }

    /// Begins a transaction that locks out other writers.
    pub async fn begin(&self) -> Result<Connection<'static>, StoreError> {
        let transaction = in_time(self.pool.begin_with(BEGIN)).await?;
        Ok(Connection::Postgres(Link::Transaction(transaction)))
    }

    /// This gateway's number; 0 where it is none.
    pub fn number(&self) -> i64 {
        self.number.load(Ordering::Relaxed).into()
    }

    /// Takes the lowest number that no living gateway has.
    pub async fn serve(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let number = take_number(&mut connection, None).await?;
        self.number.store(number.ok_or(StoreError::TooManyGateways)?, Ordering::Relaxed);
        Ok(())
    }

    /// Whether this is the gateway that notifies, of all that share the store. It stays so as long as it is connected.
    pub async fn is_notifier(&self) -> Result<bool, StoreError> {
        // Asked again it would be held several times, which is the same.
        Ok(in_time(try_lock(&mut *self.pool.acquire().await?, (NOTIFIER, 0))).await?)
    }

    pub async fn close(self) {
        self.pool.close().await;
    }
}

/// A gateway that was cut off takes its number back, or another one where somebody else has it by now.
async fn keep_number(connection: &mut PgConnection, own: &AtomicI32) -> Result<(), sqlx::Error> {
    let known = own.load(Ordering::Relaxed);
    if known != 0 {
        let number = take_number(connection, Some(known)).await?;
        own.store(number.unwrap_or(known), Ordering::Relaxed);
    }
    Ok(())
}

/// `wanted` if it is free, else the lowest number that is.
async fn take_number(connection: &mut PgConnection, wanted: Option<i32>) -> Result<Option<i32>, sqlx::Error> {
    for number in wanted.into_iter().chain(1..=GATEWAYS_MAX) {
        if in_time(try_lock(connection, (GATEWAYS, number))).await? {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn pool(connections_max: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_MAX)
        // A gateway's number is gone with its connection.
        .max_lifetime(None::<Duration>)
        .idle_timeout(None::<Duration>)
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                // In use it was asked a moment ago.
                Ok(about.idle_for < ASKED_AFTER || in_time(connection.ping()).await.is_ok())
            })
        })
        .after_release(|connection, _| {
            Box::pin(async move {
                // A gateway's number lives on its connection: what was left open is undone, not hung up on.
                match in_time(is_idle(connection)).await {
                    Ok(true) => Ok(true),
                    Err(error @ sqlx::Error::Io(_)) => Err(error),
                    Ok(false) | Err(_) => {
                        in_time(connection.execute(sqlx::raw_sql("ROLLBACK"))).await.map(|_| true)
                    }
                }
            })
        })
}

/// Connections that read, so many at most.
pub fn readers(url: &ServerUrl, connections_max: u32) -> PgPool {
    pool(connections_max).connect_lazy_with(options(url))
}

/// Says when something was changed. It is quick, not sure: who waits for it looks now and then all the same.
pub struct Listening {
    url: ServerUrl,
    listener: Option<PgListener>,
}

impl Listening {
    pub fn new(url: &ServerUrl) -> Self {
        Self { url: url.clone(), listener: None }
    }

    /// Resolves when something may have changed.
    pub async fn changed(&mut self) {
        loop {
            if let Some(listener) = &mut self.listener {
                match listener.try_recv().await {
                    Ok(Some(_)) => return,
                    // What was said while nobody listened is lost.
                    Ok(None) | Err(_) => self.listener = None,
                }
            }
            match self.listen().await {
                Ok(listener) => {
                    self.listener = Some(listener);
                    return;
                }
                Err(_) => tokio::time::sleep(LISTEN_AGAIN).await,
            }
        }
    }

    async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        let mut listener = PgListener::connect_with(&pool(1).connect_lazy_with(options(&self.url))).await?;
        listener.listen(CHANNEL).await?;
        Ok(listener)
    }
}

/// Gives the unfinished work of gateways that do not live any more to nobody: number 0; whether there was any. `own`
/// lives.
pub async fn disown(
    connection: &mut Connection<'_>,
    own: i64,
    tables: &[(&str, &str)],
) -> Result<bool, StoreError> {
    let mut found = false;
    for (table, unfinished) in tables {
        let select = format!("SELECT DISTINCT node FROM {table} WHERE {unfinished} AND node <> $1");
        for row in sql::assembled(select).bind(own).fetch_all(&mut *connection).await? {
            let node: i64 = row.try_get(0)?;
            if node == 0 {
                // Given up before, and not told yet.
                found = true;
                continue;
            }
            // Held until the end of the transaction: nobody takes the number meanwhile.
            let lock = "SELECT pg_try_advisory_xact_lock(CAST($1 AS int), CAST($2 AS int))";
            let query = sql::query_scalar::<bool>(lock).bind(i64::from(GATEWAYS)).bind(node);
            if query.fetch_one(&mut *connection).await? {
                let update = format!("UPDATE {table} SET node = 0 WHERE {unfinished} AND node = $1");
                found |= sql::assembled(update).bind(node).execute(&mut *connection).await? > 0;
            }
        }
    }
    Ok(found)
}

/// Whether the connection is in no transaction. Who is dropped while one begins leaves it open, and sqlx does not know: what
/// is written there next would never be committed, what is read would be old.
async fn is_idle(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    // Sent as one message, so that outside a transaction both are the moment it came.
    let asked = sqlx::raw_sql("SELECT now() = statement_timestamp()");
    connection.fetch_one(asked).await?.try_get(0)
}

async fn try_lock(connection: &mut PgConnection, lock: (i32, i32)) -> Result<bool, sqlx::Error> {
    let query = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)").bind(lock.0).bind(lock.1);
    query.fetch_one(connection).await
}

/// What every connection asks for. Times are bounded on the server, so that a gateway that hangs, or cannot be
/// reached, does not hold up the others.
fn options(url: &ServerUrl) -> PgConnectOptions {
    url.options().application_name("toolgate").options([
        ("search_path", "toolgate"),
        ("statement_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "5s"),
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "3"),
    ])
}

/// A server that does not flush, whatever it is asked, is found out.
async fn read_back(connection: &mut PgConnection) -> Result<(), StoreError> {
    for (setting, text) in [("fsync", "SHOW fsync"), ("synchronous_commit", "SHOW synchronous_commit")] {
        let found: String = sqlx::query_scalar(text).fetch_one(&mut *connection).await?;
        if found == "off" {
            return Err(StoreError::NotDurable { setting, found, wanted: "on" });
        }
    }
    Ok(())
}
