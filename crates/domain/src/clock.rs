//! The time as the gateway sees it: a value handed down, never asked for inside a decision.

use std::time::Duration;

use jiff::Timestamp;

/// Two readings of one moment.
///
/// `wall` is for people and records; `monotonic` (time since the process started) is for leases,
/// limits and latencies, because it never jumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// UTC wall-clock time.
    pub wall: Timestamp,
    /// Time since an arbitrary fixed point of this process.
    pub monotonic: Duration,
}

/// Where the time comes from: the machine in production, the test in tests.
pub trait Clock: Send + Sync {
    /// Reads both clocks once.
    fn now(&self) -> Now;
}
