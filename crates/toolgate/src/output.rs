//! What people read in a terminal: one voice for every command.
//! The answer goes to stdout, the talk to stderr; nothing here decides anything.

pub mod advice;
pub mod figures;
mod invocation;
mod table;

use std::{
    borrow::Cow,
    ffi::OsStr,
    fmt::Display,
    io::{IsTerminal, Write},
};

pub use domain::foreign::escape_foreign;
pub use figures::{age, count, count_of, day_and_time, milliseconds, short_time, size};
pub use invocation::{Invocation, program, shell_quote};
pub use table::{Column, Table, cut};

/// When colours are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On terminals, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always, even into files and over `NO_COLOR`.
    Always,
    /// Never.
    Never,
}

/// The mark at the start of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It holds, it is done.
    Done,
    /// It failed, it is harmful.
    Failed,
    /// Look at this.
    Look,
    /// Something new.
    Added,
    /// Something changed.
    Changed,
    /// Nothing changed.
    Same,
}

/// A colour or weight; it never carries meaning alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Holds, done, added.
    Green,
    /// Failed, harmful.
    Red,
    /// Look at this, changed.
    Yellow,
    /// Beside the point.
    Dim,
    /// The point.
    Bold,
}

/// How one stream can be written to.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// Escapes for colours are understood and wanted.
    pub color: bool,
    /// It shows more than ASCII.
    pub unicode: bool,
    /// Somebody looks at it right now.
    pub terminal: bool,
    /// Columns, 100 at most; 100 when it is no terminal.
    pub width: usize,
}

impl Stream {
    /// A file: no colours, UTF-8, 100 columns.
    #[cfg(test)]
    pub const fn plain() -> Self {
        Self { color: false, unicode: true, terminal: false, width: 100 }
    }

    fn new(color: Color, terminal: bool, variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let dumb = variable("TERM").is_some_and(|term| term == "dumb");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| set(name));
        let utf8 = |locale: &OsStr| {
            let locale = locale.to_string_lossy().to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        };
        // Without any locale set, pipes and containers still carry UTF-8.
        let unicode = !dumb && locale.is_none_or(|locale| utf8(&locale));
        let color = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !dumb && set("NO_COLOR").is_none(),
        };
        let columns = set("COLUMNS").and_then(|columns| columns.to_str()?.parse::<usize>().ok());
        let width =
            if terminal { columns.or_else(terminal_columns).unwrap_or(100).clamp(40, 100) } else { 100 };
        Self { color, unicode, terminal, width }
    }

    /// `text` in a style, where the stream shows styles.
    #[must_use]
    pub fn paint<'t>(&self, style: Style, text: impl Into<Cow<'t, str>>) -> Cow<'t, str> {
        let text = text.into();
        if !self.color {
            return text;
        }
        let code = match style {
            Style::Green => "32",
            Style::Red => "31",
            Style::Yellow => "33",
            Style::Dim => "2",
            Style::Bold => "1",
        };
        Cow::Owned(format!("\u{1b}[{code}m{text}\u{1b}[0m"))
    }

    /// A mark, in its colour, or its plain form where the stream shows ASCII only.
    #[must_use]
    pub fn mark(&self, mark: Mark) -> Cow<'static, str> {
        let (symbol, plain, style) = match mark {
            Mark::Done => ("✓", "ok", Style::Green),
            Mark::Failed => ("✗", "FAIL", Style::Red),
            Mark::Look => ("!", "!", Style::Yellow),
            Mark::Added => ("+", "+", Style::Green),
            Mark::Changed => ("~", "~", Style::Yellow),
            Mark::Same => ("=", "=", Style::Dim),
        };
        self.paint(style, if self.unicode { symbol } else { plain })
    }

    /// Our own text, with its few symbols in plain form where the stream shows ASCII only.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.unicode || text.is_ascii() {
            return Cow::Borrowed(text);
        }
        let mut plain = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '·' | '–' => plain.push('-'),
                '→' => plain.push_str("->"),
                '…' => plain.push_str("..."),
                '×' => plain.push('x'),
                '✓' => plain.push_str("ok"),
                '✗' => plain.push_str("FAIL"),
                '“' | '”' => plain.push('"'),
                other if other.is_ascii() => plain.push(other),
                other => plain.extend(other.escape_unicode()),
            }
        }
        Cow::Owned(plain)
    }
}

/// The two streams of a command and what the user wants on them.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Where the answer goes.
    pub stdout: Stream,
    /// Where the talk goes.
    pub stderr: Stream,
    /// The answer is JSON; not a word besides it.
    pub json: bool,
    /// No talk.
    quiet: bool,
}

impl Output {
    /// Looks at both streams and at the environment.
    #[must_use]
    pub fn new(color: Color, json: bool, quiet: bool) -> Self {
        let variable = |name: &str| std::env::var_os(name);
        Self {
            stdout: Stream::new(color, std::io::stdout().is_terminal(), variable),
            stderr: Stream::new(color, std::io::stderr().is_terminal(), variable),
            json,
            quiet,
        }
    }

    /// Whether nobody wants any talk.
    #[must_use]
    pub fn quiet(&self) -> bool {
        self.quiet || self.json
    }

    /// Writes a line of the answer to stdout.
    ///
    /// # Errors
    /// When stdout cannot be written, above all a closed pipe.
    pub fn answer(&self, line: impl AsRef<str>) -> std::io::Result<()> {
        write_line(&mut std::io::stdout().lock(), &self.stdout.text(line.as_ref()))
    }

    /// Writes a line of the answer with a mark before it.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn answer_marked(&self, mark: Mark, line: impl Display) -> std::io::Result<()> {
        self.answer(format!("{} {line}", self.stdout.mark(mark)))
    }

    /// Writes foreign or machine-read text to stdout exactly as it is.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn raw(&self, line: &str) -> std::io::Result<()> {
        write_line(&mut std::io::stdout().lock(), line)
    }

    /// Writes one JSON value and a line feed to stdout.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn json(&self, value: &impl serde::Serialize) -> std::io::Result<()> {
        let mut text = serde_json::to_string(value)?;
        text.push('\n');
        std::io::stdout().lock().write_all(text.as_bytes())
    }

    /// Says something on stderr, unless `--quiet` or `--json` ask for silence.
    pub fn talk(&self, line: impl AsRef<str>) {
        if !self.quiet() {
            self.complain(line);
        }
    }

    /// Warns about something that touches safety: `--quiet` does not drop it.
    pub fn warn(&self, line: impl Display) {
        if !self.json {
            self.complain(format!("{} {line}", self.stderr.mark(Mark::Look)));
        }
    }

    /// Says on stderr what went wrong. Never dropped.
    pub fn complain(&self, line: impl AsRef<str>) {
        // When even stderr is gone there is nobody left to tell.
        let _ = write_line(&mut std::io::stderr().lock(), &self.stderr.text(line.as_ref()));
    }

    /// Whether a question can be asked: somebody reads stderr and types on stdin.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.stderr.terminal && std::io::stdin().is_terminal() && !self.json
    }
}

fn write_line(stream: &mut impl Write, line: &str) -> std::io::Result<()> {
    stream.write_all(line.as_bytes())?;
    stream.write_all(b"\n")?;
    stream.flush()
}

/// What the terminal says about its width.
fn terminal_columns() -> Option<usize> {
    let (_, columns) = dialoguer::console::Term::stderr().size_checked()?;
    Some(usize::from(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(color: Color, terminal: bool, variables: &[(&str, &str)]) -> Stream {
        Stream::new(color, terminal, |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn colours_are_for_terminals_and_obey_no_color() {
        assert!(stream(Color::Auto, true, &[]).color);
        assert!(!stream(Color::Auto, false, &[]).color);
        assert!(!stream(Color::Auto, true, &[("NO_COLOR", "1")]).color);
        assert!(stream(Color::Auto, true, &[("NO_COLOR", "")]).color, "an empty NO_COLOR is unset");
        assert!(!stream(Color::Auto, true, &[("TERM", "dumb")]).color);
        assert!(stream(Color::Always, false, &[("NO_COLOR", "1")]).color);
        assert!(!stream(Color::Never, true, &[]).color);
    }

    #[test]
    fn a_locale_without_utf8_gets_the_plain_forms() {
        let plain = stream(Color::Auto, false, &[("LANG", "C")]);
        assert_eq!(plain.mark(Mark::Done), "ok");
        assert_eq!(plain.mark(Mark::Failed), "FAIL");
        assert_eq!(plain.text("a · b → c…"), "a - b -> c...");
        let rich = stream(Color::Auto, false, &[("LANG", "en_US.UTF-8")]);
        assert_eq!(rich.mark(Mark::Done), "✓");
        assert_eq!(rich.text("a · b"), "a · b");
    }

    #[test]
    fn lc_all_wins_over_lang() {
        assert!(!stream(Color::Auto, false, &[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")]).unicode);
    }
}
