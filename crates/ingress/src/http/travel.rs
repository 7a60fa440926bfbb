//! Which headers of an agent's request are passed on to an HTTP service: all but those that belong to this connection,
//! to the agent's identity, or to us.

use std::borrow::Cow;

use domain::stop::Unreadable;
use http::{HeaderMap, HeaderValue, header};
use wire::hop::{HOP_BY_HOP, named_by_connection};

use crate::repeatable;

/// Headers that the next connection makes anew; [`HOP_BY_HOP`] stay behind too.
const OF_THE_CONNECTION: [&str; 5] = ["host", "expect", "accept-encoding", "http2-settings", "via"];

/// Who is asking, and from where: an upstream must not see it, nor believe what an agent says of itself.
const OF_THE_AGENT: [&str; 10] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-real-ip",
];

/// Headers by which some frameworks take another method than the request line's.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Headers by which some frameworks (IIS, Symfony, Zend) take another path than the request line's.
const PATH_OVERRIDES: [&str; 2] = ["x-original-url", "x-rewrite-url"];

/// What our own headers begin with.
const OURS: &str = "x-toolgate-";

/// The headers that travel on.
///
/// # Errors
/// A header that asks for another method or path.
pub(super) fn travelling(headers: &HeaderMap) -> Result<HeaderMap, Unreadable> {
    let named = named_by_connection(headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes));
    let mut travelling = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        // Servers behind CGI (RFC 3875 §4.1.18) and its heirs take `_` and `-` for the same.
        let read = match name.as_str() {
            name if name.contains('_') => Cow::Owned(name.replace('_', "-")),
            name => Cow::Borrowed(name),
        };
        let read = read.as_ref();
        if METHOD_OVERRIDES.contains(&read) {
            return Err(Unreadable::MethodOverride(name.to_string()));
        }
        if PATH_OVERRIDES.contains(&read) {
            return Err(Unreadable::PathOverride(name.to_string()));
        }
        if HOP_BY_HOP.contains(&read)
            || OF_THE_CONNECTION.contains(&read)
            || OF_THE_AGENT.contains(&read)
            || repeatable::HEADER == read
            || read.starts_with(OURS)
            || named.iter().any(|named| name == named.as_str())
        {
            continue;
        }
        // The length of a body follows from the body; only "there is none" must be said.
        let says_empty = name == header::CONTENT_LENGTH && value == HeaderValue::from_static("0");
        if read == "content-length" && !says_empty {
            continue;
        }
        travelling.append(name.clone(), value.clone());
    }
    Ok(travelling)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn identity_connection_and_our_own_headers_stay_behind() {
        let came = headers(&[
            ("authorization", "Bearer agt_x"),
            ("x-api-key", "agt_x"),
            ("cookie", "a=b"),
            ("host", "gateway"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "x"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-forwarded_for", "10.0.0.1"),
            ("transfer_encoding", "chunked"),
            ("content_length", "0"),
            ("x-toolgate-intent", "why"),
            ("x_toolgate_intent", "why"),
            ("idempotency-key", "k"),
            ("accept-encoding", "gzip"),
            ("content-length", "12"),
            ("content-type", "text/plain"),
            ("accept", "a"),
            ("accept", "b"),
            ("x-custom", "y"),
        ]);
        let expected =
            headers(&[("content-type", "text/plain"), ("accept", "a"), ("accept", "b"), ("x-custom", "y")]);
        assert_eq!(travelling(&came).unwrap(), expected);
    }

    #[test]
    fn an_empty_body_keeps_saying_so() {
        let travelled = travelling(&headers(&[("content-length", "0")])).unwrap();
        assert_eq!(travelled, headers(&[("content-length", "0")]));
    }

    #[test]
    fn a_header_that_asks_for_another_method_or_path_is_refused() {
        let refused = |name: &str| travelling(&headers(&[(name, "/x")])).unwrap_err();
        for name in METHOD_OVERRIDES.into_iter().chain(["x_http_method_override", "x-http_method"]) {
            assert_eq!(refused(name), Unreadable::MethodOverride(name.to_owned()));
        }
        for name in PATH_OVERRIDES.into_iter().chain(["x_original_url"]) {
            assert_eq!(refused(name), Unreadable::PathOverride(name.to_owned()));
        }
    }
}
