//! The page of a held call, laid out for a terminal: whole, labelled, foreign text behind its indent.

use admin::{ApprovalPage, ShownBody, ShownCall, WholeCall};
use jiff::Timestamp;

use super::words;
use crate::output::{count, short_time, size};

/// Where text stands behind its label.
pub const INDENT: usize = 12;
/// Where the head says how far it is.
const STANDING: usize = 60;
/// What of the first line of a call is kept together.
const WIDTH: usize = 100;

/// The page's lines. Nothing of the call is cut.
pub fn lines(page: &ApprovalPage, now: Timestamp) -> Vec<String> {
    let held = &page.approval.held;
    let subject = format!("{} on {}, asked by {} ({})", page.action, held.service, held.agent, held.role);
    let mut lines =
        vec![format!("{subject:<width$}  {}", words::standing(&page.approval, now), width = STANDING - 2)];
    call(page, &mut lines);
    for (place, added) in page.adds.iter().enumerate() {
        let kind = added.kind.map(|kind| format!(" ({kind})")).unwrap_or_default();
        let text = format!("credential {}{kind}, version {}", added.name, added.version);
        lines.push(labelled(if place == 0 { "adds" } else { "" }, &text));
    }
    if page.adds.is_empty() {
        lines.push(labelled("adds", "–"));
    }
    let place = page.rule_place.as_ref().map(|place| format!(", {place}")).unwrap_or_default();
    let because = page.because.as_ref().map(|because| format!(" · {because}")).unwrap_or_default();
    lines.push(labelled("rule", &format!("{}{place}{because}", page.rule)));
    lines.push(labelled(
        "risk",
        &match (&held.risk, &page.risk_parts) {
            (Some(risk), Some(parts)) => format!("{} = {parts}", risk.score),
            _ => "–".to_owned(),
        },
    ));
    lines.push(labelled(
        "agent says",
        &match &page.agent_says {
            Some(words) => format!("\"{words}\" (its own words, not checked)"),
            None => "–".to_owned(),
        },
    ));
    lines.push(labelled("before", &before(page, now)));
    for (place, decided) in page.approval.decisions.iter().enumerate() {
        let what = if decided.approve { "approved" } else { "denied" };
        let (at, because) = (short_time(decided.at, now), words::because(decided.reason.as_deref()));
        let text = format!("{what} by {}, {at} UTC{because}", decided.operator);
        lines.push(labelled(if place == 0 { "decided" } else { "" }, &text));
    }
    if let Some(ending) = words::ending(&page.approval) {
        lines.push(labelled("ended", &ending));
    }
    lines.push(labelled("digest", &page.digest));
    lines
}

fn labelled(label: &str, text: &str) -> String {
    format!("{label:<INDENT$}{text}")
}

fn call(page: &ApprovalPage, lines: &mut Vec<String>) {
    match &page.call {
        ShownCall::Whole(call) => {
            sends(page, call, lines);
            body(&call.body, lines);
        }
        ShownCall::Redacted(args) => {
            lines.push(labelled(
                "args",
                "as the trail keeps them; the whole call is for approvers and owners",
            ));
            body(&args.clone().unwrap_or_default(), lines);
        }
        ShownCall::Forgotten(args) => {
            lines.push(labelled("args", "as the trail keeps them; the whole call is not kept any more"));
            body(&args.clone().unwrap_or_default(), lines);
        }
    }
}

/// `sends       POST https://…    content-type: application/json    58 B`, in pieces where that is too long.
fn sends(page: &ApprovalPage, call: &WholeCall, lines: &mut Vec<String>) {
    let gone = || format!("to `{}`, a service that is not there any more", page.approval.held.service);
    let mut pieces = vec![format!("{} {}", call.method, call.to.clone().unwrap_or_else(gone))];
    pieces.extend(call.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    pieces.push(size(call.bytes));
    let one = labelled("sends", &pieces.join("    "));
    if one.chars().count() <= WIDTH {
        lines.push(one);
        return;
    }
    for (place, piece) in pieces.iter().enumerate() {
        lines.push(labelled(if place == 0 { "sends" } else { "" }, piece));
    }
}

fn body(body: &ShownBody, lines: &mut Vec<String>) {
    lines.extend(body.lines.iter().map(|line| labelled("", line)));
    let note = |number: usize, one: &str, many: &str| match number {
        0 => None,
        1 => Some(labelled("", &format!("! 1 {one}, written out above"))),
        number => Some(labelled("", &format!("! {} {many}, written out above", count(number as u64)))),
    };
    lines.extend(note(body.odd.invisible, "invisible character", "invisible characters"));
    lines.extend(note(
        body.odd.lookalikes,
        "character that looks like another letter",
        "characters that look like other letters",
    ));
}

/// `30 days: 12 forwarded, 1 denied · identical call executed 3 min ago`.
fn before(page: &ApprovalPage, now: Timestamp) -> String {
    let before = &page.before;
    let more = if before.whole { "" } else { " or more" };
    let mut text =
        format!("30 days: {} forwarded{more}, {} denied", count(before.forwarded), count(before.denied));
    if let Some((_, at)) = &before.identical {
        text.push_str(&format!(" · identical call executed {} ago", words::since(*at, now)));
    }
    text
}
