//! What is undone of an entry that was written when nobody waited for it any more: whoever asked for it was told that it is
//! not known, or that nothing was sent, and nobody may act on it later.

use domain::{
    approval::Ending,
    audit::{Effect, Event, Kind, ResultWord},
    stop::{Fault, Gate},
};
use jiff::Timestamp;
use store::{Change, Closed, Entry};

/// Why a call is not held any more.
const WITHDRAWN: &str = "withdrawn: its agent could not be told that it is held";
/// Why an approved call has ended.
const NOT_SENT: &str = "nobody answered when it was claimed: it was not sent";

/// The entry that undoes it, where something has to be. An idempotency key is let go of by the last event of its call.
pub(super) fn undone(entry: Entry, at: Timestamp) -> Option<Entry> {
    let Entry { change, event } = entry;
    match change? {
        Change::HoldCall(hold) => {
            let id = hold.held.id;
            let mut event =
                Event { at, kind: Kind::Decision, result: None, status: None, args: None, ..event };
            event.digest = Some(hold.held.approval_digest);
            if let Some(decision) = &mut event.decision {
                decision.gate = Gate::Approve;
                decision.effect = Effect::Deny;
                decision.reason = WITHDRAWN.into();
            }
            tracing::warn!("{id} was {WITHDRAWN}");
            Some(Entry { change: Some(Change::WithdrawHold { id, at }), event })
        }
        Change::ClaimApproval { id, .. } => {
            let fault = Fault::AuditUnavailable;
            let (result, status) = (Some(ResultWord::Fault), Some(fault.status()));
            let (kind, error) = (Kind::Outcome, Some((fault.code().into(), NOT_SENT.to_owned())));
            let event = Event { at, kind, result, status, error, decision: None, args: None, ..event };
            tracing::warn!(
                "{id}: {NOT_SENT}; where it is `unknown`: toolgate approvals resolve {id} --failed"
            );
            let (ending, ended_with) = (Ending::Failed, Some(fault.ended_with()));
            let (answer, key) = (None, None);
            let closed = Closed { id, ending, http_status: status, ended_with, answer, key, at };
            Some(Entry { change: Some(Change::CloseApproval(Box::new(closed))), event })
        }
        _ => None,
    }
}

/// Whether the event is true without its change. What others took for dead and gave up was not sent all the same; a hold that
/// people approved or denied first, or that has expired, was not withdrawn.
pub(super) fn is_told_alone(entry: &Entry) -> bool {
    !matches!(entry.change, Some(Change::WithdrawHold { .. }))
}
