//! What can go wrong with the store, in sentences for the person who runs it.

use std::{io, path::PathBuf};

use domain::{foreign::escape_foreign, system::system_words, trust::Distrust};
use sqlx::{postgres::PgDatabaseError, sqlite::SqliteError};
use thiserror::Error;

use crate::{Place, append::Unanswered};

/// Why the store could not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no store at the path.
    #[error("there is no store ({place}); `toolgate init` makes one")]
    Missing {
        /// Where it was looked for.
        place: Place,
    },
    /// Another gateway serves this file.
    #[error(
        "a gateway runs on this store already ({}); stop it, or give each a store on Postgres (store.url)",
        path.display()
    )]
    Served {
        /// The file.
        path: PathBuf,
    },
    /// The schema must become one that the gateway which runs on the store may not go on with.
    #[error("a gateway of an older toolgate runs on this store ({place}); stop it, then repeat this")]
    OlderServes {
        /// The store.
        place: Place,
    },
    /// Another command has the file open.
    #[error("another command has the store open ({}); let it end, then repeat this", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// There is something where a new store, or a copy of one, was to be made.
    #[error("a file is there already ({}); nothing is overwritten: choose another name, or move it away", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another command makes a file of this name.
    #[error("another command is writing this file ({}); let it end, or choose another name", path.display())]
    BeingWritten {
        /// The file.
        path: PathBuf,
    },
    /// A database that was to be filled is not empty.
    #[error("the database has tables of Toolgate already ({place}); copy into an empty one")]
    NotEmpty {
        /// The database.
        place: Place,
    },
    /// A store that is to be copied has an older schema than this binary makes.
    #[error(
        "the store has schema {schema}, this binary makes {known} ({place}); copy with the toolgate that runs on it, \
         or run this one on it first"
    )]
    Older {
        /// The store.
        place: Place,
        /// Its schema.
        schema: i64,
        /// The one that this binary makes.
        known: i64,
    },
    /// What was written is not what was read.
    #[error("the copy differs from its source ({what}) and was thrown away; repeat this, and check the disk")]
    Differs {
        /// Where.
        what: String,
    },
    /// A backup cannot be relied on.
    #[error("the backup is no good ({}: {why}); take another one", path.display())]
    NotWhole {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer Toolgate has changed the file.
    #[error(
        "this home needs toolgate {needs} or newer (schema {schema}, this binary knows {known}); use that, or a backup"
    )]
    Newer {
        /// The version that wrote the schema: `0.3`.
        needs: String,
        /// The file's schema.
        schema: i64,
        /// The newest schema that this binary knows.
        known: i64,
    },
    /// The file is not one of ours.
    #[error("a file is no store of Toolgate ({}); move it away, or use another home", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// A setting of the database that durability rests on did not take.
    #[error(
        "the store cannot be made durable: `{setting}` is {found}, not {wanted}; set it, or use a local disk"
    )]
    NotDurable {
        /// Which one.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A row cannot be read as what it should be.
    #[error("the store holds {what} that cannot be read; compare it with a backup")]
    Damaged {
        /// Which row.
        what: String,
    },
    /// A folder or a file cannot be made, read or written.
    #[error("a file cannot be written ({}, {}); check its folder and the disk", path.display(), system_words(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server is not believed; it was told nothing.
    #[error("the store's server is not trusted ({place}): {}; {}", why.what(), why.next("store"))]
    Untrusted {
        /// The server.
        place: Place,
        /// Why.
        why: Distrust,
    },
    /// There is no connection to the server.
    #[error("the store did not answer ({place}): {why}; start its server, or correct store.url")]
    Unreachable {
        /// The server.
        place: Place,
        /// Why.
        why: String,
    },
    /// The server takes no such user, or has no such database.
    #[error(
        "the store's server lets us not in ({place}): {said}; correct user, password and database in store.url, or what \
         the server allows (pg_hba.conf)"
    )]
    NotLetIn {
        /// The server.
        place: Place,
        /// What it says.
        said: String,
    },
    /// A certificate or key that the URL names cannot be used.
    #[error(
        "a file for the store's server cannot be used ({place}): {why}; correct sslrootcert, sslcert or sslkey in store.url"
    )]
    NoFile {
        /// The server.
        place: Place,
        /// What is wrong with it.
        why: String,
    },
    /// The schema that our tables go into is not ours.
    #[error("the schema `toolgate` of database `{database}` {why}; {next}")]
    NotOurs {
        /// The database.
        database: String,
        /// Whose it is, or what is in it.
        why: String,
        /// What to do.
        next: String,
    },
    /// The store did not answer when it was to keep something, nor when it was asked whether it did.
    #[error(
        "the store did not answer whether it has kept this; it may have: look before you repeat it, once the store is back"
    )]
    Unanswered(Box<Unanswered>),
    /// The store failed at an entry before this one.
    #[error("the store failed before this was tried; try again once it is back")]
    Untried,
    /// The database could not do it.
    #[error("the store failed ({}); {}", said(.0), next(.0))]
    Database(#[from] sqlx::Error),
}

/// What a database says, for people: without the library's words around it and without codes.
pub(crate) fn said(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(fault) => match sqlite_code(error) {
            Some(5 | 6) => "another process holds it".to_owned(),
            Some(8 | 14) => "this user may not open or write its file".to_owned(),
            Some(10) => "the disk cannot be read or written".to_owned(),
            Some(11 | 26) => "its file is damaged".to_owned(),
            Some(13) => "the disk is full".to_owned(),
            _ => escape_foreign(fault.message()).into_owned(),
        },
        sqlx::Error::Io(error) => system_words(error),
        sqlx::Error::PoolTimedOut => "it does not answer in time".to_owned(),
        other => escape_foreign(&other.to_string()).into_owned(),
    }
}

/// What to do about it.
fn next(error: &sqlx::Error) -> &'static str {
    match sqlite_code(error) {
        Some(5 | 6) => "let that end, then repeat this",
        Some(8 | 14) => "check owner and mode of toolgate.db and of the files beside it",
        Some(11 | 26) => "bring it back from a backup: toolgate store restore FILE",
        Some(10 | 13) => "make room or mend the disk, then repeat this",
        _ => "repeat this once it is back; whether it is: toolgate doctor",
    }
}

/// The primary result code of SQLite; none for what another database said. See <https://sqlite.org/rescode.html>.
fn sqlite_code(error: &sqlx::Error) -> Option<u32> {
    let fault = error.as_database_error()?;
    fault.try_downcast_ref::<SqliteError>()?;
    // The low byte of an extended code is the primary one.
    Some(fault.code()?.parse::<u32>().ok()? & 0xff)
}

impl StoreError {
    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    /// Whether a row was there already: for the trail this means that another process appended.
    pub(crate) fn is_duplicate(&self) -> bool {
        let Self::Database(error) = self else { return false };
        error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }

    /// Whether an entry's own values, or the rows that it is about, are to blame, not the state of the store.
    #[must_use]
    pub fn is_of_one_entry(&self) -> bool {
        let Self::Database(error) = self else { return matches!(self, Self::Damaged { .. }) };
        let Some(fault) = error.as_database_error() else { return false };
        let Some(code) = fault.code() else { return false };
        if fault.try_downcast_ref::<PgDatabaseError>().is_some() {
            // Classes 22, 23 and 54 of SQLSTATE: data that do not fit, constraints, what is too large for an index.
            return ["22", "23", "54"].iter().any(|class| code.starts_with(class));
        }
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH; the low byte is the primary code.
        code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20))
    }
}
