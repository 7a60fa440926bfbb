//! Tools of services and their pins: what each service has, what is held back, and accepting it as it was shown.

use std::fmt::Write as _;

use admin::{AdminError, ToolView, ToolsView};
use domain::{
    operator::OperatorRole,
    service::{Pins, Service},
    tools::{HeldBack, ToolHash},
};
use http::{Response, StatusCode};
use maud::{Markup, html};
use pipeline::flow::Flow;
use sha2::{Digest as _, Sha256};

use super::{
    layout::Frame,
    see, service,
    ui::{Tone, badge, count, foreign, foreign_cut, icon, moment, note, part},
};
use crate::{Desk, asked::Asked, problem::Problem};

/// Held-back tools of one service that the inbox shows; its page shows all.
const SHOWN_MAX: usize = 10;

impl Desk {
    /// How many tools are held back until somebody has looked at them.
    pub(super) fn held_back(&self) -> u64 {
        let world = self.freshness.current();
        let of = |service: &Service| {
            let tools = world.tools.service(service.name.as_str());
            tools.map_or(0, |tools| {
                tools.tools.values().filter(|tool| tool.held_back(service.pins).is_some()).count()
            })
        };
        world.services.values().map(|service| of(service)).sum::<usize>() as u64
    }
}

/// What is held back, for the inbox: an entry for each tool, in a part of its own.
pub(super) async fn inbox(asked: &Asked, frame: &Frame) -> Result<Markup, Problem> {
    let mut all: Vec<ToolsView> = Vec::new();
    if frame.tools > 0 {
        for service in asked.desk.admin.list_services().await? {
            match asked.desk.admin.tools(service.name.as_str()).await {
                Ok(view) => all.push(view),
                Err(AdminError::NoTools(_) | AdminError::NoSuchService { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let held = |view: &ToolsView| view.tools.iter().filter(|tool| tool.held_back.is_some()).count();
    all.retain(|view| held(view) > 0);
    Ok(html! {
        div data-live="tools" {
            @if !all.is_empty() {
                section.panel aria-labelledby="held-tools" {
                    header {
                        h2 id="held-tools" { "Tools that nobody has looked at" }
                        p { "Agents neither see nor call them until an owner accepts them." }
                    }
                    @for view in &all {
                        @for tool in view.tools.iter().filter(|tool| tool.held_back.is_some()).take(SHOWN_MAX) {
                            (entry(frame, view, tool, "inbox"))
                        }
                        @if held(view) > SHOWN_MAX {
                            p.foot { a.u href={ "/services/" (part(view.service.as_str())) "#tools" } { "All " (held(view)) " of " (view.service) } }
                        }
                    }
                }
            }
        }
    })
}

/// All tools of a service; nothing where it can have none.
pub(super) async fn panel(asked: &Asked, frame: &Frame, service: &Service) -> Result<Markup, Problem> {
    let view = match asked.desk.admin.tools(service.name.as_str()).await {
        Ok(view) => view,
        Err(AdminError::NoTools(_)) => return Ok(html! {}),
        Err(error) => return Err(error.into()),
    };
    let held: Vec<&ToolView> = view.tools.iter().filter(|tool| tool.held_back.is_some()).collect();
    Ok(html! {
        section.panel id="tools" aria-labelledby="to" {
            header { h2 id="to" { "Tools" } p { "pins: " (view.pins.as_str()) ", " (meaning(view.pins)) } }
            @if view.tools.is_empty() {
                div.empty {
                    (icon("plug"))
                    @if view.listed { h3 { "It has no tools" } p { "The list that it gave is empty." } }
                    @else { h3 { "No list was seen yet" } p { "The list is read with the first call of an agent." } }
                }
            } @else {
                @for tool in &held { (entry(frame, &view, tool, "service")) }
                (table(&view, frame))
            }
            p.foot { span { (count(view.tools.len() as u64, "tool")) @if !held.is_empty() { ", " (held.len()) " held back" } } }
        }
    })
}

fn meaning(pins: Pins) -> &'static str {
    match pins {
        Pins::FirstUse => "what the first list had may be called; what is new or changes is held back",
        Pins::Review => "only what an owner has accepted may be called",
        Pins::Off => "nothing is held back",
    }
}

fn table(view: &ToolsView, frame: &Frame) -> Markup {
    html! {
        table.fold {
            thead { tr { th { "Tool" } th { "State" } th { "Since, UTC" } th { "Says" } } }
            tbody {
                @for tool in &view.tools {
                    tr {
                        th scope="row" { code { (foreign_cut(&tool.tool.name, 80)) } }
                        td { (state(tool, view.pins)) }
                        td.nowrap { (moment(tool.tool.accepted_at.unwrap_or(tool.tool.seen_at), frame.now)) }
                        td.span {
                            @match tool.says("description") {
                                Some(text) => { (foreign_cut(text.lines().next().unwrap_or_default(), 160)) }
                                None => { span.muted { "nothing" } }
                            }
                            @if !tool.flags.is_empty() { " " (badge(Tone::Look, "alert", count(tool.flags.len() as u64, "flag"))) }
                        }
                    }
                }
            }
        }
    }
}

fn state(tool: &ToolView, pins: Pins) -> Markup {
    match tool.held_back {
        Some(HeldBack::New) => badge(Tone::Look, "alert", "New, held back"),
        Some(HeldBack::Changed) => badge(Tone::Look, "alert", "Changed, held back"),
        None if pins == Pins::Off => badge(Tone::Plain, "dash", "Not pinned"),
        None => match &tool.tool.accepted_by {
            Some(by) => {
                html! { (badge(Tone::Good, "check", "Accepted")) " " span.muted { (foreign_cut(by, 60)) } }
            }
            None => badge(Tone::Good, "check", "Pinned at first use"),
        },
    }
}

/// One tool that is held back: what it says, what is other than it was, and the button below the last of it.
fn entry(frame: &Frame, view: &ToolsView, tool: &ToolView, from: &str) -> Markup {
    let kept = &tool.tool;
    let id = anchor(view.service.as_str(), &kept.name);
    let changed = tool.held_back == Some(HeldBack::Changed);
    html! {
        article.tool id=(id) {
            h3 {
                a.u href={ "/services/" (part(view.service.as_str())) "#tools" } { (view.service) } " " span.arrow { "→" } " " code { (foreign(&kept.name)) } " "
                (badge(Tone::Look, "alert", if changed { "Changed" } else { "New" }))
            }
            @if !tool.flags.is_empty() {
                (note(Tone::Look, "alert", &html! { @for flag in &tool.flags { p { (foreign(&flag.to_string())) } } }))
            }
            @if changed {
                @if tool.differences.is_empty() { p.small { "It is written otherwise; what it says is the same." } }
                @for one in &tool.differences {
                    h4 { code { (foreign(&one.path)) } }
                    pre.code.diff tabindex="0" {
                        @if let Some(text) = &one.from { del { (foreign(text)) } }
                        @if let Some(text) = &one.to { ins { (foreign(text)) } }
                    }
                }
            } @else {
                @match tool.says("description") {
                    Some(text) => { p.quote.server.small { (foreign(&text)) } }
                    None => { p.small.muted { "It does not say what it does." } }
                }
            }
            @match &kept.definition {
                Some(definition) => {
                    details {
                        summary { (icon("chev")) " The whole definition" }
                        pre.code tabindex="0" { span { (foreign(definition)) } }
                    }
                }
                None => { p.small { "The definition is too large to be kept, so that nobody can look at it. It stays held back." } }
            }
            p.hash { "definition " (kept.known.hash.hex()) ", seen " (moment(kept.seen_at, frame.now)) " UTC" }
            @if kept.definition.is_some() {
                @if frame.may(OperatorRole::Owner) {
                    form method="post" action={ "/services/" (part(view.service.as_str())) "/tools" } {
                        (frame.token())
                        input type="hidden" name="tool" value=(kept.name);
                        input type="hidden" name="hash" value=(kept.known.hash.hex());
                        input type="hidden" name="from" value=(from);
                        button.btn { "Accept this definition" span.vh { " of " (foreign(&kept.name)) } }
                    }
                } @else { p.small.muted { "Owners accept tools, here or with " code { "toolgate services tools" } "." } }
            }
        }
    }
}

/// What an entry is called on its page, whatever its tool is called.
fn anchor(service: &str, tool: &str) -> String {
    let mut id = String::from("tool-");
    for byte in Sha256::digest(format!("{service}\n{tool}")).iter().take(8) {
        // Writing to a `String` cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    id
}

/// A tool is accepted as it was shown. One that is defined otherwise by now is shown anew (409).
pub(super) async fn accept(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let hash = form.get("hash").and_then(ToolHash::parse);
    let hash =
        hash.ok_or_else(|| Problem::invalid("the hash of the definition is missing; reload the page"))?;
    let (service, tool) = (asked.part("name"), form.get("tool").unwrap_or_default());
    let actor = asked.who()?.operator.actor();
    match asked.desk.admin.accept_tool(&actor, asked.now.wall, (service, tool), &hash).await {
        Ok(_) if form.get("from") == Some("inbox") => Ok(see("/approvals?done=accepted")),
        Ok(_) => Ok(see(&format!("/services/{}?done=accepted#tools", part(service)))),
        Err(AdminError::ChangedMeanwhile(_)) => {
            let said = note(
                Tone::Bad,
                "stop",
                &html! {
                    b { "Not accepted: the definition has changed since you looked." }
                    " Read it as it is now, below."
                },
            );
            service::single(&asked, Some(said), StatusCode::CONFLICT).await
        }
        Err(error) => Err(error.into()),
    }
}
