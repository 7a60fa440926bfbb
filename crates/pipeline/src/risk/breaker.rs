//! Stops asking an endpoint that keeps failing: callers then learn at once that there is no answer. Time is an
//! argument.

use std::time::Duration;

/// So many failures in a row open it.
pub(super) const FAILURES_MAX: u32 = 5;
/// So long nobody asks; then one caller tries.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(30);

/// Whether the endpoint is asked. Times are monotonic.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    /// Until when nobody asks, while it is open.
    open_until: Option<Duration>,
}

impl Breaker {
    /// Whether the endpoint may be asked now. While it is open, one caller is let through each time that its time has
    /// passed.
    pub(super) fn lets_pass(&mut self, now: Duration) -> bool {
        match self.open_until {
            None => true,
            Some(until) if now < until => false,
            Some(_) => {
                // A probe that never comes back must not keep it open for ever.
                self.open_until = Some(now + OPEN_FOR);
                true
            }
        }
    }

    /// The endpoint has answered.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It has not.
    pub(super) fn failed(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_MAX {
            self.open_until = Some(now + OPEN_FOR);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn five_failures_in_a_row_open_it_and_one_probe_closes_it() {
        let mut breaker = Breaker::default();
        for _ in 0..3 {
            // Failures that are not in a row.
            for _ in 1..FAILURES_MAX {
                breaker.failed(second(0));
            }
            assert!(breaker.lets_pass(second(0)));
            breaker.succeeded();
        }
        for _ in 0..FAILURES_MAX {
            assert!(breaker.lets_pass(second(1)));
            breaker.failed(second(1));
        }
        assert!(!breaker.lets_pass(second(1)) && !breaker.lets_pass(second(30)));
        assert!(breaker.lets_pass(second(31)), "one probe");
        assert!(!breaker.lets_pass(second(31)), "and no second one");
        breaker.failed(second(32));
        assert!(!breaker.lets_pass(second(61)));
        assert!(breaker.lets_pass(second(62)));
        breaker.succeeded();
        assert!(breaker.lets_pass(second(62)) && breaker.lets_pass(second(62)));
    }

    #[test]
    fn a_probe_that_never_comes_back_is_followed_by_another() {
        let mut breaker = Breaker::default();
        (0..FAILURES_MAX).for_each(|_| breaker.failed(second(0)));
        assert!(breaker.lets_pass(second(30)) && !breaker.lets_pass(second(59)));
        assert!(breaker.lets_pass(second(60)));
    }
}
