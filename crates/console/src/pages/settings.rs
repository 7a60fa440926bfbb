//! Settings: the kill switch, people, their logins and tokens, and the vault.

pub(super) mod operators;
pub(super) mod passwords;
pub(super) mod tokens;

use domain::{
    kill::{Kill, KillReason},
    operator::{OperatorRole, Session, SessionId, Token},
};
use http::{Response, StatusCode};
use jiff::Timestamp;
use maud::{Markup, html};
use pipeline::flow::Flow;

use super::{
    layout::{Frame, Tab},
    refused::wrong,
    see,
    ui::{Tone, ago, badge, count, foreign, foreign_cut, icon, length, moment, note, number},
};
use crate::{answer, asked::Asked, cookies, problem::Problem};

/// What must be typed to stop everything.
const STOP: &str = "stop everything";

/// The page.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let done = match asked.query()?.get("done") {
        Some("on") => Some("The kill switch is on. Within a second nothing is forwarded any more."),
        Some("off") => Some("The kill switch is off. Calls are forwarded again."),
        Some("operator") => Some("The operator is there. Give them the password on another way than this."),
        Some("changed") => Some("Changed."),
        Some("password") => Some("Your password is changed. Your other sessions have ended."),
        Some("reset") => Some("The password is set. Give it to them on another way than this."),
        Some("revoked") => Some("The token is revoked."),
        Some("ended") => Some("The session is ended."),
        _ => None,
    };
    let said = done.map(|done| note(Tone::Good, "check", &html! { b { (done) } }));
    page(&asked, said, StatusCode::OK).await
}

/// Turns the kill switch on or off.
pub(super) async fn kill(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let (admin, actor, now) = (&asked.desk.admin, asked.who()?.operator.actor(), asked.now.wall);
    let done = async {
        if form.get("on") == Some("true") {
            if form.get("confirm") != Some(STOP) {
                return Err(Problem::invalid(format!(
                    "to stop everything, type `{STOP}`; nothing was changed"
                )));
            }
            let reason = KillReason::parse(form.get("reason").unwrap_or_default());
            let reason = reason.map_err(|bad| Problem::invalid(bad.to_string()))?;
            admin.turn_kill_on(&actor, now, reason).await?;
            Ok("on")
        } else {
            if form.get("sure").is_none() {
                return Err(Problem::invalid("say that calls may be forwarded again; nothing was changed"));
            }
            admin.turn_kill_off(&actor, now).await?;
            Ok("off")
        }
    };
    after(&asked, done.await, "#kill").await
}

/// Ends a login: one's own, and for owners anybody's.
pub(super) async fn end_session(asked: Asked) -> Result<Response<Flow>, Problem> {
    let form = asked.form()?;
    let who = asked.who()?;
    let id = SessionId::parse(form.get("session").unwrap_or_default());
    let id =
        id.ok_or_else(|| Problem::not_found("there is no such session; look at the list of sessions"))?;
    asked.desk.admin.end_session(&who.operator, asked.now.wall, id).await?;
    if who.session == Some(id) {
        let mut response = see("/login?out=1");
        answer::set_cookies(&mut response, cookies::forgetting(&asked));
        return Ok(response);
    }
    Ok(see("/settings?done=ended#sessions"))
}

async fn after(
    asked: &Asked,
    done: Result<&'static str, Problem>,
    place: &str,
) -> Result<Response<Flow>, Problem> {
    match done {
        Ok(word) => Ok(see(&format!("/settings?done={word}{place}"))),
        Err(problem) if problem.status.is_server_error() => Err(problem),
        Err(problem) => {
            let status = problem.status;
            page(asked, Some(wrong(&problem)), status).await
        }
    }
}

async fn page(asked: &Asked, said: Option<Markup>, status: StatusCode) -> Result<Response<Flow>, Problem> {
    let frame = Frame::of(asked).await?;
    let (desk, now) = (&asked.desk, frame.now);
    let owner = frame.may(OperatorRole::Owner);
    let operators = desk.admin.list_operators().await?;
    let whose = (!owner).then(|| frame.who.email());
    let sessions = desk.admin.list_sessions(now, &desk.sessions, whose).await?;
    let tokens: Vec<Token> = desk.admin.list_tokens().await?;
    let mine = |token: &&Token| owner || token.operator == *frame.who.email();
    let tokens: Vec<&Token> = tokens
        .iter()
        .filter(|token| token.revoked_at.is_none() && now < token.expires_at)
        .filter(mine)
        .collect();
    let content = html! {
        div.head { div { h1 { "Settings" } p { "People, their sessions, the vault and the kill switch. The rest is in " code { "toolgate.yaml" } "." } } }
        @if let Some(said) = said { (said) }
        (kill_panel(&frame, owner))
        (operators::operator_panel(&frame, &operators, owner))
        (session_panel(asked, &frame, &sessions))
        div.grid {
            (tokens::token_panel(&frame, &tokens))
            @if asked.who()?.session.is_some() { (passwords::password_panel(&frame)) }
            (vault_panel(asked, now).await?)
        }
    };
    Ok(frame.page(status, "Settings", Some(Tab::Settings), &content))
}

fn kill_panel(frame: &Frame, owner: bool) -> Markup {
    html! {
        section.panel id="kill" aria-labelledby="ks" data-live="kill" {
            header {
                h2 id="ks" { "Kill switch" }
                @if frame.kill.is_some() { (badge(Tone::Bad, "stop", "On")) } @else { (badge(Tone::Good, "check", "Off, calls are forwarded")) }
            }
            div.body {
                @match &frame.kill {
                    Some(kill) => { (kill_off(frame, kill, owner)) }
                    None => { (kill_on(frame, owner)) }
                }
            }
        }
    }
}

fn kill_off(frame: &Frame, kill: &Kill, owner: bool) -> Markup {
    html! {
        div.note.bad {
            (icon("stop"))
            div {
                p { b { "On since " (moment(kill.since, frame.now)) " UTC," } " by " (foreign(&kill.by)) ": “" (foreign(kill.reason.as_str())) "”." }
                p.small { (count(frame.waiting, "held call")) (if frame.waiting == 1 { " keeps" } else { " keep" }) " waiting and cannot be executed." }
            }
        }
        @if owner {
            form.stack method="post" action="/settings/kill" {
                (frame.token())
                input type="hidden" name="on" value="false";
                label.check { input type="checkbox" name="sure" value="yes" required; " Calls may be forwarded again, at once" }
                button.btn.danger { "Turn the kill switch off" }
            }
        }
    }
}

fn kill_on(frame: &Frame, owner: bool) -> Markup {
    html! {
        p { "Stops everything within a second, on every node: nothing is forwarded, nothing held is executed. Agents get 503. Nothing is lost; held calls keep waiting." }
        @if owner {
            details {
                summary.btn.danger { (icon("stop")) " Turn on… step 1 of 2" }
                form.stack.note.bad method="post" action="/settings/kill" {
                    (frame.token())
                    div.stack {
                        p { b { "Step 2 of 2." } " All agents stop." }
                        label.field { span { "Reason, shown on every page" } input name="reason" required maxlength="500"; }
                        label.field { span { "Type " code { (STOP) } } input name="confirm" required pattern=(STOP) autocomplete="off"; }
                        button.btn.stop name="on" value="true" { (icon("stop")) " Stop everything now" }
                    }
                }
            }
        } @else { p.small.muted { "Owners turn it on and off, here or with " code { "toolgate kill" } "." } }
    }
}

fn session_panel(asked: &Asked, frame: &Frame, sessions: &[Session]) -> Markup {
    let current = asked.who().ok().and_then(|who| who.session);
    let terms = &asked.desk.sessions.terms;
    html! {
        section.panel id="sessions" aria-labelledby="se" {
            header { h2 id="se" { "Sessions" } p { "end after " (length(terms.idle.as_secs())) " without use, and after " (length(terms.refresh.as_secs())) } }
            @if sessions.is_empty() { ul.list { li { span.muted { "Nobody is logged in with a password; a script’s token reads this." } } } }
            @else {
                table.fold {
                    thead { tr { th { "Operator" } th { "Browser" } th { "Address" } th { "Since, UTC" } th { "Used" } th { span.vh { "Change" } } } }
                    tbody {
                        @for session in sessions {
                            tr {
                                th.span scope="row" { (session.operator) }
                                td { (browser(&session.browser)) @if current == Some(session.id) { " " (badge(Tone::Mine, "check", "This one")) } }
                                td { code { (session.address) } }
                                td data-l="since" { (moment(session.created_at, frame.now)) }
                                td data-l="used" { (ago(session.used_at, frame.now)) }
                                td.num {
                                    form method="post" action="/settings/sessions/end" {
                                        (frame.token())
                                        input type="hidden" name="session" value=(session.id);
                                        button.btn { "End" span.vh { " the session of " (session.operator) " in " (browser(&session.browser)) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What a browser calls itself, in two words where they are known.
fn browser(agent: &str) -> Markup {
    let find = |known: &[(&str, &'static str)]| {
        known.iter().find(|(word, _)| agent.contains(word)).map(|(_, name)| *name)
    };
    let program = find(&[
        ("Edg/", "Edge"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = find(&[
        ("iPhone", "iPhone"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (program, system) {
        (Some(program), Some(system)) => html! { (program) " on " (system) },
        (Some(program), None) => html! { (program) },
        _ if agent.is_empty() => html! { "a program without a name" },
        _ => foreign_cut(agent, 40),
    }
}

async fn vault_panel(asked: &Asked, now: Timestamp) -> Result<Markup, Problem> {
    let terms = asked.desk.admin.vault_terms().await?;
    let values: u64 = terms.iter().map(|term| term.values).sum();
    let newest = terms.iter().rev().find(|term| term.active);
    Ok(html! {
        section.panel aria-labelledby="va" {
            header { h2 id="va" { "Vault" } (badge(Tone::Good, "check", "Open")) }
            div.body {
                dl.facts {
                    @if let Some(term) = newest { dt { "Key" } dd { "term " (term.term) ", since " (moment(term.created_at, now)) } }
                    dt { "Sealed" } dd { (count(values, "value")) }
                    dt { "Terms" } dd { (number(terms.len() as u64)) }
                }
                p.small.muted { "Rotated with " code { "toolgate vault rotate" } "." }
            }
        }
    })
}
