//! Cookies of a login: the access token for the pages, the refresh token that renews it. Scripts cannot read either.

use admin::OpenedSession;
use domain::operator::PresentedRefresh;
use http::{HeaderValue, header};

use crate::asked::Asked;

const ACCESS: &str = "toolgate-access";
/// The cookie of the refresh token; over TLS `__Host-` stands before it.
pub(crate) const REFRESH: &str = "toolgate-refresh";

/// The access token that a browser brings.
pub(crate) fn access(asked: &Asked) -> Option<&str> {
    read(asked, ACCESS)
}

/// The refresh token that a browser brings.
pub(crate) fn refresh(asked: &Asked) -> Option<PresentedRefresh> {
    PresentedRefresh::parse(read(asked, REFRESH)?)
}

/// Whether a browser brings anything of a login.
pub(crate) fn any(asked: &Asked) -> bool {
    read(asked, ACCESS).is_some() || read(asked, REFRESH).is_some()
}

/// What a browser is to keep of a login.
pub(crate) fn keeping(asked: &Asked, opened: &OpenedSession) -> Vec<HeaderValue> {
    let terms = &asked.desk.sessions.terms;
    let left = opened.expires_at.as_second().saturating_sub(asked.now.wall.as_second()).max(0);
    let refresh = opened.refresh.as_ref().map(|refresh| write(asked, REFRESH, refresh.reveal(), left));
    let access_for = i64::try_from(terms.access.as_secs()).unwrap_or(i64::MAX);
    refresh.into_iter().chain([write(asked, ACCESS, &opened.access, access_for)]).flatten().collect()
}

/// What makes a browser forget a login.
pub(crate) fn forgetting(asked: &Asked) -> Vec<HeaderValue> {
    [ACCESS, REFRESH].into_iter().filter_map(|name| write(asked, name, "", 0)).collect()
}

/// A `Set-Cookie` (RFC 6265bis). Over TLS the name begins with `__Host-`: browsers then take it from this host alone.
fn write(asked: &Asked, name: &str, value: &str, seconds: i64) -> Option<HeaderValue> {
    let (prefix, secure) = (prefix(asked), if asked.desk.manner.secure { "; Secure" } else { "" });
    let text =
        format!("{prefix}{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    HeaderValue::try_from(text).ok()
}

/// What their names begin with.
pub(crate) fn prefix(asked: &Asked) -> &'static str {
    if asked.desk.manner.secure { "__Host-" } else { "" }
}

fn read<'a>(asked: &'a Asked, name: &str) -> Option<&'a str> {
    let prefix = prefix(asked);
    // HTTP/2 splits them over several headers (RFC 9113 §8.2.3).
    let lines = asked.head.headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (key, value) = pair.trim().split_once('=')?;
        (key.strip_prefix(prefix)? == name && !value.is_empty()).then_some(value)
    })
}
