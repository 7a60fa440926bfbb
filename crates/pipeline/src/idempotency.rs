//! Calls that are made under an idempotency key: which are under way in this process, what the store knows of
//! earlier ones, and what is kept of an answer. The store's row decides; what is here saves the way to it.

mod keep;

use std::{
    collections::{HashMap, hash_map::Entry as Place},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::{
    approval::{Held, NotApproved},
    idempotency::{IdempotencyKey, REMEMBERED, StoredAnswer},
    names::{AgentName, CallId},
    stop::{Fault, Refusal, Stop},
};
use jiff::Timestamp;
use store::{Change, IdempotencyClaim, KnownState, Settled, Store};
use tokio::sync::watch;
use vault::{Label, Purpose, Vault};

use crate::arrival::Repeat;
pub(crate) use keep::{Asked, Kept, is_error, whole};

type Owner = (AgentName, IdempotencyKey);

/// The keys of all agents.
pub struct IdempotencyKeys {
    store: Arc<Store>,
    vault: Arc<Vault>,
    /// At most one for each call that is under way.
    under_way: Mutex<HashMap<Owner, UnderWay>>,
}

/// A call that is under way in this process.
struct UnderWay {
    fingerprint: [u8; 32],
    /// Dropped when it has ended.
    ended: watch::Sender<()>,
}

impl IdempotencyKeys {
    /// The keys that this store remembers; answers are sealed with this vault.
    #[must_use]
    pub fn new(store: Arc<Store>, vault: Arc<Vault>) -> Arc<Self> {
        Arc::new(Self { store, vault, under_way: Mutex::default() })
    }

    /// Takes the key for a call, against the others of this process. Where it is taken for the same request,
    /// waits at most `wait` for that one's end.
    ///
    /// # Errors
    /// [`Refusal::InProgress`] and [`Refusal::KeyReused`].
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        agent: &AgentName,
        key: &IdempotencyKey,
        fingerprint: [u8; 32],
        call: CallId,
        asked: Asked,
        wait: Duration,
    ) -> Result<Claim, Stop> {
        let owner = (agent.clone(), key.clone());
        let taken = async {
            // Each turn somebody else's call has ended.
            while let Some((other, mut ended)) = self.take(&owner, fingerprint) {
                if other != fingerprint {
                    return Err(Refusal::KeyReused.into());
                }
                // It only ever ends by an error: the sender is gone.
                let _ = ended.changed().await;
            }
            Ok(())
        };
        match tokio::time::timeout(wait, taken).await {
            Ok(Ok(())) => Ok(Claim { keys: Arc::clone(self), owner, fingerprint, call, asked }),
            Ok(Err(stop)) => Err(stop),
            Err(_) => Err(Refusal::InProgress.into()),
        }
    }

    /// Takes the key; else the fingerprint of who has it, and his end.
    fn take(&self, owner: &Owner, fingerprint: [u8; 32]) -> Option<([u8; 32], watch::Receiver<()>)> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        match under_way.entry(owner.clone()) {
            Place::Occupied(taken) => Some((taken.get().fingerprint, taken.get().ended.subscribe())),
            Place::Vacant(free) => {
                free.insert(UnderWay { fingerprint, ended: watch::Sender::new(()) });
                None
            }
        }
    }
}

/// One call's hold of its key. While it lives, no other call of this process passes under that key.
pub(crate) struct Claim {
    keys: Arc<IdempotencyKeys>,
    owner: Owner,
    fingerprint: [u8; 32],
    call: CallId,
    asked: Asked,
}

impl Claim {
    /// The call digest.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Looks the key up in the store: `Ok` when it is free.
    ///
    /// # Errors
    /// What the call is answered when it is not, and [`Fault::StoreUnavailable`].
    pub(crate) async fn look(&self, now: Timestamp) -> Result<(), Stop> {
        let (agent, key) = &self.owner;
        let known = self.keys.store.idempotency(agent, key, now).await.map_err(|error| {
            tracing::error!("an idempotency key cannot be looked up: {error}");
            Fault::StoreUnavailable
        })?;
        let Some(known) = known else { return Ok(()) };
        if known.fingerprint != self.fingerprint {
            return Err(Refusal::KeyReused.into());
        }
        Err(match known.state {
            KnownState::InProgress => Refusal::InProgress.into(),
            KnownState::Unknown => Refusal::OutcomeUnknown.into(),
            KnownState::Happened(id) => {
                Refusal::NotApproved(NotApproved::Resolved { id, happened: true }).into()
            }
            KnownState::Done(sealed) => match self.open(&sealed) {
                Some(answer) => Stop::Replayed(Box::new(answer)),
                None => {
                    tracing::error!("a stored answer of `{agent}` does not open; it is treated as lost");
                    Refusal::OutcomeUnknown.into()
                }
            },
        })
    }

    /// The change that makes the key this call's.
    pub(crate) fn claim(&self, at: Timestamp) -> Change {
        Change::ClaimIdempotency(claim_of(self.owner.clone(), self.fingerprint, self.call, at))
    }

    /// The change that tells what became of the call.
    pub(crate) fn settle(&self, settled: Settled) -> Change {
        let (agent, key) = self.owner.clone();
        Change::SettleIdempotency { agent, key, call: self.call, settled }
    }

    /// What the whole answer makes of the key.
    pub(crate) fn answered(
        &self,
        head: &http::response::Parts,
        body: &bytes::Bytes,
    ) -> (Settled, Option<Repeat>) {
        match self.keep(head, body) {
            Kept::Answer(answer) => (Settled::Answered(self.seal(&answer)), Some(Repeat::Stored)),
            Kept::Refused => (Settled::NotSent, None),
            Kept::Nothing => (Settled::Unknown, Some(Repeat::Unknown)),
        }
    }

    /// What is kept of an answer.
    fn keep(&self, head: &http::response::Parts, body: &bytes::Bytes) -> Kept {
        keep::keep(&self.asked, head, body)
    }

    /// Seals an answer for its row.
    fn seal(&self, answer: &StoredAnswer) -> Vec<u8> {
        self.keys.vault.seal(&label(&self.owner), &answer.to_bytes())
    }

    fn open(&self, sealed: &[u8]) -> Option<StoredAnswer> {
        StoredAnswer::from_bytes(self.keys.vault.open_sealed(&label(&self.owner), sealed).ok()?.reveal())
    }
}

fn claim_of((agent, key): Owner, fingerprint: [u8; 32], call: CallId, at: Timestamp) -> IdempotencyClaim {
    let expires_at = at.checked_add(REMEMBERED).unwrap_or(Timestamp::MAX);
    IdempotencyClaim { agent, key, fingerprint, call, at, expires_at }
}

impl IdempotencyKeys {
    /// What a held call leaves under its idempotency key when it was executed: the key answers what the approval does.
    /// `None` for the answer: it is lost.
    pub(crate) fn of_execution(
        &self,
        held: &Held,
        answer: Option<&StoredAnswer>,
        at: Timestamp,
    ) -> Option<(IdempotencyClaim, Settled)> {
        let owner = (held.agent.clone(), held.idempotency_key.clone()?);
        let settled = match answer {
            Some(answer) => Settled::Answered(self.vault.seal(&label(&owner), &answer.to_bytes())),
            None => Settled::Unknown,
        };
        Some((claim_of(owner, held.call_digest, held.call_id, at), settled))
    }
}

/// What a sealed answer is bound to: it opens for this agent's key only.
fn label((agent, key): &Owner) -> Label<'_> {
    let purpose = Purpose::StoredAnswer;
    Label { purpose, service: agent.as_str(), origin: "", name: key.as_str(), version: 0 }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut under_way = self.keys.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&self.owner);
    }
}
