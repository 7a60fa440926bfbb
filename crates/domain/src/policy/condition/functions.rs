//! The functions that conditions may call: their names, how they are called, and what they take.

use super::check::Type;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    Uint,
    Double,
    Text,
    Timestamp,
    Duration,
    FullYear,
    Month,
    Date,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    Hours,
    Minutes,
    Seconds,
    Milliseconds,
}

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `f(x)`.
    Plain,
    /// `x.f(…)`.
    Method,
    /// Both.
    Either,
}

impl Function {
    const ALL: [(&'static str, Self, Style); 20] = [
        ("size", Self::Size, Style::Either),
        ("contains", Self::Contains, Style::Method),
        ("startsWith", Self::StartsWith, Style::Method),
        ("endsWith", Self::EndsWith, Style::Method),
        ("int", Self::Int, Style::Plain),
        ("uint", Self::Uint, Style::Plain),
        ("double", Self::Double, Style::Plain),
        ("string", Self::Text, Style::Plain),
        ("timestamp", Self::Timestamp, Style::Plain),
        ("duration", Self::Duration, Style::Plain),
        ("getFullYear", Self::FullYear, Style::Method),
        ("getMonth", Self::Month, Style::Method),
        ("getDate", Self::Date, Style::Method),
        ("getDayOfMonth", Self::DayOfMonth, Style::Method),
        ("getDayOfWeek", Self::DayOfWeek, Style::Method),
        ("getDayOfYear", Self::DayOfYear, Style::Method),
        ("getHours", Self::Hours, Style::Method),
        ("getMinutes", Self::Minutes, Style::Method),
        ("getSeconds", Self::Seconds, Style::Method),
        ("getMilliseconds", Self::Milliseconds, Style::Method),
    ];

    /// The names of all that are called so.
    pub fn names(style: Style) -> impl Iterator<Item = &'static str> {
        Self::ALL
            .into_iter()
            .filter(move |(_, _, own)| *own == style || *own == Style::Either)
            .map(|(name, ..)| name)
    }

    pub fn named(name: &str, style: Style) -> Option<Self> {
        let fits = |own: Style| own == style || own == Style::Either;
        Self::ALL
            .into_iter()
            .find(|(own, _, called)| *own == name && fits(*called))
            .map(|(_, function, _)| function)
    }

    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, function, _)| *function == self).map_or("", |(name, ..)| name)
    }

    /// How many arguments it takes at least and at most; what it is called on counts.
    pub fn arity(self) -> (usize, usize) {
        match self {
            Self::Size
            | Self::Int
            | Self::Uint
            | Self::Double
            | Self::Text
            | Self::Timestamp
            | Self::Duration => (1, 1),
            Self::Contains | Self::StartsWith | Self::EndsWith => (2, 2),
            _ => (1, 2),
        }
    }

    /// What the argument at `place` may be.
    pub fn takes(self, place: usize) -> &'static [Type] {
        use Type::{Bool, Double, Duration, Instant, Int, List, Map, Text, Texts, Uint};
        match (self, place) {
            (Self::Size, _) => &[Text, List, Map, Texts],
            (Self::Contains | Self::StartsWith | Self::EndsWith, _) => &[Text],
            (Self::Int, _) => &[Int, Uint, Double, Text, Instant],
            (Self::Uint | Self::Double, _) => &[Int, Uint, Double, Text],
            (Self::Text, _) => &[Int, Uint, Bool, Text],
            (Self::Timestamp, _) => &[Text, Instant],
            (Self::Duration, _) => &[Text, Duration],
            (Self::Hours | Self::Minutes | Self::Seconds | Self::Milliseconds, 0) => &[Instant, Duration],
            (_, 0) => &[Instant],
            // The time zone.
            _ => &[Text],
        }
    }

    pub fn gives(self) -> Type {
        match self {
            Self::Contains | Self::StartsWith | Self::EndsWith => Type::Bool,
            Self::Uint => Type::Uint,
            Self::Double => Type::Double,
            Self::Text => Type::Text,
            Self::Timestamp => Type::Instant,
            Self::Duration => Type::Duration,
            _ => Type::Int,
        }
    }
}
