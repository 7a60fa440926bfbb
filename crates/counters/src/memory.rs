//! Limits counted in this process: one small number for each bucket that is not full. Never grows beyond its capacity.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use domain::quota::{Charges, Owner};

use crate::{Filling, Taken, shard::Shard};

/// Shards for keys, and as many again for source addresses.
const SHARDS: usize = 16;

/// Buckets of all owners. Cheap to share; a call takes one short lock.
///
/// All buckets of one owner are in one shard, so its charges are decided together. Keys and source addresses
/// have shards of their own: a flood of requests without a key takes no room from the keys.
#[derive(Debug)]
pub struct Memory {
    keys: Vec<Mutex<Shard>>,
    sources: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

impl Memory {
    /// A memory of at most about `capacity` buckets of keys, and as many of source addresses; some 100 bytes each.
    ///
    /// Only buckets that are not full take up room. When there is none left, calls that would need a new bucket
    /// are refused until an old one has recovered.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let shards =
            || (0..SHARDS).map(|_| Mutex::new(Shard::new(capacity.div_ceil(SHARDS).max(1)))).collect();
        Self { keys: shards(), sources: shards(), hasher: RandomState::new() }
    }

    /// How full it is. Takes each lock once, for a moment.
    #[must_use]
    pub fn filling(&self) -> Filling {
        let mut filling = Filling::default();
        for shard in self.keys.iter().chain(&self.sources) {
            let (buckets, capacity) = shard.lock().unwrap_or_else(PoisonError::into_inner).filling();
            filling.buckets += buckets;
            filling.capacity += capacity;
        }
        filling
    }

    /// Asks all limits of a call at once, and counts it if all of them admit it. `now` is monotonic.
    #[must_use]
    pub fn take(&self, now: Duration, charges: &Charges) -> Taken {
        let shards = match charges.owner {
            Owner::Key(_) => &self.keys,
            Owner::Source(_) => &self.sources,
        };
        let place = usize::try_from(self.hasher.hash_one(charges.owner) % SHARDS as u64).unwrap_or(0);
        match shards.get(place) {
            // A shard is whole after every step, so one whose holder panicked is as good as any.
            Some(shard) => shard.lock().unwrap_or_else(PoisonError::into_inner).take(now, charges),
            None => Taken::Over { which: 0, retry_after: Duration::from_secs(1) },
        }
    }
}
