//! The time as the gateway sees it: a value handed down, never asked for inside a decision.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

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

/// Further apart than this, clocks should be looked at.
pub const APART_HARDLY: Duration = Duration::from_millis(250);
/// Further apart than this, what ends by one clock has not ended by the other (docs/operations.md).
pub const APART_MAX: Duration = Duration::from_secs(1);

/// How far the clock of another machine is from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Apart {
    /// By so much it is ahead; negative: behind.
    pub by: SignedDuration,
    /// It may be so much more or less: half the time that asking took.
    pub doubt: Duration,
}

/// What is to be thought of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Agreement {
    /// They may be the same.
    Agree,
    /// More than [`APART_HARDLY`].
    Hardly,
    /// More than [`APART_MAX`].
    Disagree,
}

impl Apart {
    /// `there` was read after we asked and before we were answered.
    #[must_use]
    pub fn between(asked: Now, there: Timestamp, answered: Now) -> Self {
        let doubt = answered.monotonic.saturating_sub(asked.monotonic) / 2;
        let since = there.duration_since(asked.wall);
        Self { by: since.saturating_sub(SignedDuration::try_from(doubt).unwrap_or_default()), doubt }
    }

    /// Only what is certain counts: a slow way there makes nobody's clock wrong.
    #[must_use]
    pub fn agreement(self) -> Agreement {
        let certain = self.by.unsigned_abs().saturating_sub(self.doubt);
        if certain > APART_MAX {
            Agreement::Disagree
        } else if certain > APART_HARDLY {
            Agreement::Hardly
        } else {
            Agreement::Agree
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_disagree_only_as_far_as_asking_can_tell() {
        let wall: Timestamp = "2026-11-23T14:00:00Z".parse().unwrap();
        let at =
            |ms: u64| Now { wall: wall + Duration::from_millis(ms), monotonic: Duration::from_millis(ms) };
        let there = |ms: i64| wall + SignedDuration::from_millis(ms);
        for (answered, said, by, agreement) in [
            (20, 10, 0, Agreement::Agree),
            (20, 260, 250, Agreement::Agree),
            (20, 271, 261, Agreement::Hardly),
            (20, -262, -272, Agreement::Hardly),
            (20, 1_021, 1_011, Agreement::Disagree),
            (20, -3_600_000, -3_600_010, Agreement::Disagree),
            // The answer took four seconds: two of them explain it.
            (4_000, 4_900, 2_900, Agreement::Hardly),
            (4_000, 3_999, 1_999, Agreement::Agree),
        ] {
            let apart = Apart::between(at(0), there(said), at(answered));
            assert_eq!(apart.by, SignedDuration::from_millis(by), "{said} {answered}");
            assert_eq!(apart.agreement(), agreement, "{said} {answered}");
        }
    }
}
