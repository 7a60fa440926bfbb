//! Percent-encoding (RFC 3986 §2.1), as queries, forms and AWS signatures write it.

/// Everything but the unreserved characters of RFC 3986 §2.3 becomes `%XX`, with capital digits.
pub fn encode(bytes: &[u8]) -> String {
    encode_but(bytes, |_| false)
}

/// As [`encode`], with slashes left as they are.
pub fn encode_path(bytes: &[u8]) -> String {
    encode_but(bytes, |byte| byte == b'/')
}

fn encode_but(bytes: &[u8], keep: impl Fn(u8) -> bool) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') || keep(byte) {
            text.push(char::from(byte));
        } else {
            text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    text
}

/// The bytes behind a text of a path. What is no escape stays.
pub fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = match behind {
            [high, low, ..] if *first == b'%' => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

/// The bytes behind a part of a query, where `+` is a blank as in forms.
pub fn decode_query(text: &str) -> Vec<u8> {
    decode(&text.replace('+', "%20"))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), all);
        assert_eq!(decode_query(&encode(&all)), all);
        assert_eq!(encode("a b/ä~".as_bytes()), "a%20b%2F%C3%A4~");
        assert_eq!(encode_path(b"/a b/"), "/a%20b/");
        assert_eq!(decode_query("a+b%2b%zz%4"), b"a b+%zz%4");
        assert_eq!(decode("a+b"), b"a+b");
    }
}
