//! The small parts of pages: icons, badges, notes, times, and texts that others wrote.

use std::time::Duration;

use domain::{foreign::escape_foreign, risk::RiskScore};
use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, PreEscaped, html};

/// What a badge or a note means; its colour never says it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Look,
    Bad,
    Mine,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "ok",
            Self::Look => "warn",
            Self::Bad => "bad",
            Self::Mine => "acc",
        }
    }
}

/// The drawings, once on each page; [`icon`] refers to them.
const DRAWINGS: [(&str, &str); 27] = [
    ("menu", r#"<path d="M2.5 4.5h11M2.5 8h11M2.5 11.5h11"/>"#),
    ("chart", r#"<path d="M2.5 13.5h11M4.5 11V7.5M8 11V3.5M11.5 11V6"/>"#),
    ("inbox", r#"<path d="M2 9.5 4 3h8l2 6.5V13H2zM2 9.5h3.5l1 1.5h3l1-1.5H14"/>"#),
    ("list", r#"<path d="M5.5 4h8M5.5 8h8M5.5 12h8M2.5 4h.01M2.5 8h.01M2.5 12h.01"/>"#),
    (
        "agent",
        r#"<rect x="3" y="5.5" width="10" height="8" rx="2"/><path d="M8 5.5V3M6 9v1.2M10 9v1.2"/><circle cx="8" cy="2.2" r=".7"/>"#,
    ),
    ("plug", r#"<path d="M5.5 2v3.5M10.5 2v3.5M3.5 5.5h9V8a4.5 4.5 0 0 1-9 0zM8 12.5V14.5"/>"#),
    (
        "policy",
        r#"<path d="M8 1.8 13 3.6v4c0 3.2-2.1 5.4-5 6.6-2.9-1.2-5-3.4-5-6.6v-4zM5.8 8l1.6 1.6 2.9-3.1"/>"#,
    ),
    (
        "sliders",
        r#"<path d="M2.5 5h6M12 5h1.5M2.5 11h1.5M7.5 11h6"/><circle cx="10.2" cy="5" r="1.7"/><circle cx="5.8" cy="11" r="1.7"/>"#,
    ),
    ("check", r#"<path d="m3 8.5 3.2 3.2L13 4.8"/>"#),
    ("out", r#"<path d="M6.5 2.5h-4v11h4M6.5 8h7M10.8 5.2 13.5 8l-2.7 2.8"/>"#),
    ("alert", r#"<path d="M8 2.2 14.3 13H1.7zM8 6.4v3M8 11.2h.01"/>"#),
    ("chev", r#"<path d="m6 3.5 4.5 4.5L6 12.5"/>"#),
    ("x", r#"<path d="m4 4 8 8M12 4l-8 8"/>"#),
    (
        "repeat",
        r#"<path d="M3 7V6a2 2 0 0 1 2-2h8M10.5 1.5 13 4l-2.5 2.5M13 9v1a2 2 0 0 1-2 2H3M5.5 14.5 3 12l2.5-2.5"/>"#,
    ),
    ("clock", r#"<circle cx="8" cy="8" r="5.8"/><path d="M8 4.8V8l2.2 1.5"/>"#),
    (
        "users",
        r#"<circle cx="6" cy="5.3" r="2.5"/><path d="M1.5 13.5c.4-2.5 2.1-3.8 4.5-3.8s4.1 1.3 4.5 3.8M10.5 3a2.5 2.5 0 0 1 0 4.6M12.3 10c1.3.6 2 1.8 2.2 3.5"/>"#,
    ),
    ("user", r#"<circle cx="8" cy="5.3" r="2.8"/><path d="M2.8 13.8c.5-2.7 2.5-4 5.2-4s4.7 1.3 5.2 4"/>"#),
    ("stack", r#"<rect x="2.5" y="6" width="11" height="7.5" rx="1.5"/><path d="M4 3.8h8M5.5 1.8h5"/>"#),
    ("key", r#"<circle cx="5.2" cy="10.8" r="2.9"/><path d="m7.4 8.6 6-6M11 5l2 2"/>"#),
    ("gauge", r#"<path d="M2.5 12a6 6 0 1 1 11 0M8 10l2.6-3.4"/>"#),
    ("dash", r#"<circle cx="8" cy="8" r="5.8" stroke-dasharray="2.4 2.2"/>"#),
    ("dl", r#"<path d="M8 2.5v8M4.8 7.5 8 10.7l3.2-3.2M2.8 13.5h10.4"/>"#),
    ("ban", r#"<circle cx="8" cy="8" r="5.8"/><path d="m4 4 8 8"/>"#),
    ("stop", r#"<path d="M5.4 1.8h5.2l3.6 3.6v5.2l-3.6 3.6H5.4l-3.6-3.6V5.4zM8 4.8V8.6M8 11h.01"/>"#),
    ("plus", r#"<path d="M8 3v10M3 8h10"/>"#),
    (
        "copy",
        r#"<rect x="5.5" y="5.5" width="8" height="8" rx="1.5"/><path d="M10.5 2.5h-6a2 2 0 0 0-2 2v6"/>"#,
    ),
    (
        "eye",
        r#"<path d="M1.5 8S4 3.8 8 3.8 14.5 8 14.5 8 12 12.2 8 12.2 1.5 8 1.5 8z"/><circle cx="8" cy="8" r="1.9"/>"#,
    ),
];

/// All drawings; they show nothing themselves.
pub(super) fn sprite() -> Markup {
    html! {
        svg.sprite aria-hidden="true" {
            @for (name, drawing) in DRAWINGS {
                symbol id=(name) viewBox="0 0 16 16" { (PreEscaped(drawing)) }
            }
        }
    }
}

/// A drawing of the sprite. Readers of the screen get the words beside it.
pub(super) fn icon(name: &str) -> Markup {
    html! { svg.i aria-hidden="true" { use href={ "#" (name) } {} } }
}

/// A word with its icon.
pub(super) fn badge(tone: Tone, drawing: &str, text: impl AsRef<str>) -> Markup {
    html! { span class={ "badge " (tone.class()) } { (icon(drawing)) (text.as_ref()) } }
}

/// A message in the page.
pub(super) fn note(tone: Tone, drawing: &str, content: &Markup) -> Markup {
    let role = if tone == Tone::Bad { "alert" } else { "status" };
    html! { div class={ "note " (tone.class()) } role=(role) { (icon(drawing)) div { (content) } } }
}

/// An icon in the colour of what it means.
pub(super) fn sign(tone: Tone, drawing: &str) -> Markup {
    let class = match tone {
        Tone::Good => "t-ok",
        Tone::Look => "t-warn",
        Tone::Bad => "t-bad",
        Tone::Plain | Tone::Mine => "muted",
    };
    html! { span class=(class) { (icon(drawing)) } }
}

/// A text that somebody else wrote: whatever would hide, or read as something else, is written out and marked.
pub(super) fn foreign(text: &str) -> Markup {
    marked(&escape_foreign(text))
}

/// The same, cut after `max` characters: for lists only, never where somebody decides.
pub(super) fn foreign_cut(text: &str, max: usize) -> Markup {
    let cut: String = text.chars().take(max).collect();
    let more = cut.len() < text.len();
    html! { (foreign(&cut)) @if more { "…" } }
}

/// A text that is escaped already, with what was written out (`\u{202e}`) marked.
pub(super) fn marked(escaped: &str) -> Markup {
    let (mut pieces, mut rest) = (Vec::new(), escaped);
    while let Some((before, code, behind)) = written_out(rest) {
        pieces.push((before, code));
        rest = behind;
    }
    html! {
        @for (before, code) in pieces { (before) mark.cp { (code) } }
        (rest)
    }
}

/// Whether something in an escaped text was written out.
pub(super) fn is_odd(escaped: &str) -> bool {
    written_out(escaped).is_some()
}

/// The text before the first character that was written out, its code, and the text behind it.
fn written_out(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + text.get(from..)?.find('\\')?;
        let code = text.get(start..)?;
        let inside = code.strip_prefix("\\u{").or_else(|| code.strip_prefix("\\x{"));
        let digits = inside.and_then(|inside| inside.find('}')).filter(|digits| {
            let digits = code.get(3..3 + digits).unwrap_or_default();
            (1..=6).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if let Some(digits) = digits {
            let end = start + 3 + digits + 1;
            return Some((text.get(..start)?, text.get(start..end)?, text.get(end..)?));
        }
        from = start + 1;
    }
}

/// Lines of an escaped text: one element a line, those with something written out marked.
pub(super) fn code(lines: &[String], numbers: bool, label: &str) -> Markup {
    html! {
        pre class={ "code" @if numbers { " lines" } } tabindex="0" role="region" aria-label=(label) {
            @for line in lines {
                span class=[is_odd(line).then_some("odd")] { (member(line)) }
            }
        }
    }
}

/// Commands to copy, one a line; what a narrow page cannot show is scrolled to, never broken.
pub(super) fn commands(lines: &[&str]) -> Markup {
    html! { pre.code.commands tabindex="0" { @for line in lines { span { (line) } } } }
}

/// A line of JSON with its member's name set apart.
fn member(line: &str) -> Markup {
    let name = || {
        let begin = line.find('"')?;
        let blank = line.get(..begin)?.chars().all(|c| matches!(c, ' ' | '{' | '['));
        let end = line.find("\": ").filter(|_| blank)?;
        Some((line.get(..begin)?, line.get(begin..=end)?, line.get(end + 1..)?))
    };
    match name() {
        Some((before, name, behind)) => html! { (before) span.k { (marked(name)) } (marked(behind)) },
        None => marked(line),
    }
}

/// A risk as a number, a word and three bars.
pub(super) fn risk(score: RiskScore) -> Markup {
    let (class, word, bars) = match score.thousandths() {
        0..300 => ("risk", "Low", 1),
        300..700 => ("risk mid", "Medium", 2),
        _ => ("risk high", "High", 3),
    };
    html! {
        p class=(class) {
            b { (score) } (word) span.vh { " risk" }
            svg viewBox="0 0 25 8" aria-hidden="true" {
                @for bar in 0..3 {
                    rect class=[(bar < bars).then_some("on")] x=(bar * 9) width="7" height="8" rx="1.5" {}
                }
            }
        }
    }
}

/// A moment, in UTC: the time of today, else with the day.
pub(super) fn moment(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at.to_string()) { (moment_text(at, now)) } }
}

/// The same as text.
pub(super) fn moment_text(at: Timestamp, now: Timestamp) -> String {
    let (day, today) = (at.to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
    if day.date() == today.date() {
        day.strftime("%H:%M:%S").to_string()
    } else if day.year() == today.year() {
        day.strftime("%-d %b %H:%M").to_string()
    } else {
        day.strftime("%-d %b %Y %H:%M").to_string()
    }
}

/// A day.
pub(super) fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%-d %b %Y").to_string()
}

/// A moment to the thousandth of a second, as the trail has it.
pub(super) fn exact(at: Timestamp, now: Timestamp) -> String {
    let (zoned, today) = (at.to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
    let form = if zoned.date() == today.date() { "%H:%M:%S.%3f" } else { "%-d %b %H:%M:%S.%3f" };
    zoned.strftime(form).to_string()
}

/// How long ago something was, or how long something is: `2 min 40 s`, `23 h 54 min`, `6 days`.
pub(super) fn length(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600, seconds / 60);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..600 => match seconds % 60 {
            0 => format!("{minutes} min"),
            rest => format!("{minutes} min {rest} s"),
        },
        600..3_600 => format!("{minutes} min"),
        3_600..172_800 => match minutes % 60 {
            0 => format!("{hours} h"),
            rest => format!("{hours} h {rest} min"),
        },
        _ => format!("{days} days"),
    }
}

/// The seconds from `from` to `to`; 0 when that is in the past.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    Duration::try_from(to.duration_since(from)).unwrap_or_default().as_secs()
}

/// `3 min ago`, without the seconds where it was longer than a minute ago.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> String {
    match seconds(at, now) {
        0..2 => "now".to_owned(),
        long @ 60.. => format!("{} ago", length(long - long % 60)),
        short => format!("{} ago", length(short)),
    }
}

/// A number with its thousands set apart.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + 6);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number and its noun: `1 call`, `2 calls`.
pub(super) fn count(value: u64, noun: &str) -> String {
    format!("{} {noun}{}", number(value), if value == 1 { "" } else { "s" })
}

/// Milliseconds with two significant digits.
pub(super) fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 0.095 => format!("{ms:.2}"),
        ms if ms < 9.95 => format!("{ms:.1}"),
        ms => number(
            Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or_default().as_millis().try_into().unwrap_or(0),
        ),
    }
}

/// A part of an address, escaped (RFC 3986 §2.1).
pub(super) fn part(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_out_is_marked_and_nothing_is_lost() {
        assert_eq!(foreign("a\u{202e}<b>").into_string(), "a<mark class=\"cp\">\\u{202e}</mark>&lt;b&gt;");
        assert_eq!(
            marked("\\x{ff}\\n \\u{ \\u{zz}").into_string(),
            "<mark class=\"cp\">\\x{ff}</mark>\\n \\u{ \\u{zz}"
        );
        assert_eq!(foreign_cut("abcdef", 3).into_string(), "abc…");
        let line = member("{ \"a\\u{200b}\": \"x\",").into_string();
        assert_eq!(
            line,
            "{ <span class=\"k\">&quot;a<mark class=\"cp\">\\u{200b}</mark>&quot;</span>: &quot;x&quot;,"
        );
    }

    #[test]
    fn times_read_as_people_say_them() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (160, "2 min 40 s"),
            (2_460, "41 min"),
            (86_040, "23 h 54 min"),
            (7_200, "2 h"),
            (518_400, "6 days"),
        ] {
            assert_eq!(length(seconds), text);
        }
        let at: Timestamp = "2026-11-17T14:27:38.204Z".parse().unwrap();
        let later = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(moment_text(at, later("2026-11-17T20:00:00Z")), "14:27:38");
        assert_eq!(moment_text(at, later("2026-11-18T00:00:00Z")), "17 Nov 14:27");
        assert_eq!(exact(at, later("2026-11-17T20:00:00Z")), "14:27:38.204");
        assert_eq!(ago(at, later("2026-11-17T14:30:50Z")), "3 min ago");
        assert_eq!((number(1_204_551), number(12)), ("1,204,551".to_owned(), "12".to_owned()));
    }
}
