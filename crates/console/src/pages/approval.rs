//! One held call: exactly what will be sent, why it is held, what was before, and below the last byte the decision.

use admin::{ApprovalPage, Sees, ShownAnswer, ShownBody, ShownCall, WholeCall};
use domain::{
    approval::{Approval, Status},
    operator::OperatorRole,
};
use http::{Response, StatusCode};
use maud::{Markup, html};
use pipeline::flow::Flow;

use super::{
    decide::{choice, said},
    inbox::{gone, status},
    layout::{Frame, Tab},
    refused::sentence,
    ui::{
        Tone, ago, badge, code, count, icon, length, marked, moment, moment_text, note, number, part, risk,
        seconds, sign,
    },
};
use crate::{asked::Asked, problem::Problem};

/// The page of a held call.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let said = said(&asked.query()?);
    let frame = Frame::of(&asked).await?;
    whole(&asked, &frame, asked.part("id"), said, StatusCode::OK, None).await
}

/// The page again, with why a decision did not count.
pub(super) async fn again(
    asked: &Asked,
    id: &str,
    problem: Problem,
    reason: Option<&str>,
) -> Result<Response<Flow>, Problem> {
    if problem.status.is_server_error() || problem.status == StatusCode::NOT_FOUND {
        return Err(problem);
    }
    let frame = Frame::of(asked).await?;
    let said = note(Tone::Bad, "stop", &html! { b { "Not recorded: " } (sentence(&problem.detail)) });
    whole(asked, &frame, id, Some(said), problem.status, reason).await
}

async fn whole(
    asked: &Asked,
    frame: &Frame,
    id: &str,
    said: Option<Markup>,
    code: StatusCode,
    reason: Option<&str>,
) -> Result<Response<Flow>, Problem> {
    let (admin, vault, sees) = (&asked.desk.admin, &asked.desk.vault, Sees::of(frame.who.role()));
    let look = asked.second_look();
    let page = admin.approval_page(frame.now, id, vault, sees, &look).await?;
    let answer = admin.approval_answer(&page.approval, vault, sees).await?;
    let held = &page.approval.held;
    let (approval, now) = (&page.approval, frame.now);
    let open = page.decidable(now).is_ok();
    let content = html! {
        div.head {
            div {
                p.crumb { a href="/approvals" { "Inbox" } " / " (held.id) }
                h1 { (held.agent) " " span.arrow { "→" } " " (held.service) " " span.arrow { "→" } " " code { (marked(&page.action)) } }
                p { "Held by the rule " b { (marked(&page.rule)) } ". " (standing(approval)) }
            }
            div.row data-live="standing" {
                @if open {
                    (badge(Tone::Plain, "clock", format!("{} left", length(seconds(now, held.decide_by)))))
                    a.btn href="#decide" { "Read, then decide" }
                } @else { (status(approval)) }
            }
        }
        @if let Some(said) = said { (said) }
        div data-live="state" { (state(&page, frame)) (result(approval, answer.as_ref())) }
        (unusual(&page))
        div.split {
            div { (sent(&page)) (before(&page, frame)) }
            div { (why(&page)) (tool(&page)) (purpose(&page, frame)) }
        }
        div id="end-of-call" {}
        div data-live="decide" { (decision(&page, frame, open, reason)) }
    };
    Ok(frame.page(code, &format!("{} on {}", held.id, held.service), Some(Tab::Inbox), &content))
}

/// How far it is, in a sentence.
fn standing(approval: &Approval) -> String {
    let (has, wants) = (approval.standing().approved_by.len(), approval.held.quorum.get());
    match approval.status {
        Status::Pending if wants > 1 => format!("{has} of {wants} people have approved."),
        Status::Pending => "It waits for one person.".to_owned(),
        _ => String::new(),
    }
}

/// What happened to it meanwhile.
fn state(page: &ApprovalPage, frame: &Frame) -> Markup {
    let (approval, now) = (&page.approval, frame.now);
    let last = approval.decisions.last();
    let who = last.map(|decided| decided.operator.to_string()).unwrap_or_default();
    let when = last.map(|decided| ago(decided.at, now)).unwrap_or_default();
    let ended = approval.ended_at.map(|at| moment_text(at, now)).unwrap_or_default();
    match approval.status {
        Status::Pending if page.decidable(now).is_err() => note(
            Tone::Plain,
            "clock",
            &html! { b { "Nobody decided in time." } " Nothing was sent. The agent is told 410 and may ask again." },
        ),
        Status::Pending => changes(page),
        Status::Approved => note(
            Tone::Plain,
            "user",
            &html! { b { (who) " approved this call " (when) "." } " It is sent next, once; your decision is no longer needed." },
        ),
        Status::Executing => note(
            Tone::Plain,
            "user",
            &html! { b { (who) " approved this call " (when) "." } " It is being sent." },
        ),
        Status::Denied => note(
            Tone::Bad,
            "x",
            &html! {
                b { (who) " denied this call " (when) "." } " Nothing was sent."
                @if let Some(reason) = last.and_then(|decided| decided.reason.as_deref()) { " “" (super::ui::foreign(reason)) "”" }
            },
        ),
        Status::Expired => note(
            Tone::Plain,
            "clock",
            &html! { b { "Expired at " (ended) " UTC." } " Nothing was sent. The agent was told 410 and may ask again." },
        ),
        Status::Cancelled => note(
            Tone::Plain,
            "ban",
            &html! {
                @if approval.is_withdrawn() {
                    b { "Withdrawn at " (ended) " UTC." } " The store did not answer in time, so its agent could not be told that it is held. Nothing was sent."
                } @else {
                    b { "Its agent took it back at " (ended) " UTC." } " Nothing was sent."
                }
            },
        ),
        Status::Executed | Status::Failed => html! {},
        Status::Unknown => note(
            Tone::Look,
            "dash",
            &html! {
                div.stack {
                    p { b { "Outcome unknown." } " It was sent, and its answer was lost. Toolgate does not send twice: look in " (approval.held.service) ", then say what happened." }
                    @if frame.may(OperatorRole::Approver) {
                        form.row method="post" action={ "/approvals/" (approval.held.id) "/resolve" } {
                            (frame.token())
                            label.field { span { "What you found" } input name="reason" required maxlength="500"; }
                            button.btn name="outcome" value="executed" { "It was executed" }
                            button.btn name="outcome" value="failed" { "It was not" }
                        }
                    }
                }
            },
        ),
    }
}

/// Why a yes would send nothing.
fn changes(page: &ApprovalPage) -> Markup {
    if page.changes.is_empty() {
        return html! {};
    }
    note(
        Tone::Bad,
        "alert",
        &html! {
            p { b { "What was held is not what would be sent now." } " An approved call is judged again before it is sent; as things are, this one would end without being sent:" }
            ul.small { @for change in &page.changes { li { (marked(change)) } } }
            p.small { "Deny it, and let the agent ask again: it then holds the call as it is now." }
        },
    )
}

/// What the upstream answered.
fn result(approval: &Approval, answer: Option<&ShownAnswer>) -> Markup {
    if !matches!(approval.status, Status::Executed | Status::Failed) {
        return html! {};
    }
    let by = approval
        .decisions
        .iter()
        .map(|decided| decided.operator.to_string())
        .collect::<Vec<_>>()
        .join(" and ");
    html! {
        section.panel aria-labelledby="result" {
            header { h2 id="result" { "Result" } (status(approval)) }
            div.body {
                p.small {
                    "Approved by " (by)
                    @if approval.is_void() { ", but not sent: key, scope, policy or credential have changed since it was held" }
                    @else if let Some(at) = approval.claimed_at { ", sent once at " (at.strftime("%-d %b %Y %H:%M:%S.%3f")) " UTC" }
                    @if let (Some(from), Some(to), false) = (approval.claimed_at, approval.ended_at, approval.is_void()) {
                        ", answered in " (number(u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0))) " ms"
                    }
                    @if let Some(at) = approval.delivered_at { ", delivered to the agent at " (at.strftime("%H:%M:%S")) }
                    "."
                    @if let Some(resolved) = &approval.resolved { " Resolved by " (resolved.operator) ": “" (super::ui::foreign(&resolved.reason)) "”." }
                    @if let Some(ended_with) = &approval.ended_with { " It ended with " code { (super::ui::foreign(ended_with)) } "." }
                }
                @match answer {
                    Some(answer) if !answer.body.lines.is_empty() => { (code(&answer.body.lines, true, "The answer")) }
                    Some(_) => { p.small.muted { "The answer has no body." } }
                    None if approval.resolved.is_none() => { p.small.muted { "The answer is not kept any more, or not for your role." } }
                    None => {}
                }
                p.small { a href={ "/calls/" (approval.held.call_id) } { "Its events in the trail" } }
            }
        }
    }
}

/// What to read twice.
fn unusual(page: &ApprovalPage) -> Markup {
    let odd = match &page.call {
        ShownCall::Whole(call) => call.body.odd,
        ShownCall::Redacted(_) | ShownCall::Forgotten(_) => Default::default(),
    };
    let all = odd.invisible + odd.lookalikes;
    let identical = page.before.identical.as_ref();
    if all == 0 && identical.is_none() {
        return html! {};
    }
    html! {
        div.note.warn role="note" {
            (icon("alert"))
            div {
                p { b { "Read carefully, this is unusual." } }
                ul.small {
                    @if all > 0 {
                        li {
                            (count(all as u64, "character")) (if all == 1 { " does" } else { " do" })
                            " not show as they read: " (odd.lookalikes) " look-alike, " (odd.invisible)
                            " invisible or changing the direction. They are written out and marked below."
                        }
                    }
                    @if let Some((id, _)) = identical {
                        li { "An identical call was executed before: " a.u href={ "/approvals/" (id) } { (id) } "." }
                    }
                }
            }
        }
    }
}

/// What will be sent, to the last byte.
fn sent(page: &ApprovalPage) -> Markup {
    html! {
        section.panel aria-labelledby="sent" {
            @match &page.call {
                ShownCall::Whole(call) => {
                    header { h2 id="sent" data-live="sent" { (what_is_sent(page.approval.status)) } p { (count(call.bytes, "byte")) } }
                    div.body { (head(page, call)) (body(page, call)) (digests(page)) }
                }
                ShownCall::Redacted(args) => {
                    header { h2 id="sent" data-live="sent" { (what_is_sent(page.approval.status)) } (badge(Tone::Plain, "key", "Redacted")) }
                    div.body {
                        (gone("Your role sees what the trail keeps of the arguments. An approver sees all of it."))
                        (kept(args.as_ref())) (digests(page))
                    }
                }
                ShownCall::Forgotten(args) => {
                    header { h2 id="sent" { "What was held" } (badge(Tone::Plain, "clock", "Not kept")) }
                    div.body {
                        (gone("The call itself is not kept any more; this is what the trail keeps of its arguments."))
                        (kept(args.as_ref())) (digests(page))
                    }
                }
            }
        }
    }
}

fn what_is_sent(status: Status) -> &'static str {
    match status {
        Status::Pending | Status::Approved | Status::Executing => "What will be sent",
        Status::Executed | Status::Failed | Status::Unknown => "What was sent",
        Status::Denied | Status::Expired | Status::Cancelled => "What was held",
    }
}

fn kept(args: Option<&ShownBody>) -> Markup {
    match args.filter(|args| !args.lines.is_empty()) {
        Some(args) => code(&args.lines, true, "The arguments, redacted"),
        None => html! { p.small.muted { "No arguments." } },
    }
}

fn head(page: &ApprovalPage, call: &WholeCall) -> Markup {
    html! {
        pre.code tabindex="0" role="region" aria-label="Target and headers" {
            span { b { (marked(&call.method)) } " " @match &call.to { Some(to) => { (marked(to)) } None => { "a service that is not there any more" } } }
            @for (name, value) in &call.headers { span { (marked(name)) ": " (marked(value)) } }
            @for added in &page.adds {
                span {
                    span.badge {
                        (icon("key")) (added.name) @if let Some(kind) = added.kind { ", " (kind) } ", version " (added.version) ", added by Toolgate"
                    }
                }
            }
        }
    }
}

fn body(page: &ApprovalPage, call: &WholeCall) -> Markup {
    let title = if page.approval.held.method.contains('/') { "Parameters" } else { "Body" };
    html! {
        h3 { (title) }
        @if call.body.lines.is_empty() { p.small.muted { "None." } }
        @else { (code(&call.body.lines, true, title)) }
    }
}

fn digests(page: &ApprovalPage) -> Markup {
    let mut digest = String::with_capacity(64);
    domain::audit::push_hex(&mut digest, &page.approval.held.call_digest);
    html! {
        dl.facts {
            dt { "Call digest" } dd.hash { (digest) }
            dt { "Approval digest" } dd.hash { (page.digest) }
        }
    }
}

fn before(page: &ApprovalPage, frame: &Frame) -> Markup {
    let (before, held) = (&page.before, &page.approval.held);
    let calls = format!(
        "/calls?agent={}&service={}&q={}&time=month",
        part(held.agent.as_str()),
        part(held.service.as_str()),
        part(&held.action)
    );
    html! {
        section.panel aria-labelledby="hist" {
            header { h2 id="hist" { "This agent, this action" } p { "30 days" } }
            div.body {
                dl.facts {
                    dt { "Forwarded" } dd { (number(before.forwarded)) @if !before.whole { " in the newest 20,000 events" } }
                    dt { "Denied by people" } dd { (number(before.denied)) }
                    dt { "Same call before" }
                    dd {
                        @match &before.identical {
                            Some((id, at)) => { a href={ "/approvals/" (id) } { "executed " (ago(*at, frame.now)) } }
                            None => { "none that people approved" }
                        }
                    }
                }
            }
            p.foot { a href=(calls) { "Its calls in the trail" } }
        }
    }
}

fn why(page: &ApprovalPage) -> Markup {
    let held = &page.approval.held;
    html! {
        section.panel aria-labelledby="why" {
            header { h2 id="why" data-live="why" { (if page.approval.status == Status::Pending { "Why it is held" } else { "Why it was held" }) } }
            div.body {
                @if let Some(held) = &held.risk {
                    (risk(held.score))
                    @if let Some(parts) = &page.risk_parts {
                        ul.small.plain { @for part in parts.split("; ") { li { (icon("gauge")) (marked(part)) } } }
                    }
                }
                h3 { "Rule: " (marked(&page.rule)) }
                @if let Some(because) = &page.because { pre.code { span { (marked(because)) } } }
                p.small {
                    @if let Some(place) = &page.rule_place { a href="/policy" { (marked(place)) } ", " }
                    "policy " code { (held.policy.short()) }
                }
            }
        }
    }
}

/// What the tool's server says of it, as it is defined now, and what has changed since somebody looked.
fn tool(page: &ApprovalPage) -> Markup {
    let Some(tool) = &page.tool else { return html! {} };
    html! {
        section.panel aria-labelledby="tool" {
            header { h2 id="tool" { "The tool" } p { "its server’s words" } }
            div.body {
                @match &tool.description {
                    Some(words) => { p.quote.server.small { (marked(words)) } }
                    None => { p.small.muted { "It does not say what it does." } }
                }
                @for line in &tool.notes { (note(Tone::Look, "alert", &html! { (marked(line)) })) }
            }
        }
    }
}

fn purpose(page: &ApprovalPage, frame: &Frame) -> Markup {
    let held = &page.approval.held;
    html! {
        section.panel aria-labelledby="who" {
            header { h2 id="who" { "Agent and purpose" } }
            div.body {
                @match &page.agent_says {
                    Some(words) => { p.quote.small { (marked(words)) } }
                    None => { p.small.muted { "The agent did not say why." } }
                }
                dl.facts {
                    dt { "Agent" } dd { a href={ "/agents/" (part(held.agent.as_str())) } { (held.agent) } ", role " (held.role) }
                    dt { "Key" } dd { code { "agt_" (held.key_id) } }
                    dt { "Held" } dd { (moment(held.created_at, frame.now)) " UTC" }
                    dt { "Call" } dd { a href={ "/calls/" (held.call_id) } { code { (held.call_id) } } }
                }
            }
        }
    }
}

/// The form, below the last byte of the call.
fn decision(page: &ApprovalPage, frame: &Frame, open: bool, reason: Option<&str>) -> Markup {
    let (approval, held) = (&page.approval, &page.approval.held);
    let wants = held.quorum.get();
    let has = approval.standing().approved_by.len();
    let mine = approval.decisions.iter().any(|decided| decided.operator == *frame.who.email());
    if !open && approval.decisions.is_empty() {
        return html! {};
    }
    let yes = match (wants, has + 1) {
        _ if !page.changes.is_empty() => {
            "As things are, approving sends nothing: see what has changed, above.".to_owned()
        }
        (1, _) => "Toolgate sends this call once, now, exactly as shown.".to_owned(),
        (wants, then) if then >= usize::from(wants) => {
            format!("You are the last of {wants}. Toolgate then sends this call once, exactly as shown.")
        }
        (wants, then) => {
            format!("You are number {then} of {wants}. Nothing is sent before all have approved.")
        }
    };
    html! {
        section.panel.decision id="decide" aria-labelledby="dh" data-after="end-of-call" {
            header {
                h2 id="dh" { @if open { "Decide" } @else { "Who decided" } }
                @if open { p { "Needs " (count(wants.into(), "person").replace("persons", "people")) ". " (left_text(approval, frame)) } }
            }
            div.body {
                @if wants > 1 || !approval.decisions.is_empty() {
                    ul.list.panel {
                        @for decided in &approval.decisions {
                            li {
                                span {
                                    (if decided.approve { sign(Tone::Good, "check") } else { sign(Tone::Bad, "x") })
                                    " " b { (decided.operator) } (if decided.approve { " approved" } else { " denied" })
                                    @if let Some(reason) = &decided.reason { ": “" (super::ui::foreign(reason)) "”" }
                                }
                                span.muted { (moment(decided.at, frame.now)) " UTC" }
                            }
                        }
                        @if open { @for place in has..usize::from(wants) { li { span { (icon("dash")) " Person " (place + 1) } span.muted { "waiting" } } } }
                    }
                }
                @if open && mine {
                    (note(Tone::Plain, "user", &html! { "You have approved this call. Another operator must approve it too." }))
                } @else if open && !frame.may(OperatorRole::Approver) {
                    (note(Tone::Plain, "eye", &html! { "Your role is " (frame.who.role().as_str()) ": approvers and owners decide." }))
                } @else if open {
                    form method="post" action={ "/approvals/" (held.id) "/decide" } {
                        (frame.token())
                        input type="hidden" name="digest" value=(page.digest);
                        (choice(held.id.as_str(), &yes, ["Approve and send once", "Deny this call"]))
                        @if let Some(reason) = reason { p.hint { "You wrote: “" (super::ui::foreign(reason)) "”" } }
                    }
                    p.hint { "Your decision is bound to " span.hash { (page.digest) } ". If anything above changes, it is not accepted and you are shown the new call." }
                }
            }
        }
    }
}

fn left_text(approval: &Approval, frame: &Frame) -> Markup {
    html! { (length(seconds(frame.now, approval.held.decide_by))) " left." }
}
