//! Operators, their tokens, and how often a wrong password was given for them.

use domain::{
    key::KeyMac,
    operator::{Email, Operator, OperatorRole, OperatorState, Token, TokenId},
};
use jiff::{SignedDuration, Timestamp};

use crate::sql::{self, Connection, Row};
use crate::{
    Store, StoreError,
    row::{micros, time},
    sessions, verifier,
};

/// Wrong passwords are forgotten after this long: longer than the longest wait.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// An operator as lists show it: never the password's hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredOperator {
    /// Who it is.
    pub email: Email,
    /// What they may do.
    pub role: OperatorRole,
    /// Whether they may.
    pub state: OperatorState,
    /// When they were added.
    pub created_at: Timestamp,
}

/// How often in a row a password was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongPasswords {
    /// How often.
    pub count: u32,
    /// When the last one was.
    pub at: Timestamp,
}

const OPERATOR: &str = "SELECT email, role, created_at, state FROM operators";
const TOKEN: &str =
    "SELECT id, operator, verifier, created_at, expires_at, revoked_at, last_used_at FROM operator_tokens";

impl Store {
    /// Operators by address, disabled ones too.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn operators(&self) -> Result<Vec<StoredOperator>, StoreError> {
        let select = format!("{OPERATOR} ORDER BY email");
        sql::assembled(select).fetch_all(&self.readers).await?.iter().map(operator).collect()
    }

    /// One operator, in whatever state.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or the row is damaged.
    pub async fn operator(&self, email: &Email) -> Result<Option<StoredOperator>, StoreError> {
        let select = format!("{OPERATOR} WHERE email = $1");
        let row = sql::assembled(select).bind(email.as_str()).fetch_optional(&self.readers).await?;
        row.as_ref().map(operator).transpose()
    }

    /// What an operator's password must hash to, in PHC form.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn password_hash(&self, email: &Email) -> Result<Option<String>, StoreError> {
        let select = "SELECT password_hash FROM operators WHERE email = $1";
        Ok(sql::query_scalar(select).bind(email.as_str()).fetch_optional(&self.readers).await?)
    }

    /// All tokens by operator and id, revoked and expired ones too.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let select = format!("{TOKEN} ORDER BY operator, id");
        sql::assembled(select).fetch_all(&self.readers).await?.iter().map(token).collect()
    }

    /// The token with this MAC.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or the row is damaged.
    pub async fn token(&self, mac: &KeyMac) -> Result<Option<Token>, StoreError> {
        let select = format!("{TOKEN} WHERE verifier = $1");
        let row = sql::assembled(select).bind(verifier::write(mac)).fetch_optional(&self.readers).await?;
        row.as_ref().map(token).transpose()
    }

    /// The tokens whose id starts with `start`, ten at most; eight characters are the whole id.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn find_tokens(&self, start: &str) -> Result<Vec<Token>, StoreError> {
        // `~` comes after every character of an id.
        let select = format!("{TOKEN} WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 10");
        let rows =
            sql::assembled(select).bind(start).bind(format!("{start}~")).fetch_all(&self.readers).await?;
        rows.iter().map(token).collect()
    }

    /// Notes when a token was last used. It is no event; later times win.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer; nothing is noted then.
    pub async fn note_token_use(&self, id: TokenId, at: Timestamp) -> Result<(), StoreError> {
        let update = "UPDATE operator_tokens SET last_used_at = $2 \
                      WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
        let mut writer = self.writer.lock().await;
        sql::query(update)
            .bind(id.as_str())
            .bind(micros(at))
            .execute(&mut writer.connection().await?)
            .await?;
        Ok(())
    }

    /// How often in a row a password was wrong for this address within the last hour, whoever has it.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn wrong_passwords(
        &self,
        email: &Email,
        now: Timestamp,
    ) -> Result<Option<WrongPasswords>, StoreError> {
        let select = "SELECT count, at FROM wrong_passwords WHERE email = $1";
        let Some(row) = sql::query(select).bind(email.as_str()).fetch_optional(&self.readers).await? else {
            return Ok(None);
        };
        let (count, at): (u32, i64) = (row.try_get(0)?, row.try_get(1)?);
        let at = time(at).ok_or_else(|| StoreError::damaged("a count of wrong passwords"))?;
        Ok((now.duration_since(at).abs() < REMEMBERED).then_some(WrongPasswords { count, at }))
    }

    /// Counts one more wrong password; whether it was counted. Condition: the count is what `seen` says. It is
    /// counted before the password is looked at, so that many tries at once gain nothing. Counts of other addresses
    /// that are older than an hour are dropped.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer; nothing is counted then.
    pub async fn count_wrong_password(
        &self,
        email: &Email,
        seen: Option<WrongPasswords>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut writer = self.writer.lock().await;
        let forget = "DELETE FROM wrong_passwords WHERE at <= $1 OR at >= $2";
        let (from, to) = (now.saturating_sub(REMEMBERED), now.saturating_add(REMEMBERED));
        let query = sql::query(forget).bind(from.map_or(i64::MIN, micros)).bind(to.map_or(i64::MAX, micros));
        query.execute(&mut writer.connection().await?).await?;
        let count = match seen {
            None => {
                "INSERT INTO wrong_passwords (email, count, at) VALUES ($1, $3 + 1, $2) ON CONFLICT DO NOTHING"
            }
            Some(_) => "UPDATE wrong_passwords SET count = $3 + 1, at = $2 WHERE email = $1 AND count = $3",
        };
        let query = sql::query(count).bind(email.as_str()).bind(micros(now));
        let query = query.bind(seen.map_or(0, |seen| seen.count));
        Ok(query.execute(&mut writer.connection().await?).await? > 0)
    }

    /// Forgets the wrong passwords of an address, because the right one came.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn forget_wrong_passwords(&self, email: &Email) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        forget_wrong_passwords(&mut writer.connection().await?, email).await
    }
}

pub async fn create(connection: &mut Connection<'_>, operator: &Operator) -> Result<bool, StoreError> {
    let insert = "INSERT INTO operators (email, role, password_hash, created_at) VALUES ($1, $2, $3, $4) \
                  ON CONFLICT DO NOTHING";
    let query = sql::query(insert).bind(operator.email.as_str()).bind(operator.role.as_str());
    let query = query.bind(operator.password_hash.as_str()).bind(micros(operator.created_at));
    Ok(query.execute(connection).await? > 0)
}

pub async fn set_state(
    connection: &mut Connection<'_>,
    email: &Email,
    state: OperatorState,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let update = "UPDATE operators SET state = $2 WHERE email = $1 AND state <> $2 \
                  AND ($2 = 'active' OR role <> 'owner' OR EXISTS \
                       (SELECT 1 FROM operators WHERE email <> $1 AND role = 'owner' AND state = 'active'))";
    let query = sql::query(update).bind(email.as_str()).bind(state.as_str());
    let done = query.execute(&mut *connection).await? > 0;
    if done && state == OperatorState::Disabled {
        sessions::end_all(connection, email, at).await?;
    }
    Ok(done)
}

/// A disabled owner may become less: the last active one is somebody else.
pub async fn set_role(
    connection: &mut Connection<'_>,
    email: &Email,
    from: OperatorRole,
    to: OperatorRole,
) -> Result<bool, StoreError> {
    let update = "UPDATE operators SET role = $3 WHERE email = $1 AND role = $2 AND role <> $3 \
                  AND ($2 <> 'owner' OR state <> 'active' OR EXISTS \
                       (SELECT 1 FROM operators WHERE email <> $1 AND role = 'owner' AND state = 'active'))";
    let query = sql::query(update).bind(email.as_str()).bind(from.as_str()).bind(to.as_str());
    Ok(query.execute(connection).await? > 0)
}

pub async fn reset(
    connection: &mut Connection<'_>,
    email: &Email,
    (replaces, password_hash): (Option<&str>, &str),
    at: Timestamp,
) -> Result<bool, StoreError> {
    let update = match replaces {
        None => "UPDATE operators SET password_hash = $2 WHERE email = $1",
        Some(_) => "UPDATE operators SET password_hash = $2 WHERE email = $1 AND password_hash = $3",
    };
    let query = sql::query(update).bind(email.as_str()).bind(password_hash);
    let query = match replaces {
        None => query,
        Some(hash) => query.bind(hash),
    };
    if query.execute(&mut *connection).await? == 0 {
        return Ok(false);
    }
    let revoke = "UPDATE operator_tokens SET revoked_at = $2 WHERE operator = $1 AND revoked_at IS NULL";
    sql::query(revoke).bind(email.as_str()).bind(micros(at)).execute(&mut *connection).await?;
    sessions::end_all(&mut *connection, email, at).await?;
    forget_wrong_passwords(connection, email).await?;
    Ok(true)
}

pub async fn create_token(
    connection: &mut Connection<'_>,
    token: &Token,
    password_hash: &str,
) -> Result<bool, StoreError> {
    let insert = "INSERT INTO operator_tokens (id, operator, verifier, created_at, expires_at) \
                  SELECT $1, email, $3, $4, $5 FROM operators \
                  WHERE email = $2 AND state = 'active' AND password_hash = $6 ON CONFLICT DO NOTHING";
    let query = sql::query(insert).bind(token.id.as_str()).bind(token.operator.as_str());
    let query = query.bind(verifier::write(&token.mac)).bind(micros(token.created_at));
    let query = query.bind(micros(token.expires_at)).bind(password_hash);
    Ok(query.execute(connection).await? > 0)
}

pub async fn revoke_token(
    connection: &mut Connection<'_>,
    id: TokenId,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let update = "UPDATE operator_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
    let query = sql::query(update).bind(id.as_str()).bind(micros(at));
    Ok(query.execute(connection).await? > 0)
}

async fn forget_wrong_passwords(connection: &mut Connection<'_>, email: &Email) -> Result<(), StoreError> {
    sql::query("DELETE FROM wrong_passwords WHERE email = $1")
        .bind(email.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

fn operator(row: &Row) -> Result<StoredOperator, StoreError> {
    let email: &str = row.try_get(0)?;
    let (role, state): (&str, &str) = (row.try_get(1)?, row.try_get(3)?);
    let states = [OperatorState::Active, OperatorState::Disabled];
    let role = OperatorRole::parse(role);
    let state = states.into_iter().find(|known| known.as_str() == state);
    match (Email::parse(email), role, state, time(row.try_get(2)?)) {
        (Ok(email), Some(role), Some(state), Some(created_at)) => {
            Ok(StoredOperator { email, role, state, created_at })
        }
        _ => Err(StoreError::damaged(format!("operator `{}`", email.escape_debug()))),
    }
}

fn token(row: &Row) -> Result<Token, StoreError> {
    let id: &str = row.try_get(0)?;
    let optional = |index: usize| -> Result<Option<Timestamp>, sqlx::Error> {
        Ok(row.try_get::<Option<i64>>(index)?.and_then(time))
    };
    let (Some(parsed), Ok(operator), Some(mac), Some(created_at), Some(expires_at)) = (
        TokenId::parse(id),
        Email::parse(row.try_get(1)?),
        verifier::read(row.try_get(2)?),
        time(row.try_get(3)?),
        time(row.try_get(4)?),
    ) else {
        return Err(StoreError::damaged(format!("token `{}`", id.escape_debug())));
    };
    let (revoked_at, last_used_at) = (optional(5)?, optional(6)?);
    Ok(Token { id: parsed, operator, mac, created_at, expires_at, revoked_at, last_used_at })
}
