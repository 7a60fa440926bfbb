//! Which headers of an agent's request travel on to an HTTP service: all but those that belong to this connection,
//! to the agent's identity, or to us.

use domain::stop::Unreadable;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::repeatable;

/// Headers of this connection (RFC 9110 §7.6.1), and those that the next one makes anew.
static OF_THE_CONNECTION: [HeaderName; 13] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
    header::EXPECT,
    header::ACCEPT_ENCODING,
    HeaderName::from_static("http2-settings"),
    header::VIA,
];

/// Who is asking, and from where: an upstream must not see it, nor believe what an agent says of itself.
static OF_THE_AGENT: [HeaderName; 10] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-real-ip"),
];

/// Headers by which some frameworks take another method than the request line's.
static METHOD_OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// What our own headers begin with.
const OURS: &str = "x-toolgate-";

/// The headers that travel on.
///
/// # Errors
/// A header that asks for another method.
pub(super) fn travelling(headers: &HeaderMap) -> Result<HeaderMap, Unreadable> {
    let named = named_by_connection(headers);
    let mut travelling = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if METHOD_OVERRIDES.contains(name) {
            return Err(Unreadable::MethodOverride(name.to_string()));
        }
        if OF_THE_CONNECTION.contains(name)
            || OF_THE_AGENT.contains(name)
            || name == repeatable::HEADER
            || name.as_str().starts_with(OURS)
            || named.contains(name)
        {
            continue;
        }
        // The length of a body follows from the body; only "there is none" must be said.
        if name == header::CONTENT_LENGTH && value != HeaderValue::from_static("0") {
            continue;
        }
        travelling.append(name.clone(), value.clone());
    }
    Ok(travelling)
}

/// The headers that `Connection` names belong to it too.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("x-toolgate-intent", "why"),
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
    fn a_header_that_asks_for_another_method_is_refused() {
        for name in &METHOD_OVERRIDES {
            let refused = travelling(&headers(&[(name.as_str(), "DELETE")])).unwrap_err();
            assert_eq!(refused, Unreadable::MethodOverride(name.to_string()));
        }
    }
}
