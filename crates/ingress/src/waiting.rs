//! Which requests are waiting for people, so that a client can take one back by its JSON-RPC id.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::names::{AgentName, ApprovalId};

/// The requests that wait at a listener; each has a connection, so there are never more.
#[derive(Clone, Default)]
pub struct Waiting(Arc<Mutex<Ledger>>);

#[derive(Default)]
struct Ledger {
    next: u64,
    requests: HashMap<u64, (Asking, ApprovalId)>,
}

/// What tells one request from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asking {
    pub(crate) agent: AgentName,
    pub(crate) service: String,
    /// The session token, where there is one.
    pub(crate) session: Option<String>,
    /// The JSON-RPC id as it was written.
    pub(crate) id: String,
}

impl Waiting {
    /// A request waits from now on, until what is returned is dropped.
    pub(crate) fn begin(&self, asking: Asking, approval: ApprovalId) -> Waits {
        let mut ledger = self.ledger();
        let number = ledger.next;
        ledger.next += 1;
        ledger.requests.insert(number, (asking, approval));
        drop(ledger);
        Waits { waiting: self.clone(), number }
    }

    /// What a request waits for. Two clients without sessions may use one id: then nobody knows which is meant.
    pub(crate) fn approval_of(&self, asking: &Asking) -> Option<ApprovalId> {
        let ledger = self.ledger();
        let mut found = ledger.requests.values().filter(|(known, _)| known == asking).map(|(_, id)| *id);
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits.
pub(crate) struct Waits {
    waiting: Waiting,
    number: u64,
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.waiting.ledger().requests.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_found_while_it_waits_and_only_if_nothing_is_ambiguous() {
        let waiting = Waiting::default();
        let asking = |agent: &str, session: Option<&str>| Asking {
            agent: AgentName::parse(agent).unwrap(),
            service: "files".into(),
            session: session.map(str::to_owned),
            id: "1".into(),
        };
        let (one, two) = (ApprovalId::new(1), ApprovalId::new(2));
        let first = waiting.begin(asking("a", None), one);
        assert_eq!(waiting.approval_of(&asking("a", None)), Some(one));
        assert_eq!(waiting.approval_of(&asking("b", None)), None);
        assert_eq!(waiting.approval_of(&asking("a", Some("s"))), None);
        let joined = waiting.begin(asking("a", None), one);
        assert_eq!(waiting.approval_of(&asking("a", None)), Some(one));
        let other = waiting.begin(asking("a", None), two);
        assert_eq!(waiting.approval_of(&asking("a", None)), None);
        drop((first, joined));
        assert_eq!(waiting.approval_of(&asking("a", None)), Some(two));
        drop(other);
        assert_eq!(waiting.approval_of(&asking("a", None)), None);
    }
}
