//! The values that conditions work on. Arguments stay the bytes that came; a value is made only where one is needed.

use std::{borrow::Cow, fmt, rc::Rc};

use jiff::{SignedDuration, Timestamp};
use wire::{Raw, json};

use super::number;

#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Cow<'a, str>),
    /// An object or an array of the arguments.
    Json(Raw<'a>),
    List(Rc<[Self]>),
    Map(Rc<[(&'a str, Self)]>),
    /// `call`, `agent`, `query`.
    Texts(Rc<[(&'a str, &'a str)]>),
    Instant(Timestamp),
    Duration(SignedDuration),
}

impl<'a> Value<'a> {
    /// The value of a part of the arguments; none where it is a number that does not fit.
    pub fn of(raw: Raw<'a>) -> Option<Self> {
        Some(match raw.kind() {
            json::Kind::Object | json::Kind::Array => Self::Json(raw),
            json::Kind::String => Self::Text(raw.as_str().unwrap_or_default()),
            json::Kind::Bool => Self::Bool(raw.as_bool() == Some(true)),
            json::Kind::Null => Self::Null,
            json::Kind::Number => return number::read(raw.text()),
        })
    }

    pub fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Uint(_) | Self::Double(_))
    }

    /// What it is, for a sentence: "a list".
    pub fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Int(_) => "an int",
            Self::Uint(_) => "a uint",
            Self::Double(_) => "a double",
            Self::Text(_) => "a text",
            Self::Json(raw) if raw.is_object() => "a map",
            Self::Json(_) | Self::List(_) => "a list",
            Self::Map(_) | Self::Texts(_) => "a map",
            Self::Instant(_) => "a point in time",
            Self::Duration(_) => "a duration",
        }
    }
}

/// So much of a text is shown (characters).
const SHOWN_MAX: usize = 60;

/// As an operator reads it; long texts are cut, lists and maps are only named.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Int(int) => write!(f, "{int}"),
            Self::Uint(uint) => write!(f, "{uint}"),
            Self::Double(double) => write!(f, "{double}"),
            Self::Text(text) => {
                let shown: String = text.chars().take(SHOWN_MAX).collect();
                let cut = if shown.len() < text.len() { "…" } else { "" };
                write!(f, "{shown:?}{cut}")
            }
            Self::Instant(instant) => write!(f, "{instant}"),
            Self::Duration(duration) => write!(f, "{duration}"),
            _ => f.write_str(self.what()),
        }
    }
}
