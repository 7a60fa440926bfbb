//! The idempotency key of a request (draft-ietf-httpapi-idempotency-key-header), and how long a repeated request
//! would wait for the first one (RFC 7240 §4.3).

use std::time::Duration;

use domain::{
    idempotency::{IdempotencyKey, Repeatable, WAIT_MAX},
    stop::Unreadable,
};
use http::{HeaderMap, HeaderName};

/// The header, in lower case.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
/// Where a key may stand in a message's `_meta`.
pub(crate) const META_KEY: &str = "toolgate/idempotency-key";
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The key that headers and body (`inside`) name; `None` when neither does.
///
/// # Errors
/// [`Unreadable::IdempotencyKey`] when one is not in the form of a key; [`Unreadable::Header`] when there are two
/// different ones.
pub(crate) fn repeatable(
    headers: &HeaderMap,
    inside: Option<&str>,
) -> Result<Option<Repeatable>, Unreadable> {
    let in_headers = headers.get_all(HEADER).iter().map(|value| value.to_str().unwrap_or_default());
    let mut found: Option<IdempotencyKey> = None;
    for text in in_headers.chain(inside) {
        let key = IdempotencyKey::parse(text).ok_or(Unreadable::IdempotencyKey)?;
        if found.as_ref().is_some_and(|known| *known != key) {
            return Err(Unreadable::Header(HEADER.to_string()));
        }
        found = Some(key);
    }
    Ok(found.map(|key| Repeatable { key, wait: preferred_wait(headers).unwrap_or_default().min(WAIT_MAX) }))
}

/// `Prefer: wait=5`. What is not understood is not preferred.
pub(crate) fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(PREFER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            let seconds = value.trim().trim_matches('"').parse().ok()?;
            name.trim().eq_ignore_ascii_case("wait").then(|| Duration::from_secs(seconds))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn one_key_may_come_twice_but_not_two_keys() {
        let found = |pairs: &[(HeaderName, &str)], inside| {
            repeatable(&headers(pairs), inside).map(|found| found.map(|found| found.key.as_str().to_owned()))
        };
        assert_eq!(found(&[], None), Ok(None));
        assert_eq!(found(&[(HEADER, "a")], None), Ok(Some("a".into())));
        assert_eq!(found(&[], Some("a")), Ok(Some("a".into())));
        assert_eq!(found(&[(HEADER, "a"), (HEADER, "a")], Some("a")), Ok(Some("a".into())));
        for two in [found(&[(HEADER, "a")], Some("b")), found(&[(HEADER, "a"), (HEADER, "b")], None)] {
            assert!(matches!(two, Err(Unreadable::Header(_))), "{two:?}");
        }
        for bad in [found(&[(HEADER, "")], None), found(&[(HEADER, "a b")], None), found(&[], Some(""))] {
            assert_eq!(bad, Err(Unreadable::IdempotencyKey));
        }
    }

    #[test]
    fn a_wait_is_bounded_and_anything_else_is_none() {
        for (text, seconds) in [
            ("wait=3", 3),
            ("respond-async, Wait = \"4\"; x=y", 4),
            ("wait=10", 10),
            ("wait=99999", 10),
            ("wait", 0),
            ("wait=-1", 0),
            ("waiting=5", 0),
            ("x;wait=5", 0),
        ] {
            let found = repeatable(&headers(&[(HEADER, "k"), (PREFER, text)]), None).unwrap().unwrap();
            assert_eq!(found.wait, Duration::from_secs(seconds), "{text}");
        }
    }
}
