//! What has changed in the inbox since it was looked at last.

use std::collections::BTreeMap;

use domain::{
    approval::{Approval, ApprovalsRevision, Status},
    names::ApprovalId,
};
use jiff::Timestamp;
use store::{ApprovalQuery, Store, StoreError};

/// So many waiting calls are followed, the newest.
pub const WAITING_MAX: u32 = 1_000;
/// Calls that were held and ended between two looks are found among so many of the newest.
const NEWEST: u32 = 200;

/// The inbox as it was seen last.
pub struct Followed {
    since: Timestamp,
    revision: Option<ApprovalsRevision>,
    seen: BTreeMap<ApprovalId, Seen>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    status: Status,
    decisions: usize,
}

/// What a look found.
pub struct Found {
    /// What waits, the oldest first.
    pub waiting: Vec<Approval>,
    /// What is new, or other than before, the oldest first.
    pub changed: Vec<Approval>,
}

impl Followed {
    /// Nothing was seen yet; what ended before `since` is not told.
    pub fn new(since: Timestamp) -> Self {
        Self { since, revision: None, seen: BTreeMap::new() }
    }

    /// Looks; `None`: nothing has changed.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn look(&mut self, store: &Store) -> Result<Option<Found>, StoreError> {
        let revision = store.approvals_revision().await?;
        if self.revision == Some(revision) {
            return Ok(None);
        }
        let pending = ApprovalQuery { status: Some(Status::Pending), ..ApprovalQuery::default() };
        let mut waiting = store.approvals(&pending, WAITING_MAX).await?;
        waiting.reverse();
        let mut all: BTreeMap<ApprovalId, Approval> = BTreeMap::new();
        for approval in store.approvals(&ApprovalQuery::default(), NEWEST).await? {
            if approval.held.created_at >= self.since {
                all.insert(approval.held.id, approval);
            }
        }
        all.extend(waiting.iter().map(|approval| (approval.held.id, approval.clone())));
        for id in self.seen.keys() {
            if !all.contains_key(id)
                && let Some(approval) = store.approval(id).await?
            {
                all.insert(*id, approval);
            }
        }
        // Only now: a look that failed half-way is made again.
        self.revision = Some(revision);
        Ok(Some(Found { waiting, changed: self.compare(all.into_values().collect()) }))
    }

    /// What is new or other than before. What has reached its end is forgotten when it is no more among the newest.
    fn compare(&mut self, mut all: Vec<Approval>) -> Vec<Approval> {
        let before = std::mem::take(&mut self.seen);
        for approval in &all {
            let seen = Seen { status: approval.status, decisions: approval.decisions.len() };
            let ended_before = before.get(&approval.held.id).is_some_and(|before| before.status.is_final());
            if !ended_before || approval.held.created_at >= self.since {
                self.seen.insert(approval.held.id, seen);
            }
        }
        all.retain(|approval| {
            let seen = Seen { status: approval.status, decisions: approval.decisions.len() };
            before.get(&approval.held.id) != Some(&seen)
        });
        all.sort_by_key(|approval| (approval.held.created_at, approval.held.id));
        all
    }
}
