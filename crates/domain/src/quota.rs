//! Rate limits: how often something may happen, decided by an exact GCRA.
//! Pure arithmetic over a monotonic time that is handed in; what is counted is kept in the `counters` crate.

mod charge;

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use charge::{
    Bucket, Charge, Charges, FAILED_AUTHENTICATION, FAILED_AUTHENTICATION_NAME, Owner, charges,
    failed_authentication, refusal_charge,
};

/// `N/T`: N at once, then one per T/N.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quota {
    count: u32,
    amount: u32,
    unit: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
}

/// A text that is no quota.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{text}` is no limit; write N/T such as `60/1m`: N from 1 to {}, T from 1s to 366d in s, m, h or d",
    Quota::COUNT_MAX
)]
pub struct BadQuota {
    text: String,
}

impl Quota {
    /// The largest N.
    pub const COUNT_MAX: u32 = 1_000_000;
    const PERIOD_MAX: u64 = 366 * 86_400;

    /// `count` a minute.
    #[must_use]
    pub const fn per_minute(count: u32) -> Self {
        Self { count: if count == 0 { 1 } else { count }, amount: 1, unit: Unit::Minute }
    }

    /// Reads `60/1m`, `5/30s`, `1000/1d`.
    ///
    /// # Errors
    /// [`BadQuota`] for any other form, and for figures out of range.
    pub fn parse(text: &str) -> Result<Self, BadQuota> {
        Self::read(text)
            .ok_or_else(|| BadQuota { text: text.chars().take(64).flat_map(char::escape_default).collect() })
    }

    fn read(text: &str) -> Option<Self> {
        let (count, period) = text.split_once('/')?;
        let unit = match period.chars().next_back()? {
            's' => Unit::Second,
            'm' => Unit::Minute,
            'h' => Unit::Hour,
            'd' => Unit::Day,
            _ => return None,
        };
        let amount = period.get(..period.len() - 1)?;
        let quota = Self { count: plain_number(count)?, amount: plain_number(amount)?, unit };
        (quota.count <= Self::COUNT_MAX && quota.period().as_secs() <= Self::PERIOD_MAX).then_some(quota)
    }

    /// N.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// T.
    #[must_use]
    pub fn period(&self) -> Duration {
        let seconds = match self.unit {
            Unit::Second => 1,
            Unit::Minute => 60,
            Unit::Hour => 3_600,
            Unit::Day => 86_400,
        };
        Duration::from_secs(u64::from(self.amount) * seconds)
    }

    /// One node's share of a limit that so many count apart: floor(N / nodes) in the same time. `None`: there is not
    /// one for each.
    #[must_use]
    pub fn share(&self, nodes: u32) -> Option<Self> {
        let count = self.count.checked_div(nodes).filter(|count| *count > 0)?;
        Some(Self { count, ..*self })
    }

    /// T/N: the time between calls that the limit sustains.
    #[must_use]
    pub fn spacing(&self) -> Duration {
        self.period() / self.count
    }
}

/// Digits only, no leading zero, at least 1.
fn plain_number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    plain.then(|| digits.parse().ok()).flatten()
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            Unit::Second => 's',
            Unit::Minute => 'm',
            Unit::Hour => 'h',
            Unit::Day => 'd',
        };
        write!(f, "{}/{}{unit}", self.count, self.amount)
    }
}
impl TryFrom<String> for Quota {
    type Error = BadQuota;
    fn try_from(text: String) -> Result<Self, BadQuota> {
        Self::parse(&text)
    }
}
impl From<Quota> for String {
    fn from(quota: Quota) -> Self {
        quota.to_string()
    }
}

/// When a bucket will be full again, in its quota's own ticks: nanoseconds times N.
///
/// In these ticks both T/N and T are whole numbers, so nothing is ever rounded and nothing drifts. It means
/// nothing under another quota: the quota is a part of the bucket's identity ([`Bucket`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tat(u128);

impl Tat {
    /// The moment from which this bucket is full, and so need not be remembered.
    #[must_use]
    pub fn full_at(self, quota: &Quota) -> Duration {
        nanoseconds(self.0.div_ceil(u128::from(quota.count)))
    }
}

/// What a limit says to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gcra {
    /// It may pass.
    Admit {
        /// The bucket's new state.
        tat: Tat,
    },
    /// It may not.
    Refuse {
        /// A call after this time is admitted, if nobody else comes first.
        retry_after: Duration,
    },
}

/// The generic cell rate algorithm (ITU-T I.371), as virtual scheduling: `tat` is the theoretical arrival time.
///
/// Within any span of time at most N + span·N/T calls are admitted, exactly. `now` may stand still; one that
/// went backwards (two threads that read the clock in the other order) admits nothing that it should not.
#[must_use]
pub fn gcra(tat: Tat, now: Duration, quota: &Quota) -> Gcra {
    // No overflow: a `Duration` has fewer than 2^94 nanoseconds, N fewer than 2^20.
    let count = u128::from(quota.count);
    let now = now.as_nanos() * count;
    let interval = quota.period().as_nanos();
    let next = tat.0.max(now) + interval;
    match next.checked_sub(now + interval * count) {
        None | Some(0) => Gcra::Admit { tat: Tat(next) },
        Some(short) => Gcra::Refuse { retry_after: nanoseconds(short.div_ceil(count)) },
    }
}

fn nanoseconds(count: u128) -> Duration {
    let seconds = u64::try_from(count / 1_000_000_000).unwrap_or(u64::MAX);
    Duration::new(seconds, u32::try_from(count % 1_000_000_000).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quota(text: &str) -> Quota {
        Quota::parse(text).unwrap()
    }

    /// Runs calls at the given times (nanoseconds) and says which were admitted.
    fn run(quota: &Quota, times: &[u64]) -> Vec<bool> {
        let mut tat = Tat::default();
        let decide = |time: &u64| match gcra(tat, Duration::from_nanos(*time), quota) {
            Gcra::Admit { tat: new } => {
                tat = new;
                true
            }
            Gcra::Refuse { .. } => false,
        };
        times.iter().map(decide).collect()
    }

    #[test]
    fn a_quota_is_shown_as_it_was_written() {
        for text in ["60/1m", "1/1s", "5/30s", "20/1h", "1000/7d", "1000000/366d", "60/60s"] {
            assert_eq!(quota(text).to_string(), text);
        }
        assert_eq!(quota("20/1m").spacing(), Duration::from_secs(3));
    }

    #[test]
    fn what_is_no_quota_is_refused() {
        for text in [
            "",
            "60",
            "/1m",
            "60/",
            "60/m",
            "0/1m",
            "60/0m",
            "-1/1m",
            "+1/1m",
            "60/1w",
            "60 / 1m",
            "6.5/1m",
            "60/1m ",
            "060/1m",
            "1000001/1m",
            "60/367d",
            "60/1ms",
            "99999999999/1m",
            "60/99999999999s",
            "60/1ü",
        ] {
            assert!(Quota::parse(text).is_err(), "`{text}`");
        }
    }

    #[test]
    fn n_are_admitted_at_once_then_one_per_interval() {
        let second = 1_000_000_000;
        let mut times = vec![0; 21];
        times.extend([3 * second - 1, 3 * second, 3 * second, 6 * second]);
        let admitted = run(&quota("20/1m"), &times);
        assert_eq!(admitted.iter().take(20).filter(|ok| **ok).count(), 20);
        assert_eq!(admitted[20..], [false, false, true, false, true]);
    }

    #[test]
    fn after_exactly_one_period_all_n_are_there_again() {
        // T/N is not a whole number of nanoseconds here.
        for text in ["7/1m", "999999/1s", "3/1d", "1000000/1s"] {
            let quota = quota(text);
            let count = quota.count() as usize;
            let period = u64::try_from(quota.period().as_nanos()).unwrap();
            let mut times = vec![5; count + 1];
            times.extend(vec![5 + period; count + 1]);
            let admitted = run(&quota, &times).into_iter().filter(|ok| *ok).count();
            assert_eq!(admitted, 2 * count, "{text}");
        }
    }

    #[test]
    fn a_fixed_window_would_admit_twice_the_limit_here() {
        let second = 1_000_000_000;
        let mut times = vec![59 * second; 60];
        times.extend(vec![61 * second; 60]);
        let admitted = run(&quota("60/1m"), &times).into_iter().filter(|ok| *ok).count();
        assert_eq!(admitted, 62);
    }

    #[test]
    fn the_furthest_time_does_not_overflow() {
        let quota = quota("1000000/366d");
        let Gcra::Admit { tat } = gcra(Tat::default(), Duration::MAX, &quota) else { panic!("refused") };
        assert!(matches!(gcra(tat, Duration::ZERO, &quota), Gcra::Refuse { .. }));
    }

    fn any_quota() -> impl Strategy<Value = Quota> {
        (1..=1000u32, 1..=400u32, prop_oneof![Just('s'), Just('m'), Just('h')])
            .prop_map(|(count, amount, unit)| quota(&format!("{count}/{amount}{unit}")))
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_bound(
            quota in any_quota(),
            steps in proptest::collection::vec(prop_oneof![Just(0u64), 0..40_000_000_000u64], 1..200),
        ) {
            let mut now = 0;
            let times: Vec<u64> = steps.iter().map(|step| { now += step; now }).collect();
            let admitted: Vec<u64> =
                times.iter().zip(run(&quota, &times)).filter(|(_, ok)| *ok).map(|(t, _)| *t).collect();
            for (first, start) in admitted.iter().enumerate() {
                for (last, end) in admitted.iter().enumerate().skip(first) {
                    let seen = (last - first + 1) as u128;
                    // seen <= N + span * N / T, without division
                    let (n, t) = (u128::from(quota.count()), quota.period().as_nanos());
                    prop_assert!(seen * t <= n * t + u128::from(end - start) * n);
                }
            }
        }

        #[test]
        fn a_caller_who_keeps_asking_gets_all_that_the_limit_grants(quota in any_quota(), factor in 2..5u64) {
            // Asks ten times as often as the limit sustains, for some periods.
            let step = (quota.spacing() / 10).as_nanos().max(1);
            let end = quota.period().as_nanos() * u128::from(factor);
            prop_assume!(end / step < 60_000);
            let times: Vec<u64> = (0..=end / step).map(|n| u64::try_from(n * step).unwrap()).collect();
            let admitted = run(&quota, &times).into_iter().filter(|ok| *ok).count() as u64;
            let granted = u64::from(quota.count()) * (factor + 1);
            prop_assert!(admitted <= granted + 1 && admitted * 100 >= granted * 99 - 100, "{} of {}", admitted, granted);
        }

        #[test]
        fn a_wait_and_the_time_until_a_bucket_is_full_are_exact(quota in any_quota(), calls in 1..50usize, now in 0..1u64 << 40) {
            let mut tat = Tat::default();
            let at = Duration::from_nanos(now);
            for _ in 0..calls + quota.count() as usize {
                match gcra(tat, at, &quota) {
                    Gcra::Admit { tat: new } => {
                        // A full bucket may be forgotten, and not a moment earlier.
                        let (full, fresh) = (new.full_at(&quota), Tat::default());
                        let early = full - Duration::from_nanos(1);
                        prop_assert_eq!(gcra(new, full, &quota), gcra(fresh, full, &quota));
                        prop_assert_ne!(gcra(new, early, &quota), gcra(fresh, early, &quota));
                        tat = new;
                    }
                    Gcra::Refuse { retry_after } => {
                        let early = at + retry_after - Duration::from_nanos(1);
                        let in_time = gcra(tat, at + retry_after, &quota);
                        let too_early = gcra(tat, early, &quota);
                        let exact = matches!((in_time, too_early), (Gcra::Admit { .. }, Gcra::Refuse { .. }));
                        prop_assert!(exact, "{:?} {:?}", in_time, too_early);
                    }
                }
            }
        }
    }
}
