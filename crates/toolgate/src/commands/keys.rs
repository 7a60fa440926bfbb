//! `toolgate keys`: made, listed, revoked. A new key is printed once, alone on stdout.

use std::{collections::BTreeSet, time::Duration};

use admin::{KeyView, NewKey};
use anyhow::anyhow;
use clap::{Args, Subcommand};
use domain::{
    agent::{AgentState, Key},
    names::{AgentName, RoleName, ServiceName},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Context, Verdict, agents::scope_text, usage::lifetime};
use crate::output::{Column, Mark, Table, day_and_time};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/keys_create.txt"))]
    Create(Create),
    #[command(override_help = include_str!("help/keys_list.txt"))]
    List {
        #[arg(long, value_name = "A")]
        agent: Option<AgentName>,
    },
    #[command(override_help = include_str!("help/keys_revoke.txt"))]
    Revoke {
        #[arg(value_name = "KEY_ID")]
        key: String,
    },
}

#[derive(Debug, Args)]
pub struct Create {
    #[arg(value_name = "AGENT")]
    agent: AgentName,
    #[arg(long, value_name = "R")]
    role: Option<RoleName>,
    #[arg(long, value_name = "a,b", value_parser = scope)]
    scope: Option<Scope>,
    #[arg(long, value_name = "30d", value_parser = lifetime)]
    expires: Option<Duration>,
}

/// The services of `--scope a,b`.
#[derive(Debug, Clone)]
pub struct Scope(pub BTreeSet<ServiceName>);

/// Reads `--scope a,b`; nothing is an empty scope.
pub fn scope(text: &str) -> Result<Scope, domain::names::BadName> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(ServiceName::parse).collect::<Result<_, _>>().map(Scope)
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Create(wanted) => create(context, wanted),
        Command::List { agent } => list(context, agent.as_ref()),
        Command::Revoke { key } => revoke(context, &key),
    }
}

fn create(context: &Context, wanted: Create) -> anyhow::Result<Verdict> {
    // Whole seconds: nobody reads the rest.
    let now = context.now().wall;
    let whole = Timestamp::from_second(now.as_second())?;
    let expires_at = wanted.expires.map(|lifetime| whole.checked_add(lifetime)).transpose();
    let expires_at = expires_at
        .map_err(|_| anyhow!("the key would outlive the calendar (--expires); give a shorter time"))?;
    let new = NewKey {
        agent: wanted.agent,
        role: wanted.role,
        scope: wanted.scope.map(|scope| scope.0),
        expires_at,
    };
    let created = context.block_on(async {
        let desk = context.desk().await?;
        let pepper = desk.pepper().await?;
        let created = desk.admin.create_key(&context.actor(), now, &pepper, new).await?;
        desk.close().await;
        Ok(created)
    })?;
    let agent = &created.agent;
    if context.output.json {
        context.output.json(&json!({
            "agent": agent.name, "key_id": created.key_id, "key": created.key.reveal(),
            "role": agent.role, "scope": agent.scope, "expires_at": created.expires_at.map(|at| at.to_string())
        }))?;
        return Ok(Verdict::Done);
    }
    context.output.raw(created.key.reveal())?;
    let made = if created.agent_made { " (new)" } else { "" };
    let scope = scope_text(&agent.scope);
    context.output.talk(format!("agent  {}{made}, role {}, scope {scope}", agent.name, agent.role));
    let expires = match created.expires_at {
        Some(at) => format!("expires {}", day_and_time(at)),
        None => "never expires".to_owned(),
    };
    let revoke = context.invocation.command(&format!("keys revoke {}", created.key_id));
    context.output.talk(format!("key    {}, {expires}; stop it within a second: {revoke}", created.key_id));
    context.warn_about_role(&agent.role);
    for warning in &created.warnings {
        context.output.warn(context.invocation.adapt(&warning.to_string()));
    }
    context.output.warn("shown this once, only a hash is kept; give it to the agent as TOOLGATE_KEY");
    Ok(Verdict::Done)
}

fn list(context: &Context, agent: Option<&AgentName>) -> anyhow::Result<Verdict> {
    let mut keys = context.block_on(async {
        let desk = context.desk().await?;
        if let Some(agent) = agent {
            desk.admin.show_agent(agent).await?;
        }
        let keys = desk.admin.list_keys().await?;
        desk.close().await;
        Ok(keys)
    })?;
    keys.retain(|view| agent.is_none_or(|agent| view.key.agent == *agent));
    let now = context.now().wall;
    if context.output.json {
        context.output.json(&keys.iter().map(|view| as_json(view, now)).collect::<Vec<_>>())?;
        return Ok(Verdict::Done);
    }
    if keys.is_empty() {
        context.output.talk(format!("no keys yet: {}", context.invocation.command("keys create AGENT")));
        return Ok(Verdict::Done);
    }
    let mut table = Table::new([
        Column::left("KEY"),
        Column::left("AGENT"),
        Column::left("ROLE"),
        Column::left("STATE"),
        Column::left("MADE (UTC)"),
        Column::left("EXPIRES"),
        Column::left("LAST USED"),
    ]);
    let time = |at: Option<Timestamp>| at.map(day_and_time).unwrap_or_default();
    for view in &keys {
        table.row([
            format!("agt_{}", view.key.id),
            view.key.agent.to_string(),
            view.role.to_string(),
            state(&view.key, view.agent_state, now).to_owned(),
            day_and_time(view.key.created_at),
            time(view.key.expires_at),
            time(view.key.last_used_at),
        ]);
    }
    for line in table.lines(&context.output.stdout) {
        context.output.answer(line)?;
    }
    Ok(Verdict::Done)
}

/// Whether a key is good now, and if not, why.
pub fn state(key: &Key, agent: AgentState, now: Timestamp) -> &'static str {
    match agent {
        _ if key.revoked_at.is_some() => "revoked",
        AgentState::Deleted => "agent deleted",
        _ if key.expires_at.is_some_and(|end| end <= now) => "expired",
        AgentState::Disabled => "agent disabled",
        AgentState::Active => "active",
    }
}

fn as_json(view: &KeyView, now: Timestamp) -> Value {
    let mut json = key_json(&view.key, view.agent_state, now);
    if let Some(members) = json.as_object_mut() {
        members.insert("agent".to_owned(), json!(view.key.agent));
        members.insert("role".to_owned(), json!(view.role));
    }
    json
}

/// A key as `keys list --json` and `agents show --json` have it.
pub fn key_json(key: &Key, agent: AgentState, now: Timestamp) -> Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "key_id": key.id, "prefix": format!("agt_{}", key.id), "state": state(key, agent, now),
        "created_at": key.created_at.to_string(), "expires_at": time(key.expires_at),
        "revoked_at": time(key.revoked_at), "last_used_at": time(key.last_used_at)
    })
}

fn revoke(context: &Context, start: &str) -> anyhow::Result<Verdict> {
    let revoked = context.block_on(async {
        let desk = context.desk().await?;
        let revoked = desk.admin.revoke_key(&context.actor(), context.now().wall, start).await?;
        desk.close().await;
        Ok(revoked)
    })?;
    let (id, agent) = (revoked.key.id, &revoked.key.agent);
    if context.output.json {
        context
            .output
            .json(&json!({ "key_id": id, "agent": agent, "changed": revoked.already.is_none() }))?;
    } else if let Some(at) = revoked.already {
        context
            .output
            .answer_marked(Mark::Same, format!("{id} of {agent} was revoked {}", day_and_time(at)))?;
    } else {
        context.output.answer_marked(
            Mark::Done,
            format!("{id} of {agent} revoked; a running gateway stops it within a second"),
        )?;
    }
    Ok(Verdict::Done)
}
