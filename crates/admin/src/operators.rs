//! Operators: the people who own the install.

use domain::operator::{Email, Operator, OperatorRole};
use jiff::Timestamp;
use serde_json::json;
use store::{Change, StoredOperator};
use vault::{hash_password, random};

use crate::{Actor, Admin, AdminError, event};

/// The shortest password that is taken, in characters.
pub const PASSWORD_CHARACTERS_MIN: usize = 12;

impl Admin {
    /// Adds an operator. Hashing the password keeps the calling thread busy for about a tenth of a second.
    ///
    /// # Errors
    /// [`AdminError`]: the address is taken, the password too short.
    pub async fn create_operator(
        &self,
        actor: &Actor,
        now: Timestamp,
        email: Email,
        role: OperatorRole,
        password: &str,
    ) -> Result<(), AdminError> {
        let length = password.chars().count();
        if length < PASSWORD_CHARACTERS_MIN {
            return Err(AdminError::PasswordTooShort(length));
        }
        let password_hash = hash_password(password, random::bytes())?;
        let event = event(actor, now, "operators.create", &json!({ "email": email, "role": role }));
        let operator = Operator { email: email.clone(), role, password_hash, created_at: now };
        if !self.write(Change::CreateOperator(operator), event).await? {
            return Err(AdminError::OperatorExists(email));
        }
        Ok(())
    }

    /// All operators by address, without their hashes.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn list_operators(&self) -> Result<Vec<StoredOperator>, AdminError> {
        Ok(self.store.operators().await?)
    }
}
