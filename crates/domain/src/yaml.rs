//! How people's files are read: YAML as a tree that knows where each part stands, and problems that show
//! the line. Anchors, aliases, tags, directives and second documents are refused: nothing here expands.

use std::{borrow::Cow, fmt, fmt::Write as _, time::Duration};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

/// Deeper nesting than any file of ours needs.
const DEPTH_MAX: usize = 32;
/// Larger files are refused unread (bytes).
const SIZE_MAX: usize = 1024 * 1024;
/// So much of a long line is shown around a fault (characters).
const SHOWN_MAX: usize = 160;

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

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is not used.
    Error,
    /// The file is used; somebody should look.
    Warning,
}

/// Something wrong in a file. `Display` shows it the way people read it: place, sentence, line, carets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named to the reader.
    pub file: String,
    /// Where.
    pub place: Place,
    /// One sentence: lower case, no full stop, what to do last.
    pub message: String,
    /// The line at that place.
    pub line_text: String,
}

/// A file that is being read: makes [`Problem`]s that show its lines.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// How the file is named in problems.
    pub file: &'a str,
    /// Its text.
    pub text: &'a str,
}

impl Source<'_> {
    /// Something that makes the file unusable.
    #[must_use]
    pub fn error(&self, place: Place, message: impl Into<String>) -> Problem {
        self.problem(Severity::Error, place, message.into())
    }

    /// Something that somebody should look at.
    #[must_use]
    pub fn warning(&self, place: Place, message: impl Into<String>) -> Problem {
        self.problem(Severity::Warning, place, message.into())
    }

    /// A key that nothing reads, with the known key that it is close to, else all of them.
    #[must_use]
    pub fn unknown_key(&self, key: &Key, known: &[&str]) -> Problem {
        let name = key.text.escape_debug();
        let hint = match did_you_mean(&key.text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", known.join(", ")),
        };
        self.error(key.place, format!("unknown key `{name}`; {hint}"))
    }

    fn problem(&self, severity: Severity, place: Place, message: String) -> Problem {
        let line_text =
            place.line.checked_sub(1).and_then(|index| self.text.lines().nth(index)).unwrap_or_default();
        Problem { severity, file: self.file.to_owned(), place, message, line_text: line_text.to_owned() }
    }
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
    let options = granit_parser::options! { disallow_directives: true, emit_comments: false };
    let mut reader =
        Reader { source, events: Parser::new_from_str_with_options(text, options), problems: Vec::new() };
    let node = reader.document().map_err(|problem| vec![*problem])?;
    if reader.problems.is_empty() { Ok(node) } else { Err(reader.problems) }
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

/// The word of `known` that `word` was probably meant to be: few edits away, for its length.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().take(64).collect();
    let near = |candidate: &str| edits(&word, &candidate.chars().collect::<Vec<_>>());
    let (distance, best) =
        known.into_iter().map(|name| (near(name), name)).min_by_key(|(distance, _)| *distance)?;
    (distance <= (word.len() / 3).clamp(1, 3)).then_some(best)
}

/// The Levenshtein distance, with a swap of neighbours as one edit.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let change = at(&last, j) + usize::from(from != to);
            let mut best = change.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    at(&last, b.len())
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        if self.place.line == 0 {
            return write!(f, "{}: {word}: {}", self.file, self.message);
        }
        let Place { line, column, width } = self.place;
        writeln!(f, "{}:{line}:{column}: {word}: {}", self.file, self.message)?;
        let skipped = if self.line_text.chars().count() > SHOWN_MAX { column.saturating_sub(40) } else { 0 };
        let shown: String = self.line_text.chars().skip(skipped).take(SHOWN_MAX).map(visible).collect();
        let indent = column.saturating_sub(1).saturating_sub(skipped);
        let carets = width.min(shown.chars().count().saturating_sub(indent)).max(1);
        writeln!(f, "{line:>4} | {}", shown.trim_end())?;
        write!(f, "     | {:indent$}{:^<carets$}", "", "")
    }
}

/// Characters that would move the carets or the reader's eye become one plain sign each.
fn visible(character: char) -> char {
    match character {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' => {
            '\u{fffd}'
        }
        other if other.is_control() => '\u{fffd}',
        other => other,
    }
}

struct Reader<'a> {
    source: Source<'a>,
    events: Parser<'a, granit_parser::StrInput<'a>>,
    problems: Vec<Problem>,
}

type Read<T> = Result<T, Box<Problem>>;

impl<'a> Reader<'a> {
    fn document(&mut self) -> Read<Node> {
        let node = loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Err(self.stop(Place::default(), "the file is empty")),
                (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
                (event, span) => break self.node(event, span, 0)?,
            }
        };
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(node),
                (Event::DocumentEnd, _) => {}
                (_, span) => {
                    return Err(self.stop(self.place(span), "only one document belongs in this file"));
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Read<Node> {
        let place = self.place(span);
        if depth > DEPTH_MAX {
            return Err(self.stop(place, format!("nested deeper than {DEPTH_MAX}")));
        }
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(_, anchor, tag)
            | Event::MappingStart(_, anchor, tag) => (*anchor, tag.is_some()),
            Event::Alias(_) => (1, false),
            _ => return Err(self.stop(place, "this is not understood here")),
        };
        if anchor != 0 {
            return Err(self.stop(place, "anchors and aliases are not supported; write the value out"));
        }
        if tag {
            return Err(self.stop(place, "tags are not supported; leave the `!…` out"));
        }
        match event {
            Event::Scalar(text, style, ..) => Ok(Node { place, value: scalar(text, style) }),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => {
                            return Ok(Node {
                                place: self.until(place, span, end),
                                value: Value::List(list),
                            });
                        }
                        (event, span) => list.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            _ => {
                let mut map: Vec<(Key, Node)> = Vec::new();
                loop {
                    let (event, key_span) = self.next()?;
                    if matches!(event, Event::MappingEnd) {
                        return Ok(Node { place: self.until(place, span, key_span), value: Value::Map(map) });
                    }
                    let key = self.node(event, key_span, depth + 1)?;
                    let Value::Scalar { text, .. } = key.value else {
                        return Err(self.stop(key.place, "a key must be a text"));
                    };
                    let (event, value_span) = self.next()?;
                    let value = self.node(event, value_span, depth + 1)?;
                    let key = Key { place: key.place, text };
                    match map.iter().find(|(other, _)| other.text == key.text) {
                        Some((first, _)) => {
                            let name = key.text.escape_debug();
                            let message =
                                format!("`{name}` is already on line {}; leave one out", first.place.line);
                            self.problems.push(self.source.error(key.place, message));
                        }
                        None => map.push((key, value)),
                    }
                }
            }
        }
    }

    fn next(&mut self) -> Read<(Event<'a>, Span)> {
        match self.events.next() {
            Some(Ok(event)) => Ok(event),
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Err(fault)) => Err(self.syntax(&fault)),
        }
    }

    fn syntax(&self, fault: &ScanError) -> Box<Problem> {
        let marker = fault.marker();
        let place = Place { line: marker.line(), column: marker.col() + 1, width: 1 };
        let on_tab = self
            .source
            .problem(Severity::Error, place, String::new())
            .line_text
            .trim_start_matches(' ')
            .starts_with('\t');
        if on_tab {
            return self.stop(place, "a tab cannot indent YAML; use spaces");
        }
        self.stop(place, format!("not valid YAML: {}", fault.info()))
    }

    fn stop(&self, place: Place, message: impl Into<String>) -> Box<Problem> {
        Box::new(self.source.error(place, message))
    }

    fn place(&self, span: Span) -> Place {
        let width = if span.start.line() == span.end.line() {
            span.end.col().saturating_sub(span.start.col())
        } else {
            0
        };
        let place = Place { line: span.start.line(), column: span.start.col() + 1, width };
        if width > 0 || span.start.line() == span.end.line() { place } else { self.to_line_end(place) }
    }

    /// The place of a collection, now that its end is known.
    fn until(&self, place: Place, start: Span, end: Span) -> Place {
        if start.start.line() == end.end.line() && end.end.col() > start.start.col() {
            return Place { width: end.end.col() - start.start.col(), ..place };
        }
        self.to_line_end(place)
    }

    fn to_line_end(&self, place: Place) -> Place {
        let line = place
            .line
            .checked_sub(1)
            .and_then(|index| self.source.text.lines().nth(index))
            .unwrap_or_default();
        Place { width: line.trim_end().chars().count().saturating_sub(place.column - 1), ..place }
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain }
}

/// All problems as one text, errors and warnings in the order given, one after another.
#[must_use]
pub fn render_all(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{problem}");
    }
    text
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
