//! The buckets of some owners. Single-threaded: locking is up to whoever holds it.

use std::{collections::HashMap, time::Duration};

use domain::quota::{Charge, Charges, Gcra, Owner, Tat, gcra};
use smallvec::SmallVec;

use crate::Taken;

#[derive(Debug)]
pub(crate) struct Shard {
    buckets: HashMap<(Owner, Charge), Tat>,
    capacity: usize,
    /// No bucket is full again before this moment, so until then sweeping is in vain.
    sweep_from: Duration,
}

impl Shard {
    pub fn new(capacity: usize) -> Self {
        Self { buckets: HashMap::new(), capacity, sweep_from: Duration::ZERO }
    }

    /// Buckets that are remembered, and how many may be.
    pub fn filling(&self) -> (usize, usize) {
        (self.buckets.len(), self.capacity)
    }

    pub fn take(&mut self, now: Duration, charges: &Charges) -> Taken {
        let mut decided: SmallVec<[Tat; 3]> = SmallVec::new();
        let mut over: Option<(usize, Duration)> = None;
        let mut fresh = 0;
        for (which, charge) in charges.list.iter().enumerate() {
            let tat = self.buckets.get(&(charges.owner, *charge)).copied();
            fresh += usize::from(tat.is_none());
            match gcra(tat.unwrap_or_default(), now, &charge.quota) {
                Gcra::Admit { tat } => decided.push(tat),
                Gcra::Refuse { retry_after } if over.is_none_or(|(_, longest)| retry_after > longest) => {
                    over = Some((which, retry_after));
                }
                Gcra::Refuse { .. } => {}
            }
        }
        if over.is_none() && fresh > 0 {
            over = self.make_room(fresh, now).err().map(|retry_after| (0, retry_after));
        }
        if let Some((which, retry_after)) = over {
            return Taken::Over { which, retry_after };
        }
        for (charge, tat) in charges.list.iter().zip(&decided) {
            self.buckets.insert((charges.owner, *charge), *tat);
        }
        Taken::Admitted
    }

    /// Makes room for new buckets by forgetting full ones, which say nothing.
    ///
    /// The error is the time until one of those that are left is full: then it is worth asking again.
    fn make_room(&mut self, wanted: usize, now: Duration) -> Result<(), Duration> {
        let fits = |shard: &Self| shard.buckets.len() + wanted <= shard.capacity;
        if fits(self) {
            return Ok(());
        }
        if now >= self.sweep_from {
            let mut next = Duration::MAX;
            self.buckets.retain(|(_, charge), tat| {
                let full_at = tat.full_at(&charge.quota);
                if full_at > now {
                    next = next.min(full_at);
                }
                full_at > now
            });
            self.sweep_from = next;
        }
        if fits(self) {
            Ok(())
        } else {
            Err(self.sweep_from.saturating_sub(now).max(Duration::from_millis(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::quota::{Bucket, Quota};
    use smallvec::smallvec;

    use super::*;

    fn charges(tool: u64) -> Charges {
        let quota = Quota::parse("1/10s").unwrap();
        Charges {
            owner: Owner::source("192.0.2.1".parse().unwrap()),
            list: smallvec![Charge { bucket: Bucket::Tool(tool), quota }],
        }
    }

    #[test]
    fn full_buckets_make_room_and_live_ones_are_kept() {
        let mut shard = Shard::new(3);
        let at = Duration::from_secs;
        for tool in 0..3 {
            assert!(matches!(shard.take(at(tool), &charges(tool)), Taken::Admitted));
        }
        // Nothing is full before second 10: a new name is refused, and told when to come back.
        assert_eq!(shard.take(at(4), &charges(9)), Taken::Over { which: 0, retry_after: at(6) });
        assert_eq!(shard.take(at(4), &charges(1)), Taken::Over { which: 0, retry_after: at(7) });
        // Bucket 0 is full again at second 10 and gives its place away.
        assert!(matches!(shard.take(at(10), &charges(9)), Taken::Admitted));
        assert_eq!(shard.take(at(10), &charges(1)), Taken::Over { which: 0, retry_after: at(1) });
        assert_eq!(shard.buckets.len(), 3);
    }

    #[test]
    fn invented_names_do_not_take_more_room() {
        let mut shard = Shard::new(100);
        let admitted = (0..100_000).filter(|tool| {
            let now = Duration::from_micros(*tool);
            matches!(shard.take(now, &charges(*tool)), Taken::Admitted)
        });
        assert_eq!(admitted.count(), 100);
        assert_eq!(shard.buckets.len(), 100);
    }
}
