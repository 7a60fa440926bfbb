//! A call that somebody asks about without making it: what it would act on, with which arguments.

use jiff::Timestamp;
use wire::{Limits, Raw, Target, form, json, target};

use super::{Explanation, Facts, Unusable, explain};
use crate::{
    agent::Agent,
    call::Action,
    risk::KnownRisk,
    service::{OddPaths, Upstream},
    world::World,
};

/// A call that is not made.
#[derive(Debug, Clone)]
pub struct Question {
    service: String,
    action: Action,
    method: String,
    /// The arguments, or the body, as JSON.
    args: Option<String>,
    query: Option<String>,
}

impl Question {
    /// A call of a tool. `args` is what [`arguments`] returned; left out, there are none.
    #[must_use]
    pub fn tool(service: &str, name: &str, args: Option<String>) -> Self {
        let args = Some(args.unwrap_or_else(|| "{}".to_owned()));
        Self { args, ..Self::of_mcp(service, "tools/call", Action::Tool(name.to_owned())) }
    }

    /// A read of a resource.
    #[must_use]
    pub fn resource(service: &str, uri: &str) -> Self {
        Self::of_mcp(service, "resources/read", Action::Resource(uri.to_owned()))
    }

    /// A prompt, without arguments.
    #[must_use]
    pub fn prompt(service: &str, name: &str) -> Self {
        Self {
            args: Some("{}".to_owned()),
            ..Self::of_mcp(service, "prompts/get", Action::Prompt(name.to_owned()))
        }
    }

    /// A request `METHOD /path?query`, with a body that [`arguments`] returned.
    ///
    /// # Errors
    /// [`BadRequest`], when the gateway would not read it: no method and path, or a path of several meanings.
    pub fn request(
        world: &World,
        service: &str,
        request: &str,
        body: Option<String>,
    ) -> Result<Self, BadRequest> {
        let like = "write it like \"GET /v1/x\"";
        let shape = || format!("`{}` is not `METHOD /path`", request.escape_debug());
        let (method, rest) =
            request.split_once(' ').ok_or_else(|| BadRequest { what: shape(), next: like })?;
        target::method(method).map_err(|bad| BadRequest { what: bad.to_string(), next: like })?;
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let odd = match world.services.get(service).map(|service| &service.upstream) {
            Some(Upstream::Api(api)) => api.odd_paths,
            _ => OddPaths::Refuse,
        };
        let target = Target::parse(path, query, odd.into()).map_err(|bad| BadRequest {
            what: format!("the gateway refuses such a request: {bad}"),
            next: "write it in one plain way",
        })?;
        Ok(Self {
            service: service.to_owned(),
            action: Action::Request(format!("{method} {}", target.path())),
            method: method.to_owned(),
            args: body,
            query: Some(query.unwrap_or_default().to_owned()),
        })
    }

    fn of_mcp(service: &str, method: &str, action: Action) -> Self {
        Self { service: service.to_owned(), action, method: method.to_owned(), args: None, query: None }
    }

    /// The service that is asked about.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// What would be acted on, as people read it.
    #[must_use]
    pub fn action_text(&self) -> &str {
        match &self.action {
            Action::Tool(text) | Action::Prompt(text) | Action::Resource(text) | Action::Request(text) => {
                text
            }
            _ => &self.method,
        }
    }

    /// What would happen if this agent did it at this moment, and why.
    #[must_use]
    pub fn answer(&self, world: &World, agent: &Agent, now: Timestamp, risk: &KnownRisk) -> Explanation {
        let facts = Facts::new(agent, &self.service, &self.method, &self.action, now);
        let args = self
            .args
            .as_deref()
            .ok_or(Unusable::Missing)
            .and_then(|text| read(text).ok_or(Unusable::Unreadable));
        let query = self.query.as_deref().ok_or(Unusable::Missing);
        let query = query.and_then(|query| form::pairs(query).ok_or(Unusable::Unreadable));
        let facts = facts.with_args(args).with_query(query);
        explain(world, agent, &self.service, (&self.action, &self.method), &facts, risk)
    }
}

/// A request that the gateway would not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRequest {
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub next: &'static str,
}

/// A text that the gateway would read as arguments: JSON without duplicate keys.
///
/// # Errors
/// A sentence: why it cannot be read.
pub fn arguments(text: &str) -> Result<String, String> {
    match json::read(text.as_bytes(), &Limits::of_bytes(text.len())) {
        Ok(_) => Ok(text.to_owned()),
        Err(malformed) => Err(format!("this cannot be read as JSON: {malformed}")),
    }
}

fn read(text: &str) -> Option<Raw<'_>> {
    json::read(text.as_bytes(), &Limits::of_bytes(text.len())).ok()
}
