//! The agent key, `agt_…`: what an agent presents with every call. Its form is [`minted`]'s.

pub(crate) mod minted;

use std::fmt;

use serde::{Deserialize, Serialize};

use self::minted::Minted;
use crate::names::CROCKFORD;

const PREFIX: &str = "agt_";

/// The public part of a key: eight characters of Crockford's base 32.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// Parses the eight characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 8] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|b| CROCKFORD.contains(b)).then_some(Self(bytes))
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
