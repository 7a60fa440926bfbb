//! A clock for tests.

use std::{sync::Mutex, time::Duration};

use domain::clock::{Clock, Now};
use jiff::Timestamp;

/// Stands still until it is moved. It starts at 1,800,000,000 seconds of the epoch.
#[derive(Default)]
pub(crate) struct TestClock(Mutex<Duration>);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Now {
        let passed = *self.0.lock().unwrap();
        Now {
            wall: Timestamp::from_second(1_800_000_000).unwrap() + passed,
            // Not 0, so that there is a time before.
            monotonic: Duration::from_secs(1_000) + passed,
        }
    }
}
