//! People change their own password. The old one is asked for: somebody who finds a browser open does not know it.

use jiff::Timestamp;
use serde_json::json;
use store::Change;

use crate::{
    ActingOperator, Admin, AdminError, Client, OpenedSession, SessionKeys, event, operators::hash_of,
};

impl Admin {
    /// Gives an operator the password `new` for their `old` one, and logs them in with it. Their tokens are revoked and
    /// their other logins end, since whoever knew the old one may have made them. As long as three logins, and as limited
    /// as one.
    ///
    /// # Errors
    /// As [`sign_in`](Self::sign_in); [`AdminError`]: the new one is too short or too long.
    pub async fn change_password(
        &self,
        now: Timestamp,
        keys: &SessionKeys,
        operator: &ActingOperator,
        (old, new): (&str, &str),
        client: &Client,
    ) -> Result<OpenedSession, AdminError> {
        let email = operator.email();
        let (operator, replaces) = self.prove(now, email, old).await?;
        let event = event(&operator.actor(), now, "operators.password", &json!({ "email": email }));
        let change = Change::ResetOperator {
            email: email.clone(),
            password_hash: hash_of(new)?,
            replaces: Some(replaces),
            at: now,
        };
        // An owner has set another one meanwhile.
        if !self.write(change, event).await? {
            return Err(AdminError::WrongCredentials);
        }
        self.open_session(now, keys, (email, new), client).await
    }
}
