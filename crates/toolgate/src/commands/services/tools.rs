//! `toolgate services tools`: what is known of a service's tools, what has changed, and accepting it. Every word of a
//! tool is its server's own, and escaped.

use admin::{ToolView, ToolsView, tools_json};
use anyhow::anyhow;
use clap::Args;
use domain::{
    service::Pins,
    tools::{HeldBack, ToolHash},
};
use jiff::Timestamp;

use super::super::{Context, Verdict};
use crate::output::{Column, Mark, Style, Table, count_of, escape_foreign, shell_quote, short_time};

/// How much of a hash tells one definition from another.
const HASH_DIGITS: usize = 8;

#[derive(Debug, Args)]
pub struct Asked {
    #[arg(value_name = "NAME")]
    name: String,
    #[arg(long, value_name = "TOOL", num_args = 1..)]
    accept: Vec<String>,
    #[arg(long, conflicts_with = "accept")]
    accept_all: bool,
    #[arg(long)]
    diff: bool,
}

pub fn run(context: &Context, asked: &Asked) -> anyhow::Result<Verdict> {
    let (view, accepted) = context.block_on(async {
        let desk = context.desk().await?;
        let mut view = desk.admin.tools(&asked.name).await?;
        let mut accepted = Vec::new();
        for (tool, hash) in wanted(&view, asked)? {
            let at = context.now().wall;
            let place = (asked.name.as_str(), tool.as_str());
            let is_new = desk.admin.accept_tool(&context.actor(), at, place, &hash).await?;
            accepted.push((tool, hash, is_new));
        }
        if !accepted.is_empty() {
            view = desk.admin.tools(&asked.name).await?;
        }
        desk.close().await;
        Ok((view, accepted))
    })?;
    let output = &context.output;
    if output.json {
        output.json(&tools_json(&view))?;
        return Ok(Verdict::Done);
    }
    if asked.accept_all || !asked.accept.is_empty() {
        for (tool, hash, is_new) in &accepted {
            let what = if *is_new { "accepted" } else { "was accepted already" };
            let line = format!("{} {what}, definition {}…", escape_foreign(tool), start(hash));
            output.answer_marked(if *is_new { Mark::Done } else { Mark::Look }, line)?;
        }
        if accepted.is_empty() {
            output.answer(format!("{}: no tool is held back", view.service))?;
        }
        return Ok(Verdict::Done);
    }
    if asked.diff {
        return diff(context, &view);
    }
    list(context, &view)
}

/// The tools that are to be accepted, each with the definition that is meant.
fn wanted(view: &ToolsView, asked: &Asked) -> anyhow::Result<Vec<(String, ToolHash)>> {
    if asked.accept_all {
        let held =
            view.tools.iter().filter(|tool| tool.held_back.is_some() && tool.tool.definition.is_some());
        return Ok(held.map(|tool| (tool.tool.name.clone(), tool.tool.known.hash)).collect());
    }
    let mut found = Vec::new();
    for wanted in &asked.accept {
        let of_name = |name: &str| view.tools.iter().find(|tool| tool.tool.name == name);
        let (tool, meant) = match (of_name(wanted), wanted.rsplit_once('@')) {
            (Some(tool), _) => (Some(tool), None),
            (None, Some((name, hash))) => (of_name(name), Some(hash)),
            (None, None) => (None, None),
        };
        let Some(tool) = tool else {
            // The desk knows how to say so.
            found.push((wanted.clone(), ToolHash([0; 32])));
            continue;
        };
        let hash = tool.tool.known.hash;
        if meant.is_some_and(|meant| meant.len() < HASH_DIGITS || !hash.hex().starts_with(meant)) {
            return Err(anyhow!(
                "`{}` is defined otherwise by now ({}@{}); look at it again: toolgate services tools {} --diff",
                escape_foreign(&tool.tool.name),
                escape_foreign(&tool.tool.name),
                start(&hash),
                view.service
            ));
        }
        found.push((tool.tool.name.clone(), hash));
    }
    Ok(found)
}

fn list(context: &Context, view: &ToolsView) -> anyhow::Result<Verdict> {
    let (output, now) = (&context.output, context.now().wall);
    if view.tools.is_empty() {
        let seen = match view.listed {
            true => "its list of tools is empty",
            false => "no list of its tools was seen yet; it is made with the first call",
        };
        output.answer(format!("{}: {seen}", view.service))?;
        return Ok(Verdict::Done);
    }
    let mut table = Table::new([
        Column::left("TOOL"),
        Column::left("STATE"),
        Column::left("SINCE"),
        Column::left("HINT"),
        Column::left("DESCRIPTION"),
    ]);
    for tool in &view.tools {
        let says = tool.says("description").unwrap_or_default();
        table.row([
            escape_foreign(&tool.tool.name).into_owned(),
            tool.state(view.pins).to_owned(),
            short_time(since(tool), now),
            tool.tool.known.hint.as_str().to_owned(),
            escape_foreign(says.lines().next().unwrap_or_default()).into_owned(),
        ]);
    }
    for line in table.lines(&output.stdout) {
        output.answer(line)?;
    }
    for tool in &view.tools {
        for line in looks(tool) {
            output.answer_marked(Mark::Look, line)?;
        }
    }
    output.talk(summary(context, view));
    Ok(Verdict::Done)
}

/// Since when a tool stands as it does.
fn since(tool: &ToolView) -> Timestamp {
    match tool.held_back {
        Some(_) => tool.tool.seen_at,
        None => tool.tool.accepted_at.unwrap_or(tool.tool.seen_at),
    }
}

/// What should be looked at, a line each.
fn looks(tool: &ToolView) -> Vec<String> {
    let name = escape_foreign(&tool.tool.name);
    let mut lines = Vec::new();
    if tool.held_back == Some(HeldBack::Changed) {
        let mut places: Vec<&str> = tool.differences.iter().map(|one| one.path.as_str()).collect();
        places.dedup();
        let places = if places.is_empty() { "how it is written".to_owned() } else { places.join(", ") };
        lines.push(format!("{name}  changed: {}", escape_foreign(&places)));
    }
    lines.extend(tool.flags.iter().map(|flag| format!("{name}  {}", escape_foreign(&flag.to_string()))));
    lines
}

fn summary(context: &Context, view: &ToolsView) -> String {
    let held = |held| view.tools.iter().filter(|tool| tool.held_back == Some(held)).count();
    let (new, changed) = (held(HeldBack::New), held(HeldBack::Changed));
    let all = format!("{}, pins {}", count_of(view.tools.len(), "tool"), view.pins.as_str());
    if new + changed == 0 {
        let none = if view.pins == Pins::Off { "nothing is held back" } else { "none held back" };
        return format!("{all}: {none}");
    }
    let look = context.invocation.command(&format!("services tools {} --diff", view.service));
    format!("{all}: {new} new and {changed} changed are held back; look at them: {look}")
}

fn diff(context: &Context, view: &ToolsView) -> anyhow::Result<Verdict> {
    let output = &context.output;
    let held: Vec<&ToolView> = view.tools.iter().filter(|tool| tool.held_back.is_some()).collect();
    for tool in &held {
        let name = escape_foreign(&tool.tool.name);
        let hash = &tool.tool.known.hash;
        let (mark, head) = match tool.held_back {
            Some(HeldBack::Changed) => ('~', format!("{name}  changed, definition {}…", start(hash))),
            _ => ('+', format!("{name}  new, definition {}…", start(hash))),
        };
        output.answer(format!("{mark} {head}"))?;
        for flag in &tool.flags {
            output.answer(format!("    ! {}", escape_foreign(&flag.to_string())))?;
        }
        for one in &tool.differences {
            output.answer(format!("    {}", escape_foreign(&one.path)))?;
            for (sign, style, text) in [('-', Style::Red, &one.from), ('+', Style::Green, &one.to)] {
                if let Some(text) = text {
                    let line = format!("      {sign} {}", escape_foreign(text));
                    output.answer(output.stdout.paint(style, line))?;
                }
            }
        }
        if tool.held_back == Some(HeldBack::New) {
            let whole = tool.tool.definition.as_deref().unwrap_or("(too large to be kept)");
            output.answer(format!("    {}", escape_foreign(whole)))?;
        }
        if tool.tool.definition.is_some() {
            let tool = shell_quote(&format!("{}@{}", tool.tool.name, start(hash)));
            let accept = format!("services tools {} --accept {tool}", view.service);
            output.answer(format!("    accept: {}", escape_foreign(&context.invocation.command(&accept))))?;
        }
    }
    if held.is_empty() {
        output.answer(format!("{}: no tool is held back", view.service))?;
    }
    Ok(Verdict::Done)
}

fn start(hash: &ToolHash) -> String {
    hash.hex().chars().take(HASH_DIGITS).collect()
}
