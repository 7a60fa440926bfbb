//! What the gateway depends on, put to work when somebody wants to know: a commit, a sealed value, the counters'
//! locks. However many ask, it is checked every few seconds at most.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use counters::Filling;

use crate::Desk;

/// What was seen is told again for so long.
const KEPT: Duration = Duration::from_secs(5);
/// What does not answer within this does not work.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    /// How long a commit took; `None`: the store cannot be read or written.
    pub(crate) store: Option<Duration>,
    /// Which database it is and the number of its schema, where it answered.
    pub(crate) schema: Option<(&'static str, i64)>,
    /// The term that the vault seals under; `None`: what is sealed does not open.
    pub(crate) vault: Option<u32>,
    /// How full the counters are. Full ones refuse who is new.
    pub(crate) counters: Filling,
}

/// What was seen last.
#[derive(Default)]
pub struct LastSeen(Mutex<Option<(Duration, Health)>>);

impl LastSeen {
    /// What was seen lately. Whoever is told that it is too old looks, and for the others it stays good meanwhile.
    fn lately(&self, now: Duration) -> Option<Health> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, health) = seen.as_mut()?;
        if now.saturating_sub(*at) < KEPT {
            return Some(health.clone());
        }
        *at = now;
        None
    }

    fn keep(&self, now: Duration, health: Health) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, health));
    }
}

impl Desk {
    /// What the gateway stands on, as it was seen within the last seconds.
    pub(crate) async fn health(&self) -> Health {
        let now = self.clock.now().monotonic;
        if let Some(health) = self.seen.lately(now) {
            return health;
        }
        let store = tokio::time::timeout(ANSWER_MAX, self.admin.check_store(&*self.clock));
        let vault = tokio::time::timeout(ANSWER_MAX, self.admin.check_vault(&self.vault));
        let (store, vault) = tokio::join!(store, vault);
        let (store, vault) = (store.ok().and_then(Result::ok), vault.ok().and_then(Result::ok));
        let health = Health {
            store: store.as_ref().map(|check| check.flush),
            schema: store.as_ref().map(|check| (check.kind, check.schema)),
            vault,
            counters: self.counters.filling(),
        };
        self.seen.keep(now, health.clone());
        health
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_looks_and_the_others_are_told_what_was_seen() {
        let (seen, at) = (LastSeen::default(), Duration::from_secs);
        let health = Health { store: None, schema: None, vault: Some(1), counters: Filling::default() };
        assert_eq!(seen.lately(at(1)), None);
        seen.keep(at(1), health.clone());
        assert_eq!(seen.lately(at(5)).as_ref(), Some(&health));
        assert_eq!(seen.lately(at(6)), None, "this one looks");
        assert_eq!(seen.lately(at(6)).as_ref(), Some(&health), "and the others need not wait for it");
    }
}
