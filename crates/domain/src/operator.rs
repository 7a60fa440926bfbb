//! Operators: the people who own the install and decide on calls.

mod session;
mod token;
mod tries;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::{
    session::{PresentedRefresh, Session, SessionId, SessionTerms, mint_refresh},
    token::{PresentedToken, Token, TokenId, TokenLifetime, mint_token},
    tries::wait_after_wrong_passwords,
};

/// An operator's e-mail address: how a person is named in the trail.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Email(String);

/// A text that cannot be an e-mail address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no e-mail address")]
pub struct BadEmail(String);

impl Email {
    /// Parses an address: one `@`, something before it, a host behind it, no blanks or control characters.
    /// It is kept in lower case, so that one person is one row.
    ///
    /// # Errors
    /// [`BadEmail`] otherwise, or when it is longer than 254 bytes (RFC 5321).
    pub fn parse(text: &str) -> Result<Self, BadEmail> {
        let bad = || BadEmail(text.chars().take(64).flat_map(char::escape_default).collect());
        let (local, host) = text.split_once('@').ok_or_else(bad)?;
        let plain = text.chars().all(|c| c.is_alphanumeric() || "@.!#$%&'*+/=?^_`{|}~-".contains(c));
        if local.is_empty() || host.is_empty() || host.contains('@') || !plain || text.len() > 254 {
            return Err(bad());
        }
        Ok(Self(text.to_lowercase()))
    }

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What an operator may do in the console. Each role may do what the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperatorRole {
    /// Reads.
    Viewer,
    /// Reads and decides.
    Approver,
    /// Reads, decides and changes.
    Owner,
}
impl OperatorRole {
    /// The role as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Approver => "approver",
            Self::Owner => "owner",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Approver, Self::Owner].into_iter().find(|role| role.as_str() == word)
    }

    /// Whether somebody in this role may decide on held calls.
    #[must_use]
    pub fn may_decide(self) -> bool {
        self >= Self::Approver
    }
}

/// Whether an operator may log in and decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorState {
    /// They may.
    Active,
    /// Neither password nor token is good until they are enabled again.
    Disabled,
}
impl OperatorState {
    /// The state as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

/// A person who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Who it is.
    pub email: Email,
    /// What they may do.
    pub role: OperatorRole,
    /// argon2id in PHC form; never shown.
    pub password_hash: String,
    /// When they were added.
    pub created_at: Timestamp,
}
