//! What must hold for every request, whatever its door: one host, one reading of its target, no change of protocol.
//! What HTTP/1 libraries hide of a head is checked before, on the raw bytes, in `listener/guard.rs`.

use domain::stop::{Refusal, Unreadable};
use http::{Method, Request, Version, header, uri::Authority};
use wire::http1::HeadFault;

/// Checks a request's head.
///
/// # Errors
/// 400, or 405 for `CONNECT` and `TRACE`, which would make a tunnel or an echo of us.
pub(crate) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Refusal::MethodNotAllowed);
    }
    fault_of(request).map_or(Ok(()), |fault| Err(Refusal::Unreadable(Unreadable::Head(fault))))
}

fn fault_of<B>(request: &Request<B>) -> Option<HeadFault> {
    let (uri, headers) = (request.uri(), request.headers());
    if !uri.path().is_ascii() || uri.query().is_some_and(|query| !query.is_ascii()) {
        return Some(HeadFault::RawTarget);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next(), uri.authority()) {
        (Some(_), Some(_), _) => return Some(HeadFault::SeveralHosts),
        // An absolute target does not make up for it: whoever looks at the header sees none.
        (None, ..) if request.version() == Version::HTTP_11 => return Some(HeadFault::NoHost),
        (Some(host), None, Some(target)) => {
            let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
            if host.as_ref() != Some(target) {
                return Some(HeadFault::OtherHost);
            }
        }
        _ => {}
    }
    let upgrades = headers.get_all(header::UPGRADE).iter();
    // Some clients offer the dead `h2c` with every first request (RFC 9113 §3.1); it is passed over.
    let mut upgrades = upgrades.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    upgrades.any(|token| token.trim_ascii() != b"h2c").then_some(HeadFault::Upgrade)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(target: &str, version: Version, headers: &[(&str, &str)]) -> Option<HeadFault> {
        let mut request = Request::builder().uri(target).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        fault_of(&request.body(()).unwrap())
    }

    #[test]
    fn a_request_has_one_host_and_one_target() {
        const ONE: (&str, &str) = ("host", "localhost:8484");
        for (target, version, headers, expected) in [
            ("/mcp/x?q", Version::HTTP_11, &[ONE][..], None),
            ("/mcp/x", Version::HTTP_10, &[], None),
            ("http://localhost:8484/", Version::HTTP_11, &[ONE], None),
            ("http://LOCALHOST:8484/", Version::HTTP_11, &[ONE], None),
            ("https://localhost:8484/", Version::HTTP_2, &[], None),
            ("https://localhost:8484/", Version::HTTP_2, &[ONE], None),
            ("/", Version::HTTP_11, &[], Some(HeadFault::NoHost)),
            ("http://localhost:8484/", Version::HTTP_11, &[], Some(HeadFault::NoHost)),
            ("/", Version::HTTP_11, &[ONE, ONE], Some(HeadFault::SeveralHosts)),
            ("https://localhost:8484/", Version::HTTP_2, &[ONE, ONE], Some(HeadFault::SeveralHosts)),
            ("http://evil.test/", Version::HTTP_11, &[ONE], Some(HeadFault::OtherHost)),
            ("http://localhost/", Version::HTTP_11, &[ONE], Some(HeadFault::OtherHost)),
            ("https://evil.test/", Version::HTTP_2, &[ONE], Some(HeadFault::OtherHost)),
            ("http://localhost:8484/", Version::HTTP_11, &[("host", "a b")], Some(HeadFault::OtherHost)),
            ("/caf\u{e9}", Version::HTTP_11, &[ONE], Some(HeadFault::RawTarget)),
            ("/?caf\u{e9}", Version::HTTP_11, &[ONE], Some(HeadFault::RawTarget)),
            ("/", Version::HTTP_11, &[ONE, ("upgrade", "websocket")], Some(HeadFault::Upgrade)),
            ("/", Version::HTTP_11, &[ONE, ("upgrade", "h2c, websocket")], Some(HeadFault::Upgrade)),
            ("/", Version::HTTP_11, &[ONE, ("upgrade", "h2c")], None),
        ] {
            assert_eq!(fault(target, version, headers), expected, "{target} {version:?} {headers:?}");
        }
    }

    #[test]
    fn tunnels_and_echoes_are_no_methods_here() {
        for method in [Method::CONNECT, Method::TRACE] {
            let request = Request::builder().method(method).uri("localhost:443").body(()).unwrap();
            assert_eq!(check(&request), Err(Refusal::MethodNotAllowed));
        }
    }
}
