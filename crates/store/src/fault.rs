//! What can go wrong with the store, in sentences for the person who runs it.

use std::{io, path::PathBuf};

use sqlx::postgres::PgDatabaseError;
use thiserror::Error;

use crate::Place;

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
    /// A server is there for a bounded number of gateways.
    #[error("a thousand gateways share this store already; stop some")]
    TooManyGateways,
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
    #[error("{} is not a store of Toolgate; move it away, or use another home", path.display())]
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
    /// The folder or the file cannot be made.
    #[error("the store cannot be made ({}): {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database's own words.
    #[error("the store did not answer: {0}")]
    Database(#[from] sqlx::Error),
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
    pub(crate) fn is_of_one_entry(&self) -> bool {
        let Self::Database(error) = self else { return matches!(self, Self::Damaged { .. }) };
        let Some(fault) = error.as_database_error() else { return false };
        let Some(code) = fault.code() else { return false };
        if fault.try_downcast_ref::<PgDatabaseError>().is_some() {
            // Classes 22 and 23 of SQLSTATE: data that do not fit, constraints.
            return ["22", "23"].iter().any(|class| code.starts_with(class));
        }
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH; the low byte is the primary code.
        code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 18..=20))
    }
}
