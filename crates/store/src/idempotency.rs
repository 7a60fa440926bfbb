//! Idempotency keys: one row for each call that was made under one, for as long as the key is remembered. A row
//! is made in the transaction of the call's intent, so it is there exactly if the call may have been sent.

use domain::{
    idempotency::IdempotencyKey,
    names::{AgentName, ApprovalId, CallId},
};
use jiff::Timestamp;

use crate::sql::{self, Connection};
use crate::{IdempotencyClaim, Settled, Store, StoreError, row::micros};

/// How many rows are forgotten at once: so few that calls do not wait for it.
const FORGOTTEN_AT_ONCE: i64 = 500;

/// A key that was used before and is still remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// The digest of the call that was made under it.
    pub fingerprint: [u8; 32],
    /// What became of that call.
    pub state: KnownState,
}

/// What is known of the call that was made under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownState {
    /// It has not ended.
    InProgress,
    /// Its answer, sealed.
    Done(Vec<u8>),
    /// Its answer is lost.
    Unknown,
    /// Its answer is lost, and an operator has found out since that it happened: by which approval it was sent.
    Happened(ApprovalId),
}

impl Store {
    /// What is known of an agent's key at `now`; `None` when it was not used, or is not remembered any more.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or the row is damaged.
    pub async fn idempotency(
        &self,
        agent: &AgentName,
        key: &IdempotencyKey,
        now: Timestamp,
    ) -> Result<Option<KnownKey>, StoreError> {
        // Only a call whose answer is lost is looked for among those that people resolved.
        let select = "SELECT fingerprint, state, answer, CASE WHEN state = 'unknown' THEN \
                      (SELECT max(id) FROM approvals WHERE approvals.agent = idempotency.agent \
                      AND approvals.call_id = idempotency.call_id AND status = 'executed' AND resolved_by IS NOT NULL) \
                      END FROM idempotency WHERE agent = $1 AND key = $2 AND expires_at > $3";
        let query = sql::query(select).bind(agent.as_str()).bind(key.as_str()).bind(micros(now));
        let Some(row) = query.fetch_optional(&self.readers).await? else { return Ok(None) };
        let damaged = || StoreError::damaged(format!("an idempotency key of `{agent}`"));
        let (fingerprint, state): (&[u8], &str) = (row.try_get(0)?, row.try_get(1)?);
        let state = match (state, row.try_get::<Option<Vec<u8>>>(2)?) {
            ("in_progress", None) => KnownState::InProgress,
            ("done", Some(sealed)) => KnownState::Done(sealed),
            ("unknown", None) => match row.try_get::<Option<&str>>(3)? {
                None => KnownState::Unknown,
                Some(id) => KnownState::Happened(ApprovalId::parse(id).ok_or_else(damaged)?),
            },
            _ => return Err(damaged()),
        };
        Ok(Some(KnownKey { fingerprint: fingerprint.try_into().map_err(|_| damaged())?, state }))
    }

    /// Gives up the calls that were under way when their gateway ended (see [`Store::serve`] and
    /// [`Store::disown_the_dead`]): nobody knows whether they happened. Says how many there were.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn lose_claims(&self) -> Result<u64, StoreError> {
        let update = "UPDATE idempotency SET state = 'unknown' WHERE state = 'in_progress' AND node = 0";
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        let lost = sql::query(update).execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(lost)
    }

    /// Forgets a few keys whose time has passed; whether there may be more of them.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn forget_keys(&self, now: Timestamp) -> Result<bool, StoreError> {
        let delete = "DELETE FROM idempotency WHERE (agent, key) IN \
                      (SELECT agent, key FROM idempotency WHERE expires_at <= $1 AND state <> 'in_progress' LIMIT $2)";
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        let query = sql::query(delete).bind(micros(now)).bind(FORGOTTEN_AT_ONCE);
        let forgotten = query.execute(&mut transaction).await?;
        transaction.commit().await?;
        Ok(i64::try_from(forgotten).is_ok_and(|forgotten| forgotten == FORGOTTEN_AT_ONCE))
    }
}

/// Makes the row; whether the key was free: a call that is held under it, maybe at another gateway with another policy, has
/// it as well. `node`: the gateway that sends the call.
pub async fn claim_free(
    connection: &mut Connection<'_>,
    wanted: &IdempotencyClaim,
    node: i64,
) -> Result<bool, StoreError> {
    let select = "SELECT count(*) FROM approvals WHERE agent = $1 AND idempotency_key = $2 AND live = 1 \
                  AND idempotency_key IS NOT NULL";
    let query = sql::query_scalar::<i64>(select).bind(wanted.agent.as_str()).bind(wanted.key.as_str());
    if query.fetch_one(&mut *connection).await? > 0 {
        return Ok(false);
    }
    claim(connection, wanted, node).await
}

/// The same, for the call itself that was held under the key.
pub async fn claim(
    connection: &mut Connection<'_>,
    claim: &IdempotencyClaim,
    node: i64,
) -> Result<bool, StoreError> {
    let insert = "INSERT INTO idempotency (agent, key, fingerprint, call_id, state, claimed_at, expires_at, node) \
                  VALUES ($1, $2, $3, $4, 'in_progress', $5, $6, $7) \
                  ON CONFLICT (agent, key) DO UPDATE SET fingerprint = $3, call_id = $4, \
                  state = 'in_progress', answer = NULL, claimed_at = $5, expires_at = $6, node = $7 \
                  WHERE idempotency.expires_at <= $5";
    let query = sql::query(insert).bind(claim.agent.as_str()).bind(claim.key.as_str());
    let query = query.bind(&claim.fingerprint[..]).bind(claim.call.to_string());
    let query = query.bind(micros(claim.at)).bind(micros(claim.expires_at)).bind(node);
    Ok(query.execute(connection).await? > 0)
}

/// Writes what became of the call; whether the key was still its own. A gateway that is taken for dead may
/// live; whoever made a call knows better, so `unknown` may still be settled.
pub async fn settle(
    connection: &mut Connection<'_>,
    agent: &AgentName,
    key: &IdempotencyKey,
    call: CallId,
    settled: &Settled,
) -> Result<bool, StoreError> {
    let (text, answer) = match settled {
        Settled::Answered(sealed) => (
            "UPDATE idempotency SET state = 'done', answer = $4 \
             WHERE agent = $1 AND key = $2 AND call_id = $3 AND state <> 'done'",
            Some(sealed),
        ),
        Settled::Unknown => (
            "UPDATE idempotency SET state = 'unknown' \
             WHERE agent = $1 AND key = $2 AND call_id = $3 AND state <> 'done'",
            None,
        ),
        Settled::NotSent => (
            "DELETE FROM idempotency WHERE agent = $1 AND key = $2 AND call_id = $3 AND state <> 'done'",
            None,
        ),
    };
    let query = sql::query(text).bind(agent.as_str()).bind(key.as_str()).bind(call.to_string());
    let query = match answer {
        Some(sealed) => query.bind(&**sealed),
        None => query,
    };
    Ok(query.execute(connection).await? > 0)
}
