//! The frame of every page: where you are, who you are, what is waiting, and the red bar while the kill switch is on.

use admin::ActingOperator;
use domain::{kill::Kill, operator::OperatorRole};
use http::{Response, StatusCode};
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use pipeline::flow::Flow;

use super::{
    files::{ICON, ICON_WAITING, SCRIPT, STYLE},
    ui::{Tone, foreign, icon, moment, number, sign, sprite},
};
use crate::{answer, asked::Asked, problem::Problem};

const HTML: &str = "text/html; charset=utf-8";

/// The pages of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Inbox,
    Calls,
    Agents,
    Services,
    Policy,
    Settings,
}

const TABS: [(Tab, &str, &str, &str); 7] = [
    (Tab::Overview, "/", "chart", "Overview"),
    (Tab::Inbox, "/approvals", "inbox", "Inbox"),
    (Tab::Calls, "/calls", "list", "Calls"),
    (Tab::Agents, "/agents", "agent", "Agents"),
    (Tab::Services, "/services", "plug", "Services"),
    (Tab::Policy, "/policy", "policy", "Policy"),
    (Tab::Settings, "/settings", "sliders", "Settings"),
];

/// What the frame of a page shows.
pub(super) struct Frame {
    /// How many calls wait for people.
    pub waiting: u64,
    /// How many tools are held back until an owner has looked at them.
    pub tools: u64,
    /// The kill switch, while it is on.
    pub kill: Option<Kill>,
    /// Who looks.
    pub who: ActingOperator,
    /// When.
    pub now: Timestamp,
    token: Option<String>,
}

impl Frame {
    /// The frame for who asks.
    ///
    /// # Errors
    /// 401 without a session; 503 when the store does not answer.
    pub async fn of(asked: &Asked) -> Result<Self, Problem> {
        let who = asked.who()?;
        let admin = &asked.desk.admin;
        Ok(Self {
            waiting: admin.count_waiting().await?,
            tools: asked.desk.held_back(),
            kill: admin.kill().await?,
            who: who.operator.clone(),
            now: asked.now.wall,
            token: who.write_token(asked),
        })
    }

    /// Whether who looks may do what this role may.
    pub fn may(&self, role: OperatorRole) -> bool {
        self.who.role() >= role
    }

    /// The hidden field that every form sends along: it proves that one of our pages made it.
    pub fn token(&self) -> Markup {
        html! { @if let Some(token) = &self.token { input type="hidden" name="csrf" value=(token); } }
    }

    /// The whole page.
    pub fn page(
        &self,
        status: StatusCode,
        title: &str,
        here: Option<Tab>,
        content: &Markup,
    ) -> Response<Flow> {
        let body = html! {
            a.skip href="#main" { "Skip to content" }
            (sprite())
            @if let Some(kill) = &self.kill { (killbar(kill, self.now)) }
            div.shell {
                header.side {
                    (brand())
                    a.btn.quiet href="/approvals" data-live="top-count" { "Inbox " (self.badge(false)) }
                    button.btn.quiet type="button" popovertarget="nav" { (icon("menu")) " Menu" }
                    nav.nav id="nav" popover aria-label="Console" {
                        ul {
                            @for (tab, path, drawing, name) in TABS {
                                li {
                                    a href=(path) aria-current=[(here == Some(tab)).then_some("page")]
                                        data-live=[(tab == Tab::Inbox).then_some("count")] {
                                        (icon(drawing)) " " (name)
                                        @if tab == Tab::Inbox { " " (self.badge(true)) }
                                    }
                                }
                            }
                        }
                        div.who {
                            @if self.kill.is_some() {
                                p.state.t-bad data-live="forwarding" { (icon("stop")) " Stopped: kill switch" }
                            } @else {
                                p.state data-live="forwarding" { (sign(Tone::Good, "check")) " Forwarding" }
                            }
                            p title=(self.who.email()) { b { (address(self.who.email().as_str())) } br; span.muted { (self.who.role().as_str()) } }
                            form method="post" action="/logout" {
                                (self.token())
                                button.btn.quiet { (icon("out")) " Log out" }
                            }
                        }
                    }
                }
                main.page id="main" tabindex="-1" { (content) }
            }
        };
        answer::of(status, HTML, document(title, self.waiting + self.tools, true, &body).into_string())
    }

    /// The number beside the inbox.
    fn badge(&self, spoken: bool) -> Markup {
        html! {
            @let waiting = self.waiting + self.tools;
            @if waiting > 0 {
                span.count { (number(waiting)) @if spoken { span.vh { " waiting" } } }
            }
        }
    }
}

/// An e-mail address that breaks before its `@`, where it does not fit.
fn address(email: &str) -> Markup {
    html! {
        @match email.rsplit_once('@') {
            Some((name, host)) => { (name) wbr; "@" (host) }
            None => { (email) }
        }
    }
}

/// A page for who is not logged in.
pub(super) fn bare(status: StatusCode, title: &str, content: &Markup) -> Response<Flow> {
    let body = html! { (sprite()) main.gate id="main" { (content) } };
    answer::of(status, HTML, document(title, 0, false, &body).into_string())
}

/// A page that opens another one of ours at once: cookies then go along, as they do not with a link from elsewhere.
pub(super) fn onward(path: &str) -> Response<Flow> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content={ "0;url=" (path) };
                title { "Toolgate" }
                link rel="stylesheet" href=(STYLE.path);
            }
            body { main.gate id="main" { p { a href=(path) { "Go on to Toolgate" } } } }
        }
    };
    answer::of(StatusCode::OK, HTML, page.into_string())
}

/// The mark and the name.
pub(super) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 32 32" aria-hidden="true" {
            rect width="32" height="32" rx="8" {}
            path fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round" d="M6.5 10h19M10.5 10v14.5M21.5 10v14.5" {}
            circle cx="16" cy="19" r="2.6" fill="#fff" {}
        }
    }
}

fn brand() -> Markup {
    html! { a.brand href="/" { (mark()) "toolgate" } }
}

fn document(title: &str, waiting: u64, script: bool, body: &Markup) -> Markup {
    let icon = if waiting > 0 { &ICON_WAITING } else { &ICON };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { @if waiting > 0 { "(" (waiting) ") " } (title) " · Toolgate" }
                link rel="icon" href=(icon.path) type="image/svg+xml";
                link rel="stylesheet" href=(STYLE.path);
                @if script { script type="module" src=(SCRIPT.path) {} }
            }
            body { (body) }
        }
    }
}

fn killbar(kill: &Kill, now: Timestamp) -> Markup {
    html! {
        div.killbar role="alert" {
            (icon("stop"))
            p {
                b { "Kill switch is on." }
                " Nothing is forwarded and nothing held is executed. Since " (moment(kill.since, now)) " UTC, by "
                (foreign(&kill.by)) ": “" (foreign(kill.reason.as_str())) "”."
            }
            a href="/settings#kill" { "See and turn off" }
        }
    }
}
