//! `toolgate approvals`: the inbox in a terminal. A decision shows the whole call first, is a person's, and is bound to
//! the digest of what was shown.

mod decide;
#[cfg(test)]
mod fixture;
mod list;
mod page;
mod show;
mod watch;
mod words;

use clap::{Args, Subcommand};
use domain::{approval::Outcome, names::AgentName};

use self::{decide::Digest, list::Which};
use super::{Context, Verdict, usage::rows};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/approvals_list.txt"))]
    List {
        #[arg(long, value_name = "S", value_parser = Which::parse, default_value = "pending")]
        status: Which,
        #[arg(long, value_name = "A", value_parser = AgentName::parse)]
        agent: Option<AgentName>,
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = rows, allow_negative_numbers = true)]
        limit: u32,
    },
    #[command(override_help = include_str!("help/approvals_show.txt"))]
    Show {
        #[arg(value_name = "ID")]
        id: String,
    },
    #[command(override_help = include_str!("help/approvals_approve.txt"))]
    Approve {
        #[arg(value_name = "ID")]
        id: String,
        #[arg(long, value_name = "D", value_parser = Digest::parse)]
        digest: Option<Digest>,
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    #[command(override_help = include_str!("help/approvals_deny.txt"))]
    Deny {
        #[arg(value_name = "ID")]
        id: String,
        #[arg(long, value_name = "D", value_parser = Digest::parse)]
        digest: Option<Digest>,
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    #[command(override_help = include_str!("help/approvals_resolve.txt"))]
    Resolve {
        #[arg(value_name = "ID")]
        id: String,
        #[command(flatten)]
        outcome: WhatBecame,
        #[arg(long, value_name = "D", value_parser = Digest::parse)]
        digest: Option<Digest>,
        #[arg(long, value_name = "TEXT", default_value_t)]
        reason: String,
    },
    #[command(override_help = include_str!("help/approvals_watch.txt"))]
    Watch,
}

/// What an operator found out about a call whose answer was lost.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct WhatBecame {
    #[arg(long)]
    executed: bool,
    #[arg(long)]
    failed: bool,
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    match command {
        Command::List { status, agent, limit } => list::run(context, status, agent, limit),
        Command::Show { id } => show::run(context, &id),
        Command::Approve { id, digest, reason } => decide::approve(context, &id, digest, reason.as_deref()),
        Command::Deny { id, digest, reason } => decide::deny(context, &id, digest, &reason),
        Command::Resolve { id, outcome, digest, reason } => {
            let outcome = if outcome.executed { Outcome::Executed } else { Outcome::Failed };
            decide::resolve(context, &id, outcome, digest, &reason)
        }
        Command::Watch => watch::run(context),
    }
}
