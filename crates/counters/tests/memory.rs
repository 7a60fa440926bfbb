//! What limits counted in this process keep. Time is injected; no test waits for a clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may fail loudly"
)]

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use counters::{Memory, Taken};
use domain::{
    key::KeyId,
    quota::{Bucket, Charge, Charges, Owner, Quota, failed_authentication},
};
use proptest::prelude::*;

fn key(number: u32) -> Owner {
    Owner::Key(KeyId::parse(&format!("{number:08}")).unwrap())
}

fn charge(bucket: Bucket, quota: &str) -> Charge {
    Charge { bucket, quota: Quota::parse(quota).unwrap() }
}

fn charges(owner: Owner, list: &[Charge]) -> Charges {
    Charges { owner, list: list.iter().copied().collect() }
}

fn is_admitted(taken: &Taken) -> bool {
    *taken == Taken::Admitted
}

#[test]
fn all_charges_are_counted_or_none() {
    let counters = Memory::new(1_000);
    let now = Duration::from_secs(5);
    let both = charges(key(1), &[charge(Bucket::Key, "10/1m"), charge(Bucket::Tool(1), "2/1m")]);
    let only_key = charges(key(1), &[charge(Bucket::Key, "10/1m")]);
    assert!(is_admitted(&counters.take(now, &both)));
    assert!(is_admitted(&counters.take(now, &both)));
    for _ in 0..100 {
        let refused = counters.take(now, &both);
        assert_eq!(refused, Taken::Over { which: 1, retry_after: Duration::from_secs(30) });
    }
    // The key was charged twice, not a hundred times.
    let left = (0..20).filter(|_| is_admitted(&counters.take(now, &only_key))).count();
    assert_eq!(left, 8);
}

#[test]
fn of_several_limits_the_longest_wait_is_told() {
    let counters = Memory::new(1_000);
    let now = Duration::ZERO;
    let all = charges(key(1), &[charge(Bucket::Key, "1/10s"), charge(Bucket::Tool(1), "1/1m")]);
    assert!(is_admitted(&counters.take(now, &all)));
    let refused = counters.take(now, &all);
    assert_eq!(refused, Taken::Over { which: 1, retry_after: Duration::from_secs(60) });
    assert!(!is_admitted(&counters.take(Duration::from_secs(59), &all)));
    assert!(is_admitted(&counters.take(Duration::from_secs(60), &all)));
}

#[test]
fn owners_and_buckets_do_not_touch_each_other() {
    let counters = Memory::new(100_000);
    let now = Duration::from_secs(1);
    for owner in 0..500 {
        for bucket in
            [Bucket::Key, Bucket::Housekeeping, Bucket::Refusals, Bucket::Tool(1), Bucket::Override(1)]
        {
            let one = charges(key(owner), &[charge(bucket, "1/1h")]);
            assert!(is_admitted(&counters.take(now, &one)), "{owner} {bucket:?}");
            assert!(!is_admitted(&counters.take(now, &one)), "{owner} {bucket:?}");
        }
    }
}

#[test]
fn a_limit_that_was_changed_starts_full() {
    let counters = Memory::new(1_000);
    let now = Duration::from_secs(1);
    let of = |quota| charges(key(1), &[charge(Bucket::Key, quota)]);
    assert!(is_admitted(&counters.take(now, &of("1/1d"))));
    assert!(!is_admitted(&counters.take(now, &of("1/1d"))));
    assert!(is_admitted(&counters.take(now, &of("2/1d"))));
}

#[test]
fn eight_threads_together_never_get_more_than_the_bound() {
    const CALLS: u64 = 40_000;
    let (counters, clock, admitted) = (Memory::new(1_000), AtomicU64::new(0), AtomicU64::new(0));
    let quota = "100/1s";
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let both = charges(key(7), &[charge(Bucket::Key, quota), charge(Bucket::Tool(1), "200/1s")]);
                for _ in 0..CALLS / 8 {
                    // Each call moves the clock by 50 µs, whichever thread makes it: 2 s in all.
                    let now = Duration::from_micros(clock.fetch_add(50, Ordering::Relaxed));
                    if is_admitted(&counters.take(now, &both)) {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (admitted, bound) = (admitted.into_inner(), 100 + 100 * 2);
    assert!(admitted <= bound, "{admitted} of at most {bound}");
    assert!(admitted * 100 >= bound * 99, "{admitted} of {bound}: the limit takes more than it says");
}

#[test]
fn a_flood_of_sources_takes_no_room_from_keys() {
    let counters = Memory::new(160);
    let now = Duration::from_secs(1);
    let mut full = 0;
    for number in 0..50_000u32 {
        let source = failed_authentication(std::net::Ipv4Addr::from(number).into());
        full += u32::from(!is_admitted(&counters.take(now, &source)));
    }
    assert!(full > 49_000, "only {full} were refused, so the capacity does not bind");
    assert!(is_admitted(&counters.take(now, &charges(key(1), &[charge(Bucket::Key, "60/1m")]))));
}

#[test]
fn failed_authentication_is_limited_per_source() {
    let counters = Memory::new(1_000);
    let now = Duration::from_secs(1);
    let from = |address: &str| failed_authentication(address.parse().unwrap());
    let admitted = (0..100).filter(|_| is_admitted(&counters.take(now, &from("2001:db8::1")))).count();
    assert_eq!(admitted, 20);
    assert!(!is_admitted(&counters.take(now, &from("2001:db8::ffff:1"))), "the same /64");
    assert!(is_admitted(&counters.take(now, &from("2001:db8:0:1::1"))), "another /64");
}

proptest! {
    #[test]
    fn a_clock_that_jumps_back_admits_nothing_more(
        times in proptest::collection::vec(0..30_000u64, 1..300),
    ) {
        // Threads read the clock before they get the lock, so times may come in any order.
        let counters = Memory::new(1_000);
        let one = charges(key(1), &[charge(Bucket::Key, "10/10s")]);
        let admitted = times.iter().filter(|ms| is_admitted(&counters.take(Duration::from_millis(**ms), &one))).count();
        let latest = times.iter().max().unwrap();
        prop_assert!(admitted as u64 <= 10 + latest / 1_000);
    }
}
