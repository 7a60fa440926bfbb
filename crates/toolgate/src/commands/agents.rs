//! `toolgate agents`: who may call at all, in which role, and which services.

use std::collections::BTreeSet;

use admin::{AgentUpdate, AgentView};
use clap::{ArgGroup, Subcommand};
use domain::{
    agent::{Agent, AgentState},
    names::{AgentName, RoleName, ServiceName},
};
use serde_json::{Value, json};

use super::{
    Context, Verdict,
    keys::{Scope, key_json, scope, state},
};
use crate::output::{Column, Mark, Table, day_and_time};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/agents_list.txt"))]
    List,
    #[command(override_help = include_str!("help/agents_show.txt"))]
    Show {
        #[arg(value_name = "NAME")]
        name: AgentName,
    },
    #[command(override_help = include_str!("help/agents_update.txt"))]
    #[command(group(ArgGroup::new("change").args(["role", "scope"]).required(true).multiple(true)))]
    Update {
        #[arg(value_name = "NAME")]
        name: AgentName,
        #[arg(long, value_name = "R")]
        role: Option<RoleName>,
        #[arg(long, value_name = "a,b", value_parser = scope)]
        scope: Option<Scope>,
    },
    #[command(override_help = include_str!("help/agents_disable.txt"))]
    Disable {
        #[arg(value_name = "NAME")]
        name: AgentName,
    },
    #[command(override_help = include_str!("help/agents_enable.txt"))]
    Enable {
        #[arg(value_name = "NAME")]
        name: AgentName,
    },
    #[command(override_help = include_str!("help/agents_delete.txt"))]
    Delete {
        #[arg(value_name = "NAME")]
        name: AgentName,
    },
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    context.block_on(async {
        let desk = context.desk().await?;
        let (actor, now) = (context.actor(), context.now().wall);
        let verdict = match command {
            Command::List => list(context, &desk.admin.list_agents().await?),
            Command::Show { name } => show(context, &desk.admin.show_agent(&name).await?),
            Command::Update { name, role, scope } => {
                let update = AgentUpdate { role, scope: scope.map(|scope| scope.0), seen: None };
                let (before, after) = desk.admin.update_agent(&actor, now, &name, update).await?;
                updated(context, &before, &after)
            }
            Command::Disable { name } => {
                let changed =
                    desk.admin.set_agent_state(&actor, now, &name, AgentState::Disabled, None).await?;
                changed_state(context, &name, "disabled; a running gateway stops it within a second", changed)
            }
            Command::Enable { name } => {
                let changed =
                    desk.admin.set_agent_state(&actor, now, &name, AgentState::Active, None).await?;
                changed_state(context, &name, "enabled", changed)
            }
            Command::Delete { name } => {
                let changed =
                    desk.admin.set_agent_state(&actor, now, &name, AgentState::Deleted, None).await?;
                changed_state(
                    context,
                    &name,
                    "deleted; its history stays, its name is not given again",
                    changed,
                )
            }
        };
        desk.close().await;
        verdict
    })
}

/// Services as people write a scope: `files,notes`; nothing is `–`.
pub fn scope_text(scope: &BTreeSet<ServiceName>) -> String {
    if scope.is_empty() {
        return "–".to_owned();
    }
    scope.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(",")
}

fn state_text(state: AgentState) -> &'static str {
    match state {
        AgentState::Active => "active",
        AgentState::Disabled => "disabled",
        AgentState::Deleted => "deleted",
    }
}

fn list(context: &Context, agents: &[AgentView]) -> anyhow::Result<Verdict> {
    let now = context.now().wall;
    if context.output.json {
        context.output.json(&agents.iter().map(|view| agent_json(&view.agent)).collect::<Vec<_>>())?;
        return Ok(Verdict::Done);
    }
    if agents.is_empty() {
        context.output.talk(format!("no agents yet: {}", context.invocation.command("keys create AGENT")));
        return Ok(Verdict::Done);
    }
    let mut table = Table::new([
        Column::left("AGENT"),
        Column::left("ROLE"),
        Column::left("STATE"),
        Column::right("KEYS"),
        Column::left("LAST USED (UTC)"),
        Column::left("SCOPE"),
    ]);
    for AgentView { agent, keys } in agents {
        let good = keys.iter().filter(|key| state(key, agent.state, now) == "active").count();
        let last = keys.iter().filter_map(|key| key.last_used_at).max();
        table.row([
            agent.name.to_string(),
            agent.role.to_string(),
            state_text(agent.state).to_owned(),
            good.to_string(),
            last.map(day_and_time).unwrap_or_default(),
            scope_text(&agent.scope),
        ]);
    }
    for line in table.lines(&context.output.stdout) {
        context.output.answer(line)?;
    }
    Ok(Verdict::Done)
}

fn show(context: &Context, view: &AgentView) -> anyhow::Result<Verdict> {
    let AgentView { agent, keys } = view;
    let now = context.now().wall;
    let output = &context.output;
    if output.json {
        let mut json = agent_json(agent);
        if let Some(members) = json.as_object_mut() {
            let keys: Vec<Value> = keys.iter().map(|key| key_json(key, agent.state, now)).collect();
            members.insert("keys".to_owned(), json!(keys));
        }
        output.json(&json)?;
        return Ok(Verdict::Done);
    }
    output.answer(format!("agent  {}, {}", agent.name, state_text(agent.state)))?;
    output.answer(format!("role   {}", agent.role))?;
    output.answer(format!("scope  {}", scope_text(&agent.scope)))?;
    output.answer(format!("made   {} UTC", day_and_time(agent.created_at)))?;
    for key in keys {
        let expires = key.expires_at.map(|at| format!(", expires {}", day_and_time(at))).unwrap_or_default();
        let used = key.last_used_at.map(|at| format!(", last used {}", day_and_time(at))).unwrap_or_default();
        output.answer(format!("key    {}, {}{expires}{used}", key.id, state(key, agent.state, now)))?;
    }
    Ok(Verdict::Done)
}

fn updated(context: &Context, before: &Agent, after: &Agent) -> anyhow::Result<Verdict> {
    if context.output.json {
        context.output.json(&agent_json(after))?;
        return Ok(Verdict::Done);
    }
    let mut changes = Vec::new();
    if before.role != after.role {
        changes.push(format!("role {} → {}", before.role, after.role));
    }
    if before.scope != after.scope {
        changes.push(format!("scope {} → {}", scope_text(&before.scope), scope_text(&after.scope)));
    }
    context.warn_about_role(&after.role);
    if changes.is_empty() {
        context.output.answer_marked(Mark::Same, &after.name)?;
    } else {
        context.output.answer_marked(Mark::Changed, format!("{}  {}", after.name, changes.join(", ")))?;
    }
    Ok(Verdict::Done)
}

fn changed_state(context: &Context, name: &AgentName, what: &str, changed: bool) -> anyhow::Result<Verdict> {
    if context.output.json {
        context.output.json(&json!({ "agent": name, "changed": changed }))?;
    } else if changed {
        context.output.answer_marked(Mark::Done, format!("{name} {what}"))?;
    } else {
        context.output.answer_marked(Mark::Same, format!("{name} was so already"))?;
    }
    Ok(Verdict::Done)
}

fn agent_json(agent: &Agent) -> Value {
    json!({
        "agent": agent.name, "role": agent.role, "scope": agent.scope, "state": state_text(agent.state),
        "created_at": agent.created_at.to_string()
    })
}
