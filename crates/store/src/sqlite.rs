//! What only SQLite has: a file that must be the owner's alone, durability that is read back, one connection that writes
//! and a few that read.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    StoreError, Sync,
    hand::Number,
    sql::{Connection, Link},
};

/// A writer of another process is waited for so long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The log is copied into the file when it has so many pages: 16 MiB.
const CHECKPOINT_PAGES: &str = "4096";

/// A read of more steps of SQLite's virtual machine is a long one.
const STEPS_OF_SHORT_READS: i32 = 1_000;
/// How far reads for people step back (`nice(2)`): on a machine without a moment to spare they get about a tenth of a core.
const NICENESS: i32 = 10;

/// The connection that writes.
pub struct Hand {
    pub connection: SqliteConnection,
    path: PathBuf,
    sync: Sync,
    /// Held by the gateway that serves this file, as long as it lives.
    served: Option<File>,
    /// 1 where this is the one gateway.
    pub number: Number,
}

impl Hand {
    /// Opens the file for writing, as durably as asked.
    pub async fn open(path: &Path, sync: Sync) -> Result<Self, StoreError> {
        let connection = connect(path, sync).await?;
        Ok(Self { connection, path: path.into(), sync, served: None, number: Number::default() })
    }

    /// Begins a transaction that locks out other writers, on a new connection where the old one is beyond use.
    pub async fn begin(&mut self) -> Result<Connection<'_>, StoreError> {
        if self.connection.is_in_transaction() {
            // The rollback of one that was given up may still be on its way.
            self.connection.ping().await?;
        }
        if self.connection.is_in_transaction() {
            // After a full disk SQLite has rolled back by itself, which sqlx takes for a transaction that never ends.
            self.connection = connect(&self.path, self.sync).await?;
        }
        let transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Connection::Sqlite(Link::Transaction(transaction)))
    }

    /// Makes this process the one gateway of the file, until it ends.
    pub fn serve(&mut self) -> Result<(), StoreError> {
        self.served = Some(lock_served(&self.path)?);
        self.number.set(1);
        Ok(())
    }
}

/// Takes the lock of the one gateway of a file; it lives as long as what is returned.
pub fn lock_served(store: &Path) -> Result<File, StoreError> {
    let path = beside(store, ".served");
    let io = |source| StoreError::Io { path: path.clone(), source };
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Served { path: store.to_owned() }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// Whether a gateway has the lock of a file.
pub fn is_served(store: &Path) -> Result<bool, StoreError> {
    let path = beside(store, ".served");
    let io = |source| StoreError::Io { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// The file whose name is that of `path` with `end` behind it.
pub fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// A connection to a file that nobody relies on before it is whole and flushed: it keeps no log. Whoever made it half
/// throws it away.
pub async fn unlogged(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = shared_options(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off);
    options.connect().await.map_err(|error| not_a_store(path, error))
}

/// Connections that read, so many at most.
pub fn readers(path: &Path, connections_max: u32) -> SqlitePool {
    reading(connections_max).connect_lazy_with(shared_options(path).read_only(true))
}

/// Connections that read for people. Each has a thread of its own, which steps behind those that calls need as soon as
/// it is asked something long.
pub fn peoples_readers(path: &Path, connections_max: u32) -> SqlitePool {
    reading(connections_max)
        .after_connect(|connection, _| {
            Box::pin(async move {
                let mut stepped_back = false;
                connection.lock_handle().await?.set_progress_handler(STEPS_OF_SHORT_READS, move || {
                    if !stepped_back {
                        stepped_back = true;
                        step_back();
                    }
                    true
                });
                Ok(())
            })
        })
        .connect_lazy_with(shared_options(path).read_only(true))
}

fn reading(connections_max: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(BUSY_TIMEOUT)
        // A local file does not hang up; asking first would cost a hop on each read.
        .test_before_acquire(false)
}

/// Lowers the priority of this thread behind those that calls need, for good: raising it again is a privilege. Elsewhere
/// than on Linux that would be the whole process, so there it does nothing.
pub fn step_back() {
    if cfg!(target_os = "linux") {
        // A thread that may not do even this goes on as it is.
        let _ = rustix::process::nice(NICENESS);
    }
}

/// Makes the file itself, because SQLite would let everybody read it. Its log and index files take its mode.
pub fn prepare_file(path: &Path, create: bool) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { path: path.into(), source };
    if !create {
        return match path.metadata() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Missing { place: path.into() })
            }
            Err(error) => Err(io(error)),
        };
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // The name is durable only when its folder is.
        Ok(_) => File::open(folder).and_then(|folder| folder.sync_all()).map_err(io),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io(error)),
    }
}

/// A connection for who wants to be alone with the file.
pub async fn alone(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = shared_options(path).create_if_missing(false);
    options.connect().await.map_err(|error| not_a_store(path, error))
}

async fn connect(path: &Path, sync: Sync) -> Result<SqliteConnection, StoreError> {
    let connected = writer_options(path, sync).connect().await;
    let mut connection = connected.map_err(|error| not_a_store(path, error))?;
    read_back(&mut connection, sync).await?;
    Ok(connection)
}

fn shared_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .disable_statement_logging()
}

fn writer_options(path: &Path, sync: Sync) -> SqliteConnectOptions {
    let synchronous = match sync {
        Sync::Flush => SqliteSynchronous::Full,
        Sync::Os => SqliteSynchronous::Normal,
    };
    shared_options(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", "67108864")
}

/// SQLite answers a pragma that it cannot follow with silence; so it is asked what it really does.
async fn read_back(connection: &mut SqliteConnection, sync: Sync) -> Result<(), StoreError> {
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *connection).await?;
    if journal != "wal" {
        return Err(StoreError::NotDurable { setting: "journal_mode", found: journal, wanted: "wal" });
    }
    let (number, wanted) = match sync {
        Sync::Flush => (2, "2 (FULL)"),
        Sync::Os => (1, "1 (NORMAL)"),
    };
    let found: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await?;
    if found != number {
        return Err(StoreError::NotDurable { setting: "synchronous", found: found.to_string(), wanted });
    }
    Ok(())
}

/// A file of something else, or the database's own words.
pub fn not_a_store(path: &Path, error: sqlx::Error) -> StoreError {
    // 26 is SQLITE_NOTADB.
    match error.as_database_error().and_then(|fault| fault.code()) {
        Some(code) if code == "26" => StoreError::NotAStore { path: path.into() },
        _ => StoreError::Database(error),
    }
}
