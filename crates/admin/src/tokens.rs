//! Operators' tokens: minted in return for a password, listed, revoked. A token is shown once, to the person who makes
//! it.

use domain::operator::{Email, OperatorRole, PresentedToken, Token, TokenId, TokenLifetime, mint_token};
use jiff::Timestamp;
use serde_json::json;
use store::Change;
use vault::{Pepper, random};

use crate::{ActingOperator, Actor, Admin, AdminError, event};

/// What was made. The token is in here and nowhere else.
pub struct CreatedToken {
    /// The token, to be shown once.
    pub token: PresentedToken,
    /// Whose it is.
    pub operator: Email,
    /// What they may do.
    pub role: OperatorRole,
    /// When it stops.
    pub expires_at: Timestamp,
}

/// What became of a token that was to be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedToken {
    /// The token, as it was before.
    pub token: Token,
    /// It was revoked before, at this moment; nothing was changed.
    pub already: Option<Timestamp>,
}

impl Admin {
    /// Makes a token for whoever knows the operator's password; another token is no password. It stops after
    /// `lifetime`, counted from the whole second.
    ///
    /// # Errors
    /// As [`sign_in`](Self::sign_in); [`AdminError::ChangedMeanwhile`] when the password is another one by now.
    pub async fn create_token(
        &self,
        now: Timestamp,
        pepper: &Pepper,
        (email, password): (&Email, &str),
        lifetime: TokenLifetime,
    ) -> Result<CreatedToken, AdminError> {
        let (acting, password_hash) = self.prove(now, email, password).await?;
        let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let expires_at = whole.checked_add(lifetime.length()).unwrap_or(Timestamp::MAX);
        let token = mint_token(random::bytes(), random::bytes());
        let stored = Token {
            id: token.id(),
            operator: email.clone(),
            mac: pepper.mac_of_token(&token),
            created_at: now,
            expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        let args = json!({ "id": stored.id, "email": email, "expires_at": expires_at.to_string() });
        let event = event(&acting.actor(), now, "operators.token.create", &args);
        if !self.write(Change::CreateToken { token: stored, password_hash }, event).await? {
            return Err(AdminError::ChangedMeanwhile(format!("operator `{email}`")));
        }
        Ok(CreatedToken { token, operator: email.clone(), role: acting.role(), expires_at })
    }

    /// All tokens by operator and id, revoked and expired ones too.
    ///
    /// # Errors
    /// [`AdminError::Store`].
    pub async fn list_tokens(&self) -> Result<Vec<Token>, AdminError> {
        Ok(self.store.tokens().await?)
    }

    /// Revokes a token: one's own, or as an owner anybody's. Whether it was good before.
    ///
    /// # Errors
    /// [`AdminError::NoSuchToken`], also for somebody else's.
    pub async fn end_token(
        &self,
        operator: &ActingOperator,
        now: Timestamp,
        id: TokenId,
    ) -> Result<bool, AdminError> {
        let may =
            |token: &&Token| token.operator == *operator.email() || operator.role() >= OperatorRole::Owner;
        let found = self.store.find_tokens(id.as_str()).await?;
        let token = found.iter().find(may).ok_or_else(|| AdminError::NoSuchToken(id.to_string()))?;
        let args = json!({ "id": id, "email": token.operator });
        let event = event(&operator.actor(), now, "operators.token.revoke", &args);
        self.write(Change::RevokeToken { id, at: now }, event).await
    }

    /// Revokes the token whose id starts with `start`. The whole token, or its beginning `opt_…`, will do too.
    ///
    /// # Errors
    /// [`AdminError::NoSuchToken`], [`AdminError::SeveralTokens`].
    pub async fn revoke_token(
        &self,
        actor: &Actor,
        now: Timestamp,
        start: &str,
    ) -> Result<RevokedToken, AdminError> {
        let bare = start.strip_prefix("opt_").unwrap_or(start);
        // Only the public part may come back in an error.
        let id: String = bare.chars().take(8).flat_map(char::escape_default).collect();
        if id.is_empty() {
            // Nothing is the start of every id, and of the only one: a script's empty variable must revoke none.
            return Err(AdminError::NoSuchToken(id));
        }
        let mut found = self.store.find_tokens(&id).await?;
        let token = match (found.len(), found.pop()) {
            (_, None) => return Err(AdminError::NoSuchToken(id)),
            (1, Some(token)) => token,
            (_, Some(last)) => {
                let found = found.iter().chain([&last]).map(|token| token.id).collect();
                return Err(AdminError::SeveralTokens { start: id, found });
            }
        };
        if token.revoked_at.is_some() {
            return Ok(RevokedToken { already: token.revoked_at, token });
        }
        let args = json!({ "id": token.id, "email": token.operator });
        let event = event(actor, now, "operators.token.revoke", &args);
        let done = self.write(Change::RevokeToken { id: token.id, at: now }, event).await?;
        Ok(RevokedToken { already: (!done).then_some(now), token })
    }
}
