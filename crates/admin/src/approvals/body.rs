//! A body as shown to the person who decides on it: JSON with one member per line, number lexemes and strings as they
//! will be sent; anything else line by line. Nothing is ever left out, however long it is.

use domain::foreign::{Oddities, escape_foreign, escape_foreign_bytes};
use wire::{
    Limits, Raw,
    json::{self, Kind},
};

/// What of an inner object or list stands on one line (characters).
const ONE_LINE: usize = 60;

/// A body as people read it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ShownBody {
    /// Its lines, escaped; none where it is empty.
    pub lines: Vec<String>,
    /// Characters that are written out because nobody would see them, or take them for others.
    pub odd: Oddities,
}

impl ShownBody {
    /// A body; `json`: it says that it is JSON, and is laid out as such where that is true.
    #[must_use]
    pub fn of(body: &[u8], json: bool) -> Self {
        match read(body).filter(|_| json) {
            Some(raw) => Self::of_json(raw),
            None => Self::of_text(body),
        }
    }

    /// An MCP message: its parameters, or all of it where it has members that MCP does not know.
    #[must_use]
    pub fn of_message(message: &[u8]) -> Self {
        let Some(root) = read(message) else { return Self::of_text(message) };
        let usual = |name: &str| matches!(name, "jsonrpc" | "id" | "method" | "params");
        if !root.members().all(|(key, _)| usual(&key.decoded())) {
            return Self::of_json(root);
        }
        root.get("params").map(Self::of_json).unwrap_or_default()
    }

    fn of_json(raw: Raw<'_>) -> Self {
        let mut shown = Self { lines: vec![String::new()], odd: Oddities::default() };
        shown.count(raw);
        match raw.kind() {
            Kind::Object | Kind::Array if !is_empty(raw) => {
                let open = if raw.is_object() { "{ " } else { "[ " };
                shown.push(open);
                shown.items(raw, 2);
            }
            _ => {
                let text = one_line(raw, usize::MAX).unwrap_or_default();
                shown.push(&text);
            }
        }
        shown
    }

    fn of_text(body: &[u8]) -> Self {
        let mut odd = Oddities::default();
        for chunk in body.utf8_chunks() {
            odd.count(chunk.valid());
        }
        let body = body.strip_suffix(b"\n").unwrap_or(body);
        let lines = if body.is_empty() { Vec::new() } else { body.split(|byte| *byte == b'\n').collect() };
        Self { lines: lines.into_iter().map(escape_foreign_bytes).collect(), odd }
    }

    /// The members or elements, one a line from the second on, and the closing bracket behind the last.
    fn items(&mut self, raw: Raw<'_>, indent: usize) {
        let keys = raw.members().map(|(key, value)| (Some(escape_foreign(key.raw())), value));
        let items = keys.chain(raw.elements().map(|value| (None, value)));
        for (place, (key, value)) in items.enumerate() {
            if place > 0 {
                self.push(",");
                self.lines.push(" ".repeat(indent));
            }
            if let Some(key) = key {
                self.push(&key);
                self.push(": ");
            }
            if let Some(text) = one_line(value, ONE_LINE) {
                self.push(&text);
            } else if matches!(value.kind(), Kind::Object | Kind::Array) {
                self.push(if value.is_object() { "{" } else { "[" });
                self.lines.push(" ".repeat(indent + 2));
                self.items(value, indent + 2);
            } else {
                self.push(&escape_foreign(value.text()));
            }
        }
        self.push(if raw.is_object() { " }" } else { " ]" });
    }

    fn push(&mut self, text: &str) {
        if let Some(line) = self.lines.last_mut() {
            line.push_str(text);
        }
    }

    fn count(&mut self, raw: Raw<'_>) {
        if let Some(text) = raw.as_str() {
            self.odd.count(&text);
        }
        for (key, value) in raw.members() {
            self.odd.count(&key.decoded());
            self.count(value);
        }
        for value in raw.elements() {
            self.count(value);
        }
    }
}

fn read(body: &[u8]) -> Option<Raw<'_>> {
    json::read(body, &Limits { bytes: usize::MAX, depth: Limits::DEPTH_MAX }).ok()
}

fn is_empty(raw: Raw<'_>) -> bool {
    raw.members().next().is_none() && raw.elements().next().is_none()
}

/// A value on one line; `None` when it is longer than `max` characters.
fn one_line(raw: Raw<'_>, max: usize) -> Option<String> {
    let mut line = String::new();
    write_one_line(raw, max, &mut line).then_some(line)
}

fn write_one_line(raw: Raw<'_>, max: usize, line: &mut String) -> bool {
    let (open, close) = match raw.kind() {
        Kind::Object => ("{", "}"),
        Kind::Array => ("[", "]"),
        _ => {
            line.push_str(&escape_foreign(raw.text()));
            return line.chars().take(max.saturating_add(1)).count() <= max;
        }
    };
    line.push_str(open);
    let keys = raw.members().map(|(key, value)| (Some(key), value));
    for (place, (key, value)) in keys.chain(raw.elements().map(|value| (None, value))).enumerate() {
        line.push_str(if place > 0 { ", " } else { " " });
        if let Some(key) = key {
            line.push_str(&escape_foreign(key.raw()));
            line.push_str(": ");
        }
        if !write_one_line(value, max, line) {
            return false;
        }
    }
    if !is_empty(raw) {
        line.push(' ');
    }
    line.push_str(close);
    line.chars().take(max.saturating_add(1)).count() <= max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_a_member_a_line_with_its_lexemes_as_they_are() {
        let body = "{\"amount\":5000.00,\"charge\":\"ch_1042\u{202e}\",\"reason\":\"p\\u0430y\\n`x`\"}";
        let shown = ShownBody::of(body.as_bytes(), true);
        assert_eq!(
            shown.lines,
            [
                "{ \"amount\": 5000.00,",
                "  \"charge\": \"ch_1042\\u{202e}\",",
                "  \"reason\": \"p\\u0430y\\n`x`\" }"
            ]
        );
        assert_eq!(shown.odd, Oddities { invisible: 1, lookalikes: 1 });
    }

    #[test]
    fn what_is_inside_stands_on_one_line_where_it_fits() {
        let long = "x".repeat(80);
        let body = format!("[{{\"a\":[1,2],\"b\":{{}}}},{{\"c\":\"{long}\",\"d\":[[]]}},\"{long}\"]");
        assert_eq!(
            ShownBody::of(body.as_bytes(), true).lines,
            [
                "[ { \"a\": [ 1, 2 ], \"b\": {} },".to_owned(),
                "  {".to_owned(),
                format!("    \"c\": \"{long}\","),
                "    \"d\": [ [] ] },".to_owned(),
                format!("  \"{long}\" ]"),
            ]
        );
    }

    #[test]
    fn no_byte_of_a_body_is_left_out() {
        for (body, json, lines) in [
            (&b""[..], false, &[][..]),
            (b"a=1&b=%20", false, &["a=1&b=%20"]),
            (b"one\n\x1b[2Jtwo\n\nend", false, &["one", "\\u{1b}[2Jtwo", "", "end"]),
            (b"\xff\x00", false, &["\\x{ff}\\u{0}"]),
            (b"{\"a\":1,\"a\":2}", true, &["{\"a\":1,\"a\":2}"]),
            (b"{}", true, &["{}"]),
            (b"17", true, &["17"]),
            (b"{\"a\":1}", false, &["{\"a\":1}"]),
        ] {
            assert_eq!(ShownBody::of(body, json).lines, lines);
        }
        let many = format!("[{}]", vec!["\"0123456789\""; 10_000].join(","));
        let shown = ShownBody::of(many.as_bytes(), true);
        assert_eq!((shown.lines.len(), shown.lines[9_999].as_str()), (10_000, "  \"0123456789\" ]"));
    }

    #[test]
    fn a_message_shows_its_parameters_or_all_of_it() {
        let usual =
            br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"write","arguments":{}}}"#;
        assert_eq!(ShownBody::of_message(usual).lines, ["{ \"name\": \"write\",", "  \"arguments\": {} }"]);
        let odd = br#"{"jsonrpc":"2.0","id":7,"method":"m","params":{},"x":1}"#;
        assert_eq!(ShownBody::of_message(odd).lines.len(), 5);
        assert!(ShownBody::of_message(br#"{"jsonrpc":"2.0","id":7,"method":"m"}"#).lines.is_empty());
    }
}
