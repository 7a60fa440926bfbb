//! What can go wrong with the store, in sentences for the person who runs it.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why the store could not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no store at the path.
    #[error("there is no store ({}); `toolgate init` makes one", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
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
    #[error("{} is not a store of Toolgate; move it away, or use another home", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// A pragma that durability rests on did not take.
    #[error("the store cannot be made durable: `{pragma}` is {found}, not {wanted}; use a local disk")]
    NotDurable {
        /// Which one.
        pragma: &'static str,
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
    pub(crate) fn is_duplicate(error: &sqlx::Error) -> bool {
        error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation)
    }

    /// Whether an entry's own values, or the rows that it is about, are to blame, not the state of the store.
    pub(crate) fn is_of_one_entry(&self) -> bool {
        let Self::Database(error) = self else { return matches!(self, Self::Damaged { .. }) };
        let code = error.as_database_error().and_then(|fault| fault.code()?.parse::<u32>().ok());
        // SQLITE_TOOBIG, SQLITE_CONSTRAINT, SQLITE_MISMATCH; the low byte is the primary code.
        code.is_some_and(|code| matches!(code & 0xff, 18..=20))
    }
}
