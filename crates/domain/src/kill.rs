//! The kill switch: while it is on, nothing is forwarded, whoever asks and whatever the policy says.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;

/// The longest reason (characters).
const CHARACTERS_MAX: usize = 500;

/// The kill switch is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// Since when.
    pub since: Timestamp,
    /// Why, in the words of whoever turned it on.
    pub reason: KillReason,
    /// Who turned it on, as the trail names them: an e-mail address, or `os:<user>`.
    pub by: String,
}

/// Why the kill switch was turned on: 1 to 500 characters on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KillReason(String);

/// A text that is no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a reason is 1 to {CHARACTERS_MAX} characters on one line")]
pub struct BadReason;

impl KillReason {
    /// Parses a reason; blanks around it are dropped.
    ///
    /// # Errors
    /// [`BadReason`] when nothing is left, it is too long, or it has control characters in it.
    pub fn parse(text: &str) -> Result<Self, BadReason> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > CHARACTERS_MAX || text.chars().any(char::is_control) {
            return Err(BadReason);
        }
        Ok(Self(text.to_owned()))
    }

    /// The reason as text. It is somebody's own words: escape it where people read it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for KillReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_something_on_one_line() {
        assert_eq!(KillReason::parse(" laptop stolen ").unwrap().as_str(), "laptop stolen");
        assert!(KillReason::parse(&"ü".repeat(CHARACTERS_MAX)).is_ok());
        for bad in ["", "  ", "one\ntwo", "a\u{1b}[2J", &"x".repeat(CHARACTERS_MAX + 1)] {
            assert_eq!(KillReason::parse(bad), Err(BadReason), "{bad:?}");
        }
    }
}
