//! The policy in force, and what it would decide.

use domain::{
    names::AgentName,
    policy::{self, Question},
};
use http::Response;
use pipeline::flow::Flow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{answer, asked::Asked, problem::Problem};

/// The policy in force.
#[derive(Serialize, JsonSchema)]
pub(crate) struct PolicyView {
    /// SHA-256 of the file.
    policy_hash: String,
    file: String,
    roles: Vec<String>,
    /// How many rules there are.
    rules: usize,
    /// How many of them deny.
    denies: usize,
    /// The file, as it was read.
    text: String,
}

/// A call that is not made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainBody {
    #[schemars(with = "super::Agent")]
    agent: String,
    service: String,
    /// A tool's name; or one of the next three.
    tool: Option<String>,
    /// A resource's URI.
    resource: Option<String>,
    /// A prompt's name.
    prompt: Option<String>,
    /// `METHOD /path?query`.
    request: Option<String>,
    /// The tool's arguments.
    #[schemars(with = "Option<serde_json::Value>")]
    args: Option<Box<RawValue>>,
    /// The request's body.
    #[schemars(with = "Option<serde_json::Value>")]
    body: Option<Box<RawValue>>,
}

/// What would happen.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ExplanationView {
    /// `allow`, `hold` or `deny`.
    effect: &'static str,
    rule: Option<String>,
    reason: String,
    limits: Vec<String>,
}

pub(crate) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let world = asked.desk.freshness.current();
    let policy = &world.policy;
    let summary = policy.summary();
    answer::ok(&PolicyView {
        policy_hash: policy.hash().to_string(),
        file: policy.file_name().to_owned(),
        roles: policy.roles().into_iter().map(ToString::to_string).collect(),
        rules: summary.rules,
        denies: summary.denies,
        text: policy.text().to_owned(),
    })
}

pub(crate) async fn explain(asked: Asked) -> Result<Response<Flow>, Problem> {
    let body: ExplainBody = asked.json()?;
    let world = asked.desk.freshness.current();
    let name = AgentName::parse(&body.agent).map_err(|bad| Problem::invalid(bad.to_string()))?;
    let agent = world.agents.get(&name).ok_or_else(|| {
        Problem::not_found(format!("there is no agent `{name}`; look at the list of agents"))
    })?;
    let json = |value: Option<Box<RawValue>>| {
        value
            .map(|value| policy::arguments(value.get()))
            .transpose()
            .map_err(|bad| Problem::invalid(bad.to_string()))
    };
    let service = body.service.as_str();
    let question = match (&body.tool, &body.resource, &body.prompt, &body.request) {
        (Some(tool), None, None, None) => Question::tool(service, tool, json(body.args)?),
        (None, Some(uri), None, None) => Question::resource(service, uri),
        (None, None, Some(prompt), None) => Question::prompt(service, prompt),
        (None, None, None, Some(request)) => Question::request(&world, service, request, json(body.body)?)
            .map_err(|bad| Problem::invalid(format!("{}; {}", bad.what, bad.next)))?,
        _ => return Err(Problem::invalid("name one of `tool`, `resource`, `prompt` and `request`")),
    };
    let explained = question.answer(&world, agent, asked.now.wall, &asked.desk.risk);
    answer::ok(&ExplanationView {
        effect: explained.effect.as_str(),
        rule: explained.rule.map(|(name, _)| name.to_string()),
        reason: explained.reason,
        limits: explained.limits.iter().map(ToString::to_string).collect(),
    })
}
