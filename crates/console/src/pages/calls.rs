//! The trail: one row a call, its events inside. It is read, exported and verified here, never changed.

use admin::{Admin, CallEnd, CallFilter, CallRow, Record};
use domain::audit::push_hex;
use http::{Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use pipeline::flow::Flow;
use store::{EventRow, Verification};

use super::{
    layout::{Frame, Tab},
    ui::{Tone, badge, count, exact, foreign, foreign_cut, icon, milliseconds, note, number, part},
};
use crate::{
    asked::{Asked, Pairs},
    problem::Problem,
};

/// Calls on a page.
const ROWS: usize = 50;

/// How far back may be chosen, with the word in the address.
const TIMES: [(&str, &str, Option<SignedDuration>); 5] = [
    ("hour", "Last hour", Some(SignedDuration::from_hours(1))),
    ("day", "Last day", Some(SignedDuration::from_hours(24))),
    ("week", "Last 7 days", Some(SignedDuration::from_hours(7 * 24))),
    ("month", "Last 30 days", Some(SignedDuration::from_hours(30 * 24))),
    ("all", "All of it", None),
];

/// The list.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    list(&asked, None).await
}

/// The list, with what checking the whole trail found.
pub(super) async fn verify(asked: Asked) -> Result<Response<Flow>, Problem> {
    let Ok(_one) = asked.desk.verifying.try_acquire() else {
        return Err(Problem::unavailable(
            "the trail is being verified for somebody else; repeat in a moment",
        ));
    };
    let began = asked.desk.clock.now().monotonic;
    let verify = |admin: Admin| async move { admin.verify_trail().await };
    let found = asked.desk.searches.ask_aside(verify).await?;
    let took = asked.desk.clock.now().monotonic.saturating_sub(began);
    list(&asked, Some(&verified(&found, took.as_secs_f64() * 1_000.0))).await
}

async fn list(asked: &Asked, said: Option<&Markup>) -> Result<Response<Flow>, Problem> {
    let frame = Frame::of(asked).await?;
    let query = asked.query()?;
    let admin = &asked.desk.admin;
    let chosen = query.get("time").unwrap_or("day");
    let filter = filter(&query, chosen, frame.now)?;
    let before = query.get("before").and_then(|before| before.parse::<i64>().ok());
    let (now, wanted) = (frame.now, filter.clone());
    let calls = |admin: Admin| async move { admin.calls(now, &wanted, before, ROWS).await };
    let page = asked.desk.searches.ask(calls).await?;
    let agents: Vec<String> =
        admin.list_agents().await?.iter().map(|view| view.agent.name.to_string()).collect();
    let services: Vec<String> = admin.list_services().await?.iter().map(|one| one.name.to_string()).collect();
    let older = page.next.map(|next| address(&query, Some(next)));
    let export = |format: &str| export_address(&filter, format);
    let filtered =
        filter.agent.is_some() || filter.service.is_some() || filter.end.is_some() || filter.text.is_some();
    let content = html! {
        div.head.no-print {
            div { h1 { "Calls" } p { "The trail: one row a call, its events inside. Append-only and chained by hash." } }
            div.row {
                a.btn href=(export("csv")) download="trail.csv" { (icon("dl")) " CSV" }
                a.btn href=(export("jsonl")) download="trail.jsonl" { (icon("dl")) " JSONL" }
                form method="post" action="/calls/verify" { (frame.token()) button.btn { (icon("policy")) " Verify" } }
            }
        }
        @if let Some(said) = said { (said) }
        section.panel aria-label="Calls" {
            // What was typed is in the address; a browser that goes back must not bring back another choice than the list's.
            form.filters method="get" role="search" autocomplete="off" {
                div.fields {
                    (select("Agent", "agent", "Every agent", &agents, query.get("agent")))
                    (select("Service", "service", "Every service", &services, query.get("service")))
                    label.field {
                        span { "Decision" }
                        select name="decision" {
                            option value="" { "Every decision" }
                            @for (word, end) in CallEnd::WORDS {
                                option value=(word) selected[filter.end == Some(end)] { (name(end)) }
                            }
                        }
                    }
                    label.field {
                        span { "Time" }
                        select name="time" {
                            @for (word, text, _) in TIMES { option value=(word) selected[word == chosen] { (text) } }
                        }
                    }
                    label.field {
                        span { "Action or text" }
                        input type="search" name="q" value=[query.get("q")] placeholder="POST /v1, write_file, c_2h5t" maxlength="200";
                    }
                    div.row { button.btn.primary { "Filter" } a.btn.quiet href="/calls" { "Clear" } }
                }
            }
            div data-live=[(before.is_none()).then_some("calls")] {
                @if page.rows.is_empty() { (nothing(filtered, page.gave_up)) } @else { (table(&page.rows, frame.now)) }
                div.foot {
                    span {
                        (count(page.rows.len() as u64, "row")) ", newest first"
                        @if let Some(looked) = page.gave_up { "; " (number(looked)) " events were looked through" }
                    }
                    span.row {
                        @if before.is_some() { a.btn href=(address(&query, None)) { "Newest" } } @else { span.muted { "Newest page" } }
                        @if let Some(older) = older { a.btn href=(older) { (if page.gave_up.is_some() { "Look further back " } else { "Older " }) (icon("chev")) } }
                    }
                }
            }
        }
    };
    Ok(frame.page(StatusCode::OK, "Calls", Some(Tab::Calls), &content))
}

fn filter(query: &Pairs, chosen: &str, now: Timestamp) -> Result<CallFilter, Problem> {
    let text = |name: &str| query.get(name).map(|value| value.chars().take(200).collect::<String>());
    let end = match query.get("decision") {
        Some(word) => Some(
            CallEnd::parse(word)
                .ok_or_else(|| Problem::invalid("there is no such decision; choose one of the list"))?,
        ),
        None => None,
    };
    let back = TIMES.into_iter().find(|(word, _, _)| *word == chosen).and_then(|(_, _, back)| back);
    let moment = |name: &str| query.get(name).and_then(|value| value.parse::<Timestamp>().ok());
    Ok(CallFilter {
        agent: text("agent"),
        service: text("service"),
        action: None,
        end,
        text: text("q"),
        since: moment("since").or_else(|| back.and_then(|back| now.checked_sub(back).ok())),
        until: moment("until"),
    })
}

/// The same question, from another place on.
fn address(query: &Pairs, before: Option<i64>) -> String {
    let mut address = "/calls?".to_owned();
    for (name, value) in query.iter().filter(|(name, value)| *name != "before" && !value.is_empty()) {
        address.push_str(&format!("{}={}&", part(name), part(value)));
    }
    match before {
        Some(before) => address.push_str(&format!("before={before}")),
        None => address.truncate(address.len() - 1),
    }
    address
}

/// Where the events of a filter come as a file.
fn export_address(filter: &CallFilter, format: &str) -> String {
    let mut address = format!("/api/audit/export?format={format}");
    let since = filter.since.map(|since| since.to_string());
    let until = filter.until.map(|until| until.to_string());
    for (name, value) in [
        ("agent", filter.agent.as_deref()),
        ("service", filter.service.as_deref()),
        ("decision", filter.end.map(CallEnd::as_str)),
        ("text", filter.text.as_deref()),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
    ] {
        if let Some(value) = value {
            address.push_str(&format!("&{name}={}", part(value)));
        }
    }
    address
}

fn select(label: &str, name: &str, all: &str, values: &[String], chosen: Option<&str>) -> Markup {
    html! {
        label.field {
            span { (label) }
            select name=(name) {
                option value="" { (all) }
                @for value in values { option value=(value) selected[chosen == Some(value.as_str())] { (value) } }
                // What is gone, or never was, can still be asked for.
                @if let Some(chosen) = chosen.filter(|chosen| !values.iter().any(|value| value == chosen)) {
                    option value=(chosen) selected { (foreign_cut(chosen, 40)) }
                }
            }
        }
    }
}

fn nothing(filtered: bool, gave_up: Option<u64>) -> Markup {
    html! {
        div.empty {
            (icon("list"))
            @if let Some(looked) = gave_up {
                h2 { "Nothing among " (number(looked)) " events" }
                p { "There is more trail behind them: look further back, or choose a shorter time." }
            } @else if filtered {
                h2 { "No call matches" }
                p { "Choose a longer time, or fewer conditions." }
                a.btn href="/calls?time=all" { "Clear the filter" }
            } @else {
                h2 { "No call yet in this time" }
                p { "Calls appear here within a second, also those that are refused." }
                a.btn href="/calls?time=all" { "Show all of the trail" }
            }
        }
    }
}

fn table(rows: &[CallRow], now: Timestamp) -> Markup {
    html! {
        table.fold {
            thead { tr { th { "Time, UTC" } th { "Decision" } th { "Agent" } th { "Service and action" } th { "Rule or reason" } th.num { "Status" } th.num { "ms" } } }
            tbody {
                @for row in rows {
                    tr {
                        td.nowrap {
                            @match &row.call_id {
                                Some(id) => { a href={ "/calls/" (part(id)) } { (exact(row.at, now)) } }
                                None => { (exact(row.at, now)) }
                            }
                        }
                        td { (end_badge(row.end)) @if row.count > 1 { " × " (number(row.count)) } }
                        th.span scope="row" { @match &row.who { Some(who) => { (foreign_cut(who, 60)) } None => { span.muted { "–" } } } }
                        td.span {
                            @if let Some(service) = &row.service { (foreign_cut(service, 60)) " " span.arrow { "→" } " " }
                            @match &row.action { Some(action) => { code { (foreign_cut(action, 160)) } } None => { span.muted { "–" } } }
                        }
                        td.wrap { @if let Some(why) = &row.why { (foreign_cut(why, 60)) } }
                        td.num data-l="status" { @if let Some(status) = row.status { (status) } }
                        td.num data-l="ms" { @if let Some(ms) = row.latency_ms { (milliseconds(ms)) } }
                    }
                }
            }
        }
    }
}

/// The name of an end.
pub(super) fn name(end: CallEnd) -> &'static str {
    match end {
        CallEnd::Forwarded => "Forwarded",
        CallEnd::Approved => "Approved, sent",
        CallEnd::Held => "Held",
        CallEnd::Denied => "Not approved",
        CallEnd::Refused => "Refused",
        CallEnd::Limited => "Rate limited",
        CallEnd::Replayed => "Replayed",
        CallEnd::UpstreamError => "Upstream error",
        CallEnd::Fault => "Fault",
        CallEnd::UnderWay => "Under way",
        CallEnd::Unknown => "Unknown",
        CallEnd::Changed => "Changed by an operator",
        CallEnd::System => "System",
    }
}

fn end_badge(end: CallEnd) -> Markup {
    let (tone, drawing) = match end {
        CallEnd::Forwarded => (Tone::Plain, "check"),
        CallEnd::Approved => (Tone::Mine, "user"),
        CallEnd::Held => (Tone::Look, "clock"),
        CallEnd::Denied => (Tone::Bad, "x"),
        CallEnd::Refused => (Tone::Bad, "ban"),
        CallEnd::Limited => (Tone::Plain, "gauge"),
        CallEnd::Replayed => (Tone::Plain, "repeat"),
        CallEnd::UpstreamError | CallEnd::Fault => (Tone::Bad, "stop"),
        CallEnd::UnderWay => (Tone::Plain, "chev"),
        CallEnd::Unknown => (Tone::Look, "dash"),
        CallEnd::Changed => (Tone::Plain, "sliders"),
        CallEnd::System => (Tone::Plain, "chart"),
    };
    badge(tone, drawing, name(end))
}

/// One call with its events.
pub(super) async fn one(asked: Asked) -> Result<Response<Flow>, Problem> {
    let frame = Frame::of(&asked).await?;
    let events = asked.desk.admin.call(asked.part("call")).await?;
    let records: Vec<Record> = events.iter().map(Record::of).collect();
    let (Some(last), Some(record)) = (events.last(), records.last()) else {
        return Err(Problem::not_found("there is no such call; look at the list of calls"));
    };
    let end = record.end(last, frame.now);
    let first =
        |pick: fn(&EventRow) -> &Option<String>| events.iter().find_map(|event| pick(event).as_deref());
    let known =
        |pick: fn(&Record) -> &Option<String>| records.iter().find_map(|record| pick(record).as_deref());
    let (agent, service) = (first(|event| &event.agent), first(|event| &event.service));
    let action = first(|event| &event.action).or_else(|| known(|record| &record.method));
    let decision = records.iter().find_map(|record| record.decision.as_ref());
    let of_call = |(event, _): &(&EventRow, &Record)| event.kind != "decision";
    let args = events.iter().zip(&records).filter(of_call).find_map(|(_, record)| record.args.as_ref());
    let id = last.call_id.as_deref().unwrap_or_default();
    let content = html! {
        div.head {
            div {
                p.crumb { a href="/calls" { "Calls" } " / " (id) }
                h1 {
                    @if let Some(agent) = agent { (foreign(agent)) " " span.arrow { "→" } " " }
                    @if let Some(service) = service { (foreign_cut(service, 200)) " " span.arrow { "→" } " " }
                    code { (foreign(action.unwrap_or("a request"))) }
                }
            }
            (end_badge(end))
        }
        section.panel aria-label="What was decided" {
            div.body {
                dl.facts.wide {
                    div { dt { "Call" } dd { code { (id) } } }
                    @if let Some(key) = known(|record| &record.key_id) { div { dt { "Key" } dd { code { "agt_" (key) } } } }
                    @if let Some(role) = known(|record| &record.role) { div { dt { "Role" } dd { (role) } } }
                    @if let Some(decision) = decision {
                        div { dt { "Gate" } dd { (decision.gate) } }
                        @if let Some(rule) = &decision.rule { div { dt { "Rule" } dd { (foreign(rule)) } } }
                        div { dt { "Why" } dd { (foreign(&decision.reason)) } }
                        @if let Some(risk) = decision.risk { div { dt { "Risk" } dd { (format!("{risk:.2}")) } } }
                        @if let Some(hash) = &decision.policy_hash { div { dt { "Policy" } dd { code { (hash.get(..8).unwrap_or_default()) "…" } } } }
                    }
                    @if let Some(approval) = known(|record| &record.approval_id) {
                        div { dt { "Approval" } dd { a href={ "/approvals/" (part(approval)) } { code { (approval) } } } }
                    }
                }
                @if let Some(args) = args {
                    h3 { "Arguments, as the trail keeps them" }
                    (super::ui::code(&admin::ShownBody::of(args.get().as_bytes(), true).lines, true, "Arguments"))
                }
            }
        }
        section.panel aria-labelledby="ev" {
            header { h2 id="ev" { "Events" } p { (count(events.len() as u64, "event")) } }
            table.fold {
                thead { tr { th.num { "Seq" } th { "Event" } th { "At, UTC" } th { "What" } th { "Previous, then own hash" } } }
                tbody {
                    @for (event, record) in events.iter().zip(&records) {
                        tr {
                            td.num { (number(u64::try_from(event.seq).unwrap_or(0))) }
                            td { (kind_badge(&event.kind)) }
                            td.nowrap { (exact(event.at, frame.now)) }
                            td.span { (what(event, record)) }
                            td.hash.span data-l="previous, own hash" title=(hex(&event.hash)) { (short(&record.prev)) br; (short(&hex(&event.hash))) }
                        }
                    }
                }
            }
            div.body {
                dl.facts {
                    @if let Some(digest) = known(|record| &record.digest) { dt { "Call digest" } dd.hash { (digest) } }
                    dt { "Writer" } dd { (foreign(&record.writer)) }
                }
            }
        }
    };
    Ok(frame.page(StatusCode::OK, &format!("Call {id}"), Some(Tab::Calls), &content))
}

fn kind_badge(kind: &str) -> Markup {
    let (tone, drawing) = match kind {
        "held" => (Tone::Look, "clock"),
        "decision" => (Tone::Mine, "user"),
        "outcome" => (Tone::Good, "check"),
        "refusal" => (Tone::Bad, "ban"),
        _ => (Tone::Plain, "chev"),
    };
    badge(tone, drawing, kind)
}

/// What an event tells, in a few words.
fn what(event: &EventRow, record: &Record) -> Markup {
    html! {
        @match event.kind.as_str() {
            "intent" => { "on disk before the first byte left" }
            _ => {
                @if let Some(decision) = &record.decision {
                    @if let Some(operator) = &record.operator { (foreign(operator)) " " }
                    (foreign_cut(&decision.reason, 200))
                    @if let Some(reason) = said(record).filter(|_| event.kind == "decision") { ": “" (foreign(&reason)) "”" }
                }
                @if let Some(error) = &record.error { (foreign(&error.code)) ": " (foreign_cut(&error.message, 300)) " " }
                @if event.kind == "outcome" || event.kind == "refusal" {
                    @if let Some(status) = record.status { " " (status) }
                    @if let Some(bytes) = record.bytes { ", " (count(bytes, "byte")) }
                    @if let Some(ms) = record.latency_ms { ", " (milliseconds(ms)) " ms" }
                }
                @if let Some(times) = record.count.filter(|times| *times > 1) { ", " (number(times)) " times" }
            }
        }
    }
}

/// The reason that an operator gave for a decision.
fn said(record: &Record) -> Option<String> {
    let args: serde_json::Value = serde_json::from_str(record.args.as_ref()?.get()).ok()?;
    Some(args.get("reason")?.as_str()?.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}

fn short(hash: &str) -> String {
    let (begin, end) =
        (hash.get(..6).unwrap_or_default(), hash.get(hash.len().saturating_sub(4)..).unwrap_or_default());
    format!("{begin}…{end}")
}

fn verified(found: &Verification, took_ms: f64) -> Markup {
    match &found.first_broken {
        None => note(
            Tone::Good,
            "check",
            &html! {
                b { "The trail is whole. " }
                (count(found.events, "event")) " in " (count(found.chains, "chain")) " checked in " (milliseconds(took_ms)) " ms, no broken link."
                @if let Some(newest) = &found.newest { " Newest " span.hash { (foreign(&newest.writer)) " " (newest.seq) " " (hex(&newest.hash)) } "." }
                " A cut tail or a whole rewrite shows only against a copy of that line kept elsewhere."
            },
        ),
        Some(broken) => note(
            Tone::Bad,
            "stop",
            &html! {
                b { "The chain " (foreign(&broken.writer)) " breaks at event " (broken.seq) ": " (foreign(&broken.why)) ". " }
                (count(found.events, "event")) " before it hold; what follows proves nothing. Compare with a backup, and keep this file."
            },
        ),
    }
}
