//! The policy: the file as it is loaded, in plain words for each role, and what it says about one call.

use std::collections::BTreeMap;

use domain::{
    agent::{Agent, AgentState},
    audit::Effect,
    names::AgentName,
    policy::{self, Explanation, OutlineEffect, Question, RuleOutline},
};
use http::{Response, StatusCode};
use maud::{Markup, html};
use pipeline::flow::Flow;

use super::{
    layout::{Frame, Tab},
    refused::wrong,
    ui::{Tone, ago, badge, code, count, foreign, foreign_cut, icon, moment_text, note, sign},
};
use crate::{
    asked::{Asked, Pairs},
    problem::Problem,
};

/// The page.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let query = asked.query()?;
    page(&asked, &query, None, StatusCode::OK).await
}

/// The page with what would happen to one call.
pub(super) async fn explain(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    match answer(&asked, &form).await {
        Ok(explanation) => page(&asked, &form, Some(told(&explanation)), StatusCode::OK).await,
        Err(problem) => {
            let status = problem.status;
            page(&asked, &form, Some(wrong(&problem)), status).await
        }
    }
}

async fn answer(asked: &Asked, form: &Pairs) -> Result<Explanation, Problem> {
    let world = asked.desk.freshness.current();
    let name = AgentName::parse(form.get("agent").unwrap_or_default());
    let agent = name.ok().and_then(|name| world.agents.get(&name).cloned());
    let agent = agent.ok_or_else(|| Problem::invalid("choose an agent; it must be one that may call"))?;
    let service = form.get("service").ok_or_else(|| Problem::invalid("choose a service"))?;
    let action = form
        .get("action")
        .ok_or_else(|| Problem::invalid("say which tool, or which request such as GET /v1/x"))?;
    let args = form.get("args").map(policy::arguments).transpose().map_err(Problem::invalid)?;
    let question = if action.contains(' ') {
        let request = Question::request(&world, service, action, args);
        request.map_err(|bad| Problem::invalid(format!("{}; {}", bad.what, bad.next)))?
    } else {
        Question::tool(service, action, args)
    };
    Ok(question.answer(&world, &agent, asked.now.wall, &asked.desk.risk))
}

fn told(explanation: &Explanation) -> Markup {
    let (tone, drawing, verdict) = match explanation.effect {
        Effect::Allow => (Tone::Good, "check", "Forwarded."),
        Effect::Hold => (Tone::Look, "user", "Held for people."),
        Effect::Deny => (Tone::Bad, "ban", "Refused."),
    };
    note(
        tone,
        drawing,
        &html! {
            p {
                b { (verdict) } " "
                @if let Some((name, line)) = &explanation.rule {
                    "Rule " b { (foreign(name.as_str())) }
                    @if let Some(line) = line { ", line " (line) }
                    ". "
                }
                (foreign(&explanation.reason))
            }
            @if !explanation.limits.is_empty() {
                dl.facts { dt { "Limits" } dd { (explanation.limits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")) } }
            }
        },
    )
}

async fn page(
    asked: &Asked,
    typed: &Pairs,
    said: Option<Markup>,
    status: StatusCode,
) -> Result<Response<Flow>, Problem> {
    let frame = Frame::of(asked).await?;
    let world = asked.desk.freshness.current();
    let policy = &world.policy;
    let standing = asked.desk.policy.borrow().clone();
    let services: Vec<_> = world.services.keys().cloned().collect();
    let warnings = policy::check(policy, &services);
    let outline = policy.outline();
    let mut by_role: BTreeMap<String, u64> = BTreeMap::new();
    for agent in world.agents.values().filter(|agent| agent.state == AgentState::Active) {
        *by_role.entry(agent.role.to_string()).or_default() += 1;
    }
    let summary = policy.summary();
    let lines: Vec<String> =
        policy.text().lines().map(|line| domain::foreign::escape_foreign(line).into_owned()).collect();
    let content = html! {
        div.head {
            div {
                h1 { "Policy" }
                p { "Read from " code { (policy.file_name()) } ". It is changed in the file, not here. Deny beats approve beats allow; silence means no." }
            }
            (badge(Tone::Good, "check", "In force"))
        }
        @if let Some((at, why)) = &standing.refused {
            (note(Tone::Bad, "stop", &html! {
                p { b { "A newer file was refused at " (moment_text(*at, frame.now)) " UTC; the one below stays in force." } }
                pre.code tabindex="0" role="region" aria-label="What is wrong with it" { @for line in why.lines() { span { (foreign(line)) } } }
            }))
        }
        @for warning in &warnings {
            (note(Tone::Look, "alert", &html! { div.small { b { "Line " (warning.place.line) ": " } (foreign(&warning.message)) } }))
        }
        section.panel aria-label="What is loaded" {
            div.body {
                dl.facts.wide {
                    div { dt { "Loaded" } dd { (moment_text(standing.loaded_at, frame.now)) " UTC, " (ago(standing.loaded_at, frame.now)) } }
                    div { dt { "Policy hash" } dd { code { (policy.hash().short()) } } }
                    div { dt { "Size" } dd { (count(summary.roles as u64, "role")) ", " (count(summary.rules as u64, "rule")) } }
                    div { dt { "Check" } dd { "no errors, " (count(warnings.len() as u64, "warning")) } }
                }
            }
        }
        div.cols {
            section.panel aria-labelledby="ev" {
                header { h2 id="ev" { "Binds everyone, admin too" } }
                (everyone(asked, &outline))
            }
            @for role in policy.roles() {
                @let rules: Vec<&RuleOutline> = outline.iter().filter(|rule| rule.role.as_ref() == Some(role)).collect();
                section.panel aria-label={ "Role " (role) } {
                    header { h2 { (role) } p { (agents_of(by_role.get(role.as_str()).copied())) } }
                    div.body { (rule_list(&rules, role.as_str())) }
                }
            }
            section.panel aria-labelledby="src" {
                header { h2 id="src" { "The file" } p { (count(lines.len() as u64, "line")) } }
                div.body { details { summary { (icon("chev")) " Show it" } (code(&lines, true, "The policy file")) } }
            }
        }
        (explain_form(&frame, &world, typed, said))
    };
    Ok(frame.page(status, "Policy", Some(Tab::Policy), &content))
}

fn agents_of(number: Option<u64>) -> String {
    number.map_or_else(|| "no agent".to_owned(), |number| count(number, "agent"))
}

/// What one agent may do: the rules of its role on the services in its scope, and what binds everyone.
pub(super) fn rules_of(asked: &Asked, agent: &Agent) -> Markup {
    let world = asked.desk.freshness.current();
    let outline = world.policy.outline();
    let about = |rule: &&RuleOutline| {
        let mine = rule.role.as_ref().is_none_or(|role| *role == agent.role);
        mine && rule.service.as_ref().is_none_or(|service| agent.scope.contains(service))
    };
    let rules: Vec<&RuleOutline> = outline.iter().filter(about).collect();
    html! {
        div {
            @if agent.scope.is_empty() {
                p.small { (sign(Tone::Look, "alert")) " Its scope is empty: it reaches no service, whatever the policy allows." }
            } @else if !world.policy.defines(agent.role.as_str()) {
                p.small { (sign(Tone::Look, "alert")) " The policy has no role " (agent.role) ": it may do nothing." }
            } @else { (rule_list(&rules, agent.role.as_str())) }
        }
    }
}

fn rule_list(rules: &[&RuleOutline], role: &str) -> Markup {
    html! {
        ul.plain.small {
            @for rule in rules { (rule_line(rule)) }
            @if role != "admin" { li { (sign(Tone::Bad, "ban")) " Everything else: no rule allows it" } }
        }
    }
}

/// One rule in plain words.
fn rule_line(rule: &RuleOutline) -> Markup {
    let sign = match rule.effect {
        OutlineEffect::Allow => sign(Tone::Good, "check"),
        OutlineEffect::Approve { .. } => sign(Tone::Look, "user"),
        OutlineEffect::Deny => sign(Tone::Bad, "ban"),
    };
    html! {
        li {
            (sign) " "
            @if is_everything(rule) { "Everything" }
            @for (place, (kind, pattern)) in rule.matches.iter().filter(|_| !is_everything(rule)).enumerate() {
                @if place > 0 { ", " }
                @if *kind == "resources" || *kind == "prompts" { (kind) " " }
                code { (foreign_cut(pattern, 120)) }
            }
            @match &rule.service {
                Some(service) => { " on " b { (service) } }
                None => { " on any service" }
            }
            @if let Some(when) = &rule.when { ", when " code { (foreign_cut(when, 200)) } }
            @match rule.effect {
                OutlineEffect::Allow => {}
                OutlineEffect::Approve { quorum, .. } => { ", after " b { (if quorum == 1 { "1 person approves".to_owned() } else { format!("{quorum} people approve") }) } }
                OutlineEffect::Deny => { " is denied" }
            }
            @if rule.read { "; a read, for risk" }
            @if rule.ignore { "; its risk is ignored" }
            @if let Some(floor) = rule.floor { "; risk is at least " (floor) }
            @if !rule.name.as_str().contains('[') { " (" (foreign_cut(rule.name.as_str(), 60)) ")" }
        }
    }
}

/// The wildcard `*`: it stands for every name of every kind.
fn is_everything(rule: &RuleOutline) -> bool {
    rule.matches.iter().all(|(_, pattern)| pattern == "**") && rule.matches.len() != 1
}

fn everyone(asked: &Asked, outline: &[RuleOutline]) -> Markup {
    let world = asked.desk.freshness.current();
    let limits = world.policy.limits();
    html! {
        ul.plain.body.small {
            @for rule in outline.iter().filter(|rule| rule.role.is_none()) { (rule_line(rule)) }
            li { (sign(Tone::Plain, "gauge")) " " (limits.per_key) " calls for each key, " (limits.per_tool) " for each of its tools" }
            @for limit in &limits.overrides {
                li {
                    (sign(Tone::Plain, "gauge")) " " (limit.quota) " for "
                    @for (place, pattern) in limit.patterns().enumerate() { @if place > 0 { ", " } code { (foreign_cut(pattern, 120)) } }
                    @match limit.service() { Some(service) => { " on " b { (service) } } None => { " on any service" } }
                }
            }
            li { (sign(Tone::Plain, "gauge")) " " (limits.housekeeping) " lists and other housekeeping, " (limits.refusals) " refused calls" }
        }
    }
}

fn explain_form(frame: &Frame, world: &domain::world::World, typed: &Pairs, said: Option<Markup>) -> Markup {
    let mut agents: Vec<&str> = world.agents.keys().map(AgentName::as_str).collect();
    let mut services: Vec<&str> = world.services.keys().map(domain::names::ServiceName::as_str).collect();
    agents.sort_unstable();
    services.sort_unstable();
    let text = |name: &str| typed.get(name).unwrap_or_default();
    html! {
        section.panel id="explain" aria-labelledby="ex" {
            header { h2 id="ex" { "Explain a call" } p { "nothing is forwarded, held or counted" } }
            @if agents.is_empty() || services.is_empty() {
                div.empty { (icon("policy")) h3 { "There is nothing to explain yet" } p { "It takes an agent and a service." } a.btn href="/" { "What to do first" } }
            } @else {
                form.body method="post" action="/policy/explain#explain" {
                    (frame.token())
                    div.fields {
                        label.field { span { "Agent" } select name="agent" { @for agent in agents { option value=(agent) selected[text("agent") == agent] { (agent) } } } }
                        label.field { span { "Service" } select name="service" { @for service in services { option value=(service) selected[text("service") == service] { (service) } } } }
                        label.field { span { "Tool or request" } input.mono name="action" required maxlength="2000" value=(text("action")) placeholder="write_file, POST /v1/refunds" autocomplete="off"; }
                    }
                    label.field { span { "Arguments or body, JSON" } textarea.mono name="args" rows="2" placeholder="{\"amount\": 4200}" { (text("args")) } }
                    button.btn { "Explain" }
                    @if let Some(said) = said { (said) }
                }
            }
        }
    }
}
