//! Numbers, sizes, times and ages as people read them (experience, “Numbers”). Pure functions.

use std::time::Duration;

use jiff::Timestamp;

/// `1,204`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 event`, `2 events`: a number and its noun, in the plural where it is not one.
#[must_use]
pub fn count_of(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number as u64))
}

/// `412 B`, `4.1 KiB`, `12 MiB`.
#[must_use]
pub fn size(bytes: u64) -> String {
    let mut unit = "B";
    let (mut whole, mut rest) = (bytes, 0);
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if whole < 1024 {
            break;
        }
        (whole, rest) = (whole / 1024, whole % 1024);
        unit = larger;
    }
    match (unit, whole) {
        ("B", _) => format!("{whole} B"),
        (_, 0..10) => format!("{whole}.{} {unit}", rest * 10 / 1024),
        _ => format!("{} {unit}", count(whole)),
    }
}

/// A length of time in two units at most: `41 ms`, `4.2 s`, `38 s`, `23 h 56 min`, `29 d 23 h`.
#[must_use]
pub fn age(length: Duration) -> String {
    let seconds = length.as_secs();
    let two = |large: u64, unit: &str, small: u64, smaller: &str| {
        if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {smaller}") }
    };
    match seconds {
        0 => format!("{} ms", length.subsec_millis()),
        1..10 => format!("{seconds}.{} s", length.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3_600 => two(seconds / 60, "min", 0, ""),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// Milliseconds as the trail keeps them: one decimal below ten, none above.
#[must_use]
pub fn milliseconds(latency: f64) -> String {
    if latency < 9.95 { format!("{latency:.1}") } else { format!("{latency:.0}") }
}

/// UTC: `14:02:31` on the day of `now`, else `2026-11-21 14:02`.
#[must_use]
pub fn short_time(at: Timestamp, now: Timestamp) -> String {
    let text = at.to_string();
    let today = now.to_string();
    match (text.get(..10), text.get(11..19)) {
        (Some(day), Some(time)) if today.starts_with(day) => time.to_owned(),
        _ => day_and_time(at),
    }
}

/// UTC: `2026-11-21 14:02`.
#[must_use]
pub fn day_and_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, text) in [(0, "0"), (999, "999"), (1_204, "1,204"), (1_204_118, "1,204,118")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(count_of(1, "key"), "1 key");
        assert_eq!(count_of(0, "key"), "0 keys");
    }

    #[test]
    fn sizes_are_binary() {
        for (bytes, text) in [(412, "412 B"), (4_200, "4.1 KiB"), (10 << 20, "10 MiB"), (1023, "1023 B")] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn ages_have_two_units_at_most() {
        for (milliseconds, text) in [
            (41, "41 ms"),
            (4_200, "4.2 s"),
            (38_900, "38 s"),
            (240_000, "4 min"),
            (86_160_000, "23 h 56 min"),
            (7_200_000, "2 h"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(age(Duration::from_millis(milliseconds)), text);
        }
    }

    #[test]
    fn a_time_of_today_leaves_out_the_day() {
        let now = "2026-11-23T18:00:00Z".parse().unwrap();
        assert_eq!(short_time("2026-11-23T14:02:31.5Z".parse().unwrap(), now), "14:02:31");
        assert_eq!(short_time("2026-11-21T14:02:31Z".parse().unwrap(), now), "2026-11-21 14:02");
    }
}
