//! What a call owes when it ends: somebody will come back for its answer, so the answer must be durable together with
//! the outcome before anybody is told. An idempotency key is one such debt, an approval the other.

use std::sync::Arc;

use bytes::Bytes;
use domain::{
    approval::{Approval, Ending, Held},
    audit::ResultWord,
    idempotency::StoredAnswer,
    stop::{Fault, Refusal, Stop},
};
use http::response;
use jiff::Timestamp;
use store::{Change, Closed, Settled};

use crate::{
    approvals::Approvals,
    arrival::Repeat,
    idempotency::{Asked, Claim, IdempotencyKeys, is_error, whole},
};

/// The debt.
pub(super) enum Owed {
    /// The call was made under an idempotency key.
    Key(Claim),
    /// The call was held and approved.
    Execution(Box<Execution>),
}

/// What becomes of the row.
pub(super) struct End {
    /// This.
    pub(super) change: Change,
    /// This, where that could not be written.
    pub(super) otherwise: Change,
    /// What the key is good for from now on.
    pub(super) repeat: Option<Repeat>,
}

impl Owed {
    /// The word for a call that the upstream has answered.
    pub(super) fn result(&self) -> ResultWord {
        match self {
            Self::Key(_) => ResultWord::Forwarded,
            Self::Execution(_) => ResultWord::ExecutedApproved,
        }
    }

    /// The upstream has answered, to the end.
    pub(super) fn answered(&self, head: &response::Parts, body: &Bytes, at: Timestamp) -> End {
        match self {
            Self::Key(claim) => {
                let (settled, repeat) = claim.answered(head, body);
                let otherwise = match settled {
                    Settled::NotSent => Settled::NotSent,
                    _ => Settled::Unknown,
                };
                End { change: claim.settle(settled), otherwise: claim.settle(otherwise), repeat }
            }
            Self::Execution(execution) => execution.answered(head, body, at),
        }
    }

    /// The walk has ended without an answer.
    pub(super) fn stopped(&self, stop: &Stop, at: Timestamp) -> End {
        match self {
            Self::Key(claim) => {
                let settled = || if stop.may_have_happened() { Settled::Unknown } else { Settled::NotSent };
                End { change: claim.settle(settled()), otherwise: claim.settle(settled()), repeat: None }
            }
            Self::Execution(execution) => {
                let change = || execution.stopped(stop, at);
                End { change: change(), otherwise: change(), repeat: None }
            }
        }
    }

    /// Nobody knows how the walk has ended.
    pub(super) fn lost(&self, at: Timestamp) -> Change {
        match self {
            Self::Key(claim) => claim.settle(Settled::Unknown),
            Self::Execution(execution) => execution.lost(at),
        }
    }
}

/// What an execution leaves under its call's idempotency key.
enum Kept<'a> {
    /// The answer.
    Answer(&'a StoredAnswer),
    /// It may have happened, and its answer is lost.
    Nothing,
    /// Nothing was sent: the key stays as it was.
    NotSent,
}

/// The one execution of an approved call.
pub(crate) struct Execution {
    pub(crate) approval: Approval,
    pub(crate) asked: Asked,
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) keys: Arc<IdempotencyKeys>,
}

impl Execution {
    /// The call as it was held.
    pub(super) fn held(&self) -> &Held {
        &self.approval.held
    }

    /// The change that makes it this gateway's.
    pub(super) fn claim(&self, at: Timestamp) -> Change {
        Change::ClaimApproval { id: self.held().id, call: self.held().call_id, at }
    }

    fn answered(&self, head: &response::Parts, body: &Bytes, at: Timestamp) -> End {
        let otherwise = self.lost(at);
        let Some(answer) = whole(&self.asked, head, body) else {
            return End { change: self.lost(at), otherwise, repeat: None };
        };
        let ending = if is_error(&self.asked, &answer) { Ending::Failed } else { Ending::Executed };
        let change = self.close(ending, Some(answer.status), None, Kept::Answer(&answer), at);
        End { change, otherwise, repeat: None }
    }

    fn stopped(&self, stop: &Stop, at: Timestamp) -> Change {
        match stop {
            Stop::Fault(Fault::Internal) => self.lost(at),
            Stop::Fault(fault) => {
                // It has failed for people, but nothing may be sent under its idempotency key again.
                let kept = if fault.may_have_happened() { Kept::Nothing } else { Kept::NotSent };
                self.close(Ending::Failed, Some(fault.status()), Some(fault.ended_with()), kept, at)
            }
            Stop::Refused(refusal) => self.refused(refusal, at),
            // No gate behind the claim says these.
            Stop::Held(_) | Stop::Executed(_) | Stop::Replayed(_) => self.lost(at),
        }
    }

    /// People approved it, and by now it may not be sent any more.
    fn refused(&self, refusal: &Refusal, at: Timestamp) -> Change {
        let code = refusal.code().to_owned();
        self.close(Ending::Failed, Some(refusal.status()), Some(code), Kept::NotSent, at)
    }

    fn lost(&self, at: Timestamp) -> Change {
        self.close(Ending::Unknown, None, None, Kept::Nothing, at)
    }

    fn close(
        &self,
        ending: Ending,
        http_status: Option<u16>,
        ended_with: Option<String>,
        kept: Kept<'_>,
        at: Timestamp,
    ) -> Change {
        let held = self.held();
        let (key, answer) = match kept {
            Kept::Answer(answer) => (self.keys.of_execution(held, Some(answer), at), Some(answer)),
            Kept::Nothing => (self.keys.of_execution(held, None, at), None),
            Kept::NotSent => (None, None),
        };
        let answer = answer.map(|answer| self.approvals.seal_answer(&held.agent, &held.id, answer));
        Change::CloseApproval(Box::new(Closed {
            id: held.id,
            ending,
            http_status,
            ended_with,
            answer,
            key,
            at,
        }))
    }
}
