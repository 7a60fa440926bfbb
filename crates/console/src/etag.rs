//! Edits that agree with what was seen: `ETag` and `If-Match` (RFC 9110 §8.8.3, §13.1.1).

use admin::AdminError;
use domain::audit::push_hex;
use http::header;
use sha2::{Digest as _, Sha256};

use crate::{asked::Asked, problem::Problem};

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
/// 412 when they have seen another.
pub(crate) fn check(asked: &Asked, tag: &str, what: &str) -> Result<bool, Problem> {
    let Some(wanted) = asked.header(header::IF_MATCH) else { return Ok(false) };
    let mut all = wanted.split(',').map(str::trim);
    // A weak tag never matches here (RFC 9110 §13.1.1).
    if all.any(|one| one == "*" || one == tag) { Ok(true) } else { Err(Problem::changed_meanwhile(what)) }
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
