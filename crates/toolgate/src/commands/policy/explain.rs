//! `toolgate policy explain`: what would happen to one call, and why.

use anyhow::anyhow;
use clap::{ArgGroup, Args};
use domain::{
    audit::Effect,
    names::AgentName,
    policy::{self, Explanation, Question},
    yaml::did_you_mean,
};
use serde_json::{Value, json};

use super::{Context, Verdict};
use crate::output::{Style, escape_foreign};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("asked").required(true).args(["tool", "resource", "prompt", "request"]))]
pub struct Asked {
    #[arg(long, value_name = "A")]
    agent: AgentName,
    #[arg(long, value_name = "S")]
    service: String,
    #[arg(long, value_name = "T")]
    tool: Option<String>,
    #[arg(long, value_name = "JSON", value_parser = policy::arguments, requires = "tool")]
    args: Option<String>,
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    #[arg(long, value_name = "P")]
    prompt: Option<String>,
    #[arg(long, value_name = "R")]
    request: Option<String>,
    #[arg(long, value_name = "JSON", value_parser = policy::arguments, requires = "request")]
    body: Option<String>,
}

pub(super) fn run(context: &Context, asked: &Asked) -> anyhow::Result<Verdict> {
    let (name, policy) = super::load(context, None)?;
    let settings = context.settings()?;
    let world =
        context.block_on(async { super::world_of(&context.store(&settings).await?, policy).await })?;
    let known = super::known_risk(&settings);
    let agent = world.agents.get(&asked.agent).ok_or_else(|| {
        let known = world.agents.keys().map(AgentName::as_str);
        let hint = match did_you_mean(asked.agent.as_str(), known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("all: {}", context.invocation.command("agents list")),
        };
        anyhow!("there is no agent `{}` (--agent); {hint}", asked.agent)
    })?;
    let service = asked.service.as_str();
    let question = match asked {
        Asked { tool: Some(tool), args, .. } => Question::tool(service, tool, args.clone()),
        Asked { resource: Some(uri), .. } => Question::resource(service, uri),
        Asked { prompt: Some(prompt), .. } => Question::prompt(service, prompt),
        Asked { request: Some(request), body, .. } => {
            Question::request(&world, service, request, body.clone())
                .map_err(|bad| anyhow!("{} (--request); {}", bad.what, bad.next))?
        }
        _ => {
            return Err(anyhow!("nothing is asked (--tool, --resource, --prompt, --request); name one"));
        }
    };
    let explanation = question.answer(&world, agent, context.now().wall, &known);
    if context.output.json {
        context.output.json(&as_json(&explanation))?;
    } else {
        let subject = format!(
            "{} ({}) · {} · {}",
            agent.name,
            agent.role,
            escape_foreign(service),
            escape_foreign(question.action_text())
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
        Effect::Hold => ("HOLD ", Style::Yellow),
        Effect::Deny => ("DENY ", Style::Red),
    };
    let rule = match &explanation.rule {
        Some((name, Some(line))) => format!("{name}, {file}:{line}"),
        Some((name, None)) => name.to_string(),
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

fn as_json(explanation: &Explanation) -> Value {
    let limits: Vec<String> = explanation.limits.iter().map(ToString::to_string).collect();
    json!({
        "effect": explanation.effect.as_str(),
        "rule": explanation.rule.as_ref().map(|(name, _)| name.as_str()),
        "reason": explanation.reason,
        "limits": limits
    })
}
