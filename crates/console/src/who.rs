//! Who is asking: an operator's token or a session, as `Authorization: Bearer` or in the browser's cookies.

use admin::ActingOperator;
use domain::operator::{PresentedToken, SessionId, TokenId};
use http::{HeaderValue, Method, header};

use crate::{asked::Asked, cookies, problem::Problem, route::Least};

/// The header in which a page's script sends the token of its session along with a write; forms have it as a field
/// of the name `csrf`.
pub(crate) const WRITE_TOKEN_HEADER: &str = "x-csrf-token";
/// The field.
pub(crate) const WRITE_TOKEN_FIELD: &str = "csrf";

/// Somebody who has proven who they are.
#[derive(Clone)]
pub(crate) struct Who {
    pub(crate) operator: ActingOperator,
    /// Their login; a script with an operator's token has none.
    pub(crate) session: Option<SessionId>,
    /// The token that a script came with.
    pub(crate) token: Option<TokenId>,
    /// Whether a browser proved it with a cookie, which it adds to whatever it is made to send.
    by_cookie: bool,
}

impl Who {
    /// What the pages of this session send along with every write.
    pub(crate) fn write_token(&self, asked: &Asked) -> Option<String> {
        let session = self.session.filter(|_| self.by_cookie)?;
        Some(asked.desk.sessions.access.write_token(session.as_str()))
    }
}

/// Who asks, and cookies that the browser is to keep when they were renewed; `None`: nobody says who they are.
/// `renew`: an access token that has run out may be renewed on the way, which spends the refresh token.
///
/// # Errors
/// 401 when what was presented is not good, 503 when that cannot be looked up.
pub(crate) async fn identify(asked: &Asked, renew: bool) -> Result<Option<(Who, Vec<HeaderValue>)>, Problem> {
    let (desk, now) = (&asked.desk, asked.now.wall);
    if let Some(authorization) = asked.head.headers.get(header::AUTHORIZATION) {
        let bearer = authorization.to_str().ok().and_then(bearer).ok_or_else(Problem::invalid_credentials)?;
        if let Some(token) = PresentedToken::parse(bearer) {
            let operator = desk.admin.sign_in_with_token(now, &desk.sessions.pepper, &token).await?;
            let who = Who { operator, session: None, token: Some(token.id()), by_cookie: false };
            return Ok(Some((who, Vec::new())));
        }
        let (operator, session) = desk.admin.session_holder(now, &desk.sessions, bearer).await?;
        let who = Who { operator, session: Some(session), token: None, by_cookie: false };
        return Ok(Some((who, Vec::new())));
    }
    let of_cookie =
        |operator, session| Who { operator, session: Some(session), token: None, by_cookie: true };
    let mut good = Ok(None);
    if let Some(access) = cookies::access(asked) {
        match desk.admin.session_holder(now, &desk.sessions, access).await.map_err(Problem::from) {
            Ok((operator, session)) => return Ok(Some((of_cookie(operator, session), Vec::new()))),
            Err(problem) => good = Err(problem),
        }
    }
    let Some(refresh) = cookies::refresh(asked).filter(|_| renew) else { return good };
    let opened = desk.admin.renew_session(now, &desk.sessions, &refresh, true).await?;
    let cookies = cookies::keeping(asked, &opened);
    Ok(Some((of_cookie(opened.operator, opened.id), cookies)))
}

/// The text behind `Bearer` (RFC 6750 §2.1).
pub(crate) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, text) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| text.trim())
}

/// Whether a write is meant by who sends it. A token in a header is; a cookie alone is not. Routes for anyone take no
/// cookie for a proof of anything that could be written.
///
/// # Errors
/// 403.
pub(crate) fn check_write(asked: &Asked) -> Result<(), Problem> {
    let reads = matches!(*asked.method(), Method::GET | Method::HEAD);
    if reads || asked.route.is_none_or(|route| route.least == Least::Anyone) {
        return Ok(());
    }
    let Some(session) = asked.who.as_ref().filter(|who| who.by_cookie).and_then(|who| who.session) else {
        return Ok(());
    };
    let field = asked.form().ok().and_then(|form| form.get(WRITE_TOKEN_FIELD).map(str::to_owned));
    let given = asked.header(WRITE_TOKEN_HEADER).map(str::to_owned).or(field);
    let is_good =
        given.is_some_and(|given| asked.desk.sessions.access.is_write_token(session.as_str(), &given));
    if is_good {
        return Ok(());
    }
    Err(Problem::forged("the request lacks the token of its session; reload the page, then repeat"))
}
