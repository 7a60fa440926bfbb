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
    sql::{Connection, Link},
};

/// A writer of another process is waited for so long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The log is copied into the file when it has so many pages: 16 MiB.
const CHECKPOINT_PAGES: &str = "4096";

/// The connection that writes.
pub struct Hand {
    pub connection: SqliteConnection,
    path: PathBuf,
    sync: Sync,
    /// Held by the gateway that serves this file, as long as it lives.
    served: Option<File>,
}

impl Hand {
    /// Opens the file for writing, as durably as asked.
    pub async fn open(path: &Path, sync: Sync) -> Result<Self, StoreError> {
        let connection = connect(path, sync).await?;
        Ok(Self { connection, path: path.into(), sync, served: None })
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

    /// The number of the one gateway, 1; 0 where this is none.
    pub fn number(&self) -> i64 {
        self.served.is_some().into()
    }

    /// Makes this process the one gateway of the file, until it ends.
    pub fn serve(&mut self) -> Result<(), StoreError> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".served");
        let path = PathBuf::from(name);
        let io = |source| StoreError::Io { path: path.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => self.served = Some(file),
            Err(TryLockError::WouldBlock) => return Err(StoreError::Served { path: self.path.clone() }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        Ok(())
    }
}

/// Connections that read, so many at most.
pub fn readers(path: &Path, connections_max: u32) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(BUSY_TIMEOUT)
        // A local file does not hang up; asking first would cost a hop on each read.
        .test_before_acquire(false)
        .connect_lazy_with(shared_options(path).read_only(true))
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

fn not_a_store(path: &Path, error: sqlx::Error) -> StoreError {
    // 26 is SQLITE_NOTADB.
    match error.as_database_error().and_then(|fault| fault.code()) {
        Some(code) if code == "26" => StoreError::NotAStore { path: path.into() },
        _ => StoreError::Database(error),
    }
}
