//! The overview: what came through, what is waiting, what is unhealthy. Every number leads to the calls behind it.
//! Before the first call it says what to do first.

mod chart;
mod first;

use admin::{Layer, Overview, Range};
use counters::Filling;
use domain::{operator::OperatorRole, service::Service};
use http::{Response, StatusCode};
use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, html};
use pipeline::{
    flow::Flow,
    timings::{BOUNDS_US, Counted},
};

use super::{
    layout::{Frame, Tab},
    ui::{
        self, Tone, badge, count, foreign, foreign_cut, icon, length, milliseconds, number, part, seconds,
        sign,
    },
};
use crate::{asked::Asked, problem::Problem};

/// Held calls that are named.
const WAITING: u32 = 5;

/// The page.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let frame = Frame::of(&asked).await?;
    let query = asked.query()?;
    let word = query.get("range").unwrap_or("hour");
    let range =
        Range::WORDS.into_iter().find(|(known, _)| *known == word).map_or(Range::Hour, |(_, range)| range);
    let admin = &asked.desk.admin;
    let overview = asked.desk.overview(range).await?;
    let services = admin.list_services().await?;
    let agents = admin.list_agents().await?;
    let nothing_yet = overview.total() == 0
        && admin.calls(frame.now, &admin::CallFilter::default(), None, 1).await?.rows.is_empty();
    let content = if nothing_yet {
        first::steps(&asked, &frame, &services, &agents)
    } else {
        figures(&asked, &frame, &overview, &services).await?
    };
    let title = if nothing_yet { "Welcome" } else { "Overview" };
    Ok(frame.page(StatusCode::OK, title, Some(Tab::Overview), &content))
}

async fn figures(
    asked: &Asked,
    frame: &Frame,
    overview: &Overview,
    services: &[Service],
) -> Result<Markup, Problem> {
    let range = word(overview.range);
    Ok(html! {
        div.head {
            div {
                h1 { "Overview" }
                p { (frame.now.to_zoned(TimeZone::UTC).strftime("%-d %B %Y, %H:%M")) " UTC. Every number opens the calls behind it." }
            }
            nav.seg aria-label="Time range" {
                @for (word, one) in Range::WORDS {
                    a href={ "/?range=" (word) } aria-current=[(one == overview.range).then_some("page")] { (name(one)) }
                }
            }
        }
        div data-live="figures" {
            (stats(asked, frame, overview, range))
            (chart::calls(overview))
            div.grid {
                (waiting(asked, frame).await?)
                (health(asked, overview, services).await)
                (chart::times(overview))
                (top("Rules that refuse most", &overview.rules, true, |rule| format!("/calls?time={range}&q={}", part(rule))))
                (top("Busiest agents", &overview.agents, false, |agent| format!("/calls?time={range}&agent={}", part(agent))))
                (top("Busiest services", &overview.services, false, |service| format!("/calls?time={range}&service={}", part(service))))
            }
        }
    })
}

fn name(range: Range) -> &'static str {
    match range {
        Range::Hour => "Hour",
        Range::Day => "Day",
        Range::Week => "Week",
    }
}

fn word(range: Range) -> &'static str {
    Range::WORDS.into_iter().find(|(_, known)| *known == range).map_or("hour", |(word, _)| word)
}

/// What the filter of the calls calls a layer, and what people do.
fn layer_words(layer: Layer) -> (&'static str, &'static str) {
    match layer {
        Layer::Forwarded => ("forwarded", "Forwarded"),
        Layer::Approved => ("executed-approved", "Approved, sent"),
        Layer::Held => ("held", "Held"),
        Layer::Refused => ("refused", "Refused"),
        Layer::Limited => ("rate-limited", "Rate limited"),
        Layer::Failed => ("upstream-error", "Failed"),
    }
}

fn stats(asked: &Asked, frame: &Frame, overview: &Overview, range: &str) -> Markup {
    let gates = asked.desk.timings.gates.counted();
    let [_, _, _, refused, limited, failed] = overview.calls;
    let total = overview.total();
    let share = |part: u64| {
        let tenths = (part * 1_000).checked_div(total).unwrap_or(0);
        format!("{}.{} % of calls", tenths / 10, tenths % 10)
    };
    html! {
        section.panel.stats aria-label={ "Last " (range) } {
            a href={ "/calls?time=" (range) } { span { "Calls" } b { (number(total)) } span { "last " (range) } }
            a href={ "/calls?time=" (range) "&decision=refused" } { span { "Refused or limited" } b { (number(refused + limited)) } span { (share(refused + limited)) } }
            a href="/approvals" { span { "Waiting for a person" } b { (number(frame.waiting)) } span { "held calls" } }
            a href={ "/calls?time=" (range) "&decision=upstream-error" } { span { "Failed" } b { (number(failed)) } span { (share(failed)) } }
            a href={ "/calls?time=" (range) } { span { "Gateway time p50" } b { (own(&gates, 50)) } span { "since the start" } }
            a href={ "/calls?time=" (range) } { span { "Gateway time p99" } b { (own(&gates, 99)) } span { "without the upstream" } }
        }
    }
}

/// Within which time so many of a hundred calls were through the gates, from the buckets that are counted.
fn own(gates: &Counted, share: u64) -> String {
    let wanted = (gates.count * share).div_ceil(100).max(1);
    let bounds = BOUNDS_US.iter().zip(gates.up_to);
    let (mut below_us, mut below) = (0, 0);
    for (bound, up_to) in bounds {
        if up_to >= wanted {
            // Within a bucket they are taken to be spread evenly.
            let within = (bound - below_us) * (wanted - below) / (up_to - below).max(1);
            let us = u32::try_from(below_us + within).unwrap_or(u32::MAX);
            return format!("{} ms", milliseconds(f64::from(us) / 1_000.0));
        }
        (below_us, below) = (*bound, up_to);
    }
    if gates.count == 0 { "–".to_owned() } else { "over 30 s".to_owned() }
}

async fn waiting(asked: &Asked, frame: &Frame) -> Result<Markup, Problem> {
    let page = asked.desk.admin.waiting(None, WAITING).await?;
    Ok(html! {
        section.panel aria-labelledby="w" {
            header { h2 id="w" { "Waiting" } a href="/approvals" { "Open the inbox" } }
            ul.list {
                @for approval in &page.approvals {
                    @let held = &approval.held;
                    @let left = seconds(frame.now, held.decide_by);
                    li {
                        a href={ "/approvals/" (held.id) } { (held.agent) " " span.arrow { "→" } " " (foreign_cut(&held.action, 60)) }
                        @if left < 300 { b.t-bad { (length(left)) } } @else { span { (length(left)) } }
                    }
                }
                @if page.approvals.is_empty() { li { span.muted { "Nothing waits for a person" } } }
            }
        }
    })
}

async fn health(asked: &Asked, overview: &Overview, services: &[Service]) -> Markup {
    let desk = &asked.desk;
    let seen = desk.health().await;
    let recorder = desk.recorder.is_healthy();
    let failing: Vec<String> = overview
        .failing
        .iter()
        .map(|(service, failed)| format!("{service}: {}", count(*failed, "failure")))
        .collect();
    let Filling { buckets, capacity, server } = seen.counters;
    let works =
        [seen.store.is_some(), seen.counters.works(), seen.vault.is_some(), failing.is_empty(), recorder];
    let bad = works.into_iter().filter(|works| !works).count();
    let sign = |works| if works { sign(Tone::Good, "check") } else { sign(Tone::Bad, "stop") };
    html! {
        section.panel aria-labelledby="hl" {
            header {
                h2 id="hl" { "Health" }
                @if bad == 0 { (badge(Tone::Good, "check", "Well")) } @else { (badge(Tone::Look, "alert", format!("{bad} of 5 to look at"))) }
            }
            ul.list {
                li {
                    span { (sign(seen.store.is_some())) " Store" }
                    @match seen.store.zip(seen.schema) {
                        Some((commit, (kind, schema))) => { span.muted { (kind) ", schema " (schema) ", commit " (milliseconds(commit.as_secs_f64() * 1_000.0)) " ms" } }
                        None => { span { "cannot be read or written" } }
                    }
                }
                li {
                    span { (sign(seen.counters.works())) " Counters" }
                    @match server {
                        None => { span.muted { "memory, " (number(buckets as u64)) " of " (number(capacity as u64)) " buckets" } }
                        Some(true) => { span.muted { "at a server, which answers" } }
                        Some(false) => { span { "the server does not answer" } }
                    }
                }
                li {
                    span { (sign(seen.vault.is_some())) " Vault" }
                    @match seen.vault {
                        Some(term) => { span.muted { "open, term " (term) } }
                        None => { span { "does not open what is sealed" } }
                    }
                }
                li {
                    span { @if failing.is_empty() { (sign(true)) } @else { (ui::sign(Tone::Look, "alert")) } " " a href="/services" { "Services" } }
                    span class=[failing.is_empty().then_some("muted")] {
                        @if failing.is_empty() { (count(services.len() as u64, "service")) ", no failure" } @else { (foreign(&failing.join("; "))) }
                    }
                }
                li {
                    span { (sign(recorder)) " " a href="/calls" { "Trail" } }
                    span.muted {
                        @if recorder { (count(overview.events, "event")) } @else { "cannot be written; calls are refused" }
                        @if overview.behind > 0 { ", " (number(overview.behind)) " not counted here yet" }
                    }
                }
            }
        }
    }
}

/// The most of something, as bars.
fn top(title: &str, figures: &[(String, u64)], bad: bool, path: impl Fn(&str) -> String) -> Markup {
    let most = figures.iter().map(|(_, calls)| *calls).max().unwrap_or(1);
    let id: String = title.chars().filter(char::is_ascii_alphabetic).collect();
    html! {
        section.panel aria-labelledby=(id) {
            header { h2 id=(id) { (title) } p { "calls" } }
            @if figures.is_empty() { ul.list { li { span.muted { "None in this time" } } } }
            @else {
                ul.bars {
                    @for (name, calls) in figures {
                        li {
                            a href=(path(name)) { (foreign_cut(name, 60)) }
                            span { (number(*calls)) }
                            progress class=[bad.then_some("bad")] max=(most) value=(calls) aria-label=(domain::foreign::escape_foreign(name)) {}
                        }
                    }
                }
            }
        }
    }
}

/// Whether who looks may do what the first steps ask for.
fn may_set_up(frame: &Frame) -> bool {
    frame.may(OperatorRole::Owner)
}

/// The same below a chart: a week is told in days.
fn label(second: i64, range: Range) -> String {
    let text = axis(second, range);
    match range {
        Range::Hour | Range::Day => text,
        Range::Week => text.rsplit_once(' ').map(|(day, _)| day.to_owned()).unwrap_or(text),
    }
}

/// When a bar of a chart begins.
fn axis(second: i64, range: Range) -> String {
    let at = Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC);
    match range {
        Range::Hour | Range::Day => at.strftime("%H:%M").to_string(),
        Range::Week => at.strftime("%-d %b %H:%M").to_string(),
    }
}

fn chevron(text: &str) -> Markup {
    html! { summary { (icon("chev")) " " (text) } }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pipeline::timings::Histogram;

    use super::own;

    #[test]
    fn half_of_the_calls_are_within_the_middle_bucket() {
        let histogram = Histogram::default();
        assert_eq!(own(&histogram.counted(), 50), "–");
        for us in [300, 300, 300, 300, 9_000] {
            histogram.observe(Duration::from_micros(us));
        }
        assert_eq!(own(&histogram.counted(), 50), "0.4 ms");
        assert_eq!(own(&histogram.counted(), 99), "10 ms");
    }
}
