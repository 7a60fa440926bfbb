//! What a client without a valid key or token is told about where to get a token (RFC 6750 §3, RFC 9728 §5.1).

use std::fmt::Write as _;

use domain::{
    oauth::Resource,
    stop::{KeyFault, Refusal, Stop},
};
use http::{HeaderValue, Response, header};
use pipeline::issuers::Issuers;

/// What is said where no issuer is configured.
pub(crate) const PLAIN: &str = "Bearer realm=\"toolgate\"";

/// What was wrong, as far as a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Nothing came that could prove anything (RFC 6750 §3.1: then no error is named).
    Nothing,
    /// It proved nothing. Why is not told.
    Invalid,
    /// The token is good, and lacks this scope.
    LacksScope(String),
}

impl Challenge {
    /// The challenge that belongs to an answer; most have none.
    pub(crate) fn of(stop: &Stop) -> Option<Self> {
        match stop {
            Stop::Refused(Refusal::Unauthorized(KeyFault::Missing)) => Some(Self::Nothing),
            Stop::Refused(Refusal::Unauthorized(_)) => Some(Self::Invalid),
            Stop::Refused(Refusal::InsufficientScope(scope)) => Some(Self::LacksScope(scope.clone())),
            _ => None,
        }
    }

    /// In words, for a resource that tokens are taken for.
    fn written(&self, issuers: &Issuers, resource: &Resource) -> String {
        let mut text = PLAIN.to_owned();
        let (error, scopes) = match self {
            Self::Nothing => (None, issuers.scopes().join(" ")),
            Self::Invalid => (Some("invalid_token"), issuers.scopes().join(" ")),
            Self::LacksScope(scope) => (Some("insufficient_scope"), scope.clone()),
        };
        // Writing to a `String` cannot fail. Neither URLs nor scopes have quotes in them: the settings see to that.
        if let Some(error) = error {
            let _ = write!(text, ", error=\"{error}\"");
        }
        if !scopes.is_empty() {
            let _ = write!(text, ", scope=\"{scopes}\"");
        }
        let _ = write!(text, ", resource_metadata=\"{}\"", issuers.metadata_url(resource));
        text
    }
}

/// Completes the challenge of one of our own answers to a request for `resource`. An upstream's is left as it is.
pub(crate) fn complete<B>(response: &mut Response<B>, issuers: &Issuers, resource: &Resource) {
    let Some(challenge) = response.extensions_mut().remove::<Challenge>() else { return };
    if let Ok(value) = HeaderValue::try_from(challenge.written(issuers, resource)) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, value);
    }
}
