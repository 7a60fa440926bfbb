//! Settings: tokens for scripts. One is made in return for a password, and shown once.

use std::time::Duration;

use admin::CreatedToken;
use domain::operator::{Token, TokenId, TokenLifetime};
use http::{Response, StatusCode};
use maud::{Markup, html};
use pipeline::flow::Flow;

use super::{
    super::{
        layout::Frame,
        see,
        ui::{day, icon, length, seconds},
    },
    after, page,
};
use crate::{asked::Asked, denied, login, problem::Problem};

/// How long a script's token may live, with the days.
const LIVES: [(&str, u64); 4] = [("30d", 30), ("7d", 7), ("90d", 90), ("365d", 365)];

/// Makes a token for one's own scripts. Who left a browser open has not left their password.
pub(in crate::pages) async fn create_token(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let chosen = |word: &str| LIVES.into_iter().find(|(known, _)| *known == word);
    let lifetime = match form.get("expires") {
        None => Some(TokenLifetime::DEFAULT),
        Some(word) => {
            chosen(word).and_then(|(_, days)| TokenLifetime::new(Duration::from_secs(days * 86_400)))
        }
    };
    let Some(lifetime) = lifetime else {
        let wrong = Problem::invalid("there is no such lifetime; choose when the token expires");
        return after(&asked, Err(wrong), "#tokens").await;
    };
    let email = asked.who()?.operator.email().clone();
    let password = form.get("password").unwrap_or_default();
    match login::mint_token(&asked, email, password, lifetime).await {
        // The one page that ever shows it is the answer to the form itself.
        Ok(made) => page(&asked, Some(new_token_note(&made)), StatusCode::CREATED).await,
        Err(problem) if problem.status == StatusCode::UNAUTHORIZED => {
            let wrong = Problem::forged("this is not your password; nothing was made");
            denied::record(&asked, &wrong);
            after(&asked, Err(wrong), "#tokens").await
        }
        Err(problem) => {
            denied::record(&asked, &problem);
            after(&asked, Err(problem), "#tokens").await
        }
    }
}

/// A script's token stops: one's own, and for owners anybody's.
pub(in crate::pages) async fn revoke_token(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let id = TokenId::parse(form.get("token").unwrap_or_default());
    let id = id.ok_or_else(|| Problem::not_found("there is no such token; look at the list of tokens"))?;
    asked.desk.admin.end_token(&asked.who()?.operator, asked.now.wall, id).await?;
    Ok(see("/settings?done=revoked#tokens"))
}

fn new_token_note(made: &CreatedToken) -> Markup {
    html! {
        section.note.ok aria-labelledby="once" {
            (icon("key"))
            div.stack {
                h2 id="once" { "New token for scripts of " (made.operator) }
                p { "Copy it now. It is shown this once; Toolgate keeps only a hash. It may do what you may, until " (day(made.expires_at)) "." }
                div.row {
                    code.secret id="new-token" { (made.token.reveal()) }
                    button.btn type="button" data-copy="new-token" hidden { (icon("copy")) " Copy" }
                }
                p.small { "Scripts find it in " code { "TOOLGATE_OPERATOR_TOKEN" } "." }
                a.btn href="/settings#tokens" { "I have stored it, hide it" }
            }
        }
    }
}

pub(super) fn token_panel(frame: &Frame, tokens: &[&Token]) -> Markup {
    html! {
        section.panel id="tokens" aria-labelledby="to" {
            header { h2 id="to" { "Tokens for scripts" } }
            ul.list {
                @for token in tokens {
                    li {
                        span {
                            b { (token.operator) } br;
                            span.muted { code { "opt_" (token.id) } ", made " (day(token.created_at)) ", expires in " (length(seconds(frame.now, token.expires_at))) }
                        }
                        form method="post" action="/settings/tokens/revoke" data-confirm={ "Revoke opt_" (token.id) "?" } {
                            (frame.token())
                            input type="hidden" name="token" value=(token.id);
                            button.btn.danger { "Revoke" span.vh { " opt_" (token.id) } }
                        }
                    }
                }
                @if tokens.is_empty() { li { span.muted { "None. A script that reads or decides here needs one." } } }
            }
            details.body {
                summary { (icon("plus")) " New token" }
                form.stack method="post" action="/settings/tokens" {
                    (frame.token())
                    label.field { span { "Your password" } input type="password" name="password" required autocomplete="current-password"; }
                    label.field { span { "Expires" } select name="expires" { @for (word, days) in LIVES { option value=(word) { "in " (days) " days" } } } }
                    p.hint { "Scripts with it may do what you may. Decisions with it name you." }
                    button.btn.primary { "Make and show the token" }
                }
            }
        }
    }
}
