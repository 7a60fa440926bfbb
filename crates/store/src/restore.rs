//! A backup takes the place of the store. It is copied beside it, checked and brought up to date; then one rename
//! decides. An interruption leaves either the old store or the new one, never half of one. The previous store is kept.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use sqlx::{Connection as _, SqliteConnection};

use crate::{
    Newest, Place, Store, StoreError, StoreOptions, Sync, Verification,
    approvals::doubt_approved,
    backup::{check_whole, write_whole},
    fault::said,
    fresh_file::{SIDE_FILES, flush_folder},
    moment::Moment,
    row::micros,
    sql,
    sqlite::{self, beside},
};

/// A backup that lies beside the store, checked and opened, ready to take its place. Dropped, it leaves nothing.
pub struct Staged {
    files: Files,
    store: Arc<Store>,
    /// What a check of its trail found, before anything was added to it.
    pub trail: Verification,
    /// The newest event of the store that it replaces, where that can be read.
    pub replaced: Option<Newest>,
    /// Approved calls that may have been sent since the backup: they are never sent, but become `unknown`.
    pub in_doubt: u64,
}

/// The files, and the lock that keeps gateways away from them.
struct Files {
    store: PathBuf,
    staged: PathBuf,
    _served: File,
}

impl Staged {
    /// Copies `backup` beside the store at `store`, which need not exist nor be whole, and checks it: each page, its
    /// schema, its trail. No gateway can start until this is dropped.
    ///
    /// # Errors
    /// [`StoreError::Served`] while a gateway runs; [`StoreError::NotWhole`] and [`StoreError::Newer`] for a backup that
    /// is no good here.
    pub async fn new(
        backup: &Path,
        store: &Path,
        now: Timestamp,
        progress: impl FnMut(u64, u64),
    ) -> Result<Self, StoreError> {
        let moment = Moment::of(&backup.into()).await.map_err(|error| not_whole(backup, error))?;
        moment.close().await;
        let store = std::path::absolute(store).unwrap_or(store.to_owned());
        let served = sqlite::lock_served(&store)?;
        let files = Files { staged: beside(&store, ".restored"), store, _served: served };
        files.remove_staged();
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&files.staged);
        made.map_err(|source| StoreError::Io { path: files.staged.clone(), source })?;
        let copied = write_whole(backup, &files.staged, progress).await;
        copied.map_err(|error| not_whole(backup, error))?;
        let checked = check_whole(&files.staged).await;
        let (_, trail) = checked.map_err(|error| not_whole(backup, error))?;
        if let Some(broken) = &trail.first_broken {
            let why = format!("its trail breaks at event {}", broken.seq);
            return Err(StoreError::NotWhole { path: backup.to_owned(), why });
        }
        let replaced = match Moment::of(&Place::from(files.store.as_path())).await {
            Ok(mut moment) => {
                let head = moment.head().await.ok().filter(|head| head.seq > 0);
                let writer = moment.writer().to_owned();
                moment.close().await;
                head.map(|head| Newest { writer, seq: head.seq, hash: head.hash })
            }
            Err(_) => None,
        };
        let place = Place::from(files.staged.as_path());
        let options = StoreOptions { place, sync: Sync::Flush, create: None };
        let store = Arc::new(Store::open(&options).await?);
        let in_doubt = take_back(&store, now).await?;
        Ok(Self { files, store, trail, replaced, in_doubt })
    }

    /// The backup as a store, before it takes its place.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Takes the place of the store, which is kept under the name `kept`; whether there was one. From then on gateways
    /// can start.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when a command has the old store open; [`StoreError::Exists`] when the name is taken. Then
    /// the old store is where it was.
    pub async fn take_its_place(self, kept: &Path) -> Result<bool, StoreError> {
        let Self { files, store, .. } = self;
        let (path, staged) = (&files.store, &files.staged);
        // Whoever still holds it would write into a file that is about to be another.
        Arc::into_inner(store).ok_or(StoreError::InUse { path: staged.clone() })?.close().await;
        let _ = without_log(staged).await?.close().await;
        let io = |source| StoreError::Io { path: path.clone(), source };
        File::open(staged).and_then(|file| file.sync_all()).map_err(io)?;
        let was_there = fs::exists(path).map_err(io)?;
        // While this lives, nobody else reads or writes the old one. One that is no database any more has nobody.
        let alone = match was_there && can_be_read(path).await {
            true => match without_log(path).await {
                Err(StoreError::InUse { path }) => return Err(StoreError::InUse { path }),
                other => other.ok(),
            },
            false => None,
        };
        if was_there {
            match fs::hard_link(path, kept) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(StoreError::Exists { path: kept.to_owned() });
                }
                Err(error) => return Err(io(error)),
            }
        }
        // A log that was left beside a damaged file belongs to that one; beside another it would be its ruin.
        for end in SIDE_FILES {
            let log = beside(path, end);
            if fs::exists(&log).map_err(io)? {
                fs::rename(&log, beside(kept, end)).map_err(io)?;
            }
        }
        flush_folder(path)?;
        fs::rename(staged, path).map_err(io)?;
        flush_folder(path)?;
        if let Some(connection) = alone {
            // Best effort: nothing was written.
            let _ = connection.close().await;
        }
        Ok(was_there)
    }
}

impl Files {
    fn remove_staged(&self) {
        // What is not there need not go; what cannot go is told when it is made anew.
        let _ = fs::remove_file(&self.staged);
        for end in SIDE_FILES {
            let _ = fs::remove_file(beside(&self.staged, end));
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.remove_staged();
    }
}

/// What must not come back to life with a backup: approved calls, which may have been sent since (how many), and logins,
/// which may have been ended since.
async fn take_back(store: &Store, now: Timestamp) -> Result<u64, StoreError> {
    let mut writer = store.writer.lock().await;
    let mut transaction = writer.begin().await?;
    let in_doubt = doubt_approved(&mut transaction, now).await?;
    let end = "UPDATE sessions SET ended_at = $1 WHERE ended_at IS NULL";
    sql::query(end).bind(micros(now)).execute(&mut transaction).await?;
    transaction.commit().await?;
    Ok(in_doubt)
}

/// Whether SQLite takes the file for a database. Asked without the right to write: who may write would throw away a log that
/// does not fit.
async fn can_be_read(path: &Path) -> bool {
    let connections = sqlite::readers(path, 1);
    let asked = sqlx::query("SELECT 1 FROM sqlite_schema LIMIT 1").fetch_optional(&connections).await;
    connections.close().await;
    asked.is_ok()
}

/// Takes a file's log into it, so that the file alone is the database, and holds it so that nobody else can use it. Where
/// that fails the connection is gone before this returns: closing later, it would remove the log of whatever has the name
/// then.
async fn without_log(path: &Path) -> Result<SqliteConnection, StoreError> {
    let mut connection = sqlite::alone(path).await?;
    let taken = async {
        let asked = sqlx::query_scalar("PRAGMA journal_mode = DELETE").fetch_one(&mut connection).await;
        let mode: String = asked.map_err(|error| busy(error, path))?;
        if mode != "delete" {
            return Err(StoreError::InUse { path: path.to_owned() });
        }
        let begun = sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await;
        begun.map(|_| ()).map_err(|error| busy(error, path))
    };
    match taken.await {
        Ok(()) => Ok(connection),
        Err(error) => {
            // Best effort: what was asked for failed already.
            let _ = connection.close().await;
            Err(error)
        }
    }
}

/// Somebody else has the file open, or the database's own words.
fn busy(error: sqlx::Error, path: &Path) -> StoreError {
    // The low byte of a code of SQLite is the primary one; 5 is SQLITE_BUSY, 6 is SQLITE_LOCKED.
    let code = error.as_database_error().and_then(|fault| fault.code()?.parse::<u32>().ok());
    match code {
        Some(code) if matches!(code & 0xff, 5 | 6) => StoreError::InUse { path: path.to_owned() },
        _ => StoreError::Database(error),
    }
}

/// The words for a backup that is no good, wherever it was looked at.
fn not_whole(backup: &Path, error: StoreError) -> StoreError {
    match error {
        _ if backup.is_dir() => {
            StoreError::NotWhole { path: backup.to_owned(), why: "it is a folder".to_owned() }
        }
        StoreError::NotWhole { why, .. } => StoreError::NotWhole { path: backup.to_owned(), why },
        StoreError::Missing { .. } => {
            StoreError::NotWhole { path: backup.to_owned(), why: "there is no such file".to_owned() }
        }
        StoreError::NotAStore { .. } => {
            StoreError::NotWhole { path: backup.to_owned(), why: "it is not a store of Toolgate".to_owned() }
        }
        StoreError::Database(error) => StoreError::NotWhole { path: backup.to_owned(), why: said(&error) },
        other => other,
    }
}
