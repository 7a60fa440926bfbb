//! Answers in JSON, HTML and bytes, and the headers that every answer of the console has.

use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use pipeline::flow::{self, Flow};
use serde::Serialize;

use crate::{Manner, problem::Problem};

/// What a page may load: its own files, and nothing that somebody wrote into it. Scripts cannot make HTML out of texts.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'",
);

/// How long browsers come by TLS only: a year (RFC 6797 §6.1.1).
const BY_TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// A JSON answer.
///
/// # Errors
/// 500 when the value cannot be written, which no value of ours does.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response<Flow>, Problem> {
    let body = serde_json::to_vec(value).map_err(|_| Problem::internal("an answer could not be written"))?;
    Ok(of(status, "application/json", body))
}

/// `200` and a JSON value.
///
/// # Errors
/// As [`json`].
pub(crate) fn ok(value: &impl Serialize) -> Result<Response<Flow>, Problem> {
    json(StatusCode::OK, value)
}

/// `204`.
pub(crate) fn done() -> Response<Flow> {
    let mut response = Response::new(flow::whole(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Bytes of a media type.
pub(crate) fn of(status: StatusCode, media: &'static str, body: impl Into<bytes::Bytes>) -> Response<Flow> {
    let mut response = Response::new(flow::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response
}

/// The last touch: what every answer says to browsers. Nothing is cached that does not say so itself.
pub(crate) fn finished(mut response: Response<Flow>, manner: Manner) -> Response<Flow> {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        // Under `no-referrer` browsers send `Origin: null` with forms, and writes could not be told from foreign ones.
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ] {
        headers.insert(name, value);
    }
    if manner.secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, BY_TLS_ONLY);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Gives the browser cookies to keep.
pub(crate) fn set_cookies(response: &mut Response<Flow>, cookies: Vec<HeaderValue>) {
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// Sets a header whose value is made at run time; one that is none is left out.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.append(name, value);
    }
}
