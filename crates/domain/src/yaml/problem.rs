//! What is wrong in a file, shown the way people read it: place, sentence, line, carets.

use std::{fmt, fmt::Write as _};

use super::{Key, Place, hidden::without_secrets};
use crate::foreign::escape_foreign;

/// So much of a long line is shown around a fault (characters).
const SHOWN_MAX: usize = 160;

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
    /// The line at that place; secrets in it are starred out.
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

    pub(super) fn problem(&self, severity: Severity, place: Place, message: String) -> Problem {
        let line_text =
            place.line.checked_sub(1).and_then(|index| self.text.lines().nth(index)).unwrap_or_default();
        Problem {
            severity,
            file: self.file.to_owned(),
            place,
            message,
            line_text: without_secrets(line_text),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let file = escape_foreign(&self.file);
        if self.place.line == 0 {
            return write!(f, "{file}: {word}: {}", self.message);
        }
        let Place { line, column, width } = self.place;
        writeln!(f, "{file}:{line}:{column}: {word}: {}", self.message)?;
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
