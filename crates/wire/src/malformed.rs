//! Why foreign bytes were refused, in words fit for the one who sent them.
//! Foreign text inside a message is always escaped and bounded: see [`Excerpt`].

use std::fmt;

/// A refusal of foreign bytes: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Offset of the offending byte from the start of the document, in bytes.
    pub at: usize,
    /// What is wrong there.
    pub reason: Reason,
}

impl Malformed {
    /// A refusal for `reason` at byte `at`.
    pub const fn new(at: usize, reason: Reason) -> Self {
        Self { at, reason }
    }
}

impl std::error::Error for Malformed {}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            // These are about the document as a whole: a place would only puzzle.
            Reason::Empty | Reason::TooLong { .. } | Reason::Batch | Reason::Shape(_) => {
                write!(formatter, "{}", self.reason)
            }
            _ => write!(formatter, "{} at byte {}", self.reason, self.at),
        }
    }
}

/// What can be wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Nothing but white space.
    #[error("the document is empty")]
    Empty,
    /// Longer than `Limits::bytes`.
    #[error("the document is longer than {limit} bytes")]
    TooLong {
        /// The limit in force, in bytes.
        limit: usize,
    },
    /// Nested deeper than `Limits::depth`.
    #[error("nesting deeper than {limit} levels")]
    TooDeep {
        /// The limit in force, in levels.
        limit: u32,
    },
    /// Not UTF-8 (RFC 8259 §8.1).
    #[error("invalid UTF-8")]
    NotUtf8,
    /// A byte order mark in front of the document (RFC 8259 §8.1).
    #[error("byte order mark")]
    ByteOrderMark,
    /// More text after the value.
    #[error("trailing data")]
    TrailingData,
    /// The text ended inside a value.
    #[error("expected {expected}, found the end of the text")]
    Truncated {
        /// What should have come.
        expected: &'static str,
    },
    /// A character that the grammar does not allow here.
    #[error("expected {expected}, found `{found}`")]
    Unexpected {
        /// What should have come.
        expected: &'static str,
        /// What came.
        found: Excerpt,
    },
    /// An unescaped U+0000 to U+001F in a string.
    #[error("unescaped control character in a string")]
    ControlCharacter,
    /// An escape that RFC 8259 does not know.
    #[error("invalid escape in a string")]
    BadEscape,
    /// Half of a surrogate pair: it encodes no character, and parsers disagree on what to make of it.
    #[error("lone surrogate in a string")]
    LoneSurrogate,
    /// A number outside the grammar, like `01` or `1.`.
    #[error("invalid number")]
    BadNumber,
    /// The same key twice in one object, compared after decoding.
    #[error("duplicate key `{0}`")]
    DuplicateKey(Excerpt),
    /// A JSON-RPC batch, which MCP dropped in 2025-06-18.
    #[error("batches are not supported")]
    Batch,
    /// A member that is missing or of the wrong kind.
    #[error("`{member}` must {must}")]
    Member {
        /// Path of the member, like `params.name`.
        member: &'static str,
        /// The rest of the sentence, like `be a string`.
        must: &'static str,
    },
    /// Members that exclude each other, or none of those of which one must be there.
    #[error("{0}")]
    Shape(&'static str),
}

/// A short piece of foreign text, escaped and bounded to [`Excerpt::CHARACTERS_MAX`] characters, so that it
/// can stand in a message, a log line or a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    /// The longest excerpt, in characters, its ellipsis included.
    pub const CHARACTERS_MAX: usize = 64;

    /// An excerpt of `text`.
    pub fn of(text: &str) -> Self {
        let mut escaped = text.escape_debug();
        let mut excerpt: String = escaped.by_ref().take(Self::CHARACTERS_MAX - 1).collect();
        match (escaped.next(), escaped.next()) {
            (None, _) => {}
            (Some(last), None) => excerpt.push(last),
            (Some(_), Some(_)) => excerpt.push('…'),
        }
        Self(excerpt.into_boxed_str())
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_escaped_and_bounded() {
        assert_eq!(Excerpt::of("a\u{1b}[31m\u{202e}b\n").to_string(), "a\\u{1b}[31m\\u{202e}b\\n");
        assert_eq!(Excerpt::of(&"x".repeat(64)).to_string(), "x".repeat(64));
        assert_eq!(Excerpt::of(&"x".repeat(65)).to_string(), format!("{}…", "x".repeat(63)));
        assert_eq!(Excerpt::of(&"\u{7}".repeat(1000)).to_string().chars().count(), 64);
    }

    #[test]
    fn a_place_is_named_only_where_there_is_one() {
        let duplicate = Malformed::new(17, Reason::DuplicateKey(Excerpt::of("name")));
        assert_eq!(duplicate.to_string(), "duplicate key `name` at byte 17");
        assert_eq!(Malformed::new(0, Reason::Batch).to_string(), "batches are not supported");
    }
}
