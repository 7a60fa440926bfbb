//! Logging in and out, who is logged in, and the list of logins.

use admin::OpenedSession;
use domain::operator::{Session, SessionId};
use http::{Response, StatusCode};
use pipeline::flow::Flow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Listed, Time, operators::RoleWord};

use crate::{answer, asked::Asked, cookies, login, problem::Problem, welcome};

/// Who logs in.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginBody {
    email: String,
    password: String,
}

/// The first owner.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WelcomeBody {
    /// Of the link that `serve` printed.
    token: String,
    email: String,
    /// Twelve characters or more.
    password: String,
}

/// Another password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    old: String,
    #[schemars(length(min = 12, max = 1024))]
    new: String,
}

/// What a login gives; the refresh token is in a cookie.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LoginAnswer {
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    operator: String,
    role: RoleWord,
}

/// Who is logged in.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Me {
    operator: String,
    role: RoleWord,
    /// The login; none for an operator's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// What a browser's script sends as `X-CSRF-Token` with every write.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
}

/// One login in the list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct SessionView {
    id: String,
    operator: String,
    created_at: Time,
    used_at: Time,
    expires_at: Time,
    address: String,
    browser: String,
    /// Whether it is the one that asks.
    current: bool,
}

/// `POST /api/login`
pub(crate) async fn log_in(asked: Asked) -> Result<Response<Flow>, Problem> {
    let body: LoginBody = asked.json()?;
    let opened = login::log_in(&asked, &body.email, &body.password).await?;
    opened_answer(&asked, opened)
}

/// `POST /api/welcome`
pub(crate) async fn welcome(asked: Asked) -> Result<Response<Flow>, Problem> {
    let body: WelcomeBody = asked.json()?;
    let opened = welcome::accept(&asked, &body.token, &body.email, &body.password).await?;
    let mut response = opened_answer(&asked, opened)?;
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// `POST /api/refresh`
pub(crate) async fn refresh(asked: Asked) -> Result<Response<Flow>, Problem> {
    let presented = cookies::refresh(&asked).ok_or_else(Problem::no_session)?;
    let (desk, now) = (&asked.desk, asked.now.wall);
    let opened = desk.admin.renew_session(now, &desk.sessions, &presented, false).await?;
    opened_answer(&asked, opened)
}

fn opened_answer(asked: &Asked, opened: OpenedSession) -> Result<Response<Flow>, Problem> {
    let cookies = cookies::keeping(asked, &opened);
    let mut response = answer::ok(&LoginAnswer {
        access_token: opened.access,
        token_type: "Bearer",
        expires_in: asked.desk.sessions.terms.access.as_secs(),
        operator: opened.operator.email().to_string(),
        role: opened.operator.role().into(),
    })?;
    answer::set_cookies(&mut response, cookies);
    Ok(response)
}

/// `POST /api/logout`
pub(crate) async fn log_out(asked: Asked) -> Result<Response<Flow>, Problem> {
    end_login(&asked).await?;
    let mut response = answer::done();
    answer::set_cookies(&mut response, cookies::forgetting(&asked));
    Ok(response)
}

/// Ends the login that asks, whether its access token is still good or not. Without one there is nothing to end.
pub(crate) async fn end_login(asked: &Asked) -> Result<(), Problem> {
    let (desk, now) = (&asked.desk, asked.now.wall);
    let session = asked.who.as_ref().and_then(|who| Some((who.operator.clone(), who.session?)));
    if let Some((operator, session)) = session {
        desk.admin.end_session(&operator, now, session).await?;
    } else if let Some(refresh) = cookies::refresh(asked) {
        desk.admin.log_out(now, &desk.sessions, &refresh).await?;
    }
    Ok(())
}

/// `GET /api/me`
pub(crate) async fn me(asked: Asked) -> Result<Response<Flow>, Problem> {
    let who = asked.who()?;
    answer::ok(&Me {
        operator: who.operator.email().to_string(),
        role: who.operator.role().into(),
        session: who.session.map(|session| session.to_string()),
        csrf_token: who.write_token(&asked),
    })
}

/// `POST /api/me/password`
pub(crate) async fn change_password(asked: Asked) -> Result<Response<Flow>, Problem> {
    let body: PasswordBody = asked.json()?;
    let opened = login::change_password(&asked, &body.old, &body.new).await?;
    opened_answer(&asked, opened)
}

/// `GET /api/sessions`: one's own; an owner sees everybody's.
pub(crate) async fn list(asked: Asked) -> Result<Response<Flow>, Problem> {
    let who = asked.who()?;
    let (desk, now) = (&asked.desk, asked.now.wall);
    let sees_all = who.operator.role() >= domain::operator::OperatorRole::Owner;
    let whose = (!sees_all).then(|| who.operator.email());
    let sessions = desk.admin.list_sessions(now, &desk.sessions, whose).await?;
    let view = |session: Session| SessionView {
        id: session.id.to_string(),
        operator: session.operator.to_string(),
        created_at: Time(session.created_at),
        used_at: Time(session.used_at),
        expires_at: Time(session.expires_at),
        address: session.address,
        browser: session.browser,
        current: who.session == Some(session.id),
    };
    answer::ok(&Listed::all(sessions.into_iter().map(view).collect()))
}

/// `DELETE /api/sessions/{id}`: one's own; an owner ends anybody's.
pub(crate) async fn end(asked: Asked) -> Result<Response<Flow>, Problem> {
    let who = asked.who()?;
    let unknown = || Problem::not_found("there is no such session; look at the list of sessions");
    let id = SessionId::parse(asked.part("id")).ok_or_else(unknown)?;
    asked.desk.admin.end_session(&who.operator, asked.now.wall, id).await?;
    let mut response = answer::done();
    if who.session == Some(id) {
        answer::set_cookies(&mut response, cookies::forgetting(&asked));
    }
    Ok(response)
}
