//! Why a target or a method is refused, in one clause that can follow "cannot be read:".

use std::fmt;

use crate::malformed::Excerpt;

/// A refused target: what is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadTarget {
    /// The part that is wrong.
    pub part: Part,
    /// Offset of the offending byte in that part, from 0.
    pub at: usize,
    /// What is wrong there.
    pub fault: TargetFault,
}

/// A part of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Up to the `?`.
    Path,
    /// Behind it.
    Query,
}

/// What can be wrong with a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// Path and query are longer than [`super::TARGET_BYTES_MAX`].
    #[error("path and query are longer than {} bytes", super::TARGET_BYTES_MAX)]
    TooLong,
    /// The path does not start with `/`.
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// `//`: some servers merge the two, some do not.
    #[error("empty segment (`//`)")]
    EmptySegment,
    /// A segment that is `.` or `..` in some reading.
    #[error("`.` or `..` segment")]
    DotSegment,
    /// A character that cannot stand here unescaped.
    #[error("unescaped `{0}`")]
    Raw(Excerpt),
    /// A percent sign without two hexadecimal digits.
    #[error("broken escape")]
    BadEscape,
    /// An escape of `/`, `\`, `.` or `%`: some servers divide or decode the path once more.
    #[error("ambiguous escape `{0}`")]
    Ambiguous(Excerpt),
    /// An escape of a control character, NUL among them.
    #[error("escaped control character")]
    Control,
    /// An escape of a character that needs none: two spellings of one name.
    #[error("needless escape `{0}`")]
    Needless(Excerpt),
    /// Escapes that decode to no UTF-8.
    #[error("invalid UTF-8")]
    NotUtf8,
}

impl std::error::Error for BadTarget {}

impl fmt::Display for BadTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            // These are about the target as a whole: a place would only puzzle.
            TargetFault::TooLong | TargetFault::NotAbsolute => write!(formatter, "{}", self.fault),
            _ => write!(formatter, "{} at byte {} of the {}", self.fault, self.at, self.part),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Path => "path",
            Self::Query => "query",
        })
    }
}

/// Why a method is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadMethod {
    /// It is not for a proxy to hand on: HTTP 405.
    #[error("`CONNECT` and `TRACE` are not handed on")]
    Withheld,
    /// It is no method name: HTTP 400.
    #[error("the method must be a name in upper-case letters")]
    Misshapen,
}
