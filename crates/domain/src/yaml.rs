//! How people's files are read: YAML as a tree that knows where each part is, and problems that show the line.
//! Anchors, aliases, tags, directives and second documents are refused: nothing is expanded.

mod hidden;
mod problem;
mod reader;

use std::time::Duration;

pub use hidden::without_passwords;
pub use problem::{Problem, Severity, Source, did_you_mean, render_all};

/// Larger files are refused unread (bytes).
const SIZE_MAX: usize = 1024 * 1024;

/// A part of a file, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it starts, and how wide it is on its first line.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a node holds. Scalars are texts; whoever asks for a number or a truth parses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text; `plain` when it stood without quotes, so that `3` and `"3"` can be told apart.
    Scalar {
        /// The text, escapes resolved.
        text: String,
        /// Written without quotes.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the file; no key is there twice.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it stands.
    pub place: Place,
    /// The key.
    pub text: String,
}

/// A place in a file. Line and column count from 1, in characters; line 0 is the file as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// Characters on that line.
    pub width: usize,
}

/// Reads a file's text as one tree.
///
/// # Errors
/// Every duplicate key, or the first fault of the syntax. An empty file is an error too.
pub fn parse(file: &str, text: &str) -> Result<Node, Vec<Problem>> {
    let source = Source { file, text };
    if text.len() > SIZE_MAX {
        return Err(vec![source.error(Place::default(), "the file is larger than 1 MiB")]);
    }
    reader::read(source)
}

impl Node {
    /// The text of a scalar; an empty or `null` one without quotes is no text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    /// `true` or `false` without quotes; YAML 1.1's `yes`, `on` … are texts.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match &self.value {
            Value::Scalar { text, plain: true } => text.parse().ok(),
            _ => None,
        }
    }

    /// A plain decimal number without sign.
    #[must_use]
    pub fn as_number(&self) -> Option<u64> {
        match &self.value {
            Value::Scalar { text, plain: true } if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().ok()
            }
            _ => None,
        }
    }

    /// A length of time: `30s`, `10m`, `2h`, `1d`; at least a second, at most 366 days.
    #[must_use]
    pub fn as_duration(&self) -> Option<Duration> {
        let text = self.as_text()?;
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let unit = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return None,
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
        (1..=366 * 86_400).contains(&seconds).then(|| Duration::from_secs(seconds))
    }

    /// The elements of a list.
    #[must_use]
    pub fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// The members of a mapping.
    #[must_use]
    pub fn as_map(&self) -> Option<&[(Key, Node)]> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// Whether nothing was written: empty, `~` or `null`, without quotes.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// What it is, for a sentence: "a list".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } if self.as_bool().is_some() => "true or false",
            Value::Scalar { .. } if self.as_number().is_some() => "a number",
            Value::Scalar { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(text: &str) -> String {
        parse("f.yaml", text).unwrap_err().remove(0).to_string()
    }

    #[test]
    fn a_problem_shows_place_line_and_carets() {
        let text = "roles:\n  - { service: files, tool: [\"read_*\"] }\n";
        let tree = parse("policy.yaml", text).unwrap();
        let (_, roles) = &tree.as_map().unwrap()[0];
        let (key, _) = &roles.as_list().unwrap()[0].as_map().unwrap()[1];
        let problem = Source { file: "policy.yaml", text }.unknown_key(key, &["service", "tools"]);
        assert_eq!(
            problem.to_string(),
            "policy.yaml:2:23: error: unknown key `tool`; did you mean `tools`?\n   \
             2 |   - { service: files, tool: [\"read_*\"] }\n     |                       ^^^^"
        );
    }

    #[test]
    fn quoted_and_flow_places_are_exact() {
        let tree = parse("f", "a: \"x y\"\nb: [1, 2]\nc:\n  d: e\n").unwrap();
        let places: Vec<_> = tree.as_map().unwrap().iter().map(|(_, node)| node.place).collect();
        assert_eq!(places[0], Place { line: 1, column: 4, width: 5 });
        assert_eq!(places[1], Place { line: 2, column: 4, width: 6 });
        assert_eq!(places[2], Place { line: 4, column: 3, width: 4 });
    }

    #[test]
    fn what_expands_or_repeats_is_refused() {
        assert!(first("a: &x 1\nb: *x\n").contains("anchors and aliases"));
        assert!(first("a: !!str 1\n").contains("tags are not supported"));
        assert!(first("a: 1\n---\nb: 2\n").contains("only one document"));
        assert!(first("%YAML 1.2\n---\na: 1\n").contains("not valid YAML"));
        assert!(first("").contains("the file is empty"));
        assert!(first("# nothing\n").contains("the file is empty"));
        assert!(first("? [a]\n: 1\n").contains("a key must be a text"));
        assert!(first(&format!("{}{}", "[".repeat(40), "]".repeat(40))).contains("nested deeper"));
        assert!(first("a:\n\tb: 1\n").contains("a tab cannot indent"));
        assert!(first(&" ".repeat(SIZE_MAX + 1)).contains("larger than 1 MiB"));
    }

    #[test]
    fn every_duplicate_key_is_reported() {
        let problems = parse("f", "a: 1\na: 2\nb: { c: 1, c: 2 }\n").unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[0].message.contains("already on line 1"));
    }

    #[test]
    fn scalars_keep_what_was_written() {
        let tree = parse("f", "a: 007\nb: yes\nc: true\nd: \"true\"\ne:\nf: 12\n").unwrap();
        let node = |index: usize| &tree.as_map().unwrap()[index].1;
        assert_eq!(
            (node(0).as_text(), node(1).as_bool(), node(1).as_text()),
            (Some("007"), None, Some("yes"))
        );
        assert_eq!((node(2).as_bool(), node(3).as_bool()), (Some(true), None));
        assert!(node(4).is_null() && node(4).as_text().is_none());
        assert_eq!(node(5).as_number(), Some(12));
    }

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        assert_eq!(did_you_mean("fils", ["files", "billing"]), Some("files"));
        assert_eq!(did_you_mean("flies", ["files", "billing"]), Some("files"));
        assert_eq!(did_you_mean("weather", ["files", "billing"]), None);
        assert_eq!(did_you_mean("x", []), None);
    }

    #[test]
    fn nothing_in_the_line_reaches_the_terminal_as_control() {
        let text = "a: \"\u{1b}[31m\u{202e}\"\n";
        let problem = Source { file: "f", text }.error(Place { line: 1, column: 1, width: 1 }, "x");
        assert!(!problem.to_string().contains(['\u{1b}', '\u{202e}']));
    }
}
