//! The state of rate limits: in this process, or at a Redis or Valkey server that several gateways share. Admits all
//! charges of a call or none, and refuses when it cannot tell.

mod memory;
mod shard;
mod shared;

use std::time::Duration;

use domain::quota::{Charges, Owner};
use thiserror::Error;

pub use memory::Memory;
pub use shared::{BadServer, OnLoss, Reach, Shared, SharedOptions, Trouble, privacy};

/// Where limits are counted.
pub enum Counters {
    /// In this process.
    Memory(Memory),
    /// At a server. Source addresses are counted here all the same: that limit protects this process.
    Shared {
        /// Buckets of keys.
        keys: std::sync::Arc<Shared>,
        /// Buckets of source addresses.
        sources: Memory,
    },
}

/// What the limits say to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It may pass, and was counted.
    Admitted,
    /// It may not, and nothing was counted.
    Over {
        /// The charge that refused; of several, the one with the longest wait.
        which: usize,
        /// A call after this time is admitted, if nobody else comes first.
        retry_after: Duration,
    },
}

/// The server that counts does not answer, and nobody else may say yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the server that counts does not answer")]
pub struct Lost;

/// How the counters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filling {
    /// Buckets that are remembered, with those that have recovered and not made room yet.
    pub buckets: usize,
    /// How many there may be.
    pub capacity: usize,
    /// Whether the server that counts answers, where there is one.
    pub server: Option<bool>,
}

impl Filling {
    /// Whether calls can be counted.
    #[must_use]
    pub fn works(&self) -> bool {
        self.buckets < self.capacity && self.server != Some(false)
    }
}

impl Counters {
    /// Asks all limits of a call at once, and counts it if all of them admit it. `now` is monotonic; a shared server
    /// goes by its own clock.
    ///
    /// # Errors
    /// [`Lost`]: nothing can be said, so the call must not pass. It may have been counted.
    pub async fn take(&self, now: Duration, charges: &Charges) -> Result<Taken, Lost> {
        match (self, charges.owner) {
            (Self::Memory(memory), _) | (Self::Shared { sources: memory, .. }, Owner::Source(_)) => {
                Ok(memory.take(now, charges))
            }
            (Self::Shared { keys, .. }, Owner::Key(_)) => keys.take(now, charges).await,
        }
    }

    /// How full this process's memory is, and whether the server answers.
    #[must_use]
    pub fn filling(&self) -> Filling {
        let (Self::Memory(memory) | Self::Shared { sources: memory, .. }) = self;
        Filling { server: self.shared().map(|server| server.is_up()), ..memory.filling() }
    }

    /// The server, where there is one.
    #[must_use]
    pub fn shared(&self) -> Option<&std::sync::Arc<Shared>> {
        match self {
            Self::Memory(_) => None,
            Self::Shared { keys, .. } => Some(keys),
        }
    }
}
