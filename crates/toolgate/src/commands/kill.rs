//! `toolgate kill`: the switch that stops everything, for whoever owns the home.

use clap::Subcommand;
use domain::kill::{Kill, KillReason};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Context, Verdict};
use crate::output::{Mark, age, day_and_time, escape_foreign};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/kill_on.txt"))]
    On {
        #[arg(long, value_name = "TEXT", value_parser = KillReason::parse)]
        reason: KillReason,
    },
    #[command(override_help = include_str!("help/kill_off.txt"))]
    Off,
    #[command(override_help = include_str!("help/kill_status.txt"))]
    Status,
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    context.block_on(async {
        let desk = context.desk().await?;
        let (actor, now) = (context.actor(), context.now().wall);
        let verdict = match command {
            Command::On { reason } => {
                let (kill, changed) = desk.admin.turn_kill_on(&actor, now, reason).await?;
                turned_on(context, &kill, changed)
            }
            Command::Off => turned_off(context, desk.admin.turn_kill_off(&actor, now).await?.as_ref(), now),
            Command::Status => status(context, desk.admin.kill().await?.as_ref()),
        };
        desk.close().await;
        verdict
    })
}

/// What is to be known of a kill switch that is on: `on since 2026-11-23 14:02 UTC, by os:ada: "stolen"`.
pub fn in_words(kill: &Kill) -> String {
    format!(
        "on since {} UTC, by {}: \"{}\"",
        day_and_time(kill.since),
        escape_foreign(&kill.by),
        escape_foreign(kill.reason.as_str())
    )
}

fn turned_on(context: &Context, kill: &Kill, changed: bool) -> anyhow::Result<Verdict> {
    let output = &context.output;
    if output.json {
        output.json(&changed_json(Some(kill), changed))?;
    } else if changed {
        output.answer_marked(Mark::Done, "kill switch  on; within a second nothing is forwarded")?;
        output.talk(format!("to forward calls again: {}", context.invocation.command("kill off")));
    } else {
        output.answer_marked(Mark::Same, format!("kill switch  {}", in_words(kill)))?;
    }
    Ok(Verdict::Done)
}

fn turned_off(context: &Context, lifted: Option<&Kill>, now: Timestamp) -> anyhow::Result<Verdict> {
    let output = &context.output;
    match lifted {
        _ if output.json => output.json(&changed_json(None, lifted.is_some()))?,
        Some(kill) => {
            let length = age(now.duration_since(kill.since).try_into().unwrap_or_default());
            output.answer_marked(
                Mark::Done,
                format!("kill switch  off after {length}; within a second calls are forwarded again"),
            )?;
        }
        None => output.answer_marked(Mark::Same, "kill switch  off")?,
    }
    Ok(Verdict::Done)
}

fn status(context: &Context, kill: Option<&Kill>) -> anyhow::Result<Verdict> {
    let output = &context.output;
    match kill {
        _ if output.json => output.json(&status_json(kill))?,
        Some(kill) => {
            output.answer_marked(Mark::Look, format!("kill switch  {}", in_words(kill)))?;
            output.talk(format!("nothing is forwarded until: {}", context.invocation.command("kill off")));
        }
        None => output.answer_marked(Mark::Done, "kill switch  off")?,
    }
    Ok(Verdict::Done)
}

fn status_json(kill: Option<&Kill>) -> Value {
    json!({
        "on": kill.is_some(),
        "since": kill.map(|kill| kill.since.to_string()),
        "by": kill.map(|kill| &kill.by),
        "reason": kill.map(|kill| &kill.reason),
    })
}

/// The status, and whether the command has changed it.
fn changed_json(kill: Option<&Kill>, changed: bool) -> Value {
    let mut status = status_json(kill);
    if let Some(members) = status.as_object_mut() {
        members.insert("changed".to_owned(), json!(changed));
    }
    status
}
