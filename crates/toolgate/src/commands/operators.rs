//! `toolgate operators`: the people who own the install, and the tokens of their scripts. Passwords come from a prompt
//! or stdin, never from an argument, and are forgotten as soon as they are hashed.

mod acting;
mod list;
mod password;
mod tokens;

use clap::{Subcommand, ValueEnum};
use domain::operator::{Email, OperatorRole, TokenLifetime};
use serde_json::json;

pub use self::password::new_password;
use super::{Context, Verdict};
use crate::output::{Mark, count_of};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/operators_create.txt"))]
    Create {
        #[arg(value_name = "EMAIL", value_parser = Email::parse)]
        email: Email,
        #[arg(long, value_name = "R")]
        role: Role,
        #[arg(long)]
        password_stdin: bool,
    },
    #[command(override_help = include_str!("help/operators_list.txt"))]
    List,
    #[command(override_help = include_str!("help/operators_disable.txt"))]
    Disable {
        #[arg(value_name = "EMAIL", value_parser = Email::parse)]
        email: Email,
    },
    #[command(override_help = include_str!("help/operators_enable.txt"))]
    Enable {
        #[arg(value_name = "EMAIL", value_parser = Email::parse)]
        email: Email,
    },
    #[command(override_help = include_str!("help/operators_reset.txt"))]
    Reset {
        #[arg(value_name = "EMAIL", value_parser = Email::parse)]
        email: Email,
        #[arg(long)]
        password_stdin: bool,
    },
    #[command(override_help = include_str!("help/operators_token.txt"))]
    Token {
        #[arg(value_name = "EMAIL", value_parser = Email::parse)]
        email: Email,
        #[arg(long)]
        password_stdin: bool,
        #[arg(long, value_name = "30d", value_parser = tokens::lifetime)]
        expires: Option<TokenLifetime>,
    },
    #[command(override_help = include_str!("help/operators_revoke_token.txt"))]
    RevokeToken {
        #[arg(value_name = "ID")]
        token: String,
    },
    #[command(override_help = include_str!("help/operators_whoami.txt"))]
    Whoami,
}

/// A console role as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Role {
    Viewer,
    Approver,
    Owner,
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Create { email, role, password_stdin } => create(context, email, role, password_stdin),
        Command::List => list::run(context),
        Command::Disable { email } => set_state(context, &email, false),
        Command::Enable { email } => set_state(context, &email, true),
        Command::Reset { email, password_stdin } => reset(context, &email, password_stdin),
        Command::Token { email, password_stdin, expires } => {
            tokens::create(context, &email, password_stdin, expires.unwrap_or(TokenLifetime::DEFAULT))
        }
        Command::RevokeToken { token } => tokens::revoke(context, &token),
        Command::Whoami => whoami(context),
    }
}

fn create(context: &Context, email: Email, role: Role, password_stdin: bool) -> anyhow::Result<Verdict> {
    let role = match role {
        Role::Viewer => OperatorRole::Viewer,
        Role::Approver => OperatorRole::Approver,
        Role::Owner => OperatorRole::Owner,
    };
    check_home(context)?;
    let password = new_password(&context.output, password_stdin)?;
    context.block_on(async {
        let desk = context.desk().await?;
        desk.admin
            .create_operator(&context.actor(), context.now().wall, email.clone(), role, &password)
            .await?;
        desk.close().await;
        Ok(())
    })?;
    if context.output.json {
        context.output.json(&json!({ "operator": email.as_str(), "role": role.as_str() }))?;
    } else {
        context.output.answer_marked(Mark::Done, format!("operator  {email} ({})", role.as_str()))?;
    }
    Ok(Verdict::Done)
}

/// A home that is not there is told before anybody types a password.
fn check_home(context: &Context) -> anyhow::Result<()> {
    context.block_on(async {
        context.desk().await?.close().await;
        Ok(())
    })
}

fn set_state(context: &Context, email: &Email, active: bool) -> anyhow::Result<Verdict> {
    let changed = context.block_on(async {
        let desk = context.desk().await?;
        let (actor, now) = (context.actor(), context.now().wall);
        let changed = match active {
            true => desk.admin.enable_operator(&actor, now, email).await?,
            false => desk.admin.disable_operator(&actor, now, email).await?,
        };
        desk.close().await;
        Ok(changed)
    })?;
    if context.output.json {
        context.output.json(&json!({ "operator": email, "changed": changed }))?;
    } else if changed {
        let what = if active { "enabled" } else { "disabled; password and tokens are refused" };
        context.output.answer_marked(Mark::Done, format!("{email} {what}"))?;
    } else {
        context.output.answer_marked(Mark::Same, format!("{email} was so already"))?;
    }
    Ok(Verdict::Done)
}

fn reset(context: &Context, email: &Email, password_stdin: bool) -> anyhow::Result<Verdict> {
    context.block_on(async {
        let desk = context.desk().await?;
        desk.admin.show_operator(email).await?;
        desk.close().await;
        Ok(())
    })?;
    let password = new_password(&context.output, password_stdin)?;
    let revoked = context.block_on(async {
        let desk = context.desk().await?;
        let now = context.now().wall;
        let revoked = desk.admin.reset_operator(&context.actor(), now, email, &password).await?;
        desk.close().await;
        Ok(revoked)
    })?;
    if context.output.json {
        let revoked: Vec<_> = revoked.iter().map(|token| token.id).collect();
        context.output.json(&json!({ "operator": email, "revoked_tokens": revoked }))?;
    } else {
        let tokens = match revoked.len() {
            0 => String::new(),
            number => format!("; {} revoked", count_of(number, "token")),
        };
        context.output.answer_marked(Mark::Done, format!("{email} has a new password{tokens}"))?;
    }
    Ok(Verdict::Done)
}

fn whoami(context: &Context) -> anyhow::Result<Verdict> {
    let operator = context.operator()?;
    let (email, role) = (operator.email(), operator.role().as_str());
    if context.output.json {
        context.output.json(&json!({ "operator": email, "role": role }))?;
    } else {
        context.output.answer_marked(Mark::Done, format!("operator  {email} ({role})"))?;
    }
    Ok(Verdict::Done)
}
