//! Edits that agree with what the editor saw: `ETag` and `If-Match` (RFC 9110 §8.8.3, §13.1.1).

use admin::AdminError;
use domain::audit::push_hex;
use http::{Method, Response, StatusCode, header};
use pipeline::flow::{self, Flow};
use sha2::{Digest as _, Sha256};

use crate::{
    answer,
    api::{Endpoint, Place},
    asked::{Asked, Pairs},
    problem::Problem,
    route::Route,
};

/// A strong tag of what an edit changes.
pub(crate) fn of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut tag = String::with_capacity(34);
    tag.push('"');
    push_hex(&mut tag, hash.finalize().get(..16).unwrap_or_default());
    tag.push('"');
    tag
}

/// Whether whoever asks wants to see what has this tag; `false`: they do not say.
///
/// # Errors
/// 412 when they have seen another; 400 when it cannot be told what they have seen.
pub(crate) fn check(asked: &Asked, tag: &str, what: &str) -> Result<bool, Problem> {
    let Some(wanted) = asked.head.headers.get(header::IF_MATCH) else { return Ok(false) };
    let wanted = wanted.to_str().ok().filter(|tags| !tags.trim().is_empty());
    let wanted = wanted.ok_or_else(|| {
        Problem::invalid("`If-Match` names no ETag; send the one that the answer had, or leave it out")
    })?;
    let mut all = wanted.split(',').map(str::trim);
    // A weak tag never matches here (RFC 9110 §13.1.1).
    if all.any(|one| one == "*" || one == tag) { Ok(true) } else { Err(Problem::changed_meanwhile(what)) }
}

/// The answer to a look, left out where whoever looks has it (RFC 9110 §13.1.2, §15.4.5).
pub(crate) fn unless_had(asked: &Asked, response: Response<Flow>) -> Response<Flow> {
    let Some(tag) = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()) else {
        return response;
    };
    let had = asked.head.headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    let mut had = had.flat_map(|tags| tags.split(',')).map(|one| one.trim().trim_start_matches("W/"));
    let looks = response.status() == StatusCode::OK && matches!(*asked.method(), Method::GET | Method::HEAD);
    if !looks || !had.any(|one| one == "*" || one == tag) {
        return response;
    }
    let mut same = Response::new(flow::whole(""));
    *same.status_mut() = StatusCode::NOT_MODIFIED;
    answer::set(same.headers_mut(), header::ETAG, tag);
    same
}

/// The field of a form in which a page says what it showed.
pub(crate) const SEEN_FIELD: &str = "seen";

/// Whether a form of a page was filled in for what has this tag.
///
/// # Errors
/// 412 when it was filled in for another; 400 when it does not say.
pub(crate) fn check_form(form: &Pairs, tag: &str, what: &str) -> Result<(), Problem> {
    match form.get(SEEN_FIELD) {
        Some(seen) if seen == bare(tag) => Ok(()),
        Some(_) => Err(Problem::changed_meanwhile(what)),
        None => Err(Problem::invalid("the form does not say what it was filled in for; reload the page")),
    }
}

/// A tag as a form has it: without its quotes.
pub(crate) fn bare(tag: &str) -> &str {
    tag.trim_matches('"')
}

/// Refuses a condition on a write that no handler looks at: whoever sends one relies on it.
///
/// # Errors
/// 400.
pub(crate) fn check_known(asked: &Asked, route: &Route) -> Result<(), Problem> {
    let Some(endpoint) = Endpoint::of(route).filter(|_| route.method != Method::GET) else { return Ok(()) };
    let known = endpoint.at(Place::Header).any(|param| param.name.eq_ignore_ascii_case("if-match"));
    let has = |name| asked.head.headers.contains_key(name);
    if has(header::IF_NONE_MATCH) {
        return Err(Problem::invalid("`If-None-Match` is not looked at in a write; leave it out"));
    }
    if known || !has(header::IF_MATCH) {
        return Ok(());
    }
    Err(Problem::invalid("nothing here has an ETag that this could depend on; leave `If-Match` out"))
}

/// What was changed between look and edit is 412 for who asked for it, 409 for others.
pub(crate) fn meanwhile(asked: &Asked, error: AdminError) -> Problem {
    match error {
        AdminError::ChangedMeanwhile(what) if asked.head.headers.contains_key(header::IF_MATCH) => {
            Problem::changed_meanwhile(&what)
        }
        other => other.into(),
    }
}
