//! What a request did not get, and why: a problem document (RFC 9457) under `/api`, a page elsewhere.

use std::borrow::Cow;

use admin::{AdminError, Blame};
use domain::operator::OperatorRole;
use http::{HeaderValue, Method, Response, StatusCode, header};
use pipeline::flow::Flow;
use serde_json::json;

use crate::{answer, asked::Asked, pages};

/// A request that was not done.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// The end of its `urn:toolgate:…`.
    pub(crate) code: &'static str,
    /// One sentence for a person.
    pub(crate) detail: Cow<'static, str>,
    /// Seconds until it may be repeated.
    pub(crate) retry_after: Option<u64>,
    /// Somebody was told no for who they are: why, in the words of the trail, which may say more than the answer.
    pub(crate) denied: Option<Cow<'static, str>>,
    /// Methods that the path knows, for 405.
    allow: Option<String>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None, denied: None, allow: None }
    }

    /// The same as a denial, which the trail tells with these words.
    fn denying(self, why: impl Into<Cow<'static, str>>) -> Self {
        Self { denied: Some(why.into()), ..self }
    }

    /// 400: the request does not say what it must, or says it wrong.
    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", detail)
    }

    /// 400: the head says one thing to us and another one to whoever stands before us. Browsers send no such.
    pub(crate) fn unreadable(detail: impl Into<Cow<'static, str>>) -> Self {
        let detail = detail.into();
        Self::invalid(detail.clone()).denying(detail)
    }

    /// 401: nobody is logged in.
    pub(crate) fn no_session() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "nobody is logged in, or the session has ended; log in, or send an operator's token as Bearer",
        )
        .denying("no session and no token")
    }

    /// 401: what was presented is not good. It says the same, whatever is wrong with it.
    pub(crate) fn invalid_credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "invalid credentials")
            .denying("invalid credentials")
    }

    /// 403: an operator who may not.
    pub(crate) fn role_too_low(has: OperatorRole, least: OperatorRole) -> Self {
        let detail =
            format!("this takes the role {}, and yours is {}; ask an owner", least.as_str(), has.as_str());
        Self::forbidden(detail)
    }

    /// 403: a browser sent it for another site's page, or without the token of its session.
    pub(crate) fn forged(detail: &'static str) -> Self {
        Self::forbidden(detail.to_owned())
    }

    fn forbidden(detail: String) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail.clone()).denying(detail)
    }

    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub(crate) fn method_not_allowed(allowed: &[&Method]) -> Self {
        let allow = allowed.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
        let detail = format!("this takes {allow} only");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail) }
    }

    /// 409: it would not agree with what is there.
    pub(crate) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 412: it was changed since it was read.
    pub(crate) fn changed_meanwhile(what: &str) -> Self {
        let detail = format!("{what} was changed meanwhile; look at it again, then repeat");
        Self::new(StatusCode::PRECONDITION_FAILED, "changed-meanwhile", detail)
    }

    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("the body is over the limit of {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    pub(crate) fn media_type(wanted: &'static str) -> Self {
        let detail = format!("the body must be `{wanted}`; send that as Content-Type");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail)
    }

    /// 429, with the seconds to wait.
    pub(crate) fn too_many_tries(wait: u64) -> Self {
        let detail = format!("too many tries; wait {wait} s, then repeat");
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail);
        Self { retry_after: Some(wait), ..problem }.denying("too many tries")
    }

    /// 429: somebody watches from too many places.
    pub(crate) fn too_many_watch(most: usize) -> Self {
        let detail =
            format!("you watch from {most} places already, and nobody may from more; close one of them");
        Self { retry_after: Some(1), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail) }
    }

    /// 503: it cannot be done now.
    pub(crate) fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }

    pub(crate) fn internal(detail: &'static str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// As an answer to that request.
    pub(crate) fn into_response(self, asked: &Asked) -> Response<Flow> {
        let mut response = if asked.is_api() { self.document() } else { pages::problem(&self, asked) };
        let status = response.status();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"toolgate\""));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        if let Some(allow) = &self.allow {
            answer::set(headers, header::ALLOW, allow);
        }
        response
    }

    fn document(&self) -> Response<Flow> {
        let mut document = json!({
            "type": format!("urn:toolgate:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let (Some(wait), Some(members)) = (self.retry_after, document.as_object_mut()) {
            members.insert("retry_after".to_owned(), wait.into());
        }
        answer::of(self.status, "application/problem+json", document.to_string())
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let detail = error.to_string();
        match error.blame() {
            Blame::Wish => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail),
            // Somebody else's is told from none in no answer; who asks for it is told of in the trail.
            Blame::Nothing if matches!(error, AdminError::NoSuchSession(_) | AdminError::NoSuchToken(_)) => {
                Self::not_found(detail).denying("it is somebody else's, or nobody's")
            }
            Blame::Nothing => Self::not_found(detail),
            Blame::State => Self::conflict(detail),
            Blame::Role => Self::forbidden(detail),
            // Whatever is wrong with what was presented: the answer says the same.
            Blame::Credentials => Self::invalid_credentials().denying(presented(&error)),
            Blame::Tries(wait) => Self::too_many_tries(wait),
            Blame::Us => {
                tracing::error!("a request to the console could not be answered: {detail}");
                Self::unavailable("the store or the vault does not answer; look at: toolgate doctor")
            }
        }
    }
}

/// What was wrong with what was presented, for the trail: one of few texts, whatever was sent.
fn presented(error: &AdminError) -> &'static str {
    match error {
        AdminError::WrongCredentials => "wrong e-mail or password",
        AdminError::OperatorDisabled(_) => "disabled operator",
        AdminError::TokenRevoked { .. } => "revoked token",
        AdminError::TokenExpired { .. } => "expired token",
        AdminError::SessionEnded => "no such session, or one that has ended",
        _ => "unknown token",
    }
}
