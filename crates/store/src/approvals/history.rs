//! What was before a held call: the people who decide see whether it is anything new.

use domain::{
    approval::{Approval, Held},
    names::ApprovalId,
};
use jiff::Timestamp;

use crate::sql::{self, Connection};
use crate::{
    Store, StoreError,
    row::{micros, time},
};

/// How many events of the trail are looked at, the newest. The trail has no index for this, because every call
/// would pay for it.
const EVENTS_MAX: i64 = 20_000;

/// What its agent did before with the same action of the same service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Before {
    /// How often the upstream was asked.
    pub forwarded: u64,
    /// How often people denied it.
    pub denied: u64,
    /// Whether `forwarded` counts everything since the moment that was asked for; otherwise it is what the newest
    /// 20,000 events of the trail tell.
    pub whole: bool,
    /// The newest execution of the identical call that people approved: which approval, and when it ended.
    pub identical: Option<(ApprovalId, Timestamp)>,
}

impl Store {
    /// What was before this held call, since `since`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn before(&self, approval: &Approval, since: Timestamp) -> Result<Before, StoreError> {
        let Held { agent, service, action, .. } = &approval.held;
        let mut transaction = self.readers.begin().await?;
        let newest = "SELECT coalesce(max(seq), 0) FROM audit";
        let newest: i64 = sql::query_scalar(newest).fetch_one(&mut transaction).await?;
        let from = newest.saturating_sub(EVENTS_MAX);
        let count = "SELECT count(*) FROM audit WHERE seq > $1 AND at >= $2 AND agent = $3 AND service = $4 \
                     AND action = $5 AND kind = 'outcome' AND result IN ('forwarded', 'executed-approved')";
        let query = sql::query_scalar(count).bind(from).bind(micros(since)).bind(agent.as_str());
        let forwarded: i64 = query.bind(service.as_str()).bind(action).fetch_one(&mut transaction).await?;
        let oldest = "SELECT at FROM audit WHERE seq <= $1 ORDER BY seq DESC LIMIT 1";
        let oldest: Option<i64> =
            sql::query_scalar(oldest).bind(from).fetch_optional(&mut transaction).await?;
        let count = "SELECT count(*) FROM approvals WHERE agent = $1 AND status = 'denied' \
                     AND created_at >= $2 AND service = $3 AND action = $4";
        let query = sql::query_scalar(count).bind(agent.as_str()).bind(micros(since));
        let denied: i64 = query.bind(service.as_str()).bind(action).fetch_one(&mut transaction).await?;
        let identical = identical(&mut transaction, approval).await?;
        Ok(Before {
            forwarded: u64::try_from(forwarded).unwrap_or(0),
            denied: u64::try_from(denied).unwrap_or(0),
            whole: oldest.is_none_or(|at| at < micros(since)),
            identical,
        })
    }

    /// The newest execution of the identical call that people approved.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn identical(
        &self,
        approval: &Approval,
    ) -> Result<Option<(ApprovalId, Timestamp)>, StoreError> {
        identical(&mut self.readers.acquire().await?, approval).await
    }
}

async fn identical(
    connection: &mut Connection<'_>,
    approval: &Approval,
) -> Result<Option<(ApprovalId, Timestamp)>, StoreError> {
    let Held { id, agent, call_digest, .. } = &approval.held;
    let same = "SELECT id, ended_at FROM approvals WHERE agent = $1 AND call_digest = $2 \
                AND status = 'executed' AND id <> $3 ORDER BY ended_at DESC LIMIT 1";
    let query = sql::query(same).bind(agent.as_str()).bind(&call_digest[..]);
    let same = query.bind(id.as_str()).fetch_optional(connection).await?;
    let Some(row) = same else { return Ok(None) };
    let (id, at): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(ApprovalId::parse(id).zip(time(at)))
}
