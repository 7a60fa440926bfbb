//! `toolgate policy`: is the file right, what would it decide, and what may be written in it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use domain::{
    call::Action,
    names::{AgentName, ServiceName},
    policy::{self, Effect, Explanation, Policy},
    service::{OddPaths, Service, Upstream},
    world::World,
    yaml::{Problem, Severity, did_you_mean},
};
use serde_json::{Value, json};
use store::Snapshot;

use super::{Context, Verdict};
use crate::output::{Mark, Style, count_of, escape_foreign};

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
    Explain(Box<Question>),
    #[command(override_help = include_str!("help/policy_schema.txt"))]
    Schema,
}

#[derive(Debug, Args)]
pub struct Question {
    #[arg(long, value_name = "A")]
    agent: AgentName,
    #[arg(long, value_name = "S")]
    service: String,
    #[arg(long, value_name = "T", required_unless_present_any = ["resource", "prompt", "request"])]
    tool: Option<String>,
    #[arg(long, value_name = "JSON", value_parser = json_object, requires = "tool")]
    args: Option<Value>,
    #[arg(long, value_name = "URI", conflicts_with = "tool")]
    resource: Option<String>,
    #[arg(long, value_name = "P", conflicts_with_all = ["tool", "resource"])]
    prompt: Option<String>,
    #[arg(long, value_name = "R", conflicts_with_all = ["tool", "resource", "prompt"])]
    request: Option<String>,
    #[arg(long, value_name = "JSON", value_parser = json_value, requires = "request")]
    body: Option<Value>,
}

pub fn run(context: &Context, command: Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Check { file, strict } => check(context, file.as_deref(), strict),
        Command::Explain(question) => explain(context, &question),
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

fn explain(context: &Context, question: &Question) -> anyhow::Result<Verdict> {
    let (name, bytes) = read(context, None)?;
    let Ok((policy, _)) = policy::parse(&name, bytes) else {
        return Err(anyhow!(
            "the policy has errors ({name}); see {}",
            context.invocation.command("policy check")
        ));
    };
    let snapshot = context.block_on(async {
        let store = context.store(&context.settings()?).await?;
        Ok(store.snapshot().await?)
    })?;
    let agent =
        snapshot.agents.iter().find(|agent| agent.name == question.agent).cloned().ok_or_else(|| {
            let known = snapshot.agents.iter().map(|agent| agent.name.as_str());
            let hint = match did_you_mean(question.agent.as_str(), known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("all: {}", context.invocation.command("agents list")),
            };
            anyhow!("there is no agent `{}` (--agent); {hint}", question.agent)
        })?;
    let (action, text) = match question {
        Question { tool: Some(tool), .. } => (Action::Tool(tool.clone()), tool),
        Question { resource: Some(uri), .. } => (Action::Resource(uri.clone()), uri),
        Question { prompt: Some(prompt), .. } => (Action::Prompt(prompt.clone()), prompt),
        Question { request: Some(text), .. } => {
            let service = snapshot.services.iter().find(|service| service.name.as_str() == question.service);
            (Action::Request(request(text, service)?), text)
        }
        _ => return Err(anyhow!("nothing is asked (--tool, --resource, --prompt, --request); name one")),
    };
    let world = world(snapshot, policy);
    let explanation = policy::explain(&world, &agent, &question.service, &action);
    if context.output.json {
        context.output.json(&explanation_json(&explanation))?;
    } else {
        let subject = format!(
            "{} ({}) · {} · {}",
            agent.name,
            agent.role,
            escape_foreign(&question.service),
            escape_foreign(text)
        );
        for line in explanation_lines(context, &explanation, &name, &subject) {
            context.output.answer(line)?;
        }
    }
    Ok(Verdict::Done)
}

fn explanation_lines(context: &Context, explanation: &Explanation, file: &str, subject: &str) -> Vec<String> {
    let (verdict, style) = match explanation.effect {
        Effect::Allow => ("ALLOW", Style::Green),
        Effect::Deny => ("DENY ", Style::Red),
    };
    let rule = match &explanation.rule {
        Some((name, line)) => format!("{name}, {file}:{line}"),
        None => "none".to_owned(),
    };
    let mut lines = vec![
        format!("{}   {subject}", context.output.stdout.paint(style, verdict)),
        format!("rule    {}", escape_foreign(&rule)),
        format!("reason  {}", escape_foreign(&explanation.reason)),
    ];
    if !explanation.limits.is_empty() {
        let limits: Vec<String> = explanation.limits.iter().map(ToString::to_string).collect();
        lines.push(format!("limits  {}", limits.join(", ")));
    }
    lines
}

fn explanation_json(explanation: &Explanation) -> Value {
    let limits: Vec<String> = explanation.limits.iter().map(ToString::to_string).collect();
    json!({
        "effect": explanation.effect.as_str(),
        "rule": explanation.rule.as_ref().map(|(name, _)| name.as_str()),
        "reason": explanation.reason,
        "limits": limits
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

/// The home's services; none where there is no store, for a policy can be checked anywhere.
fn known_services(context: &Context) -> Vec<ServiceName> {
    let services = context.block_on(async {
        let store = context.store(&context.settings()?).await?;
        Ok(store.load_services().await?)
    });
    services.unwrap_or_default().into_iter().map(|stored| stored.service.name).collect()
}

/// Everything the judge reads, as the store has it now.
fn world(snapshot: Snapshot, policy: Policy) -> World {
    let services: HashMap<ServiceName, Arc<Service>> =
        snapshot.services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect();
    let agents = snapshot.agents.into_iter().map(|agent| (agent.name.clone(), Arc::new(agent))).collect();
    World {
        revision: snapshot.revision,
        confirmed_at: Duration::ZERO,
        policy: Arc::new(policy),
        services: Arc::new(services),
        agents: Arc::new(agents),
        credentials: Arc::default(),
        keys: Arc::default(),
        kill: snapshot.kill,
    }
}

/// `METHOD /path` as the gateway would judge it: read by the same rules, and without its query.
fn request(text: &str, service: Option<&Service>) -> anyhow::Result<String> {
    let shape = || {
        anyhow!("`{}` is not `METHOD /path` (--request); write it like \"GET /v1/x\"", escape_foreign(text))
    };
    let (method, target) = text.split_once(' ').ok_or_else(shape)?;
    let method = wire::target::method(method)
        .map_err(|bad| anyhow!("{bad} (--request); write it like \"GET /v1/x\""))?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let odd = match service.map(|service| &service.upstream) {
        Some(Upstream::Api(api)) => api.odd_paths,
        _ => OddPaths::Refuse,
    };
    let target = wire::Target::parse(path, query, odd.into()).map_err(|bad| {
        anyhow!("the gateway refuses such a request: {bad} (--request); write it in one plain way")
    })?;
    Ok(format!("{method} {}", target.path()))
}

fn json_value(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("this is not JSON: {error}"))
}

fn json_object(text: &str) -> Result<Value, String> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err("arguments are a JSON object".to_owned()),
        Err(error) => Err(format!("this is not JSON: {error}")),
    }
}
