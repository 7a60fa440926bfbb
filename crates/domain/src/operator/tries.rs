//! How long an operator's address has to wait after wrong passwords, so that guessing gets nowhere.

use std::time::Duration;

/// Wrong passwords in a row that cost nothing: everybody mistypes.
const FREE: u32 = 3;
/// The first wait; each further wrong password doubles it.
const WAIT_FIRST: Duration = Duration::from_secs(10);
/// The longest wait: an attacker must not keep the operator out for a day.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// How long after the last of `wrong` wrong passwords in a row the next one is looked at: nothing for the first two,
/// 10 s after the third, then twice as long each time, 15 min at most.
#[must_use]
pub fn wait_after_wrong_passwords(wrong: u32) -> Duration {
    match wrong.checked_sub(FREE) {
        None => Duration::ZERO,
        Some(more) => WAIT_FIRST.saturating_mul(2_u32.saturating_pow(more)).min(WAIT_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_are_free_three_wait_and_the_wait_grows_to_a_bound() {
        let waits =
            [0, 1, 2, 3, 4, 5, 10, 11, u32::MAX].map(|wrong| wait_after_wrong_passwords(wrong).as_secs());
        assert_eq!(waits, [0, 0, 0, 10, 20, 40, 900, 900, 900]);
    }
}
