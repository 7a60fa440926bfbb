//! The one writer: entries become rows, linked into the chain.
//!
//! Events without changes are the calls' own and come by the thousand: a group is one multi-row statement,
//! so one hop to SQLite's thread and one flush. Entries with changes are rare and go through a transaction.

mod postgres;
mod settle;
mod sqlite;

use std::{collections::BTreeSet, sync::Arc};

use domain::audit::Event;
use sha2::{Digest as _, Sha256};

use crate::{
    Applied, Entry, Store, StoreError, change,
    hand::Hand,
    sql::{self, Connection, in_time},
    weather::{self, Step},
};
pub use settle::Unanswered;
use sqlite::Inserts;

/// The most events of one statement.
pub const GROUP_MAX: usize = 128;

/// The connection that writes, and the end of the chain as it knows it.
pub struct Writer {
    hand: Hand,
    name: Arc<str>,
    inserts: Inserts,
    /// The end of the chain, while nobody else appends; then a group needs no look at it. It is a copy; the primary key
    /// decides, so a stale one costs a retry and no more.
    head: Option<Head>,
    /// The last event that was written here.
    own: Option<Head>,
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
    /// not take others of its group with it; where the store fails after that, those that are left have
    /// [`Applied::Failed`] with an error that is not [of one entry](StoreError::is_of_one_entry).
    ///
    /// # Errors
    /// [`StoreError`] when the store itself fails: then nothing of the failing group and what follows it is
    /// written, groups before it are. [`StoreError::Unanswered`] when nobody can say whether the failing group is
    /// written; [`Store::settle`] finds out.
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

    /// One commit that changes nothing: whether the store takes what is written.
    ///
    /// # Errors
    /// [`StoreError`] when it does not.
    pub async fn touch(&self) -> Result<(), StoreError> {
        self.writer.lock().await.touch().await
    }
}

impl Writer {
    pub fn new(hand: Hand, name: Arc<str>) -> Self {
        Self { hand, name, inserts: Inserts::new(), head: None, own: None }
    }

    /// One commit that changes nothing.
    pub async fn touch(&mut self) -> Result<(), StoreError> {
        let touch = sql::query("UPDATE meta SET value = value WHERE name = 'writer'");
        touch.execute(&mut self.connection().await?).await?;
        Ok(())
    }

    pub async fn close(self) {
        self.hand.close().await;
    }

    /// The connection, for a statement that the trail does not tell of and that changes one row: sealed values, the last
    /// use of keys.
    pub async fn connection(&mut self) -> Result<Connection<'_>, StoreError> {
        self.hand.connection().await
    }

    /// Begins a transaction that locks out other writers.
    pub async fn begin(&mut self) -> Result<Connection<'_>, StoreError> {
        self.hand.begin().await
    }

    /// The connection itself.
    pub fn hand(&mut self) -> &mut Hand {
        &mut self.hand
    }

    async fn append_events(&mut self, events: &[&Event]) -> Result<(), StoreError> {
        // While nobody else appends, one statement is all.
        let Some(head) = self.head.take() else { return self.append_under_lock(events).await };
        let (linked, next) = link(events.iter().copied(), &self.name, head);
        let inserted = {
            let Self { hand, inserts, .. } = self;
            // Without a connection nothing was sent: nothing to be in doubt about.
            let mut connection = hand.connection().await?;
            // A statement that is a transaction by itself.
            weather::step(Step::Commit, insert_in(&mut connection, inserts, linked, head)).await
        };
        match inserted {
            Ok(true) => self.wrote(head, next),
            Ok(false) => self.append_under_lock(events).await?,
            Err(error) if error.is_duplicate() => self.append_under_lock(events).await?,
            // Whether an error came before or after the commit is unknown; the row itself tells.
            Err(error) => self.look_for(Unanswered::events(next, events.len(), error)).await?,
        }
        Ok(())
    }

    /// Where others append too, the head is read and followed in one transaction.
    async fn append_under_lock(&mut self, events: &[&Event]) -> Result<(), StoreError> {
        let mut transaction = self.hand.begin().await?;
        let head = read_head(&mut transaction).await?;
        let (linked, next) = link(events.iter().copied(), &self.name, head);
        // It was read in this transaction, so it is there.
        insert_in(&mut transaction, &self.inserts, linked, head).await?;
        match transaction.commit().await {
            Ok(()) => self.wrote(head, next),
            Err(error) => self.look_for(Unanswered::events(next, events.len(), error.into())).await?,
        }
        Ok(())
    }

    /// The chain goes on from here, without a look at it where what was written before was still its end.
    fn wrote(&mut self, after: Head, next: Head) {
        self.head = (self.own == Some(after)).then_some(next);
        self.own = Some(next);
    }

    async fn append_entries(
        &mut self,
        group: &[Entry],
        applied: &mut Vec<Applied>,
    ) -> Result<(), StoreError> {
        match self.transact(group).await {
            Ok(mut results) => applied.append(&mut results),
            // One bad entry must not sink the others, nor be tried again for ever by who takes it for the store's fault.
            Err(error) if error.is_of_one_entry() => {
                if let [_] = group {
                    applied.push(Applied::Failed(error));
                    return Ok(());
                }
                let mut is_away = false;
                for entry in group {
                    // Where the store went away meanwhile, nobody waits for that once more with each of the rest.
                    if is_away {
                        applied.push(Applied::Failed(StoreError::Untried));
                        continue;
                    }
                    let result = self.transact(std::slice::from_ref(entry)).await;
                    applied.push(match result.map(|mut results| results.pop()) {
                        Ok(result) => result.unwrap_or(Applied::ConditionFailed),
                        Err(error) => {
                            is_away = !error.is_of_one_entry();
                            Applied::Failed(error)
                        }
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
        let number = self.hand.number();
        let mut transaction = self.hand.begin().await?;
        // Not before: the connection may have been made anew. A claim bears the number whose lock the connection has that
        // commits it.
        let node = number.get();
        let (mut results, mut events) = (Vec::with_capacity(group.len()), Vec::new());
        let mut moved = BTreeSet::new();
        for entry in group {
            let done = match &entry.change {
                None => true,
                Some(change) => {
                    let changed = change::apply(&mut transaction, change, node).await?;
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
            return Ok(results);
        }
        let head = read_head(&mut transaction).await?;
        let (linked, next) = link(events, &self.name, head);
        // It was read in this transaction, so it is there.
        insert_in(&mut transaction, &self.inserts, linked, head).await?;
        for area in moved {
            bump(&mut transaction, area).await?;
        }
        match transaction.commit().await {
            Ok(()) => self.wrote(head, next),
            Err(error) => self.look_for(Unanswered::entries(next, &results, error.into())).await?,
        }
        Ok(results)
    }
}

/// Moves a revision on. On Postgres those who listen hear of it with the commit.
pub async fn bump(connection: &mut Connection<'_>, area: &str) -> Result<(), StoreError> {
    let bump = "UPDATE revisions SET number = number + 1 WHERE area = $1";
    sql::query(bump).bind(area).execute(&mut *connection).await?;
    if let Connection::Postgres(_) = connection {
        sql::query("SELECT pg_notify($1, $2)")
            .bind(crate::postgres::CHANNEL)
            .bind(area)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// Inserts events by one statement behind `after`; whether they were. On a file they always are: it forgets nothing.
async fn insert_in(
    connection: &mut Connection<'_>,
    inserts: &Inserts,
    rows: Vec<Linked<'_>>,
    after: Head,
) -> Result<bool, StoreError> {
    let inserted = match connection.into() {
        sql::Target::Sqlite(connection) => {
            weather::still(inserts.statement(rows).execute(connection)).await?.rows_affected()
        }
        sql::Target::Postgres(connection) => {
            in_time(postgres::statement(rows, after).execute(connection)).await?.rows_affected()
        }
        // A connection is no pool.
        sql::Target::SqlitePool(_) | sql::Target::PostgresPool(_) => 0,
    };
    Ok(inserted > 0)
}

/// The end of a chain as it is stored.
pub async fn read_head(connection: &mut Connection<'_>) -> Result<Head, StoreError> {
    let last = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
    let Some(row) = sql::query(last).fetch_optional(connection).await? else {
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
