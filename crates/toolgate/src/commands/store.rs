//! `toolgate store`: copied, saved, brought back. Whoever can read the home may; nothing sealed is opened.

mod backup;
mod copy;
mod restore;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Map, Value, json};
use store::{Newest, Verification};

use super::{Context, Verdict};
use crate::output::{count_of, escape_foreign};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/store_copy.txt"))]
    Copy {
        // Texts, so that a password in one is in no message about how it is written.
        #[arg(long, value_name = "PLACE")]
        from: String,
        #[arg(long, value_name = "PLACE")]
        to: String,
    },
    #[command(override_help = include_str!("help/store_backup.txt"))]
    Backup {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    #[command(override_help = include_str!("help/store_restore.txt"))]
    Restore {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    context.block_on(async {
        match command {
            Command::Copy { from, to } => copy::copy(context, &from, &to).await,
            Command::Backup { file } => backup::backup(context, &file).await,
            Command::Restore { file } => restore::restore(context, &file).await,
        }
    })
}

/// What becomes of approved calls that somebody else may have sent.
fn in_doubt(count: u64) -> String {
    let calls = count_of(usize::try_from(count).unwrap_or(usize::MAX), "approved call");
    format!(
        "{calls} may have been sent by the other store's gateway: not sent again, and `unknown` from the next start on"
    )
}

/// A trail in few words: `1,204 events in 1 chain`, and where it ends.
fn trail_words(trail: &Verification) -> String {
    let events = count_of(usize::try_from(trail.events).unwrap_or(usize::MAX), "event");
    let chains = count_of(usize::try_from(trail.chains).unwrap_or(usize::MAX), "chain");
    match &trail.newest {
        Some(newest) => format!("{events} in {chains}; newest: {}", newest_words(newest)),
        None => format!("{events} in {chains}"),
    }
}

/// `gw-1 1204 6a0f3c52…`, as `audit verify` writes it.
fn newest_words(newest: &Newest) -> String {
    let hash: String = newest.hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{} {} {hash}…", escape_foreign(&newest.writer), newest.seq)
}

/// The members of `audit verify --json`, with what else there is to tell.
fn with_trail(trail: &Verification, more: Value) -> Value {
    let mut members: Map<String, Value> = Map::new();
    if let Value::Object(trail) = super::audit::as_json(trail) {
        members.extend(trail);
    }
    if let Value::Object(more) = more {
        members.extend(more);
    }
    json!(members)
}
