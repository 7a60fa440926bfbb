//! What happened in a run, as the world outside the gateways saw it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use domain::names::CallId;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// An agent makes call `op`, for the `nth` time.
    Asked { op: usize, nth: usize, gateway: usize },
    /// It is answered.
    Told { op: usize, nth: usize, call: CallId, told: Told },
    /// The upstream got the call. `intents` of it were in the trail by then.
    Reached { op: usize, serial: u64, intents: u64 },
    /// Somebody decides.
    Deciding { op: usize, person: usize, approve: bool },
    /// They are told whether it counted; `None`: that nobody knows.
    Decided { op: usize, person: usize, approve: bool, counted: Option<bool> },
    /// The agent takes a held call back; whether it was told so.
    TakenBack { op: usize, done: bool },
    /// An agent's key is revoked.
    Revoked { agent: usize },
    /// The kill switch is on.
    Stopped,
    /// The kill switch is off.
    Lifted,
    /// Something is done to a gateway, or to the store's server.
    Done { what: &'static str, gateway: usize },
}

/// What an agent was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// An answer of the upstream, now or kept.
    Answer { status: u16, serial: Option<u64>, how: &'static str },
    /// It waits for people.
    Held,
    /// No.
    Refused { status: u16, code: &'static str },
    /// The answer broke off.
    Broken,
}

/// The history of one run. All its gateways live on one thread; the lock is for the compiler.
#[derive(Clone, Default)]
pub struct History(Arc<Mutex<Vec<(Duration, Fact)>>>);

impl History {
    pub fn push(&self, at: Duration, fact: Fact) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((at, fact));
    }

    /// All of it, in the order in which it happened.
    pub fn facts(&self) -> Vec<(Duration, Fact)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fact) in self.facts() {
            writeln!(f, "{:>9.3} s  {fact:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
