//! Numbers in two spellings: compared digit by digit, so that no digit is lost and no size is too large.

/// Whether both are numbers as JSON writes them (RFC 8259 §6), and the same one: `42`, `42.0` and `4.2e1` are.
pub(super) fn same_number(one: &str, other: &str) -> bool {
    Decimal::read(one).is_some_and(|one| Decimal::read(other).as_ref() == Some(&one))
}

/// A number: sign, the digits from the first to the last that is not zero, and the power of ten that they count.
#[derive(PartialEq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn read(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (text, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = whole == "0" || !whole.starts_with('0');
        if !is_number(whole) || !is_plain || !fraction.is_none_or(is_number) {
            return None;
        }
        let exponent = match exponent {
            Some(exponent) if is_number(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)) => {
                i64::from(exponent.parse::<i32>().ok()?)
            }
            Some(_) => return None,
            None => 0,
        };
        let fraction = fraction.unwrap_or_default();
        let all = [whole, fraction].concat();
        let digits = all.trim_end_matches('0');
        let cut = i64::try_from(all.len() - digits.len()).ok()?;
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let behind = i64::try_from(fraction.len()).ok()?;
        Some(Self { negative, digits: digits.to_owned(), exponent: exponent - behind + cut })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_number_are_the_same() {
        for (one, other) in [
            ("42", "42.0"),
            ("42", "4.2e1"),
            ("42", "420E-1"),
            ("-0", "0.00"),
            ("0e99", "0"),
            ("-1.50", "-15e-1"),
            ("1e+2", "100"),
            ("12345678901234567890123", "1.2345678901234567890123e22"),
        ] {
            assert!(same_number(one, other) && same_number(other, one), "{one} {other}");
        }
        for (one, other) in [
            ("42", "43"),
            ("42", "-42"),
            ("42", "4.2"),
            ("1e2", "1e3"),
            ("12345678901234567890123", "12345678901234567890124"),
            ("042", "42"),
            ("+42", "42"),
            ("42.", "42"),
            (".5", "0.5"),
            ("4_2", "42"),
            ("1e", "1"),
            ("1e99999999999", "1e99999999999"),
            ("", ""),
            ("true", "true"),
        ] {
            assert!(!same_number(one, other), "{one} {other}");
        }
    }
}
