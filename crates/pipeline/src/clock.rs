//! The machine's clock: the one place in the gateway that asks what time it is.

#[cfg(test)]
pub(crate) mod test_clock;

use std::time::Instant;

use domain::clock::{Clock, Now};
use jiff::Timestamp;

/// Reads the machine's wall clock and its monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the edge that asks the machine")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the edge that asks the machine")]
    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), monotonic: self.start.elapsed() }
    }
}
