//! The screen as lines, from its state alone.

use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::{
    follow::WAITING_MAX,
    model::{Mode, Model},
};
use crate::{
    commands::approvals::{page, words},
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
            let lines = page::lines(&page.page, now);
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
    let indent = if columns >= 3 * page::INDENT { page::INDENT } else { 2.min(columns - 1) };
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
