//! Passwords as they come in: from stdin, or typed in a terminal without being shown.

use std::io::Read as _;

use admin::PASSWORD_BYTES_MAX;
use anyhow::{Context as _, bail};
use dialoguer::Password;
use zeroize::Zeroizing;

use crate::output::Output;

/// A new password: from stdin, or asked for twice in a terminal.
///
/// # Errors
/// When it cannot be asked for or read.
pub fn new_password(output: &Output, stdin: bool) -> anyhow::Result<Zeroizing<String>> {
    if stdin {
        return from_stdin();
    }
    check_terminal(output)?;
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

/// The password that somebody has: from stdin, or asked for once in a terminal.
///
/// # Errors
/// When it cannot be asked for or read.
pub fn known_password(output: &Output, stdin: bool) -> anyhow::Result<Zeroizing<String>> {
    if stdin {
        return from_stdin();
    }
    check_terminal(output)?;
    let typed = Password::new().with_prompt("Password (not shown)").allow_empty_password(true).interact()?;
    Ok(Zeroizing::new(typed))
}

fn check_terminal(output: &Output) -> anyhow::Result<()> {
    if !output.can_ask() {
        bail!("there is no terminal to ask for the password; pipe it in with --password-stdin");
    }
    Ok(())
}

/// stdin to its end, without one trailing newline.
fn from_stdin() -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    std::io::stdin()
        .take(PASSWORD_BYTES_MAX as u64 + 3)
        .read_to_string(&mut text)
        .context("the password is not UTF-8 text (--password-stdin)")?;
    let end =
        text.strip_suffix('\n').map_or(text.len(), |rest| rest.strip_suffix('\r').unwrap_or(rest).len());
    text.truncate(end);
    if text.len() > PASSWORD_BYTES_MAX {
        bail!(
            "the password is longer than {PASSWORD_BYTES_MAX} bytes (--password-stdin); choose a shorter one"
        );
    }
    Ok(text)
}
