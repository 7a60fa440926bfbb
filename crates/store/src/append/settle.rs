//! What became of a group whose commit nobody answered for: it is looked for, so that nothing is written twice and whoever
//! waits is told the truth.

use std::time::Duration;

use super::{Head, Writer};
use crate::{Applied, Entry, Store, StoreError, sql};

/// How long somebody who waits has it looked for.
const TOLD_WITHIN: Duration = Duration::from_secs(10);
/// The pause before the next look.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A group that is written as a whole, or not at all: the store did not answer when it was to commit it.
#[derive(Debug)]
pub struct Unanswered {
    /// Where its last event is, if it is written.
    last: Head,
    /// Of each entry, whether its condition held.
    held: Vec<bool>,
    /// What was said instead of an answer.
    instead: StoreError,
}

impl Unanswered {
    /// What was said instead of an answer.
    #[must_use]
    pub fn instead(&self) -> &StoreError {
        &self.instead
    }

    pub(super) fn events(last: Head, count: usize, instead: StoreError) -> Self {
        Self { last, held: vec![true; count], instead }
    }

    pub(super) fn entries(last: Head, applied: &[Applied], instead: StoreError) -> Self {
        let held = applied.iter().map(|one| matches!(one, Applied::Done)).collect();
        Self { last, held, instead }
    }

    /// What became of its entries, now that they are known to be written.
    fn applied(&self) -> Vec<Applied> {
        let applied = |held: &bool| if *held { Applied::Done } else { Applied::ConditionFailed };
        self.held.iter().map(applied).collect()
    }
}

impl Store {
    /// Looks whether a group is written that nobody answered for: what became of its entries; `None` when it is not, and
    /// never will be.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer; then nobody knows yet.
    pub async fn settle(&self, unanswered: &Unanswered) -> Result<Option<Vec<Applied>>, StoreError> {
        let is_written = self.writer.lock().await.has_written(unanswered).await?;
        Ok(is_written.then(|| unanswered.applied()))
    }

    /// As [`Store::append`], for one group that somebody waits for: where nobody answers for its commit, it is looked for
    /// until the store is back, for ten seconds at most.
    ///
    /// # Errors
    /// As [`Store::append`]; [`StoreError::Unanswered`] when the store was not back by then.
    pub async fn append_and_tell(&self, entries: &[Entry]) -> Result<Vec<Applied>, StoreError> {
        let unanswered = match self.append(entries).await {
            Err(StoreError::Unanswered(unanswered)) => unanswered,
            told => return told,
        };
        let found = async {
            loop {
                tokio::time::sleep(LOOK_AGAIN).await;
                if let Ok(found) = self.settle(&unanswered).await {
                    return found;
                }
            }
        };
        match tokio::time::timeout(TOLD_WITHIN, found).await {
            Ok(Some(applied)) => Ok(applied),
            Ok(None) => Err(unanswered.instead),
            Err(_) => Err(StoreError::Unanswered(unanswered)),
        }
    }
}

impl Writer {
    /// Goes on where the group is written after all.
    pub(super) async fn look_for(&mut self, unanswered: Unanswered) -> Result<(), StoreError> {
        match self.has_written(&unanswered).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(unanswered.instead),
            Err(_) => Err(StoreError::Unanswered(Box::new(unanswered))),
        }
    }

    /// Is its last event there, with its hash? Then all are, and so are the changes that they tell of. It is looked up under
    /// the lock: on a server the commit may still be under way without us, and its old session holds the lock until it is
    /// done. A statement that comes too late finds its place in the chain taken, or its session ended by the new one.
    async fn has_written(&mut self, unanswered: &Unanswered) -> Result<bool, StoreError> {
        let Head { seq, hash } = unanswered.last;
        let mut transaction = self.hand.begin().await?;
        let select = sql::query_scalar::<Vec<u8>>("SELECT hash FROM audit WHERE seq = $1").bind(seq);
        let stored = select.fetch_optional(&mut transaction).await?;
        drop(transaction);
        let is_written = stored.is_some_and(|stored| stored == hash);
        if is_written {
            self.own = Some(unanswered.last);
        }
        Ok(is_written)
    }
}

#[cfg(test)]
mod tests {
    use domain::audit::{Event, Kind};
    use jiff::Timestamp;

    use super::*;
    use crate::{Birth, Place, StoreOptions, Sync, append::read_head};

    fn unanswered(last: Head) -> Unanswered {
        let applied = [Applied::Done, Applied::ConditionFailed];
        Unanswered::entries(last, &applied, sqlx::Error::PoolTimedOut.into())
    }

    #[tokio::test]
    async fn what_nobody_answered_for_is_found_only_where_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let create = Some(Birth { install: [1; 16], now: Timestamp::UNIX_EPOCH });
        let place = Place::File(folder.path().join("toolgate.db"));
        let store = Store::open(&StoreOptions { place, sync: Sync::Os, create }).await.unwrap();
        let event = || Entry::from(Event::new(Timestamp::UNIX_EPOCH, Kind::System));
        store.append(&[event()]).await.unwrap();
        let head = read_head(&mut store.writer.lock().await.connection().await.unwrap()).await.unwrap();

        let found = store.settle(&unanswered(head)).await.unwrap();
        assert!(matches!(found.as_deref(), Some([Applied::Done, Applied::ConditionFailed])), "{found:?}");
        // Later ones do not hide it.
        store.append(&[event()]).await.unwrap();
        assert!(store.settle(&unanswered(head)).await.unwrap().is_some());

        let never = Head { seq: head.seq + 2, ..head };
        assert!(store.settle(&unanswered(never)).await.unwrap().is_none(), "its place is free");
        let other = Head { hash: [7; 32], ..head };
        assert!(store.settle(&unanswered(other)).await.unwrap().is_none(), "its place was taken by another");
        store.append(&[event()]).await.unwrap();
        assert!(store.verify(|_, _| {}).await.unwrap().ok);
    }
}
