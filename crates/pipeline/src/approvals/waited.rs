//! Who is waiting for which approval. Only those whose approval has changed are woken, and one query to the store
//! serves them all, because the store has other work to do.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use domain::{approval::Status, names::ApprovalId};
use tokio::sync::watch;

/// Somebody who waits.
pub(super) struct Waiter<'w> {
    waited: &'w Waited,
    id: ApprovalId,
    seen: watch::Receiver<Seen>,
}

/// The status that those who wait for an approval have seen; none before the first of them has.
type Seen = Option<Status>;

/// The approvals that are waited for.
#[derive(Default)]
pub(super) struct Waited(Mutex<HashMap<ApprovalId, watch::Sender<Seen>>>);

impl Waited {
    /// Somebody waits from now on, until what is returned is dropped.
    pub(super) fn begin(&self, id: &ApprovalId) -> Waiter<'_> {
        let seen = self.lock().entry(*id).or_insert_with(|| watch::Sender::new(None)).subscribe();
        Waiter { waited: self, id: *id, seen }
    }

    /// The approvals that somebody waits for.
    pub(super) fn ids(&self) -> Vec<ApprovalId> {
        self.lock().keys().copied().collect()
    }

    /// Wakes whoever waits for one of these and has seen another status.
    pub(super) fn tell(&self, statuses: &[(ApprovalId, Status)]) {
        let waited = self.lock();
        for (id, status) in statuses {
            if let Some(known) = waited.get(id) {
                known.send_if_modified(|known| known.replace(*status) != Some(*status));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ApprovalId, watch::Sender<Seen>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter<'_> {
    /// What happens from now on is news. To be called before the approval is read.
    pub(super) fn will_read(&mut self) {
        self.seen.mark_unchanged();
    }

    /// The approval was read and has this status. Nobody is woken: a look that was quicker knows more.
    pub(super) fn saw(&self, status: Status) {
        if let Some(known) = self.waited.lock().get(&self.id) {
            known.send_if_modified(|known| {
                known.get_or_insert(status);
                false
            });
        }
    }

    /// Resolves when the approval has another status than was seen.
    pub(super) async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // The entry stays as long as somebody waits.
            std::future::pending().await
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        let mut waited = self.waited.lock();
        // The last receiver is its own.
        if waited.get(&self.id).is_some_and(|known| known.receiver_count() <= 1) {
            waited.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_woken(waiter: &mut Waiter<'_>) -> bool {
        let woken = waiter.seen.has_changed().unwrap();
        waiter.will_read();
        woken
    }

    #[test]
    fn only_those_are_woken_whose_approval_has_changed() {
        let waited = Waited::default();
        let (one, two) = (ApprovalId::new(1), ApprovalId::new(2));
        let (mut first, mut second) = (waited.begin(&one), waited.begin(&two));
        first.saw(Status::Pending);
        second.saw(Status::Pending);
        waited.tell(&[(one, Status::Pending), (two, Status::Pending)]);
        assert!(!is_woken(&mut first) && !is_woken(&mut second));
        waited.tell(&[(one, Status::Approved), (two, Status::Pending)]);
        assert!(is_woken(&mut first) && !is_woken(&mut second));

        // Who begins late has read for themselves; an old reading of theirs hides nothing.
        let mut late = waited.begin(&one);
        late.saw(Status::Pending);
        waited.tell(&[(one, Status::Approved)]);
        assert!(!is_woken(&mut late) && !is_woken(&mut first));
        waited.tell(&[(one, Status::Executing)]);
        assert!(is_woken(&mut late) && is_woken(&mut first));
    }

    #[test]
    fn whoever_begins_before_reading_misses_nothing() {
        let (waited, one) = (Waited::default(), ApprovalId::new(1));
        let mut waiter = waited.begin(&one);
        waiter.will_read();
        // The look comes between the beginning and the end of the reading.
        waited.tell(&[(one, Status::Executed)]);
        waiter.saw(Status::Pending);
        assert!(is_woken(&mut waiter));
    }

    #[test]
    fn an_approval_that_nobody_waits_for_any_more_is_forgotten() {
        let (waited, one) = (Waited::default(), ApprovalId::new(1));
        let (first, second) = (waited.begin(&one), waited.begin(&one));
        drop(first);
        assert_eq!(waited.ids(), [one]);
        drop(second);
        assert!(waited.ids().is_empty());
    }
}
