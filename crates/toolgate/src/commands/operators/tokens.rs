//! `toolgate operators token` and `revoke-token`. A new token is printed once, alone on stdout.

use domain::operator::{Email, TokenLifetime};
use serde_json::json;

use super::{check_home, password::known_password};
use crate::{
    commands::{Context, Verdict, usage},
    output::{Mark, day_and_time},
};

/// Reads `--expires 30d`.
///
/// # Errors
/// One sentence when it is no length of time, or longer than a token may live.
pub fn lifetime(text: &str) -> Result<TokenLifetime, String> {
    let length = usage::lifetime(text)?;
    TokenLifetime::new(length)
        .ok_or_else(|| "a token lives 365d at most; write it like 30d or 12h".to_owned())
}

pub fn create(
    context: &Context,
    email: &Email,
    password_stdin: bool,
    lifetime: TokenLifetime,
) -> anyhow::Result<Verdict> {
    check_home(context)?;
    let password = known_password(&context.output, password_stdin)?;
    let created = context.block_on(async {
        let desk = context.desk().await?;
        let pepper = desk.pepper().await?;
        let now = context.now().wall;
        let created = desk.admin.create_token(now, &pepper, (email, &password), lifetime).await?;
        desk.close().await;
        Ok(created)
    })?;
    let (token, id) = (created.token.reveal(), created.token.id());
    if context.output.json {
        context.output.json(&json!({
            "token": token, "operator": created.operator, "expires_at": created.expires_at.to_string()
        }))?;
        return Ok(Verdict::Done);
    }
    context.output.raw(token)?;
    context.output.talk(format!("operator  {} ({})", created.operator, created.role.as_str()));
    let revoke = context.invocation.command(&format!("operators revoke-token {id}"));
    let expires = day_and_time(created.expires_at);
    context.output.talk(format!("token     {id}, expires {expires}; to stop it: {revoke}"));
    context
        .output
        .warn("shown this once, only a hash is kept; give it to your script as TOOLGATE_OPERATOR_TOKEN");
    Ok(Verdict::Done)
}

pub fn revoke(context: &Context, start: &str) -> anyhow::Result<Verdict> {
    let revoked = context.block_on(async {
        let desk = context.desk().await?;
        let revoked = desk.admin.revoke_token(&context.actor(), context.now().wall, start).await?;
        desk.close().await;
        Ok(revoked)
    })?;
    let (id, operator) = (revoked.token.id, &revoked.token.operator);
    if context.output.json {
        let changed = revoked.already.is_none();
        context.output.json(&json!({ "token_id": id, "operator": operator, "changed": changed }))?;
    } else if let Some(at) = revoked.already {
        let at = day_and_time(at);
        context.output.answer_marked(Mark::Same, format!("{id} of {operator} was revoked {at}"))?;
    } else {
        context.output.answer_marked(Mark::Done, format!("{id} of {operator} revoked"))?;
    }
    Ok(Verdict::Done)
}
