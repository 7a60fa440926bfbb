//! Logins to the console and their refresh tokens.

use domain::{
    key::KeyMac,
    operator::{Email, Session, SessionId},
};
use jiff::{SignedDuration, Timestamp};

use crate::sql::{self, Connection, Row};
use crate::{
    Store, StoreError,
    row::{micros, time},
    verifier,
};

const SESSION: &str =
    "SELECT id, operator, created_at, used_at, expires_at, ended_at, address, browser FROM sessions";
/// How many sessions are listed.
const LISTED_MAX: u32 = 500;

/// What came of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// It was good, and the new one is in its place.
    Done,
    /// A page of the same browser used it a moment ago; the new one was not stored.
    Overtaken,
    /// It was used before: somebody has a copy.
    Reused,
    /// It, or its session, is not there any more.
    Gone,
}

impl Store {
    /// One session, ended ones too.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or the row is damaged.
    pub async fn session(&self, id: SessionId) -> Result<Option<Session>, StoreError> {
        let select = format!("{SESSION} WHERE id = $1");
        let row = sql::assembled(select).bind(id.as_str()).fetch_optional(&self.readers).await?;
        row.as_ref().map(session).transpose()
    }

    /// The session that a refresh token belongs to, whether the token was used or not.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or the row is damaged.
    pub async fn session_of_refresh(&self, refresh: &KeyMac) -> Result<Option<Session>, StoreError> {
        let which = "WHERE id = (SELECT session FROM refresh_tokens WHERE verifier = $1)";
        let select = format!("{SESSION} {which}");
        let row = sql::assembled(select).bind(verifier::write(refresh)).fetch_optional(&self.readers).await?;
        row.as_ref().map(session).transpose()
    }

    /// Sessions that were not ended, the newest first: of one operator, or of all; 500 at most.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn sessions(&self, operator: Option<&Email>) -> Result<Vec<Session>, StoreError> {
        let which = "WHERE ended_at IS NULL AND ($1 IS NULL OR operator = $1) ORDER BY created_at DESC";
        let select = format!("{SESSION} {which} LIMIT {LISTED_MAX}");
        let rows = sql::assembled(select).bind(operator.map(Email::as_str)).fetch_all(&self.readers).await?;
        rows.iter().map(session).collect()
    }

    /// Puts a new refresh token in the place of one that was not used yet. `leeway`: a page asks, and one that a page
    /// used less than so long ago does no harm. It is no event: the login is.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer; nothing is changed then.
    pub async fn rotate_refresh(
        &self,
        (old, new): (&KeyMac, &KeyMac),
        at: Timestamp,
        leeway: Option<SignedDuration>,
    ) -> Result<Rotation, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        let used = "UPDATE refresh_tokens SET used_at = $2, by_page = $3 WHERE verifier = $1 AND used_at IS NULL \
                    AND EXISTS (SELECT 1 FROM sessions WHERE id = session AND ended_at IS NULL) RETURNING session";
        let query = sql::query_scalar(used).bind(verifier::write(old)).bind(micros(at));
        let session: Option<String> = query.bind(leeway.is_some()).fetch_optional(&mut transaction).await?;
        if let Some(session) = session {
            let insert = "INSERT INTO refresh_tokens (verifier, session) VALUES ($1, $2)";
            let query = sql::query(insert).bind(verifier::write(new)).bind(&session);
            query.execute(&mut transaction).await?;
            let touch =
                "UPDATE sessions SET used_at = CASE WHEN used_at < $2 THEN $2 ELSE used_at END WHERE id = $1";
            sql::query(touch).bind(&session).bind(micros(at)).execute(&mut transaction).await?;
            transaction.commit().await?;
            return Ok(Rotation::Done);
        }
        let select = "SELECT used_at, by_page FROM refresh_tokens WHERE verifier = $1";
        let row = sql::query(select).bind(verifier::write(old)).fetch_optional(&mut transaction).await?;
        let Some(row) = row else { return Ok(Rotation::Gone) };
        let (used_at, by_page): (Option<i64>, bool) = (row.try_get(0)?, row.try_get(1)?);
        let Some(used_at) = used_at.and_then(time) else { return Ok(Rotation::Gone) };
        let moment = at.duration_since(used_at).abs();
        let overtaken = by_page && leeway.is_some_and(|leeway| moment < leeway);
        Ok(if overtaken { Rotation::Overtaken } else { Rotation::Reused })
    }

    /// Notes that a session is used. It is no event; later times win.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer; nothing is noted then.
    pub async fn note_session_use(&self, id: SessionId, at: Timestamp) -> Result<(), StoreError> {
        let update = "UPDATE sessions SET used_at = $2 WHERE id = $1 AND used_at < $2";
        let mut writer = self.writer.lock().await;
        sql::query(update)
            .bind(id.as_str())
            .bind(micros(at))
            .execute(&mut writer.connection().await?)
            .await?;
        Ok(())
    }

    /// Forgets sessions that ended, or expired, before that moment.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn forget_sessions(&self, before: Timestamp) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        for delete in [
            "DELETE FROM refresh_tokens WHERE session IN \
             (SELECT id FROM sessions WHERE expires_at < $1 OR ended_at < $1)",
            "DELETE FROM sessions WHERE expires_at < $1 OR ended_at < $1",
        ] {
            sql::query(delete).bind(micros(before)).execute(&mut transaction).await?;
        }
        Ok(transaction.commit().await?)
    }
}

/// Opens a session with its first refresh token.
pub async fn open(
    connection: &mut Connection<'_>,
    session: &Session,
    refresh: &KeyMac,
    password_hash: &str,
) -> Result<bool, StoreError> {
    let insert = "INSERT INTO sessions (id, operator, created_at, used_at, expires_at, address, browser) \
                  SELECT $1, email, $3, $4, $5, $6, $7 FROM operators \
                  WHERE email = $2 AND state = 'active' AND password_hash = $8 ON CONFLICT DO NOTHING";
    let query = sql::query(insert).bind(session.id.as_str()).bind(session.operator.as_str());
    let query = query.bind(micros(session.created_at)).bind(micros(session.used_at));
    let query = query.bind(micros(session.expires_at)).bind(&*session.address).bind(&*session.browser);
    if query.bind(password_hash).execute(&mut *connection).await? == 0 {
        return Ok(false);
    }
    let insert = "INSERT INTO refresh_tokens (verifier, session) VALUES ($1, $2)";
    let query = sql::query(insert).bind(verifier::write(refresh)).bind(session.id.as_str());
    query.execute(connection).await?;
    Ok(true)
}

/// Ends a session; whether it was not ended before.
pub async fn end(connection: &mut Connection<'_>, id: SessionId, at: Timestamp) -> Result<bool, StoreError> {
    let update = "UPDATE sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL";
    let query = sql::query(update).bind(id.as_str()).bind(micros(at));
    Ok(query.execute(connection).await? > 0)
}

/// Ends all sessions of an operator.
pub async fn end_all(
    connection: &mut Connection<'_>,
    operator: &Email,
    at: Timestamp,
) -> Result<(), StoreError> {
    let update = "UPDATE sessions SET ended_at = $2 WHERE operator = $1 AND ended_at IS NULL";
    sql::query(update).bind(operator.as_str()).bind(micros(at)).execute(connection).await?;
    Ok(())
}

fn session(row: &Row) -> Result<Session, StoreError> {
    let id: &str = row.try_get(0)?;
    let (Some(parsed), Ok(operator), Some(created_at), Some(used_at), Some(expires_at)) = (
        SessionId::parse(id),
        Email::parse(row.try_get(1)?),
        time(row.try_get(2)?),
        time(row.try_get(3)?),
        time(row.try_get(4)?),
    ) else {
        return Err(StoreError::damaged(format!("session `{}`", id.escape_debug())));
    };
    let ended_at = row.try_get::<Option<i64>>(5)?.and_then(time);
    let (address, browser) = (row.try_get(6)?, row.try_get(7)?);
    Ok(Session { id: parsed, operator, created_at, used_at, expires_at, ended_at, address, browser })
}
