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
        // One that its server replaces while people decide has no version that they could decide on.
        let version = match added.version {
            0 => "the newest version".to_owned(),
            version => format!("version {version}"),
        };
        let text = format!("credential {}{kind}, {version}", added.name);
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
    if let Some(tool) = &page.tool {
        let says = tool.description.as_deref().map(|text| format!("\"{text}\" (its server's words)"));
        lines.push(labelled("tool", says.as_deref().unwrap_or("no description")));
        lines.extend(tool.notes.iter().map(|note| labelled("", &format!("! {note}"))));
    }
    lines.push(labelled(
        "agent says",
        &match &page.agent_says {
            Some(words) => format!("\"{words}\" (its own words, not checked)"),
            None => "–".to_owned(),
        },
    ));
    lines.push(labelled("before", &before(page, now)));
    if !page.changes.is_empty() {
        let what = "! changed since it was held: as things are, an approval would not be followed";
        lines.push(labelled("now", what));
        lines.extend(page.changes.iter().map(|change| labelled("", &format!("! {change}"))));
    }
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

#[cfg(test)]
mod tests {
    use domain::approval::Status;

    use super::{super::fixture, *};

    #[test]
    fn a_page_reads_as_the_experience_has_it() {
        let page = fixture::page(fixture::refund());
        let digest = format!("digest      {}", page.digest);
        assert_eq!(
            lines(&page, fixture::now()),
            [
                "POST /v1/refunds on billing, asked by laptop (user)         pending · 0 of 2 · 23 h 58 min left",
                "sends       POST https://api.example.com/v1/refunds    content-type: application/json    58 B",
                "            { \"amount\": 5000,",
                "              \"charge\": \"ch_1042\\u{202e}\",",
                "              \"reason\": \"duplicate\" }",
                "            ! 1 invisible character, written out above",
                "adds        credential secret_key (bearer), version 1",
                "rule        big refunds, policy.yaml:14 · args.amount > 1000, args.amount = 5000",
                "risk        0.30 = POST 0.30; no model asked",
                "agent says  \"customer 88 was charged twice\" (its own words, not checked)",
                "before      30 days: 12 forwarded, 1 denied · identical call executed 3 min ago",
                digest.as_str(),
            ]
        );
    }

    #[test]
    fn a_page_says_who_decided_and_how_it_ended() {
        let at = fixture::now() - fixture::seconds(60);
        let mut approval = fixture::refund();
        approval.decisions = vec![
            fixture::says("ada", true, None, at),
            fixture::says("grace", true, Some("paid\u{202e} `twice`\n"), at),
        ];
        let ended = |approval: &domain::approval::Approval| {
            let lines = lines(&fixture::page(approval.clone()), fixture::now());
            let from = lines.len() - 4;
            lines[from..from + 3].join("\n")
        };
        let decided = "decided     approved by ada@example.com, 14:04:02 UTC\n            approved by grace@example.com, \
                       14:04:02 UTC: \"paid\\u{202e} `twice`\\u{a}\"\n";
        approval.status = Status::Executed;
        (approval.http_status, approval.executed_call) = (Some(200), Some(approval.held.call_id));
        approval.claimed_at = Some(at);
        approval.ended_at = Some(at + jiff::SignedDuration::from_millis(118));
        let executed = "ended       executed once: 200 in 118 ms, c_2h5tbn80ry6k";
        assert_eq!(ended(&approval), format!("{decided}{executed}"));
        approval.status = Status::Failed;
        (approval.http_status, approval.ended_with) = (Some(502), Some("upstream-unreachable".into()));
        let failed = "ended       failed: 502 upstream-unreachable in 118 ms, c_2h5tbn80ry6k";
        assert_eq!(ended(&approval), format!("{decided}{failed}"));
        (approval.http_status, approval.ended_with) = (Some(403), None);
        let by_upstream = "ended       failed: 403 in 118 ms, c_2h5tbn80ry6k";
        assert_eq!(ended(&approval), format!("{decided}{by_upstream}"));
        let not_sent =
            "ended       not sent: key, scope, policy or credential have changed since it was held";
        approval.ended_with = Some("forbidden".into());
        assert_eq!(ended(&approval), format!("{decided}{not_sent}"));
        (approval.claimed_at, approval.executed_call) = (None, None);
        assert_eq!(ended(&approval), format!("{decided}{not_sent}"));
        approval.status = Status::Unknown;
        let unknown = "ended       it was sent and its answer was lost: it may have happened";
        assert_eq!(ended(&approval), format!("{decided}{unknown}"));
    }

    #[test]
    fn many_headers_and_long_ones_stand_on_lines_of_their_own_and_none_is_cut() {
        let mut page = fixture::page(fixture::refund());
        let ShownCall::Whole(call) = &mut page.call else { unreachable!() };
        let long = "x".repeat(300);
        call.headers.push(("accept".into(), long.clone()));
        (call.to, page.adds) = (None, Vec::new());
        let lines = lines(&page, fixture::now());
        assert_eq!(
            lines[1..5],
            [
                "sends       POST to `billing`, a service that is not there any more".to_owned(),
                "            content-type: application/json".to_owned(),
                format!("            accept: {long}"),
                "            58 B".to_owned(),
            ]
        );
        assert!(lines.contains(&"adds        –".to_owned()));
    }
}
