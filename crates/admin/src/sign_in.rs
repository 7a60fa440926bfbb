//! Who an operator is: proven by a password or a token, for everything that a person has to answer for.

use std::time::Duration;

use domain::operator::{
    Email, OperatorRole, OperatorState, PresentedToken, Token, TokenId, wait_after_wrong_passwords,
};
use jiff::Timestamp;
use store::StoredOperator;
use vault::{Pepper, verify_password};

use crate::{Actor, Admin, AdminError, sessions::NOTED_EVERY};

/// How often a try is counted anew because another one of the same address came in between.
const RECOUNTS_MAX: usize = 8;

/// An operator who has proven who they are and was not disabled then. Only [`Admin`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActingOperator {
    email: Email,
    role: OperatorRole,
}

impl ActingOperator {
    /// Who it is.
    #[must_use]
    pub fn email(&self) -> &Email {
        &self.email
    }

    /// What they may do.
    #[must_use]
    pub fn role(&self) -> OperatorRole {
        self.role
    }

    /// The same as who makes a change.
    #[must_use]
    pub fn actor(&self) -> Actor {
        Actor::operator(&self.email, self.role)
    }
}

impl Admin {
    /// Who has this address and this password. Keeps the calling thread busy for about a tenth of a second, whether
    /// somebody has the address or not. Each try counts as wrong until it is known to be right: after three in a row
    /// the address waits, longer each time, and so does one that nobody has.
    ///
    /// # Errors
    /// [`AdminError::WrongCredentials`], [`AdminError::WrongPasswords`], [`AdminError::OperatorDisabled`]; the last
    /// only to who knows the password.
    pub async fn sign_in(
        &self,
        now: Timestamp,
        email: &Email,
        password: &str,
    ) -> Result<ActingOperator, AdminError> {
        Ok(self.prove(now, email, password).await?.0)
    }

    /// The same, with the hash that the password fits.
    pub(crate) async fn prove(
        &self,
        now: Timestamp,
        email: &Email,
        password: &str,
    ) -> Result<(ActingOperator, String), AdminError> {
        self.count_try(now, email).await?;
        let hash = self.store.password_hash(email).await?;
        let fits = verify_password(password, hash.as_deref());
        let hash = hash.filter(|_| fits).ok_or(AdminError::WrongCredentials)?;
        // Looking takes so long that another password may have been set meanwhile.
        if self.store.password_hash(email).await?.as_ref() != Some(&hash) {
            return Err(AdminError::WrongCredentials);
        }
        self.store.forget_wrong_passwords(email).await?;
        Ok((acting(self.store.operator(email).await?.ok_or(AdminError::WrongCredentials)?)?, hash))
    }

    /// Whose token this is; notes its use.
    ///
    /// # Errors
    /// [`AdminError`]: the token is unknown, expired or revoked; its operator is disabled.
    pub async fn sign_in_with_token(
        &self,
        now: Timestamp,
        pepper: &Pepper,
        presented: &PresentedToken,
    ) -> Result<ActingOperator, AdminError> {
        let id = presented.id();
        let token = self.store.token(&pepper.mac_of_token(presented)).await?;
        let token = token.ok_or(AdminError::UnknownToken(id))?;
        let acting = self.token_holder(now, &token).await?;
        let used =
            token.last_used_at.map(|at| Duration::try_from(now.duration_since(at)).unwrap_or_default());
        if used.is_none_or(|unnoted| unnoted >= NOTED_EVERY) {
            self.store.note_token_use(id, now).await?;
        }
        Ok(acting)
    }

    /// Whose token this still is, which does not count as using it: for what goes on while nobody asks.
    ///
    /// # Errors
    /// As [`sign_in_with_token`](Self::sign_in_with_token).
    pub async fn still_holds_token(&self, now: Timestamp, id: TokenId) -> Result<ActingOperator, AdminError> {
        // Eight characters are the whole id.
        let token = self.store.find_tokens(id.as_str()).await?.pop();
        self.token_holder(now, &token.ok_or(AdminError::UnknownToken(id))?).await
    }

    async fn token_holder(&self, now: Timestamp, token: &Token) -> Result<ActingOperator, AdminError> {
        let id = token.id;
        if let Some(at) = token.revoked_at {
            return Err(AdminError::TokenRevoked { id, at });
        }
        if token.expires_at <= now {
            return Err(AdminError::TokenExpired { id, at: token.expires_at });
        }
        acting(self.store.operator(&token.operator).await?.ok_or(AdminError::UnknownToken(id))?)
    }

    /// Counts a try before it is looked at, so that many at once gain nothing.
    async fn count_try(&self, now: Timestamp, email: &Email) -> Result<(), AdminError> {
        for _ in 0..RECOUNTS_MAX {
            let seen = self.store.wrong_passwords(email, now).await?;
            if let Some(wrong) = seen {
                let wait = wait_after_wrong_passwords(wrong.count);
                // Before the last wrong one by this clock: nothing has been waited yet.
                let since = Duration::try_from(now.duration_since(wrong.at)).unwrap_or_default();
                if let Some(left) = wait.checked_sub(since).filter(|left| !left.is_zero()) {
                    return Err(AdminError::WrongPasswords { email: email.clone(), left });
                }
            }
            if self.store.count_wrong_password(email, seen, now).await? {
                return Ok(());
            }
        }
        Err(AdminError::ChangedMeanwhile(format!("the count of wrong passwords for `{email}`")))
    }
}

pub(crate) fn acting(operator: StoredOperator) -> Result<ActingOperator, AdminError> {
    match operator.state {
        OperatorState::Active => Ok(ActingOperator { email: operator.email, role: operator.role }),
        OperatorState::Disabled => Err(AdminError::OperatorDisabled(operator.email)),
    }
}
