//! The inbox: what waits for people, most urgent first. What is short and plain may be decided here; calls of one agent
//! and one action stand together.

use admin::{ApprovalPage, InboxPage, Sees, ShownCall};
use domain::{
    approval::{Approval, Status},
    names::ApprovalId,
    operator::OperatorRole,
};
use http::{Response, StatusCode};
use jiff::Timestamp;
use maud::{Markup, html};
use pipeline::flow::Flow;

use super::{
    decide::{choice, said},
    layout::{Frame, Tab},
    tools,
    ui::{
        Tone, ago, badge, code, count, foreign, foreign_cut, icon, length, marked, moment, note, number,
        part, risk, seconds,
    },
};
use crate::{asked::Asked, problem::Problem};

/// Calls on a page.
const ROWS: u32 = 25;
/// What may be decided in the list: up to this risk (thousandths) and length (bytes).
const RISK_MAX: u16 = 700;
const BYTES_MAX: u64 = 2_048;

/// The inbox, or one of its other lists.
pub(super) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    let frame = Frame::of(&asked).await?;
    let query = asked.query()?;
    let after = query.get("after").and_then(cursor);
    let admin = &asked.desk.admin;
    let list = match query.get("show") {
        Some("decided") => List::Decided,
        Some("unknown") => List::Unknown,
        _ => List::Waiting,
    };
    let InboxPage { approvals, next } = match list {
        List::Waiting => admin.waiting(after, ROWS).await?,
        List::Decided => admin.decided(None, after, ROWS).await?,
        List::Unknown => admin.decided(Some(Status::Unknown), after, ROWS).await?,
    };
    let now = frame.now;
    let said = said(&query);
    let rows = match list {
        List::Waiting => {
            let sees = Sees::of(frame.who.role());
            let pages =
                admin.short_pages(now, approvals, &asked.desk.vault, sees, &asked.second_look()).await?;
            waiting(&frame, &pages)
        }
        List::Decided | List::Unknown => decided(&approvals, list, now),
    };
    let held_back = match list {
        List::Waiting => tools::inbox(&asked, &frame).await?,
        List::Decided | List::Unknown => html! {},
    };
    let content = html! {
        div.head data-live="head" {
            div {
                h1 { "Inbox" }
                p {
                    @match list {
                        List::Waiting => { (what_waits(frame.waiting, frame.tools)) " Nothing is sent until you decide." }
                        List::Decided => { "What became of held calls, the newest first: who decided, and why." }
                        List::Unknown => { "Calls that were sent and whose answer was lost. Say what became of them." }
                    }
                }
            }
            nav.seg aria-label="Which calls" {
                a href="/approvals" aria-current=[(list == List::Waiting).then_some("page")] { "Waiting " (number(frame.waiting)) }
                a href="/approvals?show=decided" aria-current=[(list == List::Decided).then_some("page")] { "Decided" }
                a href="/approvals?show=unknown" aria-current=[(list == List::Unknown).then_some("page")] { "Unknown" }
            }
        }
        @if let Some(said) = said { (said) }
        (rows)
        (held_back)
        @if let Some((at, id)) = next {
            p.row {
                a.btn href=(format!("/approvals?show={}&after={}.{}", list.word(), at.as_microsecond(), id)) {
                    "More " (icon("chev"))
                }
            }
        }
        @if list == List::Waiting && frame.waiting > 0 {
            p.small.muted.no-print.keys {
                kbd { "j" } " " kbd { "k" } " move, " kbd { "Enter" } " open, " kbd { "a" } " " kbd { "d" }
                " choose approve or deny. A key never sends: the button does."
            }
        }
    };
    Ok(frame.page(StatusCode::OK, "Inbox", Some(Tab::Inbox), &content))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Waiting,
    Decided,
    Unknown,
}

impl List {
    fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Decided => "decided",
            Self::Unknown => "unknown",
        }
    }
}

/// What waits for people, in a sentence.
fn what_waits(calls: u64, tools: u64) -> String {
    let kinds = [(calls, "call"), (tools, "tool")].into_iter().filter(|(waiting, _)| *waiting > 0);
    let kinds: Vec<String> = kinds.map(|(waiting, noun)| count(waiting, noun)).collect();
    let verb = if calls + tools == 1 { "waits" } else { "wait" };
    let order = if calls > 1 { ", most urgent first" } else { "" };
    match kinds.is_empty() {
        true => "Nothing waits.".to_owned(),
        false => format!("{} {verb} for a person{order}.", kinds.join(" and ")),
    }
}

/// `1763388000000000.ap_7m2kd9q4xw`: the last row of the page before.
fn cursor(text: &str) -> Option<(Timestamp, ApprovalId)> {
    let (at, id) = text.split_once('.')?;
    Some((Timestamp::from_microsecond(at.parse().ok()?).ok()?, ApprovalId::parse(id)?))
}

fn waiting(frame: &Frame, pages: &[ApprovalPage]) -> Markup {
    if pages.is_empty() {
        return html! {
            section.panel aria-label="Held calls" data-live="rows" {
                div.empty {
                    (icon("inbox"))
                    h2 { "Nothing waits for you" }
                    p { "Calls that a rule wants a person for appear here by themselves, and as a number in the title. Which calls those are, " a.u href="/policy" { "the policy" } " says under " code { "approve" } "." }
                    a.btn href="/approvals?show=decided" { "See decided calls" }
                }
            }
        };
    }
    // A batch stands where its most urgent call would.
    let mut groups: Vec<(String, Vec<&ApprovalPage>)> = Vec::new();
    for page in pages {
        let kin = kin(&page.approval);
        match groups.iter_mut().find(|(known, _)| *known == kin) {
            Some((_, group)) => group.push(page),
            None => groups.push((kin, vec![page])),
        }
    }
    html! {
        section.panel aria-label="Held calls" data-live="rows" {
            @for (_, group) in &groups {
                @if is_batch(group) { (batch(frame, group)) } @else { @for page in group { (row(frame, page)) } }
            }
        }
    }
}

/// What calls of one batch have in common: agent, service and action, where a path may differ in its last part.
fn kin(approval: &Approval) -> String {
    let held = &approval.held;
    format!("{}\n{}\n{}\n{}", held.agent, held.service, held.method, family(&held.action))
}

/// Whether calls are alike enough to be decided together.
fn is_batch(group: &[&ApprovalPage]) -> bool {
    group.len() > 1 && group.iter().any(|page| is_usual(group, page))
}

/// Whether a call is what most of its group are.
fn is_usual(group: &[&ApprovalPage], page: &ApprovalPage) -> bool {
    let alike = group.iter().filter(|other| here(other) == here(page)).count();
    here(page).is_some() && alike * 2 > group.len()
}

/// `PATCH /contacts/17` is of the family `PATCH /contacts/*`.
fn family(action: &str) -> String {
    match (action.starts_with(char::is_uppercase) && action.contains(" /"), action.rsplit_once('/')) {
        (true, Some((before, last))) if last.bytes().any(|byte| byte.is_ascii_digit()) => {
            format!("{before}/*")
        }
        _ => action.to_owned(),
    }
}

fn row(frame: &Frame, page: &ApprovalPage) -> Markup {
    let held = &page.approval.held;
    let path = format!("/approvals/{}", held.id);
    html! {
        article.held id=(held.id) data-row {
            (score(page))
            div {
                h2 { a href=(path) { (held.agent) " " span.arrow { "→" } " " (held.service) " " span.arrow { "→" } " " code { (marked(&page.action)) } } }
                (what(&page.approval))
                (marks(frame, page))
            }
            (left(&page.approval, frame.now))
            a.btn href=(path) { "Open" }
            @if let (Some(lines), true) = (here(page), frame.may(OperatorRole::Approver)) {
                details.full {
                    summary { (icon("chev")) " Decide here" }
                    form.stack method="post" action={ (path) "/decide" } {
                        (frame.token())
                        (code(lines, true, "The arguments"))
                        p.hash { "digest " (page.digest) }
                        input type="hidden" name="digest" value=(page.digest);
                        input type="hidden" name="from" value="inbox";
                        (choice(held.id.as_str(), "Toolgate sends this call once, now, exactly as shown.", ["Approve this call", "Deny this call"]))
                    }
                }
            }
        }
    }
}

/// The body, where the call may be decided in the list: short, plain, of one person's risk.
fn here(page: &ApprovalPage) -> Option<&[String]> {
    let held = &page.approval.held;
    let ShownCall::Whole(call) = &page.call else { return None };
    let plain = call.body.odd == domain::foreign::Oddities::default()
        && !super::ui::is_odd(&page.action)
        && !call.headers.iter().any(|(name, value)| super::ui::is_odd(name) || super::ui::is_odd(value));
    let low = held.risk.as_ref().is_none_or(|risk| risk.score.thousandths() < RISK_MAX);
    let fits = plain
        && low
        && held.quorum.get() == 1
        && call.bytes <= BYTES_MAX
        && page.before.identical.is_none()
        && page.changes.is_empty();
    (fits && !call.body.lines.is_empty()).then_some(&call.body.lines)
}

fn score(page: &ApprovalPage) -> Markup {
    match &page.approval.held.risk {
        Some(held) => risk(held.score),
        None => html! { p.risk { b { "–" } "No risk" span.vh { " assessed" } } },
    }
}

/// The arguments in one line, as the trail keeps them.
pub(super) fn what(approval: &Approval) -> Markup {
    let args =
        approval.held.args.as_deref().and_then(|args| serde_json::from_str::<serde_json::Value>(args).ok());
    let members = args.as_ref().and_then(|args| args.as_object());
    let text = members.map(|members| {
        let one = |(name, value): (&String, &serde_json::Value)| match value {
            serde_json::Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        };
        members.iter().map(one).collect::<Vec<_>>().join(", ")
    });
    html! {
        @if let Some(text) = text.filter(|text| !text.is_empty()) { p.what { (foreign_cut(&text, 160)) } }
        @if let Some(intent) = &approval.held.intent { p.quote.small { (foreign_cut(intent, 300)) } }
    }
}

fn marks(frame: &Frame, page: &ApprovalPage) -> Markup {
    let (held, now) = (&page.approval.held, frame.now);
    let odd = match &page.call {
        ShownCall::Whole(call) => call.body.odd.invisible + call.body.odd.lookalikes,
        ShownCall::Redacted(_) | ShownCall::Forgotten(_) => 0,
    };
    let approved = page.approval.standing().approved_by.len();
    html! {
        @if held.quorum.get() > 1 || odd > 0 || page.before.identical.is_some() || !page.changes.is_empty() {
            p.meta {
                @if !page.changes.is_empty() { (badge(Tone::Bad, "alert", "Changed since it was held")) }
                @if held.quorum.get() > 1 { (badge(Tone::Plain, "users", format!("{approved} of {} approved", held.quorum))) }
                @if odd > 0 { (badge(Tone::Look, "alert", count(odd as u64, "hidden or look-alike character"))) }
                @if let Some((_, at)) = &page.before.identical {
                    (badge(Tone::Look, "repeat", format!("Identical call executed {}", ago(*at, now))))
                }
            }
        }
        p.meta {
            span { "Rule " a href="/policy" { (marked(&page.rule)) } }
            span { "held " (ago(held.created_at, now)) }
            @if let ShownCall::Whole(call) = &page.call { span { (count(call.bytes, "byte")) } }
        }
    }
}

/// The time that is left, in words, as a bar and as a moment.
pub(super) fn left(approval: &Approval, now: Timestamp) -> Markup {
    let held = &approval.held;
    let (left, all) = (seconds(now, held.decide_by), seconds(held.created_at, held.decide_by).max(1));
    let soon = left < 300;
    html! {
        div class={ "left" @if soon { " soon" } } data-until=(held.decide_by.as_second()) {
            b { (icon(if soon { "alert" } else { "clock" })) span { (length(left)) " left" } }
            progress class=[soon.then_some("bad")] max=(all) value=(left.min(all)) aria-label="Time left" {}
            "until " (moment(held.decide_by, now)) " UTC"
        }
    }
}

/// Several calls of one agent and one action; those that differ from most are not ticked.
fn batch(frame: &Frame, group: &[&ApprovalPage]) -> Markup {
    let Some(first) = group.first() else { return html! {} };
    let (held, now) = (&first.approval.held, frame.now);
    let usual = |page: &ApprovalPage| is_usual(group, page);
    let alike = group.iter().filter(|page| usual(page)).count();
    let differ = group.len() - alike;
    let label = format!("batch-{}", held.id);
    html! {
        article.held id=(label) data-row {
            (score(first))
            div {
                h2 { (held.agent) " " span.arrow { "→" } " " (held.service) " " span.arrow { "→" } " " code { (foreign(&family(&held.action))) } }
                p.what { (group.len()) " calls of one agent and one action; " (alike) " alike, " (differ) (if differ == 1 { " differs" } else { " differ" }) }
                @if let Some(intent) = &held.intent { p.quote.small { (foreign_cut(intent, 300)) } }
                p.meta {
                    (badge(Tone::Mine, "stack", format!("Batch of {}", group.len())))
                    span { "Rule " a href="/policy" { (marked(&first.rule)) } }
                    span { "first ends in " (length(seconds(now, held.decide_by))) }
                }
            }
            (left(&first.approval, now))
            a.btn href={ "#" (label) } { "Show " (group.len()) }
            details.full open[group.len() <= 5] {
                summary { (icon("chev")) " All " (group.len()) " calls" }
                form.stack method="post" action="/approvals/batch" {
                    (frame.token())
                    ul.list.panel {
                        @for page in group {
                            @let held = &page.approval.held;
                            li.one {
                                @match (here(page), frame.may(OperatorRole::Approver)) {
                                    (Some(lines), true) => {
                                        label.check {
                                            input type="checkbox" name={ "call." (held.id) } value=(page.digest) checked[usual(page)];
                                            code { (marked(&page.action)) }
                                            @if !usual(page) { (badge(Tone::Look, "alert", "Differs")) }
                                        }
                                        (code(lines, false, "The arguments"))
                                    }
                                    _ => {
                                        p { code { (marked(&page.action)) } " " (badge(Tone::Look, "eye", "Read it on its own page")) }
                                    }
                                }
                                p.small { a href={ "/approvals/" (held.id) } { "Open" } " · held " (ago(held.created_at, now)) " · " span.hash { (page.digest.get(..16).unwrap_or_default()) "…" } }
                            }
                        }
                    }
                    @if frame.may(OperatorRole::Approver) {
                        p.hint { "What differs is not ticked. Untick what you want to leave waiting; each keeps its own digest and its own entry in the trail." }
                        (choice(&label, "Toolgate sends each ticked call once, exactly as shown.", ["Approve the ticked calls", "Deny the ticked calls"]))
                    }
                }
            }
        }
    }
}

fn decided(approvals: &[Approval], list: List, now: Timestamp) -> Markup {
    html! {
        section.panel aria-label="Calls" data-live="rows" {
            @if approvals.is_empty() {
                div.empty {
                    (icon(if list == List::Unknown { "check" } else { "inbox" }))
                    @if list == List::Unknown {
                        h2 { "No outcome is unknown" }
                        p { "A call whose answer was lost is listed here until an operator has found out what became of it." }
                    } @else {
                        h2 { "Nothing was decided yet" }
                        p { "What people approve or deny is listed here, with who and why." }
                    }
                }
            } @else {
                table.fold {
                    thead { tr { th { "Held, UTC" } th { "Status" } th { "Agent" } th { "Service and action" } th { "Rule" } th { "Decided by" } } }
                    tbody {
                        @for approval in approvals {
                            @let held = &approval.held;
                            tr {
                                td.nowrap { a href={ "/approvals/" (held.id) } { (moment(held.created_at, now)) } }
                                td { (status(approval)) }
                                th.span scope="row" { a href={ "/agents/" (part(held.agent.as_str())) } { (held.agent) } }
                                td.span { (held.service) " " span.arrow { "→" } " " code { (foreign_cut(&held.action, 120)) } }
                                td.wrap data-l="rule" { (foreign_cut(held.rule.as_str(), 60)) }
                                td.span {
                                    @for (place, decided) in approval.decisions.iter().enumerate() {
                                        @if place > 0 { ", " }
                                        (decided.operator)
                                        @if let Some(reason) = &decided.reason { span.muted { " “" (foreign_cut(reason, 120)) "”" } }
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

/// How a held call stands, as a badge.
pub(super) fn status(approval: &Approval) -> Markup {
    match approval.status {
        Status::Pending => badge(Tone::Look, "clock", "Held"),
        Status::Approved => badge(Tone::Mine, "user", "Approved"),
        Status::Executing => badge(Tone::Mine, "user", "Being sent"),
        Status::Executed => badge(
            Tone::Good,
            "check",
            match approval.http_status {
                Some(status) => format!("Executed, {status}"),
                None => "Executed".to_owned(),
            },
        ),
        Status::Failed => badge(Tone::Bad, "stop", "Failed"),
        Status::Denied => badge(Tone::Bad, "x", "Denied"),
        Status::Expired => badge(Tone::Plain, "clock", "Expired"),
        Status::Cancelled => badge(Tone::Plain, "ban", "Taken back"),
        Status::Unknown => badge(Tone::Look, "dash", "Unknown"),
    }
}

/// A note that something of the trail is not there any more.
pub(super) fn gone(text: &str) -> Markup {
    note(Tone::Plain, "clock", &html! { (text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_counted() {
        for (calls, tools, said) in [
            (0, 0, "Nothing waits."),
            (1, 0, "1 call waits for a person."),
            (0, 1, "1 tool waits for a person."),
            (6, 1, "6 calls and 1 tool wait for a person, most urgent first."),
        ] {
            assert_eq!(what_waits(calls, tools), said);
        }
    }

    #[test]
    fn paths_that_differ_in_their_last_part_are_one_family() {
        assert_eq!(family("PATCH /crm/v3/contacts/18402"), "PATCH /crm/v3/contacts/*");
        assert_eq!(family("POST /v1/refunds"), "POST /v1/refunds");
        assert_eq!(family("write_file"), "write_file");
        assert_eq!(family("read/17"), "read/17");
    }

    #[test]
    fn a_cursor_reads_back_and_nothing_else_is_one() {
        let id = ApprovalId::new(7);
        let (at, read) = cursor(&format!("1763388000000000.{id}")).unwrap();
        assert_eq!((at.as_microsecond(), read), (1_763_388_000_000_000, id));
        for bad in ["", ".", "x.y", "1.ap_x", "99999999999999999999.ap_1"] {
            assert_eq!(cursor(bad), None, "{bad}");
        }
    }
}
