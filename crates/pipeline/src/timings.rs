//! How long calls spend in the gates and at upstreams, counted in buckets for `/metrics`. No decision depends on it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The upper bounds of the buckets (µs); what takes longer is counted too.
pub const BOUNDS_US: [u64; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000, 30_000_000,
];

/// Durations by size. Counting takes no lock.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each bound, and one for what is over all of them.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// What a histogram holds at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// For each bound, how many took at most so long.
    pub up_to: [u64; BOUNDS_US.len()],
    /// How many there were.
    pub count: u64,
    /// How long all of them took together (µs).
    pub sum_us: u64,
}

impl Histogram {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
        if let Some(bucket) = self.buckets.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        let mut count = 0;
        let mut up_to = [0; BOUNDS_US.len()];
        let mut buckets = self.buckets.iter();
        for (bucket, up_to) in buckets.by_ref().zip(&mut up_to) {
            count += bucket.load(Ordering::Relaxed);
            *up_to = count;
        }
        // `zip` has taken the last bucket already when it finds no bound for it.
        let over = self.buckets.last().map_or(0, |bucket| bucket.load(Ordering::Relaxed));
        Counted { up_to, count: count + over, sum_us: self.sum_us.load(Ordering::Relaxed) }
    }
}

/// Where the time of calls goes.
#[derive(Debug, Default)]
pub struct Timings {
    /// From arrival until the call is sent: body, gates, the durable intent.
    pub gates: Histogram,
    /// From sending until the head of the upstream's answer, or its failure.
    pub upstream: Histogram,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_nothing_is_lost_over_the_last_bound() {
        let histogram = Histogram::default();
        for us in [1, 250, 251, 30_000_000, 30_000_001, 99_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        let counted = histogram.counted();
        assert_eq!((counted.up_to[0], counted.up_to[1]), (2, 3));
        assert_eq!((counted.up_to[14], counted.count), (4, 6));
        assert_eq!(counted.sum_us, 1 + 250 + 251 + 30_000_000 + 30_000_001 + 99_000_000);
    }
}
