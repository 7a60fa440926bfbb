//! Whether another site's page made a browser send a request. Cookies are also sent by pages on other ports of the
//! same machine, whatever their `SameSite` says.

use http::{Method, header, uri::Authority};

use crate::{asked::Asked, problem::Problem};

/// Refuses what a page of another origin has sent. `Sec-Fetch-Site` (W3C Fetch Metadata) says so in browsers that
/// reach us over TLS or loopback; `Origin` (RFC 6454) in all of them, for writes. What is no browser sends neither.
///
/// # Errors
/// 403.
pub(crate) fn check(asked: &Asked) -> Result<(), Problem> {
    let foreign = || Problem::forged("the request comes from another site's page; open the console itself");
    let reads = matches!(*asked.method(), Method::GET | Method::HEAD);
    match asked.header("sec-fetch-site") {
        None | Some("same-origin" | "none") => {}
        // Following a link from elsewhere is how one comes to a page; it changes nothing.
        Some(_) if reads && asked.header("sec-fetch-mode") == Some("navigate") => {}
        Some(_) => return Err(foreign()),
    }
    match (asked.head.headers.contains_key(header::ORIGIN), is_own_origin(asked)) {
        (false, _) | (true, true) => Ok(()),
        (true, false) => Err(foreign()),
    }
}

/// Whether the origin is the one that the request was sent to: the same host and port. Which scheme a proxy in front
/// speaks is not known here.
fn is_own_origin(asked: &Asked) -> bool {
    let origin = asked.header(header::ORIGIN).and_then(|origin| origin.split_once("://"));
    let origin = origin.and_then(|(scheme, rest)| Some((scheme, rest.parse::<Authority>().ok()?)));
    let host = match asked.header(header::HOST) {
        Some(host) => host.parse::<Authority>().ok(),
        None => asked.head.uri.authority().cloned(),
    };
    let (Some((scheme, origin)), Some(host)) = (origin, host) else { return false };
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return false,
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    origin.host().eq_ignore_ascii_case(host.host()) && port(&origin) == port(&host)
}
