//! The screen as lines, from its state alone.

use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{
    follow::WAITING_MAX,
    model::{Mode, Model},
};
use crate::{
    commands::approvals::{
        page::{self, INDENT},
        words,
    },
    output::{Stream, count, cut, escape_foreign},
};

/// The columns and rows of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Characters in a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

/// A drawn screen.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// As many lines as the screen has rows, none wider than it.
    pub lines: Vec<String>,
    /// How many lines of the page are on it.
    pub shown: usize,
    /// How many it has.
    pub of: usize,
}

const KEYS: &str = "↑↓ choose   space scroll   a approve   d deny   q quit";

/// Draws the state. `stream` says whether the terminal shows more than ASCII.
pub fn draw(model: &Model, now: Timestamp, size: Size, stream: &Stream) -> Frame {
    let Size { columns, rows } = size;
    let mut lines = vec![head(model, now, columns)];
    lines.extend(list(model, now, rows.saturating_sub(4) / 3));
    let page = page_lines(model, now, columns, stream);
    let place = lines.len();
    let room = rows.saturating_sub(place + 2);
    let scroll = match &model.page {
        Some(Ok(page)) => page.scroll,
        _ => 0,
    };
    let scroll = scroll.min(page.len().saturating_sub(room));
    let visible: Vec<String> = page.iter().skip(scroll).take(room).cloned().collect();
    let shown = visible.len();
    lines.push(match page.len() > shown {
        true => format!("-- lines {} to {} of {} --", scroll + 1, scroll + shown, count(page.len() as u64)),
        false => String::new(),
    });
    lines.extend(visible);
    lines.resize(rows.saturating_sub(1), String::new());
    lines.push(foot(model));
    let lines = lines.iter().map(|line| cut(&stream.text(line), columns)).collect();
    Frame { lines, shown, of: page.len() }
}

/// `approvals · ada@example.com (owner) · 2 waiting · live`, and the time on the right.
fn head(model: &Model, now: Timestamp, columns: usize) -> String {
    let waiting = model.waiting.len() as u64;
    let more = if waiting >= u64::from(WAITING_MAX) { "+" } else { "" };
    let link = match model.lost {
        None => "live".to_owned(),
        Some(since) => format!("! connection lost {} ago, trying again", words::since(since, now)),
    };
    let (operator, role) = (&model.operator, model.role.as_str());
    let left = format!("approvals · {operator} ({role}) · {}{more} waiting · {link}", count(waiting));
    let clock = now.strftime("%H:%M:%S").to_string();
    let blank = columns.saturating_sub(left.width() + clock.len()).max(2);
    format!("{left}{}{clock}", " ".repeat(blank))
}

/// The calls around the chosen one, and those that have just ended; `max` lines, three at least.
fn list(model: &Model, now: Timestamp, max: usize) -> Vec<String> {
    let max = max.max(3);
    let ended = model.ended.iter().rev().take(max / 2).rev();
    let ended: Vec<String> =
        ended.map(|(_, call)| format!("  {}   {}", call.held.id, words::what_became(call, now))).collect();
    if model.waiting.is_empty() {
        let none = "  nothing waits for a decision".to_owned();
        return std::iter::once(none).chain(ended).collect();
    }
    let room = max - ended.len();
    let place = model.waiting.iter().position(|call| Some(call.held.id) == model.chosen).unwrap_or(0);
    let first = place.saturating_sub(room / 2).min(model.waiting.len().saturating_sub(room));
    let rows: Vec<[String; 6]> = model
        .waiting
        .iter()
        .skip(first)
        .take(room)
        .map(|call| {
            let held = &call.held;
            [
                words::left(held.decide_by, now),
                held.agent.to_string(),
                held.service.to_string(),
                escape_foreign(&held.action).into_owned(),
                words::risk(call),
                words::rule(call, Some(&model.operator)),
            ]
        })
        .collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.width().max(*width);
        }
    }
    let [_, agents, services, actions, risks, _] = widths;
    let padded =
        |text: &str, width: usize| format!("{text}{}", " ".repeat(width.saturating_sub(text.width())));
    let calls = model.waiting.iter().skip(first).zip(&rows).map(
        |(call, [left, agent, service, action, risk, rule])| {
            let mark = if Some(call.held.id) == model.chosen { ">" } else { " " };
            format!(
                "{mark} {}  {left:>12}  {}  {}  {}  {risk:>risks$}  {rule}",
                call.held.id,
                padded(agent, agents),
                padded(service, services),
                padded(action, actions),
            )
        },
    );
    calls.chain(ended).collect()
}

/// The page, every line as wide as the screen at most. Nothing of it is left out.
fn page_lines(model: &Model, now: Timestamp, columns: usize, stream: &Stream) -> Vec<String> {
    match &model.page {
        None => Vec::new(),
        Some(Err(why)) => wrap(&stream.text(&format!("! {why}")), columns),
        Some(Ok(page)) => {
            let mut lines = page::lines(&page.page, now);
            // How far it is stands on a line of its own where it would be broken.
            let head = lines.first().filter(|head| head.width() > columns);
            if let Some((subject, standing)) = head.and_then(|head| head.rsplit_once("  ")) {
                let head = [subject.trim_end().to_owned(), format!("{:INDENT$}{standing}", "")];
                lines.splice(..1, head);
            }
            lines.iter().flat_map(|line| wrap(&stream.text(line), columns)).collect()
        }
    }
}

fn foot(model: &Model) -> String {
    let digest = match &model.page {
        Some(Ok(page)) => page.page.digest.get(..8).unwrap_or_default(),
        _ => "",
    };
    match &model.mode {
        Mode::Look => KEYS.to_owned(),
        Mode::Said(text) => text.clone(),
        Mode::Sure { reason: None } => format!("Approve exactly this, digest {digest}…? [y/N]"),
        Mode::Sure { reason: Some(reason) } => {
            format!("Deny exactly this, digest {digest}…? [y/N]   \"{}\"", escape_foreign(reason))
        }
        Mode::Reason(typed) => {
            format!("Reason (the agent is told, Esc goes back): {}_", escape_foreign(typed))
        }
    }
}

/// A line in pieces that fit; those behind the first stand under the text, never at the start of a line.
fn wrap(line: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let indent = if columns >= 3 * INDENT { INDENT } else { 2.min(columns - 1) };
    let mut pieces = vec![String::new()];
    let mut width = 0;
    for character in line.chars() {
        let wide = character.width().unwrap_or(0);
        if width + wide > columns {
            pieces.push(" ".repeat(indent));
            width = indent;
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(character);
        }
        width += wide;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use domain::{approval::Status, operator::OperatorRole};

    use super::*;
    use crate::commands::approvals::fixture;

    fn model() -> Model {
        let mut model = Model::new(fixture::email("ada"), OperatorRole::Owner);
        let mut refund = fixture::refund();
        refund.decisions.push(fixture::says("ada", true, None, fixture::now()));
        let mut denied = fixture::write("ap_0q6zj4h8ce");
        denied.status = Status::Denied;
        let at = fixture::now() - fixture::seconds(9);
        denied.decisions.push(fixture::says("grace", false, Some("wrong folder"), at));
        model.ended = vec![(at, denied)];
        model.chosen = Some(refund.held.id);
        model.waiting = vec![refund.clone(), fixture::write("ap_3c8vn1t5zb")];
        model.show(fixture::page(refund));
        model
    }

    fn drawn(model: &Model, columns: usize, rows: usize) -> Frame {
        let frame = draw(model, fixture::now(), Size { columns, rows }, &Stream::plain());
        assert_eq!(frame.lines.len(), rows);
        assert!(frame.lines.iter().all(|line| line.width() <= columns), "{:#?}", frame.lines);
        frame
    }

    #[test]
    fn the_screen_reads_as_the_experience_has_it() {
        let frame = drawn(&model(), 100, 24);
        assert_eq!(
            frame.lines[..6],
            [
                "approvals · ada@example.com (owner) · 2 waiting · live                                      14:05:02",
                "> ap_7m2kd9q4xw   23 h 58 min  laptop  billing  POST /v1/refunds  0.30  big refunds, 1 of 2, by you",
                "  ap_3c8vn1t5zb   23 h 58 min  laptop  files    write_file        0.30  writes",
                "  ap_0q6zj4h8ce   decided 9 s ago by grace@example.com: denied, \"wrong folder\"",
                "",
                "POST /v1/refunds on billing, asked by laptop (user)         pending · 1 of 2 · 23 h 58 min left",
            ]
        );
        assert_eq!(frame.lines[23], "↑↓ choose   space scroll   a approve   d deny   q quit");
        assert_eq!((frame.shown, frame.of), (13, 13));
        assert!(frame.lines[17].starts_with("digest      "));
    }

    #[test]
    fn a_small_screen_wraps_the_page_and_cuts_only_the_list() {
        let frame = drawn(&model(), 80, 14);
        assert_eq!(
            frame.lines[..8],
            [
                "approvals · ada@example.com (owner) · 2 waiting · live                  14:05:02",
                "> ap_7m2kd9q4xw   23 h 58 min  laptop  billing  POST /v1/refunds  0.30  big ref…",
                "  ap_3c8vn1t5zb   23 h 58 min  laptop  files    write_file        0.30  writes",
                "  ap_0q6zj4h8ce   decided 9 s ago by grace@example.com: denied, \"wrong folder\"",
                "-- lines 1 to 8 of 15 --",
                "POST /v1/refunds on billing, asked by laptop (user)",
                "            pending · 1 of 2 · 23 h 58 min left",
                "sends       POST https://api.example.com/v1/refunds    content-type: application",
            ]
        );
        assert_eq!((frame.shown, frame.of), (8, 15));
    }

    #[test]
    fn a_lost_store_and_an_empty_inbox_are_told() {
        let mut model = Model::new(fixture::email("ada"), OperatorRole::Approver);
        model.lost = Some(fixture::now() - fixture::seconds(4));
        let frame = drawn(&model, 100, 6);
        assert!(frame.lines[0].contains("0 waiting · ! connection lost 4 s ago, trying again  "));
        assert_eq!(frame.lines[1], "  nothing waits for a decision");
    }

    #[test]
    fn foreign_text_cannot_draw_and_tiny_screens_do_not_fail() {
        let mut model = model();
        model.waiting[0].held.action = "\u{1b}[2J\u{202e}漢字\n".repeat(9);
        model.mode = Mode::Reason("\u{202e}no".to_owned());
        for (columns, rows) in [(100, 24), (80, 10), (20, 5), (2, 2), (1, 1)] {
            let frame = drawn(&model, columns, rows);
            assert!(!frame.lines.concat().contains(['\u{1b}', '\u{202e}', '\n']));
        }
    }

    #[test]
    fn with_ten_thousand_waiting_the_chosen_one_is_on_the_screen() {
        let mut model = model();
        let id = |number: u64| domain::names::ApprovalId::new(number << 20);
        model.waiting = (0..1_000).map(|_| fixture::write("ap_3c8vn1t5zb")).collect();
        for (number, call) in (0..).zip(&mut model.waiting) {
            call.held.id = id(number);
        }
        for chosen in [0, 1, 500, 998, 999] {
            model.chosen = Some(id(chosen));
            let frame = drawn(&model, 100, 24);
            assert!(frame.lines.iter().any(|line| line.starts_with(&format!("> {}", id(chosen)))));
            assert!(frame.lines[0].contains("1,000+ waiting"));
        }
    }
}
