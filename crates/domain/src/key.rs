//! The agent key, `agt_…`: what an agent presents with every call. Its format is described in `key/minted.rs`.

pub(crate) mod minted;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use self::minted::Minted;
use crate::{names::CROCKFORD, oauth::IssuerId};

const PREFIX: &str = "agt_";

/// The first character of ids that stand for access tokens; no key has it.
const OF_TOKEN: u8 = b'o';

/// The public part of a key: eight characters of Crockford's base 32. For whoever comes with an access token
/// ([`crate::oauth`]) it stands for issuer, subject and agent: `o` and seven characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// Parses the eight characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 8] = text.as_bytes().try_into().ok()?;
        let [first, rest @ ..] = bytes;
        let first = first == OF_TOKEN || CROCKFORD.contains(&first);
        (first && rest.iter().all(|b| CROCKFORD.contains(b))).then_some(Self(bytes))
    }

    /// The id of these 40 bits.
    pub(crate) fn of_bits(bits: [u8; 5]) -> Self {
        let mut bits = bits.iter().fold(0u64, |bits, byte| (bits << 8) | u64::from(*byte));
        let mut id = [b'0'; 8];
        for place in id.iter_mut().rev() {
            *place = CROCKFORD.get((bits & 31) as usize).copied().unwrap_or(b'0');
            bits >>= 5;
        }
        Self(id)
    }

    /// The id that stands for whoever comes with a token: the last 35 of these bits.
    #[must_use]
    pub fn of_token(bits: [u8; 5]) -> Self {
        let Self([_, rest @ ..]) = Self::of_bits(bits);
        let [a, b, c, d, e, f, g] = rest;
        Self([OF_TOKEN, a, b, c, d, e, f, g])
    }

    /// Whether it stands for whoever comes with an access token.
    #[must_use]
    pub fn is_of_token(&self) -> bool {
        self.0.starts_with(&[OF_TOKEN])
    }

    /// The eight characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl TryFrom<String> for KeyId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a key id")
    }
}
impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.as_str().to_owned()
    }
}

/// HMAC-SHA-256 of the whole key under the install's pepper: what is stored and looked up. An operator's token has
/// one too; its prefix is part of what is hashed, so no key has a token's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyMac(pub [u8; 32]);

impl fmt::Debug for KeyMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMac(…)")
    }
}

/// What proves a caller, in a form that may be kept and looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A key.
    Key(KeyMac),
    /// An access token.
    Token {
        /// Who has made it, and on which terms it was taken.
        issuer: IssuerId,
        /// From this moment on it proves nothing. A held call has none: people take longer than a token lives.
        expires_at: Option<Timestamp>,
    },
}

/// A well-formed key as a request presented it. It has no `Debug` and no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct PresentedKey(Minted);

impl PresentedKey {
    /// Reads a key: prefix, lengths, alphabet and check must fit.
    ///
    /// `None` means "not one of our keys"; nothing needs to be looked up then.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Minted::parse(PREFIX, text).map(Self)
    }

    /// The public part.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.0.id()
    }

    /// The whole key, for hashing and for showing it once when it is made.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// Makes a key of random bits: 5 bytes for the id, 32 for the secret.
#[must_use]
pub fn mint(id: [u8; 5], secret: [u8; 32]) -> PresentedKey {
    PresentedKey(Minted::mint(PREFIX, id, secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_token_is_the_id_of_no_key() {
        let id = KeyId::of_token([0xff; 5]);
        assert_eq!((id.as_str(), id.is_of_token()), ("ozzzzzzz", true));
        assert_eq!(KeyId::parse("ozzzzzzz"), Some(id));
        for other in ["zozzzzzz", "ozzzzzz", "Ozzzzzzz", "izzzzzzz"] {
            assert_eq!(KeyId::parse(other), None, "{other}");
        }
        assert_eq!(mint([0xff; 5], [1; 32]).id().as_str(), "zzzzzzzz");
    }
}
