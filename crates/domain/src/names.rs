//! Names and ids as types: parsed once at the edge, never bare strings afterwards.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that is no name of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{text}` is no {kind} name; use 1 to {length_max} of a-z, 0-9 and {extra}, starting with a letter or digit"
)]
pub struct BadName {
    kind: &'static str,
    text: String,
    length_max: usize,
    extra: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $length_max:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            /// [`BadName`] when the text has another character or length than names of this kind.
            pub fn parse(text: &str) -> Result<Self, BadName> {
                let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
                let rest = text.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || $extra.as_bytes().contains(&b)
                });
                if first && rest && text.len() <= $length_max {
                    Ok(Self(text.into()))
                } else {
                    let text = text.chars().take(64).flat_map(char::escape_default).collect();
                    Err(BadName { kind: $kind, text, length_max: $length_max, extra: $extra })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(text: String) -> Result<Self, BadName> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }
        impl std::str::FromStr for $name {
            type Err = BadName;
            fn from_str(text: &str) -> Result<Self, BadName> {
                Self::parse(text)
            }
        }
    };
}

name!(
    /// A service's name (contract §3): `[a-z0-9-]{1,40}`.
    ServiceName, "service", 40, "-"
);
name!(
    /// An agent's name.
    AgentName, "agent", 64, "-_."
);
name!(
    /// A role's name.
    RoleName, "role", 64, "-_"
);

name!(
    /// A credential's name within its service.
    CredentialName, "credential", 64, "-_."
);

/// Crockford's base 32 in lower case: no `i`, `l`, `o`, `u`, so an id can be read out aloud.
pub const CROCKFORD: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// One call's id, `c_` and 12 characters: 30 bits of seconds, 10 of the process, 20 of a counter.
///
/// The time comes first so that ids are close to each other in an index; the rest makes them unique.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId([u8; 12]);

impl CallId {
    /// Builds an id from the seconds of the Unix epoch and 30 bits that differ for every call of a second.
    #[must_use]
    pub fn new(epoch_seconds: u64, unique: u32) -> Self {
        let mut text = [b'0'; 12];
        crockford(((epoch_seconds & 0x3fff_ffff) << 30) | u64::from(unique & 0x3fff_ffff), &mut text);
        Self(text)
    }

    /// Reads an id as it is shown, with its `c_`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text: [u8; 12] = text.strip_prefix("c_")?.as_bytes().try_into().ok()?;
        text.iter().all(|byte| CROCKFORD.contains(byte)).then_some(Self(text))
    }

    /// The 12 characters after `c_`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c_{}", self.as_str())
    }
}
impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One approval's id, `ap_` and 10 characters: 50 random bits, so that nobody guesses another agent's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApprovalId([u8; 13]);

impl ApprovalId {
    /// What every id begins with.
    pub const PREFIX: &'static str = "ap_";

    /// Builds an id of random bits; the lower 50 count.
    #[must_use]
    pub fn new(random: u64) -> Self {
        let mut text = *b"ap_0000000000";
        if let Some(places) = text.get_mut(Self::PREFIX.len()..) {
            crockford(random, places);
        }
        Self(text)
    }

    /// Reads an id as it is shown, with its `ap_`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let places = text.strip_prefix(Self::PREFIX)?;
        let fits = places.bytes().all(|byte| CROCKFORD.contains(&byte));
        fits.then_some(Self(text.as_bytes().try_into().ok()?))
    }

    /// The id as it is shown, with its `ap_`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl fmt::Debug for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes the lowest bits of a number, five for each place.
fn crockford(mut number: u64, places: &mut [u8]) {
    for place in places.iter_mut().rev() {
        *place = CROCKFORD.get((number & 31) as usize).copied().unwrap_or(b'0');
        number >>= 5;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_name_is_lower_case_letters_digits_and_dashes() {
        assert!(ServiceName::parse("files-2").is_ok());
        for bad in ["", "Files", "a_b", "-a", "a/b", "ä", &"a".repeat(41)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_bad_name_is_shown_escaped_and_bounded() {
        let message = AgentName::parse(&format!("\u{1b}[31m{}", "x".repeat(500))).unwrap_err().to_string();
        assert!(!message.contains('\u{1b}') && message.len() < 300, "{message}");
    }

    #[test]
    fn call_ids_sort_by_time_and_differ_within_a_second() {
        let (a, b, c) = (CallId::new(1_000, 7), CallId::new(1_000, 8), CallId::new(1_001, 0));
        assert!(a < b && b < c);
        assert_eq!(a.to_string().len(), 14);
    }

    #[test]
    fn ids_read_back_as_they_are_shown() {
        let call = CallId::new(1_000, 7);
        assert_eq!(CallId::parse(&call.to_string()), Some(call));
        for (random, text) in [(0, "ap_0000000000"), (31, "ap_000000000z"), (u64::MAX, "ap_zzzzzzzzzz")] {
            assert_eq!(ApprovalId::new(random).to_string(), text);
            assert_eq!(ApprovalId::parse(text), Some(ApprovalId::new(random)));
        }
        for bad in
            ["", "ap_", "ap_000000000", "ap_00000000000", "ap_000000000u", "0000000000000", "AP_0000000000"]
        {
            assert_eq!((ApprovalId::parse(bad), CallId::parse(bad)), (None, None), "{bad}");
        }
    }
}
