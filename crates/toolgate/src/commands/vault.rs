//! `toolgate vault`: the keys of the vault: looked at, rotated, given another root key. No key is ever shown.

use std::{io::Read as _, time::Duration};

use admin::AdminError;
use anyhow::{Context as _, bail};
use clap::Subcommand;
use dialoguer::Password;
use serde_json::json;
use store::Place;
use vault::{KeyLock, RootKey, Vault};
use zeroize::Zeroizing;

use super::{Context, Verdict, context::Desk, progress::Progress};
use crate::{
    output::{Mark, Output, count, count_of, day_and_time},
    settings::RootKeySource,
    unlock::{PASSPHRASE_CHARACTERS_MIN, Unlocked, unlock},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/vault_status.txt"))]
    Status,
    #[command(override_help = include_str!("help/vault_rotate.txt"))]
    Rotate,
    #[command(override_help = include_str!("help/vault_rekey.txt"))]
    Rekey {
        #[arg(long)]
        key_stdin: bool,
    },
}

/// Within this time every running gateway seals under a new term.
const GATEWAYS_NOTICE: Duration = Duration::from_secs(1);
/// Longer keys and passphrases are refused unread (bytes).
const SECRET_BYTES_MAX: u64 = 1024;

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    let source = context.settings()?.root_key;
    context.block_on(async {
        let desk = context.desk().await?;
        let verdict = match command {
            Command::Status => status(context, &desk, &source).await,
            Command::Rotate => rotate(context, &desk).await,
            Command::Rekey { key_stdin } => rekey(context, &desk, &source, key_stdin).await,
        };
        desk.close().await;
        verdict
    })
}

async fn status(context: &Context, desk: &Desk, source: &RootKeySource) -> anyhow::Result<Verdict> {
    let state = match unlock(source, desk.store(), context.now().wall).await {
        Ok(Unlocked::Open(_)) => Ok(()),
        Ok(Unlocked::Sealed(why)) => Err(("sealed", why)),
        Err(error) => Err(("closed", error.to_string())),
    };
    let terms = desk.admin.vault_terms().await?;
    let unfinished = terms.iter().filter(|term| term.active).count() > 1;
    let output = &context.output;
    if output.json {
        let (kind, place) = match source {
            RootKeySource::File(path) => ("key_file", path.display().to_string()),
            RootKeySource::Variable(name) => ("key_env", name.clone()),
            RootKeySource::Passphrase(name) => ("passphrase_env", name.clone()),
        };
        let rows = terms.iter().map(|term| {
            json!({
                "term": term.term,
                "state": if term.active { "active" } else { "decrypt_only" },
                "values": term.values,
                "created_at": term.created_at.to_string(),
            })
        });
        output.json(&json!({
            "state": state.as_ref().map_or_else(|(word, _)| *word, |()| "open"),
            "source": { kind: place },
            "terms": rows.collect::<Vec<_>>(),
            "rotation_unfinished": unfinished,
        }))?;
        return Ok(if state.is_ok() { Verdict::Done } else { Verdict::No });
    }
    let shown = match source {
        RootKeySource::File(path) => context.invocation.path(path),
        RootKeySource::Variable(_) | RootKeySource::Passphrase(_) => source.shown(),
    };
    match &state {
        Ok(()) => output.answer_marked(Mark::Done, format!("vault    open ({shown})"))?,
        Err((word, why)) => {
            output
                .answer_marked(Mark::Failed, format!("vault    {word}: {}", context.invocation.adapt(why)))?;
        }
    }
    for term in &terms {
        let what = if term.active { "seals and opens" } else { "only opens" };
        let values = count_of(usize::try_from(term.values).unwrap_or(usize::MAX), "value");
        output.answer(format!(
            "  term {:<3} {what:<16} {values}, since {}",
            term.term,
            day_and_time(term.created_at)
        ))?;
    }
    if unfinished {
        let rotate = context.invocation.command("vault rotate");
        output.answer_marked(Mark::Look, format!("a rotation was cut off; finish it: {rotate}"))?;
    }
    Ok(if state.is_ok() { Verdict::Done } else { Verdict::No })
}

async fn rotate(context: &Context, desk: &Desk) -> anyhow::Result<Verdict> {
    let vault = desk.vault().await?;
    let all = desk.admin.vault_terms().await?.iter().map(|term| term.values).sum();
    let progress = Progress::new(context, "rewrapping", "values");
    let now = context.now().wall;
    let rotated = desk.admin.rotate_vault(&context.actor(), now, &vault, |done| progress.at(done, all)).await;
    progress.clear();
    let mut rotated = rotated?;
    tokio::time::sleep(GATEWAYS_NOTICE).await;
    rotated.rewrapped += desk.admin.take_over_late_values(&vault).await?;
    let output = &context.output;
    if output.json {
        output.json(&json!({
            "term": rotated.term,
            "rewrapped": rotated.rewrapped,
            "checked": rotated.checked,
            "resumed": rotated.resumed,
        }))?;
        return Ok(Verdict::Done);
    }
    let line = format!(
        "term {} seals from now on: {} taken over, all {} open",
        rotated.term,
        count_of(usize::try_from(rotated.rewrapped).unwrap_or(usize::MAX), "value"),
        count(rotated.checked)
    );
    output.answer_marked(Mark::Done, line)?;
    if rotated.resumed {
        let again = context.invocation.command("vault rotate");
        output.talk(format!("  this finished a rotation that was cut off; for a further term: {again}"));
    }
    Ok(Verdict::Done)
}

async fn rekey(
    context: &Context,
    desk: &Desk,
    source: &RootKeySource,
    key_stdin: bool,
) -> anyhow::Result<Verdict> {
    let vault = desk.vault().await?;
    let (terms, next) = match source {
        RootKeySource::File(path) => {
            if key_stdin {
                bail!("a key file gets a random key (--key-stdin); leave it out");
            }
            let lock = KeyLock::take(path)?;
            // Where another rekeying was cut off just now, the key beside it is the only one that opens the ring.
            if !still_opens(context, desk, path).await {
                bail!(
                    "another command has changed the vault key meanwhile ({}); repeat this",
                    path.display()
                );
            }
            let next = lock.write_next()?;
            let terms = match replace_ring(context, desk, &vault, next.key(), None).await {
                Ok(terms) => terms,
                Err(error) => {
                    // An error at the commit leaves open which key holds; then both stay, and the next start sees. Where
                    // another gateway has changed the ring, it is not this one.
                    let is_others = matches!(error.downcast_ref(), Some(AdminError::ChangedMeanwhile(_)));
                    if is_others || still_opens(context, desk, path).await {
                        next.abandon();
                    }
                    return Err(error);
                }
            };
            next.take_its_place()?;
            (
                terms,
                format!(
                    "{} holds the new key; copy it elsewhere, and forget the old copy",
                    context.invocation.path(path)
                ),
            )
        }
        RootKeySource::Variable(name) => {
            let text = secret(&context.output, key_stdin, "New vault key (64 hex digits or base64)")?;
            let root = RootKey::from_text(&text)
                .context("the new vault key cannot be read; `openssl rand -hex 32` makes one")?;
            let terms = replace_ring(context, desk, &vault, &root, None).await?;
            (
                terms,
                format!(
                    "set ${name} to the new key before the next start; the old one opens nothing any more"
                ),
            )
        }
        RootKeySource::Passphrase(name) => {
            let text = secret(&context.output, key_stdin, "New passphrase (16 characters or more)")?;
            if text.chars().count() < PASSPHRASE_CHARACTERS_MIN {
                bail!("the passphrase is too short; use {PASSPHRASE_CHARACTERS_MIN} characters or more");
            }
            let salt = vault::random::bytes();
            let root = RootKey::from_passphrase(&text, &salt)?;
            let terms = replace_ring(context, desk, &vault, &root, Some(salt)).await?;
            (
                terms,
                format!(
                    "set ${name} to the new passphrase before the next start; the old one opens nothing any more"
                ),
            )
        }
    };
    if context.output.json {
        context.output.json(&json!({ "terms": terms }))?;
        return Ok(Verdict::Done);
    }
    context
        .output
        .answer_marked(Mark::Done, format!("{} sealed under the new root key", count_of(terms, "term")))?;
    context.output.answer(format!("  {next}"))?;
    if matches!(context.settings()?.store, Place::Server(_)) {
        for line in at_other_gateways(context, source) {
            context.output.answer(line)?;
        }
    }
    Ok(Verdict::Done)
}

/// What is to be done at the other gateways of a store, in its order.
fn at_other_gateways(context: &Context, source: &RootKeySource) -> [String; 4] {
    let bring = match source {
        RootKeySource::File(path) => format!(
            "copy {} from here over its key file (`vault.key_file`), mode 0600, owned by the gateway's user",
            context.invocation.path(path)
        ),
        RootKeySource::Variable(name) => format!("set ${name} to the new key, and restart it"),
        RootKeySource::Passphrase(name) => format!("set ${name} to the new passphrase, and restart it"),
    };
    [
        "  other gateways of this store run on; they need the new key before they start again, before commands\n  \
         there open the vault, and before the next `vault rotate`:"
            .to_owned(),
        format!("    1. at each of them, {bring}"),
        format!("    2. ask it: {} (`vault` must be ✓)", context.invocation.command("doctor")),
        "    3. only when all have it, forget the old key".to_owned(),
    ]
}

async fn replace_ring(
    context: &Context,
    desk: &Desk,
    vault: &Vault,
    root: &RootKey,
    salt: Option<[u8; 16]>,
) -> anyhow::Result<usize> {
    Ok(desk.admin.rekey_vault(&context.actor(), context.now().wall, vault, root, salt).await?)
}

/// Whether the key at `path` still opens the ring.
async fn still_opens(context: &Context, desk: &Desk, path: &std::path::Path) -> bool {
    let Ok(key) = RootKey::load(path) else { return false };
    admin::open_vault(desk.store(), &key, context.now().wall).await.is_ok()
}

/// A new secret: from stdin, without one trailing newline, or asked for twice in a terminal.
fn secret(output: &Output, from_stdin: bool, prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    if from_stdin {
        let mut text = Zeroizing::new(String::new());
        std::io::stdin()
            .take(SECRET_BYTES_MAX + 3)
            .read_to_string(&mut text)
            .context("the new key is not UTF-8 text (--key-stdin)")?;
        let end =
            text.strip_suffix('\n').map_or(text.len(), |rest| rest.strip_suffix('\r').unwrap_or(rest).len());
        text.truncate(end);
        if text.len() as u64 > SECRET_BYTES_MAX {
            bail!("the new key is longer than {SECRET_BYTES_MAX} bytes (--key-stdin); choose a shorter one");
        }
        return Ok(text);
    }
    if !output.can_ask() {
        bail!("there is no terminal to ask for the new key; pipe it in with --key-stdin");
    }
    let typed = Password::new()
        .with_prompt(format!("{prompt}, not shown, asked twice"))
        .with_confirmation("Again", "they differ; once more")
        .interact()?;
    Ok(Zeroizing::new(typed))
}
