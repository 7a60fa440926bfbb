//! What only Postgres has: a server that may be away, hang or restart, other gateways beside us, and pushed news.
//!
//! Tables are in a schema of their own, `toolgate`. Whoever writes takes one lock for the transaction, as SQLite has it
//! anyway: what is read there stays so until the commit, whatever other gateways do (decision 0030).

mod reach;

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

pub use reach::{clock, other_owner, tls};

use crate::{
    ServerUrl, StoreError, Sync,
    hand::{Number, Suspects},
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
/// How often a gateway that was cut off tries to have its number back, and the pause before the next try: over a slow line
/// too it is done before who waits for the connection gives up.
const TAKEN_BACK_TRIES: usize = 10;
const TAKEN_BACK_PAUSE: Duration = Duration::from_millis(150);
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
const BEGIN: &str = concat!("BEGIN ISOLATION LEVEL READ COMMITTED; ", writers_lock!());

/// The connection that writes: a pool of one, which makes it anew where it is broken, and which undoes what was given up
/// half way without waiting for its next use. Others wait for that.
pub struct Hand {
    pool: PgPool,
    seat: Arc<Seat>,
    /// The gateways whose lock was free when it was looked at last.
    pub suspects: Suspects,
}

/// A gateway's number and the server's process that holds its lock. The lock lives as long as the connection that claims are
/// made with: whoever can take it knows that nobody claims under it any more. No number is ever given to two gateways.
#[derive(Default)]
struct Seat {
    number: Number,
    backend: AtomicI32,
}

impl Hand {
    /// Connects, as durably as asked.
    ///
    /// # Errors
    /// As [`reach::first`], and [`StoreError::NotDurable`].
    pub async fn open(url: &ServerUrl, sync: Sync) -> Result<Self, StoreError> {
        let synchronous = match sync {
            Sync::Flush => "on",
            Sync::Os => "off",
        };
        let seat = Arc::<Seat>::default();
        let own = Arc::clone(&seat);
        let pool = pool(1)
            .after_connect(move |connection, _| {
                let own = Arc::clone(&own);
                Box::pin(async move {
                    refuse_standby(connection).await?;
                    own.keep(connection).await
                })
            })
            .connect_lazy_with(options(url).options([("synchronous_commit", synchronous)]));
        let mut connection = reach::first(&pool, url).await?;
        if sync == Sync::Flush {
            read_back(&mut connection).await?;
        }
        drop(connection);
        Ok(Self { pool, seat, suspects: Suspects::new() })
    }

    /// The connection.
    pub async fn connection(&self) -> Result<Connection<'static>, StoreError> {
        Ok(Connection::Postgres(Link::Pooled(Box::pin(self.pool.acquire()).await?)))
    }

    /// Begins a transaction that locks out other writers.
    pub async fn begin(&self) -> Result<Connection<'static>, StoreError> {
        let transaction = in_time(Box::pin(self.pool.begin_with(BEGIN))).await?;
        Ok(Connection::Postgres(Link::Transaction(transaction)))
    }

    /// This gateway's number.
    pub fn number(&self) -> Number {
        self.seat.number.clone()
    }

    /// Takes a number that no gateway has ever had.
    pub async fn serve(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        let number = new_number(&mut connection).await?;
        Ok(self.seat.sit_down(&mut connection, number).await?)
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

impl Seat {
    /// A gateway that was cut off takes its number back. Where it cannot it takes a new one, and what it was doing under the
    /// old one is given up by whoever finds that lock free.
    async fn keep(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let known = self.number.get();
        if known == 0 {
            return Ok(());
        }
        let number = match self.take_back(connection, known).await? {
            true => known,
            false => new_number(connection).await?,
        };
        self.sit_down(connection, number).await
    }

    /// Its lock may be held by the server's end of the connection that broke, which does not know yet, or for a moment by
    /// somebody who looks whether this gateway lives.
    async fn take_back(&self, connection: &mut PgConnection, number: i64) -> Result<bool, sqlx::Error> {
        // Each database has locks of its own; this table has those of all.
        const END: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' \
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
                           AND classid::bigint = $1 AND objid::bigint = $2 AND objsubid = 2 AND pid = $3";
        let lock = gateways_lock(number)?;
        for nth in 0..TAKEN_BACK_TRIES {
            if in_time(try_lock(connection, lock)).await? {
                return Ok(true);
            }
            if nth == 0 {
                let end = sqlx::query(END).bind(i64::from(GATEWAYS)).bind(number);
                let end = end.bind(self.backend.load(Ordering::Relaxed));
                in_time(end.execute(&mut *connection)).await?;
            }
            tokio::time::sleep(TAKEN_BACK_PAUSE).await;
        }
        Ok(false)
    }

    /// The connection holds the lock of this number.
    async fn sit_down(&self, connection: &mut PgConnection, number: i64) -> Result<(), sqlx::Error> {
        let backend = in_time(sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(connection)).await?;
        self.backend.store(backend, Ordering::Relaxed);
        self.number.set(number);
        Ok(())
    }
}

/// A number that nobody has had, and its lock. Numbers of up to a thousand were once given again to others.
async fn new_number(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    // What is lost with the server would be given twice.
    const NEXT: &str = "WITH durable AS MATERIALIZED (SELECT set_config('synchronous_commit', 'on', true)) \
                        INSERT INTO revisions (area, number) SELECT 'gateways', 1001 FROM durable \
                        ON CONFLICT (area) DO UPDATE SET number = revisions.number + 1 RETURNING number";
    loop {
        let number = in_time(sqlx::query_scalar(NEXT).fetch_one(&mut *connection)).await?;
        // Taken, it is of a time that this server does not remember: an older copy of it serves.
        if in_time(try_lock(connection, gateways_lock(number)?)).await? {
            return Ok(number);
        }
    }
}

/// Whether no gateway has this number. Its lock is held until the end of the transaction: nobody takes it back meanwhile.
pub async fn is_gone(connection: &mut Connection<'_>, number: i64) -> Result<bool, StoreError> {
    let lock = "SELECT pg_try_advisory_xact_lock(CAST($1 AS int), CAST($2 AS int))";
    let query = sql::query_scalar::<bool>(lock).bind(i64::from(GATEWAYS)).bind(number);
    Ok(query.fetch_one(connection).await?)
}

fn gateways_lock(number: i64) -> Result<(i32, i32), sqlx::Error> {
    let number = i32::try_from(number).map_err(|error| sqlx::Error::Encode(error.into()))?;
    Ok((GATEWAYS, number))
}

/// Whether a gateway lives that uses this database: who has a number holds its lock.
pub async fn is_served(url: &ServerUrl) -> Result<bool, StoreError> {
    let select = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 \
                  AND classid = CAST(CAST($1 AS bigint) AS oid) \
                  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    let connections = readers(url, 1);
    let mut connection = reach::first(&connections, url).await?;
    let query = sqlx::query_scalar(select).bind(i64::from(GATEWAYS));
    let is_served = in_time(query.fetch_one(&mut *connection)).await?;
    drop(connection);
    connections.close().await;
    Ok(is_served)
}

fn pool(connections_max: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(ACQUIRE_MAX)
        // A gateway's number is gone with its connection.
        .max_lifetime(None::<Duration>)
        .idle_timeout(None::<Duration>)
        .test_before_acquire(false)
        .after_connect(|connection, _| Box::pin(refuse_standby(connection)))
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

/// A standby answers every question, with what it was told some time ago: what was revoked since is good there.
async fn refuse_standby(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let asked = sqlx::query_scalar("SELECT pg_is_in_recovery()");
    if in_time(asked.fetch_one(connection)).await? {
        return Err(sqlx::Error::Configuration("the server is a standby; name the primary".into()));
    }
    Ok(())
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
        // For where the one above is lifted: work on whole tables waits for nobody's lock.
        ("lock_timeout", "5s"),
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
