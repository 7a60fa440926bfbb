//! An operator's token, `opt_…`: what their scripts present instead of a password. It has the format of a key but its
//! own type, so that neither is ever taken for the other.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::Email;
use crate::key::{KeyId, KeyMac, minted::Minted};

const PREFIX: &str = "opt_";

/// The public part of a token: eight characters of Crockford's base 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(KeyId);

impl TokenId {
    /// Parses the eight characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        KeyId::parse(text).map(Self)
    }

    /// The eight characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}
impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A well-formed token as it was presented. It has no `Debug` and no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct PresentedToken(Minted);

impl PresentedToken {
    /// Reads a token: prefix, lengths, alphabet and check must fit. `None`: it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Minted::parse(PREFIX, text).map(Self)
    }

    /// The public part.
    #[must_use]
    pub fn id(&self) -> TokenId {
        TokenId(self.0.id())
    }

    /// The whole token, for hashing and for showing it once when it is made.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// Makes a token of random bits: 5 bytes for the id, 32 for the secret.
#[must_use]
pub fn mint_token(id: [u8; 5], secret: [u8; 32]) -> PresentedToken {
    PresentedToken(Minted::mint(PREFIX, id, secret))
}

/// How long a token lives: it always ends, after 365 days at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLifetime(Duration);

impl TokenLifetime {
    /// Where nobody says otherwise: 30 days.
    pub const DEFAULT: Self = Self(Duration::from_secs(30 * 86_400));
    const MAX: Duration = Duration::from_secs(365 * 86_400);

    /// `None` for no time at all, and for more than 365 days.
    #[must_use]
    pub fn new(length: Duration) -> Option<Self> {
        (!length.is_zero() && length <= Self::MAX).then_some(Self(length))
    }

    /// The length of time.
    #[must_use]
    pub fn length(self) -> Duration {
        self.0
    }
}

/// One token of an operator, as it is stored: never the token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The eight characters after `opt_`, shown to people.
    pub id: TokenId,
    /// Whose it is; it may do what they may.
    pub operator: Email,
    /// What a presented token must hash to.
    pub mac: KeyMac,
    /// When it was made.
    pub created_at: Timestamp,
    /// The token stops at this moment.
    pub expires_at: Timestamp,
    /// It was stopped then.
    pub revoked_at: Option<Timestamp>,
    /// When somebody last came with it.
    pub last_used_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{PresentedKey, mint};

    #[test]
    fn a_token_has_the_form_of_a_key_under_another_prefix() {
        let token = mint_token([1, 2, 3, 4, 5], [0xff; 32]);
        assert!(token.reveal().len() == 63 && token.reveal().starts_with("opt_04106105_"));
        assert_eq!(PresentedToken::parse(token.reveal()).unwrap().id(), token.id());
        assert_eq!(token.id().as_str(), "04106105");
    }

    #[test]
    fn no_key_is_a_token_and_no_token_is_a_key() {
        let (key, token) = (mint([7; 5], [8; 32]), mint_token([7; 5], [8; 32]));
        assert!(
            PresentedToken::parse(key.reveal()).is_none() && PresentedKey::parse(token.reveal()).is_none()
        );
        // Another prefix does not help: the check covers it.
        let renamed = token.reveal().replacen("opt_", "agt_", 1);
        assert!(PresentedKey::parse(&renamed).is_none());
    }

    #[test]
    fn a_token_always_ends() {
        let days = |days: u64| TokenLifetime::new(Duration::from_secs(days * 86_400));
        assert_eq!(days(30), Some(TokenLifetime::DEFAULT));
        assert!(days(365).is_some() && days(366).is_none() && days(0).is_none());
    }
}
