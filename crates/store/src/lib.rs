//! Floor 2: everything that must survive a restart, in one SQLite file or in a database on Postgres.
//!
//! A change that must agree with the trail is an [`Entry`]; there is no other way to write one. One method is
//! one transaction. The store decides nothing, and knows neither the time nor chance.

mod append;
mod approvals;
mod backup;
mod calls;
mod change;
mod copy;
mod counted;
mod credentials;
mod entry;
mod events;
mod fault;
mod fresh_file;
mod hand;
mod idempotency;
mod identities;
mod keyring;
mod kill;
mod moment;
mod notify;
mod open;
mod operators;
mod place;
mod postgres;
mod restore;
mod retain;
mod row;
mod schema;
mod sealed;
mod services;
mod sessions;
mod snapshot;
mod sql;
mod sqlite;
mod tallies;
mod tools;
mod turn;
mod verifier;
mod verify;
mod weather;

use std::{sync::Arc, time::Duration};

use domain::clock::{Apart, Clock};
use tokio::sync::Mutex;

pub use append::Unanswered;
pub use approvals::{ApprovalQuery, Before, FoundApproval, InboxCursor};
pub use backup::{Backup, backup};
pub use copy::{Copied, CopyStep, copy};
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
pub use place::{BadServerUrl, Place, ServerUrl};
pub use restore::Staged;
pub use retain::{ACTION as RETAIN, Oldest};
pub use row::hex as hash_from_hex;
pub use sealed::{SealedPlace, SealedRow, SealedTable};
pub use services::StoredService;
pub use sessions::Rotation;
pub use snapshot::Snapshot;
pub use sqlite::step_back;
pub use tallies::Tally;
pub use tools::{PutTool, PutTools, StoredTool};
pub use turn::Turn;
pub use verify::{Broken, Newest, Verification};
#[cfg(feature = "simulation")]
pub use weather::{Fate, Reader, Step, Weather, in_weather};

/// The open store: one connection that writes, and a few that read.
///
/// Several processes may have the same store open; their writes queue up behind each other, and each notices
/// what the others appended.
pub struct Store {
    writer: Arc<Mutex<append::Writer>>,
    number: hand::Number,
    readers: sql::Pool,
    /// What the lease rests on: on a server it must not wait for reads of calls.
    lookout: sql::Pool,
    place: Place,
    sync: Sync,
    install: [u8; 16],
    writer_name: Arc<str>,
}

/// See [`Store::changes`].
pub struct Changes(Option<postgres::Listening>);

impl Changes {
    /// Resolves when something may have changed; for a file, never.
    pub async fn next(&mut self) {
        match &mut self.0 {
            Some(listening) => listening.changed().await,
            None => std::future::pending().await,
        }
    }
}

/// What [`Store::check`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Which database it is: `SQLite` or `Postgres`.
    pub kind: &'static str,
    /// The schema's number.
    pub schema: i64,
    /// How long one small commit took; with [`Sync::Flush`] that is a flush of the disk.
    pub flush: Duration,
    /// The version of TLS on the way to a server, in the server's words: `TLSv1.3`.
    pub tls: Option<String>,
    /// The role that owns the tables' schema on a server, where that is not the one that is connected.
    pub other_owner: Option<String>,
    /// How far a server's clock is from ours.
    pub clock: Option<Apart>,
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
        let readers = open::peoples_readers(&self.place);
        Self {
            writer: Arc::clone(&self.writer),
            number: self.number.clone(),
            lookout: readers.clone(),
            readers,
            place: self.place.clone(),
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

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether several gateways may have it.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.place, Place::Server(_))
    }

    /// Makes this the store of a gateway that lets calls in, until it ends. On a file there is one such gateway, on a
    /// server there are several, each with a number of its own; what those left unfinished that do not live any more is
    /// nobody's.
    ///
    /// # Errors
    /// [`StoreError::Served`] when another gateway has the file, else whatever the store says.
    pub async fn serve(&self) -> Result<(), StoreError> {
        self.writer.lock().await.hand().serve().await
    }

    /// Looks for gateways that share this store and do not live any more; whether something unfinished is nobody's, which
    /// [`Store::lose_claims`] and [`Store::lost_executions`] find. To be called every second: one that was merely cut off
    /// has as much time to come back as four calls take.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn disown_the_dead(&self) -> Result<bool, StoreError> {
        self.writer.lock().await.hand().disown().await
    }

    /// Whether this is the one gateway that notifies, of all that share the store.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn is_notifier(&self) -> Result<bool, StoreError> {
        self.writer.lock().await.hand().is_notifier().await
    }

    /// Changes of other processes, told at once where the store can: on a server. It is quick, not sure; whoever must
    /// know looks now and then all the same.
    #[must_use]
    pub fn changes(&self) -> Changes {
        Changes(match &self.place {
            Place::File(_) => None,
            Place::Server(url) => Some(postgres::Listening::new(url)),
        })
    }

    /// Whether the store can be read and written: reads the schema's number and commits one small row. Of a server also
    /// what is to be known of the way to it and of its clock.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot.
    pub async fn check(&self, clock: &dyn Clock) -> Result<Check, StoreError> {
        let mut connection = self.readers.acquire().await?;
        let schema = schema::number(&mut connection).await?;
        let (tls, other_owner, apart) = match (&mut connection).into() {
            sql::Target::Postgres(connection) => (
                postgres::tls(connection).await?,
                postgres::other_owner(connection).await?,
                Some(postgres::clock(connection, clock).await?),
            ),
            _ => (None, None, None),
        };
        let mut writer = self.writer.lock().await;
        let before = clock.now().monotonic;
        writer.touch().await?;
        let flush = clock.now().monotonic.saturating_sub(before);
        Ok(Check { kind: self.place.kind(), schema, flush, tls, other_owner, clock: apart })
    }

    /// How far a server's clock is from ours; `None` for a file.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn clock(&self, clock: &dyn Clock) -> Result<Option<Apart>, StoreError> {
        let mut connection = self.readers.acquire().await?;
        match (&mut connection).into() {
            sql::Target::Postgres(connection) => Ok(Some(postgres::clock(connection, clock).await?)),
            _ => Ok(None),
        }
    }

    /// Waits for running writes, copies the write-ahead log into the file, and closes all connections.
    pub async fn close(self) {
        self.readers.close().await;
        self.lookout.close().await;
        // The last one closes what both wrote with.
        if let Some(writer) = Arc::into_inner(self.writer) {
            writer.into_inner().close().await;
        }
    }
}
