//! Small conversions between rows and the domain's types. Nothing here touches the database.

use jiff::Timestamp;

/// Microseconds since 1970 UTC, as times are stored.
pub fn micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// Reads a stored time back.
pub fn time(micros: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros).ok()
}

/// Reads lower-case hex digits of exactly `N` bytes.
pub fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0u8; N];
    for (to, [high, low]) in bytes.iter_mut().zip(pairs) {
        *to = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn hex_reads_exactly_what_is_written() {
        assert_eq!(hex::<2>("00ff"), Some([0, 255]));
        for bad in ["", "00f", "00FF", "00fg", "00ff00", "äé"] {
            assert_eq!(hex::<2>(bad), None, "{bad}");
        }
    }
}
