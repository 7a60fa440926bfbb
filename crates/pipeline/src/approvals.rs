//! The ledger of held calls as a gateway uses it: which approval an identical call joins, sealing a call and opening
//! it again, the answer to a call that has ended, and news of changes, so that waiters need not poll.

mod waited;

use std::{collections::HashSet, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use domain::{
    approval::{Approval, ApprovalsRevision, HeldCall, NotApproved, Status, Ticket},
    audit::Effect,
    clock::Clock,
    idempotency::{IdempotencyKey, StoredAnswer},
    names::{AgentName, ApprovalId},
    stop::{Fault, Refusal, Stop},
};
use store::{Change, Entry, SealedBody, Store, StoreError};
use tokio::sync::{Notify, watch};
use vault::{Label, Vault};

use self::waited::Waited;
use crate::{
    arrival::Caller,
    gateway::Bounds,
    recorder::{Recorder, Written},
};

/// How often the store is asked for news while calls are held: from a decision to its execution this is what passes.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How often while none are.
const LOOK_EVERY_IDLE: Duration = Duration::from_millis(250);

/// How long things take, and how many may wait.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long a connection waits for people at most, before it is answered 428.
    pub hold: Duration,
    /// How long people have to decide, where no rule says it.
    pub decide_within: Duration,
    /// How long an approved call may be executed, where no rule says it.
    pub execute_within: Duration,
    /// How long call and answer are kept after the end.
    pub keep_result: Duration,
    /// How many calls of one agent may wait for people.
    pub pending_max: u32,
}

/// The ledger.
pub struct Approvals {
    store: Arc<Store>,
    vault: Arc<Vault>,
    clock: Arc<dyn Clock>,
    recorder: Arc<Recorder>,
    /// What was configured.
    pub terms: Terms,
    bounds: Bounds,
    /// The agents that have calls in the ledger whose end they were not told. Most calls are of others, and need not
    /// ask the store.
    live: ArcSwap<HashSet<AgentName>>,
    revision: watch::Sender<ApprovalsRevision>,
    waited: Waited,
    news: Notify,
}

impl Approvals {
    /// The ledger of this store; calls and answers are sealed with this vault.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn load(
        store: Arc<Store>,
        vault: Arc<Vault>,
        clock: Arc<dyn Clock>,
        recorder: Arc<Recorder>,
        terms: Terms,
        bounds: Bounds,
    ) -> Result<Arc<Self>, StoreError> {
        let revision = watch::Sender::new(store.approvals_revision().await?);
        let live = ArcSwap::from_pointee(store.agents_with_live_approvals().await?);
        Ok(Arc::new(Self {
            store,
            vault,
            clock,
            recorder,
            terms,
            bounds,
            live,
            revision,
            waited: Waited::default(),
            news: Notify::new(),
        }))
    }

    /// Looks for news for ever. Run it as a task of its own.
    pub async fn run(self: Arc<Self>) {
        let mut failing = false;
        loop {
            let pause = if self.live.load().is_empty() { LOOK_EVERY_IDLE } else { LOOK_EVERY };
            tokio::select! {
                biased;
                () = self.news.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
            match self.look().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!("held calls cannot be looked up: {error}");
                    }
                    tokio::time::sleep(LOOK_EVERY_IDLE).await;
                }
            }
        }
    }

    async fn look(&self) -> Result<(), StoreError> {
        let revision = self.store.approvals_revision().await?;
        if revision != *self.revision.borrow() {
            self.live.store(Arc::new(self.store.agents_with_live_approvals().await?));
            self.waited.tell(&self.store.approval_statuses(&self.waited.ids()).await?);
            self.revision.send_replace(revision);
        }
        Ok(())
    }

    /// Changes each time something happened to an approval, on any node.
    pub(crate) fn subscribe(&self) -> watch::Receiver<ApprovalsRevision> {
        self.revision.subscribe()
    }

    /// Something happened in this process: whoever waits is told at once.
    pub(crate) fn tell(&self) {
        self.news.notify_one();
    }

    /// Whether an agent has calls in the ledger whose end it was not told. What another node has just held may be
    /// missing for a moment.
    pub(crate) fn has_live(&self, agent: &AgentName) -> bool {
        self.live.load().contains(agent)
    }

    /// This agent has one from now on.
    pub(crate) fn note_live(&self, agent: &AgentName) {
        self.live.rcu(|live| {
            let mut live = HashSet::clone(live);
            live.insert(agent.clone());
            live
        });
        self.tell();
    }

    /// The approval that a call meets.
    ///
    /// # Errors
    /// [`Fault::StoreUnavailable`]; [`Refusal::KeyReused`] when its idempotency key holds another call.
    pub(crate) async fn met_by(
        &self,
        agent: &AgentName,
        digest: &[u8; 32],
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Approval>, Stop> {
        let found =
            self.store.live_approval(agent, digest, key).await.map_err(|error| unavailable(&error))?;
        match found {
            Some(approval) if approval.held.call_digest != *digest => Err(Refusal::KeyReused.into()),
            found => Ok(found),
        }
    }

    /// Whether as many calls of an agent wait for people as may.
    ///
    /// # Errors
    /// [`Fault::StoreUnavailable`].
    pub(crate) async fn is_full(&self, agent: &AgentName) -> Result<bool, Stop> {
        let pending = self.store.count_pending(agent).await.map_err(|error| unavailable(&error))?;
        Ok(pending >= self.terms.pending_max)
    }

    /// A call, sealed for its row.
    pub(crate) fn seal(&self, agent: &AgentName, id: &ApprovalId, call: &HeldCall) -> SealedBody {
        SealedBody(self.vault.seal(&Label::of_held_call(agent, id), &call.to_bytes()))
    }

    /// An answer, sealed for its row.
    pub(crate) fn seal_answer(
        &self,
        agent: &AgentName,
        id: &ApprovalId,
        answer: &StoredAnswer,
    ) -> SealedBody {
        SealedBody(self.vault.seal(&Label::of_approval_answer(agent, id), &answer.to_bytes()))
    }

    /// Whether the call is sealed under a term that the vault of this gateway does not have.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub(crate) async fn lacks_term_of(&self, approval: &Approval) -> Result<bool, StoreError> {
        let sealed = self.store.held_call(&approval.held.id).await?;
        Ok(sealed.is_some_and(|sealed| self.vault.lacks_term_of(&sealed)))
    }

    /// Whether this gateway still is the one that executes it: nobody has given it up.
    ///
    /// # Errors
    /// [`Fault::StaleAuthorization`] when it was, [`Fault::StoreUnavailable`].
    pub(crate) async fn is_still_ours(&self, id: &ApprovalId) -> Result<(), Fault> {
        match self.store.executes(id).await.map_err(|error| unavailable(&error))? {
            true => Ok(()),
            false => Err(Fault::StaleAuthorization),
        }
    }

    /// The call as it was held; `None` when it is not kept any more or does not open, which the log is told.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub(crate) async fn open(&self, approval: &Approval) -> Result<Option<HeldCall>, StoreError> {
        let (agent, id) = (&approval.held.agent, &approval.held.id);
        let Some(sealed) = self.store.held_call(id).await? else { return Ok(None) };
        let opened = self.vault.open_sealed(&Label::of_held_call(agent, id), &sealed).ok();
        let call = opened.and_then(|bytes| HeldCall::from_bytes(bytes.reveal()));
        if call.is_none() {
            tracing::error!("the held call {id} does not open; it will not be sent");
        }
        Ok(call)
    }

    /// Waits, at most `wait`, until an approval of this agent has ended, or until the gateway stops.
    ///
    /// # Errors
    /// [`Refusal::NoSuchApproval`] for one that is not there or another agent's; [`Fault::StoreUnavailable`].
    pub async fn wait(
        &self,
        agent: &AgentName,
        id: &ApprovalId,
        wait: Duration,
        stopping: watch::Receiver<bool>,
    ) -> Result<Approval, Stop> {
        self.wait_while(agent, id, Status::is_under_way, wait, stopping).await
    }

    /// Waits, at most `wait`, while an approval of this agent has a status like that, or until the gateway stops.
    ///
    /// # Errors
    /// [`Refusal::NoSuchApproval`] for one that is not there or another agent's; [`Fault::StoreUnavailable`].
    pub async fn wait_while(
        &self,
        agent: &AgentName,
        id: &ApprovalId,
        is_like_that: impl Fn(Status) -> bool,
        wait: Duration,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<Approval, Stop> {
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        let mut waiter = self.waited.begin(id);
        loop {
            // Seen before it is read: what happens in between is news.
            waiter.will_read();
            let approval = self.store.approval(id).await.map_err(|error| unavailable(&error))?;
            let approval = approval
                .filter(|approval| approval.held.agent == *agent)
                .ok_or(Stop::Refused(Refusal::NoSuchApproval))?;
            if !is_like_that(approval.status) {
                return Ok(approval);
            }
            waiter.saw(approval.status);
            tokio::select! {
                biased;
                () = waiter.changed() => {}
                () = deadline.as_mut() => return Ok(approval),
                _ = stopping.wait_for(|stopping| *stopping) => return Ok(approval),
            }
        }
    }

    /// What is said of an approval under way to whom asks for its result.
    #[must_use]
    pub fn undecided(&self, approval: &Approval) -> Refusal {
        let expires_at = approval.expires_at();
        let now = self.clock.now().wall;
        let left = expires_at.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        Refusal::NotDecided { id: approval.held.id, status: approval.status, expires_at, left }
    }

    /// What an approval answers a call that meets it. Its end is then delivered: an identical call is a new call.
    pub async fn answer(&self, approval: &Approval) -> Stop {
        let id = approval.held.id;
        let stop = match approval.status {
            Status::Pending | Status::Approved | Status::Executing => {
                return Stop::Held(Box::new(Ticket::of(approval)));
            }
            Status::Unknown => return Refusal::NotApproved(NotApproved::Unknown(id)).into(),
            Status::Denied => {
                let no = approval.decisions.iter().rev().find(|decided| !decided.approve);
                let reason = no.and_then(|decided| decided.reason.clone());
                Refusal::NotApproved(NotApproved::Denied { id, reason }).into()
            }
            Status::Expired => {
                let approved = approval.execute_by.is_some();
                Refusal::NotApproved(NotApproved::Expired { id, approved }).into()
            }
            Status::Cancelled => Refusal::NotApproved(NotApproved::Cancelled(id)).into(),
            Status::Executed | Status::Failed => match self.result(approval).await {
                Ok(stop) => stop,
                Err(fault) => return fault.into(),
            },
        };
        if approval.delivered_at.is_none() {
            match self.store.deliver_approval(&id, self.clock.now().wall).await {
                Ok(_) => self.tell(),
                // It will be given once more, which does no harm.
                Err(error) => tracing::warn!("that {id} was answered cannot be noted: {error}"),
            }
        }
        stop
    }

    /// What an executed call was answered with.
    async fn result(&self, approval: &Approval) -> Result<Stop, Fault> {
        let (agent, id) = (&approval.held.agent, approval.held.id);
        if let Some(sealed) = self.store.approval_answer(&id).await.map_err(|error| unavailable(&error))? {
            let opened = self.vault.open_sealed(&Label::of_approval_answer(agent, &id), &sealed).ok();
            return Ok(match opened.and_then(|bytes| StoredAnswer::from_bytes(bytes.reveal())) {
                Some(answer) => Stop::Executed(Box::new(answer)),
                None => {
                    tracing::error!("the answer of {id} does not open; it is treated as lost");
                    Refusal::NotApproved(NotApproved::Forgotten(id)).into()
                }
            });
        }
        let ended_with = approval.ended_with.as_deref();
        Ok(match (ended_with, &approval.resolved) {
            (_, Some(_)) => {
                let happened = approval.status == Status::Executed;
                Refusal::NotApproved(NotApproved::Resolved { id, happened }).into()
            }
            (Some(code), None) => {
                match Fault::of_execution(code, self.bounds.upstream_timeout, self.bounds.body_bytes_max) {
                    Some(fault) => fault.into(),
                    None => Refusal::NotApproved(NotApproved::Void(id)).into(),
                }
            }
            (None, None) => Refusal::NotApproved(NotApproved::Forgotten(id)).into(),
        })
    }

    /// The agent takes a held call back; how it stands then.
    ///
    /// # Errors
    /// [`Refusal::NoSuchApproval`]; [`Refusal::NotTakenBack`] when it is being sent, or was;
    /// [`Fault::AuditUnavailable`]. An approval that ended without being sent is left as it is.
    pub async fn cancel(&self, caller: &Caller, id: &ApprovalId) -> Result<Approval, Stop> {
        let read = async || {
            let approval = self.store.approval(id).await.map_err(|error| unavailable(&error))?;
            let own = approval.filter(|approval| approval.held.agent == caller.agent.name);
            own.ok_or(Stop::Refused(Refusal::NoSuchApproval))
        };
        let mut approval = read().await?;
        if matches!(approval.status, Status::Pending | Status::Approved) {
            let at = self.clock.now().wall;
            let mut event = approval.decision(at, Effect::Deny, "cancelled by the agent");
            event.key_id = Some(caller.key);
            let change = Change::CancelApproval { id: *id, agent: caller.agent.name.clone(), at };
            if self.recorder.durable(Entry { change: Some(change), event }).await? == Written::Done {
                self.tell();
            }
            approval = read().await?;
        }
        match approval.status {
            Status::Cancelled | Status::Denied | Status::Expired => Ok(approval),
            status => Err(Refusal::NotTakenBack { id: *id, status }.into()),
        }
    }

    /// Ends what nobody decided, or executed, in time.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub(crate) async fn expire(&self) -> Result<(), StoreError> {
        const AT_ONCE: u32 = 100;
        let at = self.clock.now().wall;
        let mut told = Vec::new();
        for approval in self.store.due_approvals(at, AT_ONCE).await? {
            let reason = match approval.status {
                Status::Pending => "nobody decided in time",
                _ => "approved, but nobody executed it in time",
            };
            let event = approval.decision(at, Effect::Deny, reason);
            let change = Some(Change::ExpireApproval { id: approval.held.id, at });
            told.push(self.recorder.durable(Entry { change, event }));
        }
        // Together, so that they share a flush. What cannot be written is tried again at the next look.
        if futures_util::future::join_all(told).await.iter().any(Result::is_ok) {
            self.tell();
        }
        Ok(())
    }
}

fn unavailable(error: &StoreError) -> Fault {
    tracing::error!("held calls cannot be looked up: {error}");
    Fault::StoreUnavailable
}
