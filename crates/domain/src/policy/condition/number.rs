//! Numbers without loss: a JSON number is read only if it can be represented exactly, and numbers of different types
//! are compared by value.

use std::cmp::Ordering;

use super::value::Value;

/// The value of a JSON number. None where it does not fit: not an integer of 64 bits, and as a double it would read
/// back as another decimal (`9007199254740993.0`, `1000.0000000000000001`, `1e400`).
pub(super) fn read(lexeme: &str) -> Option<Value<'static>> {
    if let Ok(int) = lexeme.parse::<i64>() {
        return Some(Value::Int(int));
    }
    if let Ok(uint) = lexeme.parse::<u64>() {
        return Some(Value::Uint(uint));
    }
    let double = lexeme.parse::<f64>().ok().filter(|double| double.is_finite())?;
    // The shortest decimal that reads back as this double; an exact reading has no other digits than it.
    (decimal(lexeme)? == decimal(&format!("{double:e}"))?).then_some(Value::Double(double))
}

/// A decimal number as (negative, digits without zeros at either end, exponent of the last digit).
fn decimal(lexeme: &str) -> Option<(bool, String, i64)> {
    let (negative, size) = lexeme.strip_prefix('-').map_or((false, lexeme), |size| (true, size));
    let (mantissa, exponent) = size.split_once(['e', 'E']).unwrap_or((size, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let without_tail = digits.trim_end_matches('0');
    let cut = digits.len() - without_tail.len();
    let digits = without_tail.trim_start_matches('0');
    if digits.is_empty() {
        return Some((false, String::new(), 0));
    }
    let exponent = exponent.parse::<i64>().ok()?;
    let exponent =
        exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(i64::try_from(cut).ok()?)?;
    Some((negative, digits.to_owned(), exponent))
}

/// Compares two numbers by value; none if either is no number.
pub(super) fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (whole(a), whole(b), double(a), double(b)) {
        (Some(a), Some(b), ..) => Some(a.cmp(&b)),
        (Some(a), _, _, Some(b)) => whole_with_double(a, b),
        (_, Some(b), Some(a), _) => whole_with_double(b, a).map(Ordering::reverse),
        (_, _, Some(a), Some(b)) => a.partial_cmp(&b),
        _ => None,
    }
}

fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(int) => Some((*int).into()),
        Value::Uint(uint) => Some((*uint).into()),
        _ => None,
    }
}

fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(double) => Some(*double),
        _ => None,
    }
}

fn whole_with_double(whole: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Casting a double to an integer cuts its fraction off, and stops at the integer's ends.
    #[expect(clippy::cast_possible_truncation, reason = "cutting and stopping is what is wanted")]
    let cut = double as i128;
    #[expect(clippy::cast_precision_loss, reason = "a double without fraction comes back as itself")]
    let fraction = double - cut as f64;
    let by_fraction = || 0.0_f64.partial_cmp(&fraction).unwrap_or(Ordering::Equal);
    Some(whole.cmp(&cut).then_with(by_fraction))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_is_read_only_if_nothing_gets_lost() {
        for (lexeme, value) in [
            ("0", Value::Int(0)),
            ("-9223372036854775808", Value::Int(i64::MIN)),
            ("18446744073709551615", Value::Uint(u64::MAX)),
            ("12.34", Value::Double(12.34)),
            ("12.3400", Value::Double(12.34)),
            ("5e3", Value::Double(5000.0)),
            ("1E20", Value::Double(1e20)),
            ("100000000000000000000", Value::Double(1e20)),
            ("-0.0", Value::Double(-0.0)),
            ("0e99999999999999999999", Value::Double(0.0)),
            ("1.7976931348623157e308", Value::Double(f64::MAX)),
            ("5e-324", Value::Double(5e-324)),
        ] {
            assert_eq!(read(lexeme).map(|v| v.to_string()), Some(value.to_string()), "{lexeme}");
        }
        for lexeme in [
            "18446744073709551617",
            "-9223372036854775809",
            "1000.0000000000000001",
            "1e400",
            "-1e400",
            "1e-400",
            "1e99999999999999999999",
            "0.1000000000000000055511151231257827",
            "9007199254740993.0",
        ] {
            assert!(read(lexeme).is_none(), "{lexeme}");
        }
    }

    #[test]
    fn integers_and_doubles_are_compared_by_value() {
        let order = |a: Value<'static>, b: Value<'static>| compare(&a, &b).unwrap();
        // Both are 2^53 after a cast to double.
        assert_eq!(
            order(Value::Int((1 << 53) + 1), Value::Double(9_007_199_254_740_992.0)),
            Ordering::Greater
        );
        assert_eq!(order(Value::Uint(u64::MAX), Value::Double(18_446_744_073_709_551_616.0)), Ordering::Less);
        assert_eq!(order(Value::Int(-1), Value::Uint(u64::MAX)), Ordering::Less);
        assert_eq!(order(Value::Int(-1), Value::Double(-1.5)), Ordering::Greater);
        assert_eq!(order(Value::Int(-2), Value::Double(-1.5)), Ordering::Less);
        assert_eq!(order(Value::Double(1e300), Value::Int(i64::MAX)), Ordering::Greater);
        assert_eq!(order(Value::Double(-1e300), Value::Int(i64::MIN)), Ordering::Less);
        assert_eq!(order(Value::Int(5000), Value::Double(5000.0)), Ordering::Equal);
        assert_eq!(compare(&Value::Int(1), &Value::Double(f64::NAN)), None);
    }

    proptest! {
        /// What is read keeps the order of the decimals as they were written.
        #[test]
        fn different_decimals_stay_different(a in 0..100_000_u64, b in 0..100_000_u64, shift in 0..30_usize) {
            let written = |n: u64| format!("0.{}{n:05}", "0".repeat(shift));
            let (x, y) = (read(&written(a)).unwrap(), read(&written(b)).unwrap());
            prop_assert_eq!(compare(&x, &y), Some(a.cmp(&b)));
        }

        #[test]
        fn every_double_reads_back(double in proptest::num::f64::NORMAL) {
            let read = read(&format!("{double:e}"));
            prop_assert!(matches!(read, Some(Value::Double(same)) if same == double), "{}", double);
        }
    }
}
