//! One agent: its keys, its role and scope, and what the policy lets it do.

use admin::{AgentUpdate, AgentView, CreatedKey, NewKey};
use domain::{
    agent::{Agent, AgentState, Key},
    names::{AgentName, RoleName, ServiceName},
    operator::OperatorRole,
};
use http::{Response, StatusCode};
use jiff::Timestamp;
use maud::{Markup, html};
use pipeline::flow::Flow;

use super::{
    agents::{LIVES, expiry, is_good, known_role, make_key, roles, scope, state},
    layout::{Frame, Tab},
    policy::rules_of,
    refused::wrong,
    see,
    ui::{Tone, ago, badge, commands, count, day, icon, length, moment, note, number, part, seconds},
};
use crate::{api::agents::tag, asked::Asked, etag, problem::Problem};

/// A key that ends within this is marked (seconds).
const SOON: u64 = 7 * 86_400;

/// One agent.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
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
        let (admin, actor) = (&asked.desk.admin, asked.who()?.operator.actor());
        // Whatever the form does not mean to change must not come back as it was.
        let seen = admin.show_agent(&name).await?.agent;
        etag::check_form(&form, &tag(&seen), "the agent")?;
        let update = AgentUpdate { role, scope: Some(scope(form.get("scope"))?), seen: Some(seen) };
        admin.update_agent(&actor, asked.now.wall, &name, update).await?;
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
    let (state, word) = match form.get("state") {
        Some("disabled") => (AgentState::Disabled, "disabled"),
        Some("active") => (AgentState::Active, "enabled"),
        Some("deleted") if form.get("sure") == Some(name.as_str()) => (AgentState::Deleted, "deleted"),
        Some("deleted") => {
            let wrong = Problem::invalid("to delete an agent, type its name; nothing was changed");
            return after(&asked, Err(wrong), "").await;
        }
        _ => return Err(Problem::invalid("there is no such state; reload the page")),
    };
    let done = admin.set_agent_state(&actor, now, &name, state, None).await;
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

/// The one page that ever shows the key. It is the answer to the form itself: nothing of it is kept to be shown again.
pub(super) async fn show_key(asked: &Asked, made: CreatedKey) -> Result<Response<Flow>, Problem> {
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
    let unknown = || Problem::not_found("there is no such agent; look at the list of agents");
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
        @if let Some(made) = made { (new_key_note(asked, made)) }
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

fn new_key_note(asked: &Asked, made: &CreatedKey) -> Markup {
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
                (commands(&[
                    &format!("export TOOLGATE_KEY={}…", key.get(..13).unwrap_or_default()),
                    &(asked.desk.command)("connect claude-code --write"),
                ]))
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
                div.empty { (icon("key")) h3 { "No key" } p { "Without a key it cannot call." @if owner { " Make one below." } } }
            } @else {
                table.fold {
                    thead { tr { th { "Key" } th { "State" } th { "Created, UTC" } th { "Expires" } th { "Last used" } th { span.vh { "Change" } } } }
                    tbody {
                        @for key in &view.keys {
                            tr {
                                th scope="row" { code { "agt_" (key.id) } }
                                td { (key_state(key, now)) }
                                td data-l="created" { (moment(key.created_at, now)) }
                                td data-l="expires" { (expires(key, now)) }
                                td data-l="used" { @match key.last_used_at { Some(at) => { (ago(at, now)) } None => { span.muted { "never" } } } }
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
                input type="hidden" name=(etag::SEEN_FIELD) value=(etag::bare(&tag(agent)));
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
    AgentName::parse(asked.part("name"))
        .map_err(|_| Problem::not_found("there is no such agent; look at the list of agents"))
}
