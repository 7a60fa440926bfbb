//! Agents and their keys. A key is in an answer once, when it is made.

use admin::{AgentUpdate, AgentView as Found, NewKey};
use domain::{
    agent::{Agent, AgentState, Key},
    names::{AgentName, RoleName, ServiceName},
};
use http::{Response, StatusCode, header};
use jiff::Timestamp;
use pipeline::flow::Flow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Listed, Time};
use crate::{answer, asked::Asked, etag, problem::Problem};

/// An agent.
#[derive(Serialize, JsonSchema)]
pub(crate) struct AgentView {
    agent: String,
    role: String,
    /// The services that it may reach.
    scope: Vec<String>,
    state: StateWord,
    created_at: Time,
    keys: Vec<KeyView>,
}

/// What an agent may.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StateWord {
    /// It may call.
    Active,
    /// An operator has paused it.
    Disabled,
    /// It is gone for good.
    Deleted,
}

/// A key without its secret.
#[derive(Serialize, JsonSchema)]
pub(crate) struct KeyView {
    key_id: String,
    /// What it begins with.
    prefix: String,
    state: KeyState,
    created_at: Time,
    expires_at: Option<Time>,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
}

/// Whether a key is good.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyState {
    /// It is.
    Active,
    /// Its agent is disabled or deleted.
    Disabled,
    /// Its time is over.
    Expired,
    /// Somebody stopped it.
    Revoked,
}

/// A new agent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAgent {
    // A service says `name`.
    #[serde(alias = "name")]
    #[schemars(with = "super::Agent")]
    agent: AgentName,
    /// `readonly` where nothing is said.
    #[schemars(with = "Option<super::Role>")]
    role: Option<RoleName>,
    /// No service where nothing is said.
    #[serde(default)]
    #[schemars(with = "Vec<super::Service>")]
    scope: Vec<ServiceName>,
}

/// What is to be another: role and scope, or the state.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentPatch {
    #[schemars(with = "Option<super::Role>")]
    role: Option<RoleName>,
    #[schemars(with = "Option<Vec<super::Service>>")]
    scope: Option<Vec<ServiceName>>,
    state: Option<Switch>,
}

/// What an owner may make of an agent or an operator.
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    /// In again.
    Active,
    /// Out until further notice.
    Disabled,
}

impl Switch {
    fn of_agent(self) -> AgentState {
        match self {
            Self::Active => AgentState::Active,
            Self::Disabled => AgentState::Disabled,
        }
    }
}

/// A new key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKeyBody {
    /// The key stops then; never where nothing is said.
    expires_at: Option<Time>,
}

/// A key that was made.
#[derive(Serialize, JsonSchema)]
pub(crate) struct CreatedKeyView {
    agent: String,
    key_id: String,
    /// The key. It is shown this once; only a hash is kept.
    key: String,
    role: String,
    scope: Vec<String>,
    expires_at: Option<Time>,
}

pub(crate) async fn list(asked: Asked) -> Result<Response<Flow>, Problem> {
    let found = asked.desk.admin.list_agents().await?;
    let now = asked.now.wall;
    answer::ok(&Listed::all(found.into_iter().map(|found| view(found, now)).collect()))
}

pub(crate) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let found = asked.desk.admin.show_agent(&name(&asked)?).await?;
    tagged(&asked, StatusCode::OK, found)
}

pub(crate) async fn create(asked: Asked) -> Result<Response<Flow>, Problem> {
    let body: NewAgent = asked.json()?;
    let (desk, who) = (&asked.desk, asked.who()?);
    let role = match body.role {
        Some(role) => role,
        None => RoleName::parse("readonly").map_err(|bad| Problem::invalid(bad.to_string()))?,
    };
    let scope = body.scope.into_iter().collect();
    let actor = who.operator.actor();
    let agent = desk.admin.create_agent(&actor, asked.now.wall, body.agent, role, scope).await?;
    let location = format!("/api/agents/{}", agent.name);
    let mut response = tagged(&asked, StatusCode::CREATED, Found { agent, keys: Vec::new() })?;
    answer::set(response.headers_mut(), header::LOCATION, &location);
    Ok(response)
}

pub(crate) async fn update(asked: Asked) -> Result<Response<Flow>, Problem> {
    let name = name(&asked)?;
    let body: AgentPatch = asked.json()?;
    let (admin, now, actor) = (&asked.desk.admin, asked.now.wall, asked.who()?.operator.actor());
    let before = admin.show_agent(&name).await?;
    let seen = etag::check(&asked, &tag(&before.agent), "the agent")?.then_some(before.agent);
    let scope = body.scope.map(|scope| scope.into_iter().collect());
    let done = match (body.role.is_some() || scope.is_some(), body.state) {
        // Each is an event of its own, and the one must not be done without the other.
        (true, Some(_)) => {
            return Err(Problem::invalid("`state` stands alone; send role and scope before or after it"));
        }
        (true, None) => {
            let update = AgentUpdate { role: body.role, scope, seen };
            admin.update_agent(&actor, now, &name, update).await.map(drop)
        }
        (false, Some(state)) => {
            admin.set_agent_state(&actor, now, &name, state.of_agent(), seen).await.map(drop)
        }
        (false, None) => Ok(()),
    };
    done.map_err(|error| etag::meanwhile(&asked, error))?;
    tagged(&asked, StatusCode::OK, admin.show_agent(&name).await?)
}

pub(crate) async fn remove(asked: Asked) -> Result<Response<Flow>, Problem> {
    let (name, actor) = (name(&asked)?, asked.who()?.operator.actor());
    let before = asked.desk.admin.show_agent(&name).await?;
    let seen = etag::check(&asked, &tag(&before.agent), "the agent")?.then_some(before.agent);
    let deleted =
        asked.desk.admin.set_agent_state(&actor, asked.now.wall, &name, AgentState::Deleted, seen).await;
    deleted.map_err(|error| etag::meanwhile(&asked, error))?;
    Ok(answer::done())
}

pub(crate) async fn create_key(asked: Asked) -> Result<Response<Flow>, Problem> {
    let (name, actor) = (name(&asked)?, asked.who()?.operator.actor());
    let body: Option<NewKeyBody> = asked.json_if_any()?;
    let expires_at = body.and_then(|body| body.expires_at).map(|at| at.0);
    let desk = &asked.desk;
    // A key of an agent that is not there would make one, with rights that nobody chose.
    desk.admin.show_agent(&name).await?;
    let new = NewKey { agent: name, role: None, scope: None, expires_at };
    let created = desk.admin.create_key(&actor, asked.now.wall, &desk.sessions.pepper, new).await?;
    let agent = created.agent;
    answer::json(
        StatusCode::CREATED,
        &CreatedKeyView {
            agent: agent.name.to_string(),
            key_id: created.key_id.to_string(),
            key: created.key.reveal().to_owned(),
            role: agent.role.to_string(),
            scope: agent.scope.iter().map(ToString::to_string).collect(),
            expires_at: created.expires_at.map(Time),
        },
    )
}

pub(crate) async fn revoke_key(asked: Asked) -> Result<Response<Flow>, Problem> {
    let actor = asked.who()?.operator.actor();
    asked.desk.admin.revoke_key(&actor, asked.now.wall, asked.part("id")).await?;
    Ok(answer::done())
}

fn name(asked: &Asked) -> Result<AgentName, Problem> {
    AgentName::parse(asked.part("name"))
        .map_err(|_| Problem::not_found("there is no agent of that name; look at the list of agents"))
}

fn tagged(asked: &Asked, status: StatusCode, found: Found) -> Result<Response<Flow>, Problem> {
    let tag = tag(&found.agent);
    let mut response = answer::json(status, &view(found, asked.now.wall))?;
    answer::set(response.headers_mut(), header::ETAG, &tag);
    Ok(response)
}

/// What an edit changes; the use of keys is none.
pub(crate) fn tag(agent: &Agent) -> String {
    let scope: Vec<&str> = agent.scope.iter().map(ServiceName::as_str).collect();
    etag::of(&[agent.name.as_str(), agent.role.as_str(), &scope.join(" "), &format!("{:?}", agent.state)])
}

fn view(found: Found, now: Timestamp) -> AgentView {
    let Found { agent, keys } = found;
    let key = |key: Key| KeyView {
        key_id: key.id.to_string(),
        prefix: format!("agt_{}", key.id),
        state: key_state(&key, agent.state, now),
        created_at: Time(key.created_at),
        expires_at: key.expires_at.map(Time),
        revoked_at: key.revoked_at.map(Time),
        last_used_at: key.last_used_at.map(Time),
    };
    AgentView {
        keys: keys.into_iter().map(key).collect(),
        agent: agent.name.to_string(),
        role: agent.role.to_string(),
        scope: agent.scope.iter().map(ToString::to_string).collect(),
        state: match agent.state {
            AgentState::Active => StateWord::Active,
            AgentState::Disabled => StateWord::Disabled,
            AgentState::Deleted => StateWord::Deleted,
        },
        created_at: Time(agent.created_at),
    }
}

fn key_state(key: &Key, agent: AgentState, now: Timestamp) -> KeyState {
    match agent {
        _ if key.revoked_at.is_some() => KeyState::Revoked,
        _ if key.expires_at.is_some_and(|end| end <= now) => KeyState::Expired,
        AgentState::Active => KeyState::Active,
        AgentState::Disabled | AgentState::Deleted => KeyState::Disabled,
    }
}
