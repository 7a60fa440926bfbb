//! Opening the file: who may read it, how durable a commit is, and that it really is so.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use sqlx::{
    ConnectOptions as _, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;

use crate::{Store, StoreError, append::Writer, schema};

/// A writer of another process is waited for so long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The log is copied into the file when it has so many pages: 16 MiB.
const CHECKPOINT_PAGES: &str = "4096";
const READERS_MAX: u32 = 4;
/// How many connections read for people ([`Store::for_people`]).
pub const PEOPLES_READERS_MAX: u32 = 2;

/// What a commit survives (`audit.sync`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Loss of power: the disk is flushed before a commit returns.
    Flush,
    /// The end of this process, not of the machine.
    Os,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The file.
    pub path: PathBuf,
    /// What a commit survives.
    pub sync: Sync,
    /// What a store that does not exist yet is born with; `None`: a missing store is an error.
    pub create: Option<Birth>,
}

/// What a new store is born with.
#[derive(Debug, Clone, Copy)]
pub struct Birth {
    /// 128 random bits that name the install.
    pub install: [u8; 16],
    /// When.
    pub now: Timestamp,
}

pub async fn open(options: &StoreOptions) -> Result<Store, StoreError> {
    let path = &options.path;
    prepare_file(path, options.create.is_some())?;
    let mut connection = connect_writer(path, options.sync).await?;
    if options.create.is_none() && schema::number(&mut connection).await? == 0 {
        return Err(StoreError::NotAStore { path: path.clone() });
    }
    schema::migrate(&mut connection, options.create.as_ref()).await?;
    let (Some(install), Some(writer_name)) =
        (schema::meta(&mut connection, "install").await?, schema::meta(&mut connection, "writer").await?)
    else {
        return Err(StoreError::NotAStore { path: path.clone() });
    };
    let install = crate::row::hex(&install).ok_or_else(|| StoreError::damaged("an install id"))?;
    let writer_name: Arc<str> = writer_name.into();
    let writer = Writer::new(connection, (path.clone(), options.sync), writer_name.clone());
    Ok(Store {
        writer: Arc::new(Mutex::new(writer)),
        readers: readers(path, READERS_MAX),
        path: path.clone(),
        sync: options.sync,
        install,
        writer_name,
    })
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

/// A connection that writes, as durably as asked.
pub async fn connect_writer(path: &Path, sync: Sync) -> Result<SqliteConnection, StoreError> {
    let connected = writer_options(path, sync).connect().await;
    let mut connection = connected.map_err(|error| not_a_store(path, error))?;
    read_back(&mut connection, sync).await?;
    Ok(connection)
}

/// Makes the file itself, because SQLite would let everybody read it. Its log and index files take its mode.
fn prepare_file(path: &Path, create: bool) -> Result<(), StoreError> {
    let io = |source| StoreError::Io { path: path.into(), source };
    if !create {
        return match path.metadata() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Missing { path: path.into() })
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
        return Err(StoreError::NotDurable { pragma: "journal_mode", found: journal, wanted: "wal" });
    }
    let (number, wanted) = match sync {
        Sync::Flush => (2, "2 (FULL)"),
        Sync::Os => (1, "1 (NORMAL)"),
    };
    let found: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut *connection).await?;
    if found != number {
        return Err(StoreError::NotDurable { pragma: "synchronous", found: found.to_string(), wanted });
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
