//! Tokens for operators' scripts: made for a password, listed, revoked. A token is shown once.

use std::time::Duration;

use domain::operator::{Email, OperatorRole, Token, TokenId, TokenLifetime};
use http::{Response, StatusCode};
use pipeline::flow::Flow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Listed, Time};
use crate::{answer, asked::Asked, login, problem::Problem};

/// A token, never the token itself.
#[derive(Serialize, JsonSchema)]
pub(crate) struct TokenView {
    id: String,
    /// What the token begins with.
    prefix: String,
    operator: String,
    created_at: Time,
    expires_at: Time,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
}

/// A new token.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    /// The operator's own.
    password: String,
    /// The token stops then, in 365 days at most; in 30 days where nothing is said.
    expires_at: Option<Time>,
}

/// A token that was made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CreatedTokenView {
    /// The token. It is shown this once; only a hash is kept.
    token: String,
    operator: String,
    expires_at: Time,
}

/// One's own; an owner sees everybody's.
pub(crate) async fn list(asked: Asked) -> Result<Response<Flow>, Problem> {
    let who = &asked.who()?.operator;
    let mut tokens = asked.desk.admin.list_tokens().await?;
    tokens.retain(|token| who.role() >= OperatorRole::Owner || token.operator == *who.email());
    answer::ok(&Listed::all(tokens.into_iter().map(view).collect()))
}

/// Whoever knows an operator's password may do as they may, so nothing else is asked for.
pub(crate) async fn create(asked: Asked) -> Result<Response<Flow>, Problem> {
    let NewToken { password, expires_at } = asked.json()?;
    // An address that nobody has is told from one that somebody has by no answer.
    let email = Email::parse(asked.part("email")).map_err(|_| Problem::invalid_credentials())?;
    let lifetime = match expires_at {
        None => Some(TokenLifetime::DEFAULT),
        Some(Time(at)) => {
            Duration::try_from(at.duration_since(asked.now.wall)).ok().and_then(TokenLifetime::new)
        }
    };
    let lifetime = lifetime.ok_or_else(|| {
        Problem::invalid("`expires_at` must lie ahead, by 365 days at most; choose another time")
    })?;
    let made = login::mint_token(&asked, email, &password, lifetime).await?;
    answer::json(
        StatusCode::CREATED,
        &CreatedTokenView {
            token: made.token.reveal().to_owned(),
            operator: made.operator.to_string(),
            expires_at: Time(made.expires_at),
        },
    )
}

/// One's own; an owner revokes anybody's.
pub(crate) async fn revoke(asked: Asked) -> Result<Response<Flow>, Problem> {
    let id = TokenId::parse(asked.part("id"))
        .ok_or_else(|| Problem::not_found("there is no such token; look at the list of tokens"))?;
    asked.desk.admin.end_token(&asked.who()?.operator, asked.now.wall, id).await?;
    Ok(answer::done())
}

fn view(token: Token) -> TokenView {
    TokenView {
        id: token.id.to_string(),
        prefix: format!("opt_{}", token.id),
        operator: token.operator.to_string(),
        created_at: Time(token.created_at),
        expires_at: Time(token.expires_at),
        revoked_at: token.revoked_at.map(Time),
        last_used_at: token.last_used_at.map(Time),
    }
}
