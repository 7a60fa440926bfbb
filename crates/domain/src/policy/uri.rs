//! Two spellings of one resource. A server may read `%65tc` as `etc` and `FILE:` as `file:`; a rule must hold for
//! both readings. What reaches the server is never changed.

use std::borrow::Cow;

/// The URI with its scheme in lower case and its percent escapes decoded, where that differs from the URI
/// (RFC 3986 §6.2.2). Escapes that do not decode to UTF-8 stay as they are.
pub(super) fn plain_spelling(uri: &str) -> Option<String> {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    let upper_case = scheme.bytes().any(|byte| byte.is_ascii_uppercase());
    if !upper_case && !uri.contains('%') {
        return None;
    }
    let rest = uri.get(scheme.len()..).unwrap_or_default();
    let plain = format!("{}{}", scheme.to_ascii_lowercase(), decode(rest));
    (plain != uri).then_some(plain)
}

/// Whether a segment of the path is `.` or `..`, which a server may resolve to quite another place.
pub(super) fn has_dot_segments(uri: &str) -> bool {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\', ':']).any(|segment| matches!(segment, "." | ".."))
}

fn decode(text: &str) -> Cow<'_, str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escape = match after {
            [high, low, tail @ ..] if *first == b'%' => {
                hex(*high).zip(hex(*low)).map(|(h, l)| (h << 4 | l, tail))
            }
            _ => None,
        };
        let (byte, tail) = escape.unwrap_or((*first, after));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_the_scheme_have_a_plain_spelling() {
        assert_eq!(plain_spelling("FILE:///%65tc/a%20b").as_deref(), Some("file:///etc/a b"));
        assert_eq!(plain_spelling("x:%zz%4"), None);
        assert_eq!(plain_spelling("x:%ff%41"), None);
        assert_eq!(plain_spelling("file:///srv/Ä"), None);
        assert_eq!(plain_spelling("no scheme"), None);
    }

    #[test]
    fn dot_segments_are_found_in_the_path_only() {
        for uri in ["file:///srv/../etc", "file:///srv/..", "a/./b", "x:..\\y", "../x", ".."] {
            assert!(has_dot_segments(uri), "{uri}");
        }
        for uri in ["file:///srv/..x/a.b/...", "https://x/?q=/../", "https://x/#/..", "test://static/1", ""] {
            assert!(!has_dot_segments(uri), "{uri}");
        }
    }
}
