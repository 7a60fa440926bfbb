//! `toolgate policy`: is the file right, what would it decide, is that what was meant, and what may be written in it.

mod explain;
mod test;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use domain::{
    names::ServiceName,
    policy::{self, Policy},
    risk::KnownRisk,
    service::Service,
    tools::Catalogue,
    world::World,
    yaml::{Problem, Severity},
};
use serde_json::{Value, json};
use store::{Snapshot, Store};

use super::{Context, Verdict};
use crate::{
    output::{Mark, count_of},
    settings::Settings,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/policy_check.txt"))]
    Check {
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        #[arg(long)]
        strict: bool,
    },
    #[command(override_help = include_str!("help/policy_explain.txt"))]
    Explain(Box<explain::Asked>),
    #[command(override_help = include_str!("help/policy_test.txt"))]
    Test {
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[arg(long, value_name = "P")]
        policy: Option<PathBuf>,
    },
    #[command(override_help = include_str!("help/policy_schema.txt"))]
    Schema,
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Check { file, strict } => check(context, file.as_deref(), strict),
        Command::Explain(asked) => explain::run(context, &asked),
        Command::Test { file, policy } => test::run(context, &file, policy.as_deref()),
        Command::Schema => {
            context.output.raw(&serde_json::to_string_pretty(&policy::schema())?)?;
            Ok(Verdict::Done)
        }
    }
}

fn check(context: &Context, file: Option<&Path>, strict: bool) -> anyhow::Result<Verdict> {
    let (name, bytes) = read(context, file)?;
    let (policy, problems) = match policy::parse(&name, bytes) {
        Err(problems) => (None, problems),
        Ok((policy, mut warnings)) => {
            warnings.extend(policy::check(&policy, &known_services(context)));
            warnings.sort_by_key(|problem| (problem.place.line, problem.place.column));
            (Some(policy), warnings)
        }
    };
    let ok = policy.is_some() && (!strict || problems.is_empty());
    let output = &context.output;
    if output.json {
        let rows: Vec<Value> = problems.iter().map(problem_json).collect();
        output.json(
            &json!({ "ok": ok, "policy_hash": policy.map(|p| p.hash().to_string()), "problems": rows }),
        )?;
    } else {
        for problem in &problems {
            output.complain(problem.to_string());
        }
        let found = tally(&problems);
        match policy {
            None => output.complain(format!(
                "{found}; nothing was loaded, a running gateway keeps its last good policy"
            )),
            Some(policy) => {
                let mark = if ok { Mark::Done } else { Mark::Failed };
                output.answer_marked(mark, format!("{name} {}, {found}", figures(&policy)))?;
            }
        }
    }
    Ok(if ok { Verdict::Done } else { Verdict::No })
}

/// `77b0c1e9…: 3 roles, 7 rules, 2 limits`.
fn figures(policy: &Policy) -> String {
    let summary = policy.summary();
    format!(
        "{}: {}, {}, {}",
        policy.hash().short(),
        count_of(summary.roles, "role"),
        count_of(summary.rules, "rule"),
        count_of(summary.limits, "limit")
    )
}

/// `3 errors, 1 warning`, or `no warnings`.
fn tally(problems: &[Problem]) -> String {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    match (errors, problems.len() - errors) {
        (0, 0) => "no warnings".to_owned(),
        (0, warnings) => count_of(warnings, "warning"),
        (errors, 0) => count_of(errors, "error"),
        (errors, warnings) => format!("{}, {}", count_of(errors, "error"), count_of(warnings, "warning")),
    }
}

fn problem_json(problem: &Problem) -> Value {
    json!({
        "severity": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "file": problem.file, "line": problem.place.line, "column": problem.place.column,
        "message": problem.message
    })
}

/// The policy's name in messages, and its bytes.
fn read(context: &Context, file: Option<&Path>) -> anyhow::Result<(String, Vec<u8>)> {
    let (path, name) = match file {
        Some(file) => (file.to_owned(), file.display().to_string()),
        None => {
            let path = context.settings()?.policy_file;
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            (path, name)
        }
    };
    let shown = context.invocation.path(&path);
    match std::fs::read(&path) {
        Ok(bytes) => Ok((name, bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && file.is_none() => {
            let init = context.invocation.command("init");
            Err(error).with_context(|| format!("there is no policy ({shown}); `{init}` writes a starter"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("there is no such file ({shown}); name a policy file"))
        }
        Err(error) => Err(error)
            .with_context(|| format!("the policy cannot be read ({shown}); check its owner and mode")),
    }
}

/// The policy in a file, or the home's, and its name in messages.
fn load(context: &Context, file: Option<&Path>) -> anyhow::Result<(String, Policy)> {
    let (name, bytes) = read(context, file)?;
    match policy::parse(&name, bytes) {
        Ok((policy, _)) => Ok((name, policy)),
        Err(_) => {
            let mut check = "policy check".to_owned();
            if let Some(file) = file {
                check = format!("{check} {}", file.display());
            }
            Err(anyhow!("the policy has errors ({name}); see {}", context.invocation.command(&check)))
        }
    }
}

/// The home's services; none where there is no store, for a policy can be checked anywhere.
fn known_services(context: &Context) -> Vec<ServiceName> {
    let services = context.block_on(async {
        let store = context.store(&context.settings()?).await?;
        Ok(store.load_services().await?)
    });
    services.unwrap_or_default().into_iter().map(|stored| stored.service.name).collect()
}

/// The world as this store and this policy have it now.
async fn world_of(store: &Store, policy: Policy) -> anyhow::Result<World> {
    let (snapshot, mut tools) = (store.snapshot().await?, Vec::new());
    for (name, _) in &snapshot.tool_revisions {
        tools.extend(store.tools(name).await?.map(|of_it| (name.clone(), Arc::new(of_it))));
    }
    let mut world = world(snapshot, policy);
    world.tools = Arc::new(Catalogue::of(tools, &world.services));
    Ok(world)
}

/// The same by the home's policy.
///
/// # Errors
/// When the policy cannot be read or has errors; whatever the store says.
pub async fn world_now(context: &Context, store: &Store) -> anyhow::Result<World> {
    world_of(store, load(context, None)?.1).await
}

/// Everything the judge reads but tools, as the store had it.
fn world(snapshot: Snapshot, policy: Policy) -> World {
    let services: HashMap<ServiceName, Arc<Service>> =
        snapshot.services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect();
    let agents = snapshot.agents.into_iter().map(|agent| (agent.name.clone(), Arc::new(agent))).collect();
    World {
        revision: snapshot.revision,
        confirmed_at: Duration::ZERO,
        policy: Arc::new(policy),
        services: Arc::new(services),
        tools: Arc::default(),
        agents: Arc::new(agents),
        credentials: Arc::new(snapshot.credentials),
        keys: Arc::new(snapshot.keys.into_iter().map(|key| (key.mac, key)).collect()),
        kill: snapshot.kill,
    }
}

/// What of risk is known beforehand.
fn known_risk(settings: &Settings) -> KnownRisk {
    KnownRisk { thresholds: settings.risk.thresholds, has_model: settings.risk.model.is_some() }
}
