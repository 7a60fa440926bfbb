//! The list of agents, and the form that makes one with its first key.

use std::collections::{BTreeMap, BTreeSet};

use admin::{AgentView, CreatedKey, NewKey};
use domain::{
    agent::{Agent, AgentState, Key},
    names::{AgentName, RoleName, ServiceName},
    operator::OperatorRole,
};
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use pipeline::flow::Flow;

use super::{
    agent,
    layout::{Frame, Tab},
    refused::wrong,
    ui::{Tone, ago, badge, count, icon, number, part},
};
use crate::{
    asked::{Asked, Pairs},
    problem::Problem,
};

/// How long new keys may last, with the word in the form.
pub(super) const LIVES: [(&str, &str, Option<i64>); 4] = [
    ("90d", "in 90 days", Some(90)),
    ("30d", "in 30 days", Some(30)),
    ("7d", "in 7 days", Some(7)),
    ("never", "never", None),
];
/// Services that the form for a new agent names.
const SERVICES_MAX: usize = 12;

/// What the form for a new agent is filled with again, after something in it did not fit.
#[derive(Default)]
struct Typed {
    name: String,
    role: String,
    scope: String,
}

/// The list.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    list(&asked, None, Typed::default(), StatusCode::OK).await
}

/// Makes an agent and its first key.
pub(super) async fn create(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let typed = |form: &Pairs| {
        let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
        Typed { name: text("name"), role: text("role"), scope: text("scope") }
    };
    let made = async {
        let bad = |error: &dyn std::fmt::Display| Problem::invalid(error.to_string());
        let name = AgentName::parse(form.get("name").unwrap_or_default()).map_err(|error| bad(&error))?;
        let admin = &asked.desk.admin;
        if admin
            .list_agents()
            .await?
            .iter()
            .any(|view| view.agent.name == name && view.agent.state != AgentState::Deleted)
        {
            return Err(Problem::conflict(format!(
                "there is an agent `{name}` already; choose another name"
            )));
        }
        let new = NewKey {
            agent: name,
            role: Some(RoleName::parse(form.get("role").unwrap_or("readonly")).map_err(|error| bad(&error))?),
            scope: Some(scope(form.get("scope"))?),
            expires_at: expiry(form.get("expires"), asked.now.wall)?,
        };
        known_role(&asked, new.role.as_ref())?;
        make_key(&asked, new).await
    };
    match made.await {
        Ok(made) => agent::show_key(&asked, made).await,
        Err(problem) if !problem.status.is_server_error() => {
            let status = problem.status;
            list(&asked, Some(wrong(&problem)), typed(&form), status).await
        }
        Err(problem) => Err(problem),
    }
}

async fn list(
    asked: &Asked,
    wrong: Option<Markup>,
    typed: Typed,
    code: StatusCode,
) -> Result<Response<Flow>, Problem> {
    let frame = Frame::of(asked).await?;
    let deleted = asked.query()?.get("deleted").is_some();
    let mut agents = asked.desk.admin.list_agents().await?;
    let hidden = agents.iter().filter(|view| view.agent.state == AgentState::Deleted).count();
    agents.retain(|view| deleted || view.agent.state != AgentState::Deleted);
    let calls = asked.desk.admin.calls_by_agent(frame.now).await?;
    let owner = frame.may(OperatorRole::Owner);
    let content = html! {
        div.head {
            div { h1 { "Agents" } p { "Callers that are not people. Each has a key, one role and the services in its scope." } }
            @if owner { a.btn.primary href="#new" { (icon("plus")) " New agent" } }
        }
        section.panel aria-label="All agents" {
            @if agents.is_empty() {
                div.empty {
                    (icon("agent"))
                    h2 { "No agent yet" }
                    p { "Give one a name, a role and what it may reach. You get its key, once." }
                    @if owner { a.btn.primary href="#new" { "Make the first agent" } }
                }
            } @else { (table(&agents, &calls, &frame)) }
            p.foot {
                span { (count(agents.len() as u64, "agent")) }
                @if deleted { a href="/agents" { "Hide deleted" } } @else if hidden > 0 { a href="/agents?deleted=1" { "Show " (hidden) " deleted" } }
            }
        }
        @if owner { (new_form(asked, &frame, wrong, &typed)) }
    };
    Ok(frame.page(code, "Agents", Some(Tab::Agents), &content))
}

fn table(agents: &[AgentView], calls: &BTreeMap<String, (u64, u64)>, frame: &Frame) -> Markup {
    html! {
        table.fold {
            thead { tr { th { "Agent" } th { "State" } th { "Role" } th { "Scope" } th { "Key" } th { "Last used" } th.num { "Calls, 7 d" } th.num { "Refused" } } }
            tbody {
                @for AgentView { agent, keys } in agents {
                    @let (all, refused) = calls.get(agent.name.as_str()).copied().unwrap_or_default();
                    @let name = part(agent.name.as_str());
                    tr {
                        th scope="row" { a href={ "/agents/" (name) } { (agent.name) } }
                        td { (state(agent)) }
                        td data-l="role" { (agent.role) }
                        td.span { (scope_tags(agent)) }
                        td { (good_keys(keys, frame.now)) }
                        td data-l="used" { (last_used(keys, frame.now)) }
                        td.num data-l="calls" { a href={ "/calls?time=week&agent=" (name) } { (number(all)) } }
                        td.num data-l="refused" { a href={ "/calls?time=week&decision=refused&agent=" (name) } { (number(refused)) } }
                    }
                }
            }
        }
    }
}

pub(super) fn state(agent: &Agent) -> Markup {
    match agent.state {
        AgentState::Active => badge(Tone::Good, "check", "Active"),
        AgentState::Disabled => badge(Tone::Plain, "ban", "Disabled"),
        AgentState::Deleted => badge(Tone::Plain, "x", "Deleted"),
    }
}

fn scope_tags(agent: &Agent) -> Markup {
    html! {
        @if agent.scope.is_empty() { span.muted { "nothing" } }
        @for service in &agent.scope { span.tag { (service) } " " }
    }
}

pub(super) fn is_good(key: &Key, now: Timestamp) -> bool {
    key.revoked_at.is_none() && key.expires_at.is_none_or(|end| now < end)
}

fn good_keys(keys: &[Key], now: Timestamp) -> Markup {
    let good: Vec<&Key> = keys.iter().filter(|key| is_good(key, now)).collect();
    html! {
        @match good.as_slice() {
            [] => { span.muted { (if keys.is_empty() { "none" } else { "none good" }) } }
            [first, rest @ ..] => { code { "agt_" (first.id) } @if !rest.is_empty() { " and " (rest.len()) " more" } }
        }
    }
}

fn last_used(keys: &[Key], now: Timestamp) -> String {
    keys.iter().filter_map(|key| key.last_used_at).max().map_or_else(|| "never".to_owned(), |at| ago(at, now))
}

/// The form for a new agent, with what did not fit and what was typed.
fn new_form(asked: &Asked, frame: &Frame, wrong: Option<Markup>, typed: &Typed) -> Markup {
    html! {
        section.panel id="new" aria-labelledby="na" {
            header { h2 id="na" { "New agent" } }
            form.body method="post" action="/agents#new" {
                (frame.token())
                @if let Some(wrong) = wrong { (wrong) }
                div.fields {
                    label.field { span { "Name" } input name="name" required maxlength="64" value=(typed.name) placeholder="docs-writer" autocomplete="off"; }
                    label.field { span { "Role" } (roles(asked, if typed.role.is_empty() { "readonly" } else { &typed.role })) }
                    label.field { span { "Scope" } input name="scope" value=(typed.scope) placeholder="files, billing" autocomplete="off"; }
                    label.field { span { "Key expires" } select name="expires" { @for (word, text, _) in LIVES { option value=(word) { (text) } } } }
                }
                p.hint { "The scope names services, with commas between" (known_services(asked)) ". A new agent is readonly until you say otherwise." }
                button.btn.primary { "Create and show the key" }
            }
        }
    }
}

/// The services that there are, as far as they fit into a sentence.
fn known_services(asked: &Asked) -> String {
    let world = asked.desk.freshness.current();
    let mut names: Vec<&str> = world.services.keys().map(ServiceName::as_str).collect();
    names.sort_unstable();
    match names.get(..SERVICES_MAX) {
        Some(first) if names.len() > SERVICES_MAX => format!(": {}, …", first.join(", ")),
        _ if names.is_empty() => String::new(),
        _ => format!(": {}", names.join(", ")),
    }
}

pub(super) fn roles(asked: &Asked, chosen: &str) -> Markup {
    let world = asked.desk.freshness.current();
    let known = world.policy.defines(chosen);
    html! {
        select name="role" {
            @for role in world.policy.roles() { option value=(role) selected[role.as_str() == chosen] { (role) } }
            @if !known { option value=(chosen) selected { (chosen) ", not in the policy" } }
        }
    }
}

pub(super) async fn make_key(asked: &Asked, new: NewKey) -> Result<CreatedKey, Problem> {
    let (desk, actor) = (&asked.desk, asked.who()?.operator.actor());
    Ok(desk.admin.create_key(&actor, asked.now.wall, &desk.sessions.pepper, new).await?)
}

pub(super) fn known_role(asked: &Asked, role: Option<&RoleName>) -> Result<(), Problem> {
    match role.filter(|role| !asked.desk.freshness.current().policy.defines(role.as_str())) {
        None => Ok(()),
        Some(role) => {
            Err(Problem::invalid(format!("the policy has no role `{role}`; choose one that it defines")))
        }
    }
}

pub(super) fn scope(text: Option<&str>) -> Result<BTreeSet<ServiceName>, Problem> {
    let names = text.unwrap_or_default().split([',', ' ']).map(str::trim).filter(|name| !name.is_empty());
    let parse = |name: &str| ServiceName::parse(name).map_err(|error| Problem::invalid(error.to_string()));
    names.map(parse).collect()
}

pub(super) fn expiry(word: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let life = LIVES.into_iter().find(|(known, _, _)| Some(*known) == word);
    let (_, _, days) = life.ok_or_else(|| Problem::invalid("choose when the key expires"))?;
    Ok(days.and_then(|days| now.checked_add(SignedDuration::from_hours(days * 24)).ok()))
}
