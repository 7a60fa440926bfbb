//! Parts of a time, counted as CEL counts them: months, days of the month and of the year from 0, Sunday is 0.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::Offset};

use super::super::functions::Function;

/// The time as a clock there shows it, if the zone is `UTC` or an offset such as `+02:00`.
pub(super) fn local(instant: Timestamp, zone: &str) -> Option<Timestamp> {
    if zone == "UTC" {
        return Some(instant);
    }
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("-", digits) => (-1, digits),
        ("+", digits) => (1, digits),
        _ => (1, zone),
    };
    let (hours, minutes) = digits.split_once(':')?;
    let number = |text: &str, most: i64| {
        let two_digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| two_digits && *number <= most)
    };
    let seconds = sign * (number(hours, 14)? * 3600 + number(minutes, 59)? * 60);
    instant.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// One part of a time in UTC.
pub(super) fn of(function: Function, instant: Timestamp) -> i64 {
    let date: DateTime = Offset::UTC.to_datetime(instant);
    match function {
        Function::FullYear => date.year().into(),
        Function::Month => i64::from(date.month()) - 1,
        Function::Date => date.day().into(),
        Function::DayOfMonth => i64::from(date.day()) - 1,
        Function::DayOfWeek => date.weekday().to_sunday_zero_offset().into(),
        Function::DayOfYear => i64::from(date.day_of_year()) - 1,
        Function::Hours => date.hour().into(),
        Function::Minutes => date.minute().into(),
        Function::Seconds => date.second().into(),
        _ => date.millisecond().into(),
    }
}

/// A duration in whole units; its milliseconds are those beside the whole seconds.
pub(super) fn of_duration(function: Function, duration: SignedDuration) -> Option<i64> {
    Some(match function {
        Function::Hours => duration.as_hours(),
        Function::Minutes => duration.as_mins(),
        Function::Seconds => duration.as_secs(),
        Function::Milliseconds => i64::from(duration.subsec_millis()),
        _ => return None,
    })
}
