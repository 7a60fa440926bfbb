//! The one writer: entries become rows, linked into the chain.
//!
//! Events without changes are the calls' own and come by the thousand: a group is one multi-row statement,
//! so one hop to SQLite's thread and one flush. Entries with changes are rare and go through a transaction.

mod insert;

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use domain::audit::Event;
use sha2::{Digest as _, Sha256};
use sqlx::{
    Connection as _, Row as _, Sqlite, SqliteConnection, Transaction, query::Query, sqlite::SqliteArguments,
};

use crate::{Applied, Entry, Store, StoreError, Sync, change, open::connect_writer};

pub use insert::GROUP_MAX;
use insert::Inserts;

/// How often a group is linked anew because another process appended meanwhile, before it takes the lock for itself.
const RELINKS_MAX: usize = 3;

/// The connection that writes, and the end of the chain as it knows it.
pub struct Writer {
    connection: SqliteConnection,
    /// What another connection is made of.
    place: (PathBuf, Sync),
    name: Arc<str>,
    inserts: Inserts,
    /// `None`: to be read. It is a copy; the primary key decides, so a stale one costs a retry and no more.
    head: Option<Head>,
}

/// The last event of a chain. The first event follows [`Head::START`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub seq: i64,
    pub hash: [u8; 32],
}

impl Head {
    pub const START: Self = Self { seq: 0, hash: [0; 32] };
}

/// An event at its place in the chain.
pub struct Linked<'e> {
    pub event: &'e Event,
    pub seq: i64,
    pub record: String,
    pub hash: [u8; 32],
}

/// The SHA-256 of a record's bytes.
pub fn hash_of(record: &str) -> [u8; 32] {
    Sha256::digest(record.as_bytes()).into()
}

impl Store {
    /// Writes entries in their order, in groups of at most 128.
    ///
    /// When this returns `Ok`, every `Done` is as durable as [`Store::sync`] says. Entries without changes are
    /// one statement a group; a group with changes is one transaction. An entry that cannot be written does
    /// not take others of its group with it.
    ///
    /// # Errors
    /// [`StoreError`] when the store itself fails: then nothing of the failing group and what follows it is
    /// written, groups before it are.
    pub async fn append(&self, entries: &[Entry]) -> Result<Vec<Applied>, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut applied = Vec::with_capacity(entries.len());
        for group in entries.chunks(GROUP_MAX) {
            if group.iter().all(|entry| entry.change.is_none()) {
                let events: Vec<&Event> = group.iter().map(|entry| &entry.event).collect();
                writer.append_events(&events).await?;
                applied.extend(group.iter().map(|_| Applied::Done));
            } else {
                writer.append_entries(group, &mut applied).await?;
            }
        }
        Ok(applied)
    }
}

impl Writer {
    pub fn new(connection: SqliteConnection, place: (PathBuf, Sync), name: Arc<str>) -> Self {
        Self { connection, place, inserts: Inserts::new(), name, head: None }
    }

    /// One commit that changes nothing.
    pub async fn touch(&mut self) -> Result<(), StoreError> {
        let touch = "UPDATE meta SET value = value WHERE name = 'writer'";
        sqlx::query(touch).execute(&mut self.connection).await?;
        Ok(())
    }

    pub async fn close(self) {
        // Best effort: whatever is committed is safe already.
        let _ = self.connection.close().await;
    }

    /// Runs a statement that the trail does not tell of: sealed values, the last use of keys.
    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    /// Begins a transaction that locks out other writers.
    pub async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>, StoreError> {
        begin(&mut self.connection, &self.place).await
    }

    async fn append_events(&mut self, events: &[&Event]) -> Result<(), StoreError> {
        for _ in 0..RELINKS_MAX {
            let head = match self.head.take() {
                Some(head) => head,
                None => read_head(&mut self.connection).await?,
            };
            let (linked, next) = link(events.iter().copied(), &self.name, head);
            let first = linked.first().map(|first| (first.seq, first.hash));
            match self.inserts.statement(linked).execute(&mut self.connection).await {
                Ok(_) => {
                    self.head = Some(next);
                    return Ok(());
                }
                Err(error) if StoreError::is_duplicate(&error) => {}
                // Whether an error came before or after the commit is unknown; the row itself tells.
                Err(error) => return self.settle(first, next, error).await,
            }
        }
        self.append_under_lock(events).await
    }

    /// Where others append all the time, the head is read and followed in one transaction.
    async fn append_under_lock(&mut self, events: &[&Event]) -> Result<(), StoreError> {
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
        let head = read_head(&mut transaction).await?;
        let (linked, next) = link(events.iter().copied(), &self.name, head);
        let first = linked.first().map(|first| (first.seq, first.hash));
        self.inserts.statement(linked).execute(&mut *transaction).await?;
        match transaction.commit().await {
            Ok(()) => self.head = Some(next),
            Err(error) => self.settle(first, next, error).await?,
        }
        Ok(())
    }

    async fn append_entries(
        &mut self,
        group: &[Entry],
        applied: &mut Vec<Applied>,
    ) -> Result<(), StoreError> {
        match self.transact(group).await {
            Ok(mut results) => applied.append(&mut results),
            // One bad entry must not sink the others.
            Err(StoreError::Database(error)) if group.len() > 1 && StoreError::is_of_a_row(&error) => {
                for entry in group {
                    let result = self.transact(std::slice::from_ref(entry)).await;
                    applied.push(match result.map(|mut results| results.pop()) {
                        Ok(result) => result.unwrap_or(Applied::ConditionFailed),
                        Err(error) => Applied::Failed(error),
                    });
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Conditions first; then the events of what was changed are linked and inserted; then the commit.
    async fn transact(&mut self, group: &[Entry]) -> Result<Vec<Applied>, StoreError> {
        self.head = None;
        let mut transaction = begin(&mut self.connection, &self.place).await?;
        let (mut results, mut events) = (Vec::with_capacity(group.len()), Vec::new());
        let mut moved = BTreeSet::new();
        for entry in group {
            let done = match &entry.change {
                None => true,
                Some(change) => {
                    let changed = change::apply(&mut transaction, change).await?;
                    moved.extend(change::area(change).filter(|_| changed));
                    changed
                }
            };
            if done {
                events.push(&entry.event);
            }
            results.push(if done { Applied::Done } else { Applied::ConditionFailed });
        }
        if events.is_empty() {
            transaction.rollback().await?;
            return Ok(results);
        }
        let head = read_head(&mut transaction).await?;
        let (linked, next) = link(events, &self.name, head);
        let first = linked.first().map(|first| (first.seq, first.hash));
        self.inserts.statement(linked).execute(&mut *transaction).await?;
        for area in moved {
            bump(&mut transaction, area).await?;
        }
        match transaction.commit().await {
            Ok(()) => self.head = Some(next),
            Err(error) => self.settle(first, next, error).await?,
        }
        Ok(results)
    }

    /// After an error whose outcome is unknown: is the first record there, with its hash? Then all are.
    async fn settle(
        &mut self,
        first: Option<(i64, [u8; 32])>,
        next: Head,
        error: sqlx::Error,
    ) -> Result<(), StoreError> {
        let Some((seq, hash)) = first else { return Err(error.into()) };
        let found = sqlx::query_scalar::<_, Vec<u8>>("SELECT hash FROM audit WHERE seq = $1")
            .bind(seq)
            .fetch_optional(&mut self.connection)
            .await;
        match found {
            Ok(Some(stored)) if stored == hash => {
                self.head = Some(next);
                Ok(())
            }
            _ => Err(error.into()),
        }
    }
}

/// Moves a revision on.
pub async fn bump(connection: &mut SqliteConnection, area: &str) -> Result<(), StoreError> {
    let bump = "UPDATE revisions SET number = number + 1 WHERE area = $1";
    sqlx::query(bump).bind(area).execute(connection).await?;
    Ok(())
}

/// Begins a transaction, on a new connection where the old one is beyond use.
async fn begin<'c>(
    connection: &'c mut SqliteConnection,
    (path, sync): &(PathBuf, Sync),
) -> Result<Transaction<'c, Sqlite>, StoreError> {
    if connection.is_in_transaction() {
        // The rollback of one that was given up may still be on its way.
        connection.ping().await?;
    }
    if connection.is_in_transaction() {
        // After a full disk SQLite has rolled back by itself, which sqlx takes for a transaction that never ends.
        *connection = connect_writer(path, *sync).await?;
    }
    Ok(connection.begin_with("BEGIN IMMEDIATE").await?)
}

/// The end of a chain as it is stored.
async fn read_head(connection: &mut SqliteConnection) -> Result<Head, StoreError> {
    let last = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
    let Some(row) = sqlx::query(last).fetch_optional(connection).await? else {
        return Ok(Head::START);
    };
    let seq: i64 = row.try_get(0)?;
    let hash: &[u8] = row.try_get(1)?;
    let hash = hash.try_into().map_err(|_| StoreError::damaged(format!("event {seq}")))?;
    Ok(Head { seq, hash })
}

/// Puts events at the end of a chain: each record holds the hash of the one before it.
fn link<'e>(
    events: impl IntoIterator<Item = &'e Event>,
    writer: &str,
    mut head: Head,
) -> (Vec<Linked<'e>>, Head) {
    let events = events.into_iter();
    let mut linked = Vec::with_capacity(events.size_hint().0);
    for event in events {
        let seq = head.seq + 1;
        let record = event.record(seq, writer, &head.hash);
        let hash = hash_of(&record);
        head = Head { seq, hash };
        linked.push(Linked { event, seq, record, hash });
    }
    (linked, head)
}

type Statement<'q> = Query<'q, sqlx::Sqlite, SqliteArguments>;
