//! `toolgate operators`: the people who own the install. Passwords come from a prompt or stdin, never from an
//! argument, and are forgotten as soon as they are hashed.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use clap::{Subcommand, ValueEnum};
use dialoguer::Password;
use domain::operator::{Email, OperatorRole};
use serde_json::json;
use zeroize::Zeroizing;

use super::{Context, Verdict};
use crate::output::{Mark, Output};

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
}

/// A console role as it is typed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Role {
    Viewer,
    Approver,
    Owner,
}

/// Longer passwords are refused before they are hashed (bytes).
const PASSWORD_BYTES_MAX: u64 = 1024;

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    let Command::Create { email, role, password_stdin } = command;
    let role = match role {
        Role::Viewer => OperatorRole::Viewer,
        Role::Approver => OperatorRole::Approver,
        Role::Owner => OperatorRole::Owner,
    };
    // A home that is not there is told before anybody types a password.
    context.block_on(async {
        context.desk().await?.close().await;
        Ok(())
    })?;
    let password = password(&context.output, password_stdin)?;
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

/// The password: from stdin, without one trailing newline, or asked for twice in a terminal.
///
/// # Errors
/// When it cannot be asked for or read.
pub fn password(output: &Output, from_stdin: bool) -> anyhow::Result<Zeroizing<String>> {
    if from_stdin {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin()
            .take(PASSWORD_BYTES_MAX + 3)
            .read_to_string(&mut text)
            .context("the password is not UTF-8 text (--password-stdin)")?;
        let end =
            text.strip_suffix('\n').map_or(text.len(), |rest| rest.strip_suffix('\r').unwrap_or(rest).len());
        text.truncate(end);
        if text.len() as u64 > PASSWORD_BYTES_MAX {
            bail!(
                "the password is longer than {PASSWORD_BYTES_MAX} bytes (--password-stdin); choose a shorter one"
            );
        }
        return Ok(text);
    }
    if !output.can_ask() {
        bail!("there is no terminal to ask for the password; pipe it in with --password-stdin");
    }
    let typed = Password::new()
        .with_prompt("Password (12 characters or more, not shown, asked twice)")
        .with_confirmation("Again", "they differ; once more")
        .validate_with(|typed: &String| match typed.chars().count() {
            0..admin::PASSWORD_CHARACTERS_MIN => Err("use 12 characters or more"),
            _ => Ok(()),
        })
        .interact()?;
    Ok(Zeroizing::new(typed))
}
