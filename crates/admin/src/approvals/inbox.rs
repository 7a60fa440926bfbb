//! The inbox: what waits for people, most urgent first, and what was decided.

use domain::{
    approval::{Approval, Status},
    idempotency::StoredAnswer,
    names::ApprovalId,
};
use jiff::Timestamp;
use store::Before;
use vault::{Label, Vault};

use super::{ApprovalPage, SecondLook, Sees, ShownBody};
use crate::{Admin, AdminError};

/// How long a sealed call may be that is shown in the list itself (bytes); longer ones have a page of their own.
const SHOWN_MAX: u32 = 4_096;

/// Some held calls, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxPage {
    /// The calls.
    pub approvals: Vec<Approval>,
    /// Going on begins behind this one; `None`: there is nothing more.
    pub next: Option<(Timestamp, ApprovalId)>,
}

/// What an executed call was answered with, made safe to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The length of its body (bytes).
    pub bytes: u64,
    /// The body.
    pub body: ShownBody,
}

impl Admin {
    /// The pages of these held calls as the list shows them: those that are short, with the whole call; of others only
    /// what the trail keeps of their arguments, and nobody decides on those there. `before` knows only whether the
    /// identical call was executed.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn short_pages(
        &self,
        now: Timestamp,
        approvals: Vec<Approval>,
        vault: &Vault,
        sees: Sees,
        look: SecondLook<'_>,
    ) -> Result<Vec<ApprovalPage>, AdminError> {
        let services = self.store.load_services().await?;
        let mut pages = Vec::with_capacity(approvals.len());
        for approval in approvals {
            let service = services.iter().map(|stored| &stored.service);
            let service = service.into_iter().find(|service| service.name == approval.held.service);
            let identical = self.store.identical(&approval).await?;
            let before = Before { identical, ..Before::default() };
            let sealed = match sees {
                Sees::Whole => self.store.short_held_call(&approval.held.id, SHOWN_MAX).await?,
                Sees::Redacted => None,
            };
            // One that does not open says so on its own page; the list stays readable.
            let whole = sealed.and_then(|sealed| {
                let seen = (vault, Sees::Whole);
                let page = ApprovalPage::of(approval.clone(), before.clone(), service, seen, Some(&sealed));
                page.ok().map(|mut page| {
                    page.look_again(now, vault, Some(&sealed), look);
                    page
                })
            });
            pages.push(match whole {
                Some(page) => page,
                None => ApprovalPage::of(approval, before, service, (vault, Sees::Redacted), None)?,
            });
        }
        Ok(pages)
    }

    /// What an executed call was answered with; `None` where nothing is kept, or not for who asks.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn approval_answer(
        &self,
        approval: &Approval,
        vault: &Vault,
        sees: Sees,
    ) -> Result<Option<ShownAnswer>, AdminError> {
        let held = &approval.held;
        if sees == Sees::Redacted {
            return Ok(None);
        }
        let Some(sealed) = self.store.approval_answer(&held.id).await? else { return Ok(None) };
        let opened = vault.open_sealed(&Label::of_approval_answer(&held.agent, &held.id), &sealed).ok();
        let answer = opened.and_then(|opened| StoredAnswer::from_bytes(opened.reveal()));
        Ok(answer.map(|answer| ShownAnswer {
            status: answer.status,
            bytes: answer.body.len() as u64,
            body: ShownBody::of(&answer.body, true),
        }))
    }

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
