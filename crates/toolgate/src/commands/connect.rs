//! `toolgate connect CLIENT`: the client's configuration for the services in an agent's scope. It never holds a
//! key: the client takes it from `TOOLGATE_KEY`, asks for it, or somebody puts it in.

mod around;
mod clients;
mod merge;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use domain::{
    agent::{Agent, AgentState},
    key::PresentedKey,
    names::{AgentName, ServiceName},
    service::{Service, Upstream},
    yaml::did_you_mean,
};
use store::Snapshot;

use self::{
    clients::{Client, Configuration, Endpoint, Target, loose},
    merge::{Merged, merge, toml_text},
};
use super::{Context, Verdict, read_optional};
use crate::output::Mark;

#[derive(Debug, Args)]
pub struct Options {
    #[arg(value_name = "CLIENT")]
    client: Client,
    #[arg(long, value_name = "A")]
    agent: Option<AgentName>,
    #[arg(long)]
    one: bool,
    #[arg(long)]
    write: bool,
}

pub fn run(context: &Context, options: &Options) -> anyhow::Result<Verdict> {
    let settings = context.settings()?;
    let snapshot = context.block_on(async {
        let store = context.store(&settings).await?;
        let snapshot = store.snapshot().await?;
        store.close().await;
        Ok(snapshot)
    })?;
    let agent = agent(context, &snapshot, options.agent.as_ref())?;
    let in_scope: Vec<&Service> =
        snapshot.services.iter().filter(|service| agent.scope.contains(&service.name)).collect();
    if in_scope.is_empty() {
        return Err(anyhow!(
            "agent `{}` reaches no service (scope); toolgate agents update {} --scope a,b",
            agent.name,
            agent.name
        ));
    }
    let program = std::env::current_exe().context("this program does not find itself; is it still there?")?;
    let gateway = settings.gateway.listener.url();
    // A shell calls an HTTP API as it is; for a client that speaks MCP it is a server like the others.
    let as_api =
        |service: &&Service| options.client.takes_apis() && matches!(service.upstream, Upstream::Api(_));
    let (apis, services): (Vec<&Service>, Vec<&Service>) = in_scope.iter().copied().partition(as_api);
    let apis: Vec<ServiceName> = apis.iter().map(|service| service.name.clone()).collect();
    let endpoints = match options.one {
        true => vec![Endpoint::All],
        false => services.iter().map(|service| Endpoint::Of(service.name.clone())).collect(),
    };
    let target = Target { gateway: &gateway, endpoints: &endpoints, apis: &apis, program: &program };
    let configuration = options.client.configuration(&target);
    let file = options.client.file(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));

    if options.write {
        write(context, options.client, &configuration, file.as_deref())?;
    } else {
        print(context, options.client, &configuration, file.as_deref())?;
    }
    if let Some(file) = &file {
        warn_about_ways_around(context, options.client, file, &in_scope);
    }
    Ok(Verdict::Done)
}

/// Whose scope: the agent that is named, that holds `$TOOLGATE_KEY`, or the only one there is.
fn agent<'s>(
    context: &Context,
    snapshot: &'s Snapshot,
    named: Option<&AgentName>,
) -> anyhow::Result<&'s Agent> {
    let mut living = snapshot.agents.iter().filter(|agent| agent.state != AgentState::Deleted);
    if let Some(name) = named {
        return living.find(|agent| agent.name == *name).ok_or_else(|| {
            let known = snapshot.agents.iter().filter(|agent| agent.state != AgentState::Deleted);
            let hint = match did_you_mean(name.as_str(), known.map(|agent| agent.name.as_str())) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "all: toolgate agents list".to_owned(),
            };
            anyhow!("there is no agent `{name}` (--agent); {hint}")
        });
    }
    let presented = context.variable("TOOLGATE_KEY").and_then(|key| PresentedKey::parse(&key));
    let holder = presented.and_then(|key| snapshot.keys.iter().find(|known| known.id == key.id()));
    if let Some(key) = holder {
        let agent = snapshot.agents.iter().find(|agent| agent.name == key.agent);
        return agent.ok_or_else(|| anyhow!("the agent of TOOLGATE_KEY is gone; name another with --agent"));
    }
    match (living.next(), living.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(anyhow!(
            "there is no agent yet; make one and its key: toolgate keys create AGENT --scope a,b"
        )),
        (Some(_), Some(_)) => {
            let names: Vec<&str> = snapshot
                .agents
                .iter()
                .filter(|agent| agent.state != AgentState::Deleted)
                .map(|agent| agent.name.as_str())
                .collect();
            Err(anyhow!("there are several agents (--agent); name one of {}", names.join(", ")))
        }
    }
}

fn print(
    context: &Context,
    client: Client,
    configuration: &Configuration,
    file: Option<&Path>,
) -> anyhow::Result<()> {
    match configuration {
        Configuration::Json { servers, entries, inputs } => {
            context.output.raw(&loose(servers, entries, inputs))?
        }
        Configuration::Toml(tables) => context.output.raw(&toml_text(tables))?,
        Configuration::Shell(lines) => {
            for line in lines {
                context.output.raw(line)?;
            }
        }
    }
    let hint = client.key_hint();
    match file {
        Some(file) => context.output.talk(format!(
            "Belongs in {}; {hint}. Merge it, keeping a backup: --write",
            context.invocation.path(file)
        )),
        None => context.output.talk(hint),
    }
    Ok(())
}

fn write(
    context: &Context,
    client: Client,
    configuration: &Configuration,
    file: Option<&Path>,
) -> anyhow::Result<()> {
    let Some(file) = file else {
        return Err(anyhow!("this client has no file of its own (--write); leave --write out"));
    };
    let shown = context.invocation.path(file);
    let hint = client.key_hint();
    match merge(configuration, file, context.now())? {
        Merged::Same => {
            context.output.answer_marked(Mark::Same, format!("{shown}  says so already; {hint}"))?
        }
        Merged::Written(None) => {
            context.output.answer_marked(Mark::Done, format!("{shown}  written; {hint}"))?
        }
        Merged::Written(Some(backup)) => {
            let backup: PathBuf = backup.file_name().map(PathBuf::from).unwrap_or(backup);
            let backup = backup.display();
            context.output.answer_marked(Mark::Done, format!("{shown}  merged, backup {backup}; {hint}"))?;
        }
    }
    Ok(())
}

fn warn_about_ways_around(context: &Context, client: Client, file: &Path, services: &[&Service]) {
    // A file that cannot be read has said so already, or does not matter yet.
    let Ok(Some(text)) = read_optional(file) else { return };
    for name in around::around(client, &text, services) {
        let (file, name) = (context.invocation.path(file), crate::output::escape_foreign(&name).into_owned());
        context
            .output
            .warn(format!("{file} also starts `{name}` directly, a way around Toolgate; remove that entry"));
    }
}
