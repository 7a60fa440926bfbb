//! The inbox: what waits for people, most urgent first, and what was decided.

use domain::{
    approval::{Approval, Status},
    names::ApprovalId,
};
use jiff::Timestamp;

use crate::{Admin, AdminError};

/// Some held calls, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxPage {
    /// The calls.
    pub approvals: Vec<Approval>,
    /// Going on begins behind this one; `None`: there is nothing more.
    pub next: Option<(Timestamp, ApprovalId)>,
}

impl Admin {
    /// How many calls wait for people.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn count_waiting(&self) -> Result<u64, AdminError> {
        Ok(self.store.count_waiting().await?)
    }

    /// Calls that wait for people, what ends first coming first, at most `limit`.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn waiting(
        &self,
        after: Option<(Timestamp, ApprovalId)>,
        limit: u32,
    ) -> Result<InboxPage, AdminError> {
        let found = self.store.waiting(after, limit.saturating_add(1)).await?;
        Ok(page(found, limit, |approval| approval.held.decide_by))
    }

    /// Calls that wait for nobody any more, or those in one status, the newest first, at most `limit`.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn decided(
        &self,
        status: Option<Status>,
        after: Option<(Timestamp, ApprovalId)>,
        limit: u32,
    ) -> Result<InboxPage, AdminError> {
        let found = self.store.decided(status, after, limit.saturating_add(1)).await?;
        Ok(page(found, limit, |approval| approval.held.created_at))
    }
}

fn page(mut approvals: Vec<Approval>, limit: u32, at: impl Fn(&Approval) -> Timestamp) -> InboxPage {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = approvals.len() > limit;
    approvals.truncate(limit);
    let next = approvals.last().filter(|_| more).map(|last| (at(last), last.held.id));
    InboxPage { approvals, next }
}
