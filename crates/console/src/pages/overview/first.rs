//! Before the first call: what to do, step by step, and how far you are.

use admin::AgentView;
use domain::service::Service;
use maud::{Markup, html};

use super::may_set_up;
use crate::{
    asked::Asked,
    pages::{
        layout::Frame,
        ui::{Tone, badge, commands, count, icon, part},
    },
};

/// The four steps.
pub(super) fn steps(asked: &Asked, frame: &Frame, services: &[Service], agents: &[AgentView]) -> Markup {
    let world = asked.desk.freshness.current();
    let summary = world.policy.summary();
    let has_key = |view: &AgentView| view.keys.iter().any(|key| key.revoked_at.is_none());
    let (has_service, has_agent) = (!services.is_empty(), agents.iter().any(has_key));
    let reachable = agents.iter().any(|view| !view.agent.scope.is_empty());
    let done = 1 + usize::from(has_service) + usize::from(has_agent);
    let owner = may_set_up(frame);
    let service = services.first().map_or("files", |service| service.name.as_str());
    let closed = services.iter().find(|service| !world.policy.grants_anything_on(service.name.as_str()));
    html! {
        div.head {
            div {
                h1 { "Nothing has come through yet" }
                p { "Toolgate is running and refuses everything until you say what is allowed. Four steps, about five minutes." }
            }
            (badge(Tone::Mine, "check", format!("{done} of 4 done")))
        }
        ol.panel.steps {
            (step(1, true, "Gateway and policy", &html! {
                p { "The gateway runs. " code { (world.policy.file_name()) } " is loaded: " (count(summary.roles as u64, "role")) ", " (count(summary.rules as u64, "rule")) "; what no rule allows is refused." }
            }))
            (step(2, has_service, "Add a service", &html! {
                p { "Something your agents use: an MCP server or an HTTP API. Toolgate keeps its credential, so that the agent need not." }
                @if !has_service {
                    @if owner { div.row { a.btn.primary href="/services#new" { (icon("plus")) " Add a service" } span.hint { "or apply a file:" } } }
                    (commands(&[&(asked.desk.command)("services apply -f services.yaml")]))
                } @else if let Some(closed) = closed {
                    p.small { "No rule lets anybody but " code { "admin" } " call " b { (closed.name) } " yet: " a.u href={ "/services/" (part(closed.name.as_str())) } { "see the line to add" } "." }
                }
            }))
            (step(3, has_agent, "Give an agent a key", &html! {
                p { "It starts as " b { "readonly" } ", with nothing in scope but what you list." }
                @if !has_agent {
                    @if owner { div.row { a class={ "btn" @if has_service { " primary" } } href="/agents#new" { (icon("plus")) " Make an agent" } span.hint { "or in a terminal:" } } }
                    (commands(&[&(asked.desk.command)(&format!("keys create my-laptop --scope {service}"))]))
                } @else if !reachable {
                    p.small { "No agent has a service in its scope yet: " a.u href="/agents" { "give it one" } "." }
                }
            }))
            (step(4, false, "Connect the client", &html! {
                p { "Writes the configuration of your client, keeping a backup." }
                (commands(&[&(asked.desk.command)("connect claude-code --write")]))
                p.small.muted { "Also: claude-desktop, cursor, vscode, codex, env; and curl, which prints a first call to try by hand." }
            }))
        }
        section.panel aria-labelledby="fi" data-live="first" {
            header { h2 id="fi" { "First call" } }
            div.empty {
                (icon("list"))
                h3 { "Waiting for the first call" }
                p { "It appears here within a second, also when it is refused. Until then nothing can reach a service." }
            }
        }
        p.small.muted { "In a hurry? " code { "toolgate demo" } " shows the whole tour on a temporary home." }
    }
}

fn step(number: usize, done: bool, title: &str, content: &Markup) -> Markup {
    html! {
        li class=[done.then_some("done")] {
            span.n { @if done { (icon("check")) } @else { (number) } }
            div.stack { h2 { (title) @if done { span.vh { ", done" } } } (content) }
        }
    }
}
