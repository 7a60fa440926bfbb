//! Floor 2: everything that must survive a restart, in one SQLite file.
//!
//! A change that must agree with the trail is an [`Entry`]; there is no other way to write one. One method is
//! one transaction. The store decides nothing, and knows neither the time nor chance.

mod append;
mod approvals;
mod calls;
mod change;
mod credentials;
mod entry;
mod events;
mod fault;
mod idempotency;
mod identities;
mod keyring;
mod kill;
mod notify;
mod open;
mod operators;
mod row;
mod schema;
mod sealed;
mod services;
mod sessions;
mod snapshot;
mod tallies;
mod tools;
mod verifier;
mod verify;

use std::{path::PathBuf, sync::Arc, time::Duration};

use domain::clock::Clock;
use sqlx::SqlitePool;
use tokio::sync::Mutex;

pub use approvals::{ApprovalQuery, Before, FoundApproval, InboxCursor};
pub use credentials::StoredCredential;
pub use entry::{Applied, Change, Closed, Entry, HoldCall, IdempotencyClaim, SealedBody, Settled};
pub use events::{EventRow, OfCall, Order, Query};
pub use fault::StoreError;
pub use idempotency::{KnownKey, KnownState};
pub use identities::FoundKey;
pub use keyring::StoredTerm;
pub use notify::News;
pub use open::{Birth, StoreOptions, Sync};
pub use operators::{StoredOperator, WrongPasswords};
pub use sealed::{SealedPlace, SealedRow, SealedTable};
pub use services::StoredService;
pub use sessions::Rotation;
pub use snapshot::Snapshot;
pub use tallies::Tally;
pub use tools::{PutTool, PutTools, StoredTool};
pub use verify::{Broken, Newest, Verification};

/// The open store: one connection that writes, and a few that read.
///
/// Several processes may have the same file open; their writes queue up behind each other, and each notices
/// what the others appended.
pub struct Store {
    writer: Arc<Mutex<append::Writer>>,
    readers: SqlitePool,
    path: PathBuf,
    sync: Sync,
    install: [u8; 16],
    writer_name: Arc<str>,
}

/// What [`Store::check`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// The schema's number.
    pub schema: i64,
    /// How long one small commit took; with [`Sync::Flush`] that is a flush of the disk.
    pub flush: Duration,
}

impl Store {
    /// Opens the store, bringing an older schema up to date.
    ///
    /// # Errors
    /// [`StoreError`] says what is wrong with the file, and what to do.
    pub async fn open(options: &StoreOptions) -> Result<Self, StoreError> {
        open::open(options).await
    }

    /// The same store for people, who ask for more than calls do: with reading connections of their own, so that no call
    /// waits for them, and the one writer.
    #[must_use]
    pub fn for_people(&self) -> Self {
        Self {
            writer: Arc::clone(&self.writer),
            readers: open::readers(&self.path, open::PEOPLES_READERS_MAX),
            path: self.path.clone(),
            sync: self.sync,
            install: self.install,
            writer_name: Arc::clone(&self.writer_name),
        }
    }

    /// 128 random bits that name this install; sealed values are bound to them.
    #[must_use]
    pub fn install(&self) -> &[u8; 16] {
        &self.install
    }

    /// The name of the chain that this store appends to.
    #[must_use]
    pub fn writer_name(&self) -> &Arc<str> {
        &self.writer_name
    }

    /// What survives a crash.
    #[must_use]
    pub fn sync(&self) -> Sync {
        self.sync
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Whether the store can be read and written: reads the schema's number and commits one small row.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot.
    pub async fn check(&self, clock: &dyn Clock) -> Result<Check, StoreError> {
        let schema = schema::number(&mut *self.readers.acquire().await?).await?;
        let mut writer = self.writer.lock().await;
        let before = clock.now().monotonic;
        writer.touch().await?;
        Ok(Check { schema, flush: clock.now().monotonic.saturating_sub(before) })
    }

    /// Waits for running writes, copies the write-ahead log into the file, and closes all connections.
    pub async fn close(self) {
        self.readers.close().await;
        // The last one closes what both wrote with.
        if let Some(writer) = Arc::into_inner(self.writer) {
            writer.into_inner().close().await;
        }
    }
}
