//! A deterministic simulation of several gateways on one store: see README.md.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests may fail loudly, and here the time is simulated"
)]

mod actors;
mod birth;
mod chance;
mod gateway;
mod history;
mod judge;
mod ledger;
mod lost_answers;
mod plan;
mod run;
mod server;
mod upstream;

use std::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicU64, Ordering},
};

use birth::Common;

/// How many seeds are run where nobody says otherwise (`TOOLGATE_SEEDS`).
const SEEDS: u64 = 1_000;
/// How many runs go on at once.
const AT_ONCE: usize = 4;

/// What all runs have in common: made once for tests that run at the same time, gone with the last of them.
fn common() -> Arc<Common> {
    static MADE: Mutex<Weak<Common>> = Mutex::new(Weak::new());
    let mut made = MADE.lock().unwrap();
    made.upgrade().unwrap_or_else(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let common = Arc::new(runtime.block_on(Common::make()));
        *made = Arc::downgrade(&common);
        common
    })
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn every_seed_keeps_the_promises() {
    let common = common();
    let first = setting("TOOLGATE_SEED").unwrap_or(1);
    let seeds = setting("TOOLGATE_SEEDS").unwrap_or(SEEDS);
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || failed.lock().unwrap().len() > 2 {
                        return;
                    }
                    let outcome = run::run(&common, seed);
                    let broken = judge::judge(&outcome);
                    if seeds == 1 {
                        eprint!("{}", outcome.history);
                        outcome.ledger.trail().iter().for_each(|entry| eprintln!("{}", entry.record));
                    }
                    if !broken.is_empty() {
                        failed.lock().unwrap().push((seed, broken));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    for (seed, broken) in &failed {
        let replay = format!("TOOLGATE_SEED={seed} TOOLGATE_SEEDS=1 cargo test -p simulation every_seed");
        eprintln!("seed {seed}; to see all of it: {replay} -- --nocapture");
        broken.iter().for_each(|promise| eprintln!("  {promise}"));
    }
    assert!(failed.is_empty(), "{} seeds break a promise", failed.len());
}

#[test]
fn the_same_seed_makes_the_same_history() {
    let common = common();
    for seed in 1..=8 {
        let (first, again) = (run::run(&common, seed), run::run(&common, seed));
        assert!(first.history.facts().len() > 20, "{}", first.history);
        let (first, again) = (first.history.to_string(), again.history.to_string());
        let differs = first.lines().zip(again.lines()).find(|(first, again)| first != again);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), again.len(), "seed {seed}");
    }
}
