//! Which headers of an upstream's answer are passed on: a few of an MCP server's, nearly all of an HTTP service's.

use domain::service::Upstream;
use http::{HeaderMap, HeaderName, HeaderValue, header, response};
use wire::hop::{HOP_BY_HOP, named_by_connection};

/// The headers of an MCP server's answer that travel on.
static OF_MCP: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::CACHE_CONTROL, header::RETRY_AFTER, header::ALLOW];

/// Headers that would lead around the gateway.
///
/// A cookie is a credential that the upstream made for ours: an agent that held it could go there by itself.
static AROUND_US: [HeaderName; 2] = [header::SET_COOKIE, header::ALT_SVC];

/// Our own headers; an upstream must not speak for us.
static OURS: [HeaderName; 3] = [
    HeaderName::from_static("x-call-id"),
    HeaderName::from_static("x-proxy-status"),
    HeaderName::from_static("x-idempotency-status"),
];

/// Says of an event stream that nobody in between may hold it back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Status and the headers that travel on.
pub(super) fn travelling(upstream: &response::Parts, service: &Upstream, is_stream: bool) -> response::Parts {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = upstream.status;
    match service {
        Upstream::Api(_) => head.headers = of_api(&upstream.headers),
        Upstream::Http(_) | Upstream::Stdio(_) => {
            for name in &OF_MCP {
                if let Some(value) = upstream.headers.get(name) {
                    head.headers.insert(name, value.clone());
                }
            }
            if is_stream {
                head.headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
                head.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
            }
        }
    }
    head
}

fn of_api(headers: &HeaderMap) -> HeaderMap {
    let named = named_by_connection(headers.get_all(header::CONNECTION).iter().map(HeaderValue::as_bytes));
    let mut travelling = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let of_the_connection =
            HOP_BY_HOP.contains(&name.as_str()) || named.iter().any(|named| name == named.as_str());
        if !of_the_connection && !AROUND_US.contains(name) && !OURS.contains(name) {
            travelling.append(name.clone(), value.clone());
        }
    }
    travelling
}

/// The media type without parameters, as far as we compare it (RFC 9110 §8.3: case does not count, but our
/// comparison may be strict: an odd spelling is passed on as bytes, or refused where it must be read).
pub(super) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_an_http_service_keeps_its_headers_but_not_its_connection() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/plain"),
            ("location", "/elsewhere"),
            ("etag", "\"1\""),
            ("x-custom", "a"),
            ("x-custom", "b"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("set-cookie", "session=1"),
            ("transfer-encoding", "chunked"),
            ("x-proxy-status", "forwarded"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let travelled = of_api(&headers);
        let names: Vec<&str> = travelled.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "location", "etag", "x-custom"]);
        assert_eq!(travelled.get_all("x-custom").iter().count(), 2);
    }
}
