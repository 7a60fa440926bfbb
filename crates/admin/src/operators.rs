//! Operators: the people who own the install. Added, listed, disabled, enabled, given another role or password.

use domain::{
    operator::{Email, Operator, OperatorRole, OperatorState, Token},
    yaml::did_you_mean,
};
use jiff::Timestamp;
use serde_json::json;
use store::{Change, StoredOperator};
use vault::{hash_password, random};

use crate::{Actor, Admin, AdminError, event};

/// The shortest password that is taken, in characters.
pub const PASSWORD_CHARACTERS_MIN: usize = 12;
/// The longest, in bytes: what is taken must fit into the form of the login, and into what commands read.
pub const PASSWORD_BYTES_MAX: usize = 1024;

impl Admin {
    /// Adds an operator. Hashing the password keeps the calling thread busy for about a tenth of a second.
    ///
    /// # Errors
    /// [`AdminError`]: the address is taken, the password too short or too long.
    pub async fn create_operator(
        &self,
        actor: &Actor,
        now: Timestamp,
        email: Email,
        role: OperatorRole,
        password: &str,
    ) -> Result<(), AdminError> {
        let password_hash = hash_of(password)?;
        let event = event(actor, now, "operators.create", &json!({ "email": email, "role": role }));
        let operator = Operator { email: email.clone(), role, password_hash, created_at: now };
        if !self.write(Change::CreateOperator(operator), event).await? {
            return Err(AdminError::OperatorExists(email));
        }
        Ok(())
    }

    /// All operators by address, disabled ones too, without their hashes.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn list_operators(&self) -> Result<Vec<StoredOperator>, AdminError> {
        Ok(self.store.operators().await?)
    }

    /// One operator.
    ///
    /// # Errors
    /// [`AdminError::NoSuchOperator`].
    pub async fn show_operator(&self, email: &Email) -> Result<StoredOperator, AdminError> {
        match self.store.operator(email).await? {
            Some(operator) => Ok(operator),
            None => {
                let all = self.store.operators().await?;
                let near = did_you_mean(email.as_str(), all.iter().map(|known| known.email.as_str()));
                Err(AdminError::NoSuchOperator { email: email.clone(), near: near.map(str::to_owned) })
            }
        }
    }

    /// Stops an operator's password and tokens until they are enabled again, and ends their sessions; whether anything
    /// changed.
    ///
    /// # Errors
    /// [`AdminError`]: no such operator, whoever asks themselves, or the last active owner.
    pub async fn disable_operator(
        &self,
        actor: &Actor,
        now: Timestamp,
        email: &Email,
    ) -> Result<bool, AdminError> {
        self.set_operator_state(actor, now, email, OperatorState::Disabled, "operators.disable").await
    }

    /// Lets a disabled operator in again, with the password and the tokens they had; whether anything changed.
    ///
    /// # Errors
    /// [`AdminError::NoSuchOperator`].
    pub async fn enable_operator(
        &self,
        actor: &Actor,
        now: Timestamp,
        email: &Email,
    ) -> Result<bool, AdminError> {
        self.set_operator_state(actor, now, email, OperatorState::Active, "operators.enable").await
    }

    /// Gives an operator another role, which holds from their next request on, for their tokens too; whether anything
    /// changed.
    ///
    /// # Errors
    /// [`AdminError`]: no such operator, whoever asks themselves, or the last active owner.
    pub async fn set_operator_role(
        &self,
        actor: &Actor,
        now: Timestamp,
        email: &Email,
        role: OperatorRole,
    ) -> Result<bool, AdminError> {
        let operator = self.show_operator(email).await?;
        if operator.role == role {
            return Ok(false);
        }
        check_other(actor, email)?;
        let args = json!({ "email": email, "role": role, "from": operator.role });
        let event = event(actor, now, "operators.role", &args);
        let change = Change::SetOperatorRole { email: email.clone(), from: operator.role, to: role };
        if self.write(change, event).await? {
            return Ok(true);
        }
        // Either it is the last owner, or somebody else was quicker.
        Err(match self.show_operator(email).await?.role {
            OperatorRole::Owner if operator.role == OperatorRole::Owner => {
                AdminError::LastOwner(email.clone())
            }
            _ => AdminError::ChangedMeanwhile(format!("operator `{email}`")),
        })
    }

    /// Gives an operator another password. Their tokens are revoked and their sessions end, since whoever knew the old
    /// password may have made them; returns the tokens that were still good. A disabled operator stays disabled.
    ///
    /// # Errors
    /// [`AdminError`]: no such operator, the password too short or too long.
    pub async fn reset_operator(
        &self,
        actor: &Actor,
        now: Timestamp,
        email: &Email,
        password: &str,
    ) -> Result<Vec<Token>, AdminError> {
        self.show_operator(email).await?;
        let password_hash = hash_of(password)?;
        let mut tokens = self.store.tokens().await?;
        tokens
            .retain(|token| token.operator == *email && token.revoked_at.is_none() && now < token.expires_at);
        let event = event(actor, now, "operators.reset", &json!({ "email": email }));
        let change = Change::ResetOperator { email: email.clone(), password_hash, replaces: None, at: now };
        if !self.write(change, event).await? {
            return Err(AdminError::ChangedMeanwhile(format!("operator `{email}`")));
        }
        Ok(tokens)
    }

    async fn set_operator_state(
        &self,
        actor: &Actor,
        now: Timestamp,
        email: &Email,
        state: OperatorState,
        action: &'static str,
    ) -> Result<bool, AdminError> {
        let operator = self.show_operator(email).await?;
        if operator.state == state {
            return Ok(false);
        }
        check_other(actor, email)?;
        let event = event(actor, now, action, &json!({ "email": email }));
        if self.write(Change::SetOperatorState { email: email.clone(), state, at: now }, event).await? {
            return Ok(true);
        }
        Err(match (operator.role, state) {
            (OperatorRole::Owner, OperatorState::Disabled) => AdminError::LastOwner(email.clone()),
            _ => AdminError::ChangedMeanwhile(format!("operator `{email}`")),
        })
    }
}

/// Nobody takes away what they need to give it back. Whoever owns the home is no operator.
fn check_other(actor: &Actor, email: &Email) -> Result<(), AdminError> {
    match actor.role().is_some() && actor.as_str() == email.as_str() {
        true => Err(AdminError::Yourself(email.clone())),
        false => Ok(()),
    }
}

/// Whether a password will do.
///
/// # Errors
/// [`AdminError::PasswordTooShort`], [`AdminError::PasswordTooLong`]
pub fn check_password(password: &str) -> Result<(), AdminError> {
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(AdminError::PasswordTooLong);
    }
    match password.chars().count() {
        length if length < PASSWORD_CHARACTERS_MIN => Err(AdminError::PasswordTooShort(length)),
        _ => Ok(()),
    }
}

/// The hash of a password that will do, under a salt of its own.
pub(crate) fn hash_of(password: &str) -> Result<String, AdminError> {
    check_password(password)?;
    Ok(hash_password(password, random::bytes())?)
}
