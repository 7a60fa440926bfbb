//! Agents: who may call, with which keys, and what the policy lets them do.

use std::collections::{BTreeMap, BTreeSet};

use admin::{AgentUpdate, AgentView, CreatedKey, NewKey};
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
    layout::{Frame, Tab},
    policy::rules_of,
    refused::sentence,
    see,
    ui::{Tone, ago, badge, count, day, icon, length, moment, note, number, part, seconds},
};
use crate::{
    asked::{Asked, Pairs},
    problem::Problem,
};

/// How long new keys may last, with the word in the form.
const LIVES: [(&str, &str, Option<i64>); 4] = [
    ("90d", "in 90 days", Some(90)),
    ("30d", "in 30 days", Some(30)),
    ("7d", "in 7 days", Some(7)),
    ("never", "never", None),
];
/// A key that ends within this is marked (seconds).
const SOON: u64 = 7 * 86_400;

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
        Ok(made) => show_key(&asked, made).await,
        Err(problem) if !problem.status.is_server_error() => {
            let status = problem.status;
            list(&asked, Some(wrong(&problem)), typed(&form), status).await
        }
        Err(problem) => Err(problem),
    }
}

async fn list(
    asked: &Asked,
    said: Option<Markup>,
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
        @if let Some(said) = said { (said) }
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
        @if owner { (new_form(asked, &frame, &typed)) }
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

fn state(agent: &Agent) -> Markup {
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

fn is_good(key: &Key, now: Timestamp) -> bool {
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

fn new_form(asked: &Asked, frame: &Frame, typed: &Typed) -> Markup {
    html! {
        section.panel id="new" aria-labelledby="na" {
            header { h2 id="na" { "New agent" } }
            form.body method="post" action="/agents" {
                (frame.token())
                div.fields {
                    label.field { span { "Name" } input name="name" required maxlength="64" value=(typed.name) placeholder="docs-writer" autocomplete="off"; }
                    label.field { span { "Role" } (roles(asked, if typed.role.is_empty() { "readonly" } else { &typed.role })) }
                    label.field { span { "Scope" } input name="scope" value=(typed.scope) placeholder="files, billing" autocomplete="off"; }
                    label.field { span { "Key expires" } select name="expires" { @for (word, text, _) in LIVES { option value=(word) { (text) } } } }
                }
                p.hint { "The scope names services, with commas between. A new agent is readonly until you say otherwise." }
                button.btn.primary { "Create and show the key" }
            }
        }
    }
}

fn roles(asked: &Asked, chosen: &str) -> Markup {
    let world = asked.desk.freshness.current();
    let known = world.policy.defines(chosen);
    html! {
        select name="role" {
            @for role in world.policy.roles() { option value=(role) selected[role.as_str() == chosen] { (role) } }
            @if !known { option value=(chosen) selected { (chosen) ", not in the policy" } }
        }
    }
}

/// One agent.
pub(super) async fn one(asked: Asked) -> Result<Response<Flow>, Problem> {
    let said = match asked.query()?.get("done") {
        Some("saved") => Some("Saved. Running gateways know within a second."),
        Some("disabled") => Some("Disabled. Its keys stop at once; held calls of it are not sent."),
        Some("enabled") => Some("Enabled. Its keys are good again."),
        Some("deleted") => Some("Deleted. Its history stays, its name is not given again."),
        Some("revoked") => Some("The key is revoked. It stops within a second."),
        _ => None,
    };
    let said = said.map(|said| note(Tone::Good, "check", &html! { b { (said) } }));
    single(&asked, asked.part("name"), said, None, StatusCode::OK).await
}

/// Another role or scope.
pub(super) async fn update(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let done = async {
        let name = name(&asked)?;
        let role = form.get("role").map(RoleName::parse).transpose();
        let role = role.map_err(|error| Problem::invalid(error.to_string()))?;
        known_role(&asked, role.as_ref())?;
        let update = AgentUpdate { role, scope: Some(scope(form.get("scope"))?), seen: None };
        let actor = asked.who()?.operator.actor();
        asked.desk.admin.update_agent(&actor, asked.now.wall, &name, update).await?;
        Ok::<_, Problem>(name)
    };
    after(&asked, done.await, "saved").await
}

/// One more key.
pub(super) async fn new_key(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let made = async {
        let expires_at = expiry(form.get("expires"), asked.now.wall)?;
        make_key(&asked, NewKey { agent: name(&asked)?, role: None, scope: None, expires_at }).await
    };
    match made.await {
        Ok(made) => show_key(&asked, made).await,
        Err(problem) => after(&asked, Err(problem), "").await,
    }
}

/// Disabled, enabled or deleted.
pub(super) async fn set_state(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let (admin, actor, now) = (&asked.desk.admin, asked.who()?.operator.actor(), asked.now.wall);
    let name = name(&asked)?;
    let (done, word) = match form.get("state") {
        Some("disabled") => (admin.disable_agent(&actor, now, &name).await, "disabled"),
        Some("active") => (admin.enable_agent(&actor, now, &name).await, "enabled"),
        Some("deleted") if form.get("sure") == Some(name.as_str()) => {
            (admin.delete_agent(&actor, now, &name).await, "deleted")
        }
        Some("deleted") => {
            let wrong = Problem::invalid("to delete an agent, type its name; nothing was changed");
            return after(&asked, Err(wrong), "").await;
        }
        _ => return Err(Problem::invalid("there is no such state")),
    };
    after(&asked, done.map(|_| name).map_err(Problem::from), word).await
}

/// A key stops.
pub(super) async fn revoke(asked: Asked) -> Result<Response<Flow>, Problem> {
    let actor = asked.who()?.operator.actor();
    let revoked = asked.desk.admin.revoke_key(&actor, asked.now.wall, asked.part("id")).await?;
    Ok(see(&format!("/agents/{}?done=revoked", part(revoked.key.agent.as_str()))))
}

async fn after(
    asked: &Asked,
    done: Result<AgentName, Problem>,
    word: &str,
) -> Result<Response<Flow>, Problem> {
    match done {
        Ok(name) => Ok(see(&format!("/agents/{}?done={word}", part(name.as_str())))),
        Err(problem) if problem.status.is_server_error() || problem.status == StatusCode::NOT_FOUND => {
            Err(problem)
        }
        Err(problem) => {
            let status = problem.status;
            single(asked, asked.part("name"), Some(wrong(&problem)), None, status).await
        }
    }
}

async fn make_key(asked: &Asked, new: NewKey) -> Result<CreatedKey, Problem> {
    let (desk, actor) = (&asked.desk, asked.who()?.operator.actor());
    Ok(desk.admin.create_key(&actor, asked.now.wall, &desk.sessions.pepper, new).await?)
}

/// The one page that ever shows the key. It is the answer to the form itself: nothing of it is kept to be shown again.
async fn show_key(asked: &Asked, made: CreatedKey) -> Result<Response<Flow>, Problem> {
    let name = made.agent.name.to_string();
    single(asked, &name, None, Some(&made), StatusCode::CREATED).await
}

async fn single(
    asked: &Asked,
    name: &str,
    said: Option<Markup>,
    made: Option<&CreatedKey>,
    code: StatusCode,
) -> Result<Response<Flow>, Problem> {
    let unknown = || Problem::not_found("there is no such agent");
    let name = AgentName::parse(name).map_err(|_| unknown())?;
    let frame = Frame::of(asked).await?;
    let view = asked.desk.admin.show_agent(&name).await?;
    let (agent, calls) = (&view.agent, asked.desk.admin.calls_by_agent(frame.now).await?);
    let (all, refused) = calls.get(agent.name.as_str()).copied().unwrap_or_default();
    let owner = frame.may(OperatorRole::Owner) && agent.state != AgentState::Deleted;
    let escaped = part(agent.name.as_str());
    let content = html! {
        div.head {
            div {
                p.crumb { a href="/agents" { "Agents" } " / " (agent.name) }
                h1 { (agent.name) }
                p {
                    "Role " b { (agent.role) } ", made " (day(agent.created_at)) ". "
                    a href={ "/calls?time=week&agent=" (escaped) } { (count(all, "call")) } " in 7 days, " (number(refused)) " refused."
                }
            }
            (state(agent))
        }
        @if let Some(said) = said { (said) }
        @if let Some(made) = made { (new_key_note(made)) }
        (keys(&view, &frame, owner))
        section.panel aria-labelledby="may" {
            header { h2 id="may" { "What may it do?" } a href={ "/policy?agent=" (escaped) "#explain" } { "Explain one call" } }
            div.body.grid {
                (rules_of(asked, agent))
                @if owner { (change(asked, &frame, agent)) }
            }
        }
    };
    Ok(frame.page(code, agent.name.as_str(), Some(Tab::Agents), &content))
}

fn new_key_note(made: &CreatedKey) -> Markup {
    let key = made.key.reveal();
    html! {
        section.note.ok aria-labelledby="once" {
            (icon("key"))
            div.stack {
                h2 id="once" { "New key for " (made.agent.name) }
                p { "Copy it now. It is shown this once; Toolgate keeps only a hash. Other keys of the agent go on until you revoke them." }
                div.row {
                    code.secret id="new-key" { (key) }
                    button.btn type="button" data-copy="new-key" hidden { (icon("copy")) " Copy" }
                }
                pre.code { span { "export TOOLGATE_KEY=" (key.get(..13).unwrap_or_default()) "…" } span { "toolgate connect claude-code --write" } }
                @if made.agent.scope.is_empty() { p.small { "Its scope is empty: it reaches no service yet." } }
                a.btn href={ "/agents/" (part(made.agent.name.as_str())) } { "I have stored it, hide it" }
            }
        }
    }
}

fn keys(view: &AgentView, frame: &Frame, owner: bool) -> Markup {
    let (now, name) = (frame.now, part(view.agent.name.as_str()));
    html! {
        section.panel aria-labelledby="keys" {
            header { h2 id="keys" { "Keys" } p { "shown by their first characters; Toolgate keeps only hashes" } }
            @if view.keys.is_empty() {
                div.empty { (icon("key")) h3 { "No key" } p { "Without a key it cannot call." } }
            } @else {
                div.scroll tabindex="0" role="region" aria-label={ "Keys of " (view.agent.name) } {
                    table {
                        thead { tr { th { "Key" } th { "State" } th { "Created, UTC" } th { "Expires" } th { "Last used" } th { span.vh { "Change" } } } }
                        tbody {
                            @for key in &view.keys {
                                tr {
                                    th scope="row" { code { "agt_" (key.id) } }
                                    td { (key_state(key, now)) }
                                    td { (moment(key.created_at, now)) }
                                    td { (expires(key, now)) }
                                    td { @match key.last_used_at { Some(at) => { (ago(at, now)) } None => { span.muted { "never" } } } }
                                    td.num {
                                        @if owner && is_good(key, now) {
                                            form method="post" action={ "/keys/" (key.id) "/revoke" } data-confirm={ "Revoke agt_" (key.id) "? It stops within a second, and for ever." } {
                                                (frame.token()) button.btn.danger { "Revoke" span.vh { " agt_" (key.id) } }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            @if owner {
                form.foot method="post" action={ "/agents/" (name) "/keys" } {
                    (frame.token())
                    span.row {
                        label { span.vh { "The new key expires" } select name="expires" { @for (word, text, _) in LIVES { option value=(word) { "expires " (text) } } } }
                        button.btn { (icon("plus")) " New key" }
                    }
                    span { "To rotate: make a new key, give it to the agent, then revoke the old one." }
                }
            }
        }
    }
}

fn key_state(key: &Key, now: Timestamp) -> Markup {
    match key {
        key if key.revoked_at.is_some() => badge(Tone::Plain, "ban", "Revoked"),
        key if !is_good(key, now) => badge(Tone::Plain, "clock", "Expired"),
        _ => badge(Tone::Good, "check", "Good"),
    }
}

fn expires(key: &Key, now: Timestamp) -> Markup {
    match key.expires_at {
        None => html! { "never" },
        Some(end) if is_good(key, now) && seconds(now, end) < SOON => {
            badge(Tone::Look, "alert", format!("in {}", length(seconds(now, end))))
        }
        Some(end) => html! { (day(end)) },
    }
}

fn change(asked: &Asked, frame: &Frame, agent: &Agent) -> Markup {
    let path = format!("/agents/{}", part(agent.name.as_str()));
    let scope = agent.scope.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
    html! {
        div.stack {
            form.stack method="post" action=(path) {
                (frame.token())
                div.fields {
                    label.field { span { "Role" } (roles(asked, agent.role.as_str())) }
                    label.field { span { "Scope" } input name="scope" value=(scope) autocomplete="off"; }
                }
                button.btn { "Save" }
            }
            hr;
            form.row method="post" action={ (path) "/state" } data-confirm=[(agent.state == AgentState::Active).then(|| format!("Disable {}? Its keys stop at once.", agent.name))] {
                (frame.token())
                @if agent.state == AgentState::Active {
                    button.btn.danger name="state" value="disabled" { "Disable" }
                    span.hint { "Its keys stop at once. Held calls of it are not sent." }
                } @else {
                    button.btn name="state" value="active" { "Enable" }
                    span.hint { "Its keys are good again." }
                }
            }
            details {
                summary { (icon("chev")) " Delete for ever" }
                form.row method="post" action={ (path) "/state" } {
                    (frame.token())
                    label.field { span { "Type " code { (agent.name) } } input name="sure" required autocomplete="off"; }
                    button.btn.danger name="state" value="deleted" { "Delete" }
                    span.hint { "Its history stays; its name is not given again." }
                }
            }
        }
    }
}

fn name(asked: &Asked) -> Result<AgentName, Problem> {
    AgentName::parse(asked.part("name")).map_err(|_| Problem::not_found("there is no such agent"))
}

fn known_role(asked: &Asked, role: Option<&RoleName>) -> Result<(), Problem> {
    match role.filter(|role| !asked.desk.freshness.current().policy.defines(role.as_str())) {
        None => Ok(()),
        Some(role) => {
            Err(Problem::invalid(format!("the policy has no role `{role}`; choose one that it defines")))
        }
    }
}

fn scope(text: Option<&str>) -> Result<BTreeSet<ServiceName>, Problem> {
    let names = text.unwrap_or_default().split([',', ' ']).map(str::trim).filter(|name| !name.is_empty());
    let parse = |name: &str| ServiceName::parse(name).map_err(|error| Problem::invalid(error.to_string()));
    names.map(parse).collect()
}

fn expiry(word: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    let life = LIVES.into_iter().find(|(known, _, _)| Some(*known) == word);
    let (_, _, days) = life.ok_or_else(|| Problem::invalid("choose when the key expires"))?;
    Ok(days.and_then(|days| now.checked_add(SignedDuration::from_hours(days * 24)).ok()))
}

/// What stands in the way of a change, as a note. Its texts are escaped where they were written into it.
pub(super) fn wrong(problem: &Problem) -> Markup {
    note(Tone::Bad, "stop", &html! { b { (sentence(&problem.detail)) } })
}
