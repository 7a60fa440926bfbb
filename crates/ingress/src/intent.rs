//! An agent's stated reason for a call, in its own words. It is shown to people and never passed on.

use domain::stop::Unreadable;
use http::{HeaderMap, HeaderName};

/// The header, in lower case.
const HEADER: HeaderName = HeaderName::from_static("x-toolgate-intent");
/// Where an intent may stand in a message's `_meta`.
pub(crate) const META_KEY: &str = "toolgate/intent";
/// The longest one (bytes).
const BYTES_MAX: usize = 4 * 1024;

/// The intent that the header states, else what the body says (`inside`). An empty one is none.
///
/// # Errors
/// [`Unreadable::Header`] when the header comes twice; [`Unreadable::Intent`] when it is no UTF-8, or longer than 4 KiB.
pub(crate) fn stated(headers: &HeaderMap, inside: Option<String>) -> Result<Option<String>, Unreadable> {
    let mut values = headers.get_all(HEADER).iter();
    let intent = match (values.next(), values.next()) {
        (None, _) => inside,
        (Some(value), None) => {
            let text = std::str::from_utf8(value.as_bytes()).map_err(|_| Unreadable::Intent)?;
            Some(text.to_owned())
        }
        _ => return Err(Unreadable::Header(HEADER.to_string())),
    };
    match intent {
        Some(intent) if intent.len() > BYTES_MAX => Err(Unreadable::Intent),
        intent => Ok(intent.filter(|intent| !intent.is_empty())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_wins_and_bounds_hold() {
        let header = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(HEADER, http::HeaderValue::from_bytes(value).unwrap());
            }
            headers
        };
        let stated =
            |values: &[&[u8]], inside: Option<&str>| stated(&header(values), inside.map(str::to_owned));
        assert_eq!(stated(&[], None), Ok(None));
        assert_eq!(stated(&[], Some("inside")), Ok(Some("inside".into())));
        assert_eq!(stated(&["für 7".as_bytes()], Some("inside")), Ok(Some("für 7".into())));
        assert_eq!(stated(&[], Some("")), Ok(None));
        let long = "x".repeat(BYTES_MAX);
        assert_eq!(stated(&[long.as_bytes()], None), Ok(Some(long.clone())));
        assert_eq!(stated(&[], Some(&(long + "x"))), Err(Unreadable::Intent));
        assert_eq!(stated(&[b"\xff"], None), Err(Unreadable::Intent));
        assert!(matches!(stated(&[b"a", b"a"], None), Err(Unreadable::Header(_))));
    }
}
