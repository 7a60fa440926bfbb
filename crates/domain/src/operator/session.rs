//! A login session: one login of one person, kept alive by refresh tokens, each of which is valid once.

use std::{fmt, time::Duration};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::Email;
use crate::key::{KeyId, minted::Minted};

const PREFIX: &str = "ops_";

/// The name of a session: eight characters of Crockford's base 32. It opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(KeyId);

impl SessionId {
    /// The session that begins with this refresh token.
    #[must_use]
    pub fn beginning_with(refresh: &PresentedRefresh) -> Self {
        Self(refresh.0.id())
    }

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
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A well-formed refresh token as it was presented. It has no `Debug` and no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct PresentedRefresh(Minted);

impl PresentedRefresh {
    /// Reads a refresh token. `None`: it is none of ours.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Minted::parse(PREFIX, text).map(Self)
    }

    /// The whole token, for hashing and for the cookie it travels in.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }
}

/// Makes a refresh token of random bits: 5 bytes for its public part, 32 for the secret.
#[must_use]
pub fn mint_refresh(id: [u8; 5], secret: [u8; 32]) -> PresentedRefresh {
    PresentedRefresh(Minted::mint(PREFIX, id, secret))
}

/// How long things of a session last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTerms {
    /// An access token.
    pub access: Duration,
    /// The whole session, from the login on.
    pub refresh: Duration,
    /// Until an unused session ends.
    pub idle: Duration,
}

/// One login of one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// Who logged in.
    pub operator: Email,
    /// When.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub used_at: Timestamp,
    /// It ends at this moment, used or not.
    pub expires_at: Timestamp,
    /// It was ended then: by a logout, by an owner, because a refresh token came twice.
    pub ended_at: Option<Timestamp>,
    /// The address of the login.
    pub address: String,
    /// What the browser calls itself: foreign text, bounded.
    pub browser: String,
}

impl Session {
    /// Whether it goes on at this moment.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp, terms: &SessionTerms) -> bool {
        // A clock that was set back makes no session older.
        let unused = Duration::try_from(now.duration_since(self.used_at)).unwrap_or_default();
        self.ended_at.is_none() && now < self.expires_at && unused < terms.idle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::{PresentedToken, mint_token};

    const TERMS: SessionTerms = SessionTerms {
        access: Duration::from_secs(900),
        refresh: Duration::from_secs(7 * 86_400),
        idle: Duration::from_secs(1_800),
    };

    #[test]
    fn no_operators_token_is_a_refresh_token_or_the_reverse() {
        let (refresh, token) = (mint_refresh([7; 5], [8; 32]), mint_token([7; 5], [8; 32]));
        assert!(PresentedRefresh::parse(refresh.reveal()).is_some());
        assert!(
            PresentedRefresh::parse(token.reveal()).is_none()
                && PresentedToken::parse(refresh.reveal()).is_none()
        );
        assert_eq!(SessionId::beginning_with(&refresh).as_str(), refresh.reveal().get(4..12).unwrap());
    }

    #[test]
    fn a_session_ends_when_it_is_ended_too_old_or_unused() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let session = Session {
            id: SessionId::parse("04106105").unwrap(),
            operator: Email::parse("ada@example.com").unwrap(),
            created_at: at(0),
            used_at: at(600_000),
            expires_at: at(604_800),
            ended_at: None,
            address: "127.0.0.1".into(),
            browser: String::new(),
        };
        assert!(session.is_alive(at(601_799), &TERMS) && session.is_alive(at(599_000), &TERMS));
        assert!(!session.is_alive(at(601_800), &TERMS), "unused for half an hour");
        let used = Session { used_at: at(604_700), ..session.clone() };
        assert!(used.is_alive(at(604_799), &TERMS) && !used.is_alive(at(604_800), &TERMS), "too old");
        assert!(!Session { ended_at: Some(at(1)), ..session }.is_alive(at(600_001), &TERMS));
    }
}
