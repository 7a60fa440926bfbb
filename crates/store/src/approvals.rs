//! Approvals, read: one, many, what an identical call meets, and what gateways have to do next.

mod history;
mod inbox;
mod row;
mod write;

use std::collections::HashSet;

use domain::{
    approval::{Approval, ApprovalsRevision, Status},
    idempotency::IdempotencyKey,
    names::{AgentName, ApprovalId},
    operator::OperatorRole,
};
use jiff::Timestamp;

use crate::sql::{self, Connection, Value};
use crate::{Store, StoreError, append, row::micros};

pub use history::Before;
pub use inbox::InboxCursor;
use row::select;
pub use write::{cancel, claim, close, decide, expire, hold, resolve, withdraw};

/// How many approvals are forgotten at once: so few that calls do not wait for it.
const FORGOTTEN_AT_ONCE: i64 = 100;

/// Which approvals. What is left at its default filters nothing.
#[derive(Debug, Clone, Default)]
pub struct ApprovalQuery {
    /// In this status.
    pub status: Option<Status>,
    /// Of this agent.
    pub agent: Option<AgentName>,
    /// Held before this one.
    pub before: Option<InboxCursor>,
}

/// What a start of an approval's id names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundApproval {
    /// Nothing.
    None,
    /// This one.
    One(Box<Approval>),
    /// Several; the first ten ids.
    Several(Vec<ApprovalId>),
}

/// Approved calls of an older copy of a store may have been sent by whoever used the store since: here they count as being
/// sent by nobody, which makes them `unknown` at the next start, and nobody sends them again. How many.
pub async fn doubt_approved(connection: &mut Connection<'_>, at: Timestamp) -> Result<u64, StoreError> {
    let update =
        "UPDATE approvals SET status = 'executing', claimed_at = $1, node = 0 WHERE status = 'approved'";
    Ok(sql::query(update).bind(micros(at)).patiently().execute(connection).await?)
}

impl Store {
    /// The revision that moves with every change of an approval: one row, cheap enough to ask many times a second.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn approvals_revision(&self) -> Result<ApprovalsRevision, StoreError> {
        let select = "SELECT number FROM revisions WHERE area = 'approvals'";
        Ok(sql::query_scalar(select).fetch_one(&self.lookout).await.map(ApprovalsRevision)?)
    }

    /// One approval.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        Ok(self.select("WHERE id = $1", &[Value::from(id.as_str())]).await?.pop())
    }

    /// The approval whose id starts with `start`, with or without `ap_`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn find_approval(&self, start: &str) -> Result<FoundApproval, StoreError> {
        let bare = start.strip_prefix(ApprovalId::PREFIX).unwrap_or(start);
        let start = format!("{}{bare}", ApprovalId::PREFIX);
        // `~` comes after every character of an id.
        let end = format!("{start}~");
        let which = "WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 10";
        let mut found = self.select(which, &[Value::from(&start), Value::from(&end)]).await?;
        Ok(match (found.len(), found.pop()) {
            (0, _) | (_, None) => FoundApproval::None,
            (1, Some(approval)) => FoundApproval::One(Box::new(approval)),
            (_, Some(last)) => {
                FoundApproval::Several(found.iter().chain([&last]).map(|one| one.held.id).collect())
            }
        })
    }

    /// The approvals that the query asks for, the newest first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn approvals(&self, query: &ApprovalQuery, limit: u32) -> Result<Vec<Approval>, StoreError> {
        let mut tests = Vec::new();
        let mut values = Vec::new();
        if let Some(status) = query.status {
            values.push(Value::from(status.as_str()));
            tests.push(format!("status = ${}", values.len()));
        }
        if let Some(agent) = &query.agent {
            values.push(Value::from(agent.as_str()));
            tests.push(format!("agent = ${}", values.len()));
        }
        if let Some((created_at, id)) = &query.before {
            values.extend([Value::from(micros(*created_at)), Value::from(id.as_str())]);
            let (at, id) = (values.len() - 1, values.len());
            tests.push(format!("created_at <= ${at} AND (created_at, id) < (${at}, ${id})"));
        }
        values.push(Value::from(limit));
        let which = if tests.is_empty() { String::new() } else { format!("WHERE {}", tests.join(" AND ")) };
        let which = format!("{which} ORDER BY created_at DESC, id DESC LIMIT ${}", values.len());
        self.select(&which, &values).await
    }

    /// What a call meets that was held before. Without an idempotency key: the live approval of the identical call.
    /// With one: the live approval under that key, whose call digest may be another one; then it is another request
    /// under the same key.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn live_approval(
        &self,
        agent: &AgentName,
        call_digest: &[u8; 32],
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Approval>, StoreError> {
        let agent = Value::from(agent.as_str());
        let found = match key {
            None => {
                let which = "WHERE agent = $1 AND call_digest = $2 AND live = 1 AND idempotency_key IS NULL";
                self.select(which, &[agent, Value::from(&call_digest[..])]).await?
            }
            Some(key) => {
                // The second test lets SQLite see that its index fits.
                let which =
                    "WHERE agent = $1 AND idempotency_key = $2 AND live = 1 AND idempotency_key IS NOT NULL";
                self.select(which, &[agent, Value::from(key.as_str())]).await?
            }
        };
        Ok(found.into_iter().next())
    }

    /// How many calls of an agent wait for a decision.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn count_pending(&self, agent: &AgentName) -> Result<u32, StoreError> {
        let count = "SELECT count(*) FROM approvals WHERE agent = $1 AND status = 'pending'";
        Ok(sql::query_scalar(count).bind(agent.as_str()).fetch_one(&self.readers).await?)
    }

    /// The statuses of these approvals, without those that are not there.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn approval_statuses(
        &self,
        ids: &[ApprovalId],
    ) -> Result<Vec<(ApprovalId, Status)>, StoreError> {
        let mut statuses = Vec::with_capacity(ids.len());
        for ids in ids.chunks(500) {
            let places = (1..=ids.len()).map(|place| format!("${place}")).collect::<Vec<_>>().join(", ");
            let select = format!("SELECT id, status FROM approvals WHERE id IN ({places})");
            let query = ids.iter().fold(sql::assembled(select).once(), |query, id| query.bind(id.as_str()));
            for row in query.fetch_all(&self.readers).await? {
                let (id, status): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
                let damaged = || StoreError::damaged("an approval's status");
                let id = ApprovalId::parse(id).ok_or_else(damaged)?;
                statuses.push((id, Status::parse(status).ok_or_else(damaged)?));
            }
        }
        Ok(statuses)
    }

    /// How many calls wait for a decision, of all agents.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn count_waiting(&self) -> Result<u64, StoreError> {
        let count = "SELECT count(*) FROM approvals WHERE status = 'pending'";
        let count: i64 = sql::query_scalar(count).fetch_one(&self.readers).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// What may be executed at `now`, what expires first coming first.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn claimable(&self, now: Timestamp, limit: u32) -> Result<Vec<Approval>, StoreError> {
        let which = "WHERE status = 'approved' AND execute_by > $1 ORDER BY execute_by LIMIT $2";
        self.select(which, &[Value::from(micros(now)), Value::from(limit)]).await
    }

    /// What nobody decided, or nobody executed, in time: to be expired with [`crate::Change::ExpireApproval`].
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn due_approvals(&self, now: Timestamp, limit: u32) -> Result<Vec<Approval>, StoreError> {
        let values = [Value::from(micros(now)), Value::from(limit)];
        let undecided = "WHERE status = 'pending' AND decide_by <= $1 ORDER BY decide_by LIMIT $2";
        let unclaimed = "WHERE status = 'approved' AND execute_by <= $1 ORDER BY execute_by LIMIT $2";
        let mut due = self.select(undecided, &values).await?;
        due.extend(self.select(unclaimed, &values).await?);
        Ok(due)
    }

    /// What this gateway, or nobody any more, has been executing since before `claimed_before`: to be closed as unknown with
    /// [`crate::Change::CloseApproval`], never to be taken over. To be asked with a moment that no execution lasts as
    /// long as. What others execute is theirs to judge, by their clocks and their time-outs.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn executing_approvals(
        &self,
        claimed_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<Approval>, StoreError> {
        let which = "WHERE status = 'executing' AND node IN (0, $1) AND claimed_at < $2 \
                     ORDER BY claimed_at LIMIT $3";
        let values = [self.number.get().into(), micros(claimed_before).into(), limit.into()];
        self.select(which, &values).await
    }

    /// Whether this gateway executes it, under the number that it has now.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn executes(&self, id: &ApprovalId) -> Result<bool, StoreError> {
        let select = "SELECT count(*) FROM approvals WHERE id = $1 AND status = 'executing' AND node = $2";
        let query = sql::query_scalar::<i64>(select).bind(id.as_str()).bind(self.number.get());
        Ok(query.fetch_one(&self.readers).await? > 0)
    }

    /// What was executing when its gateway ended (see [`Store::serve`] and [`Store::disown_the_dead`]): to be closed as
    /// unknown too.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn lost_executions(&self, limit: u32) -> Result<Vec<Approval>, StoreError> {
        let which = "WHERE status = 'executing' AND node = 0 ORDER BY claimed_at LIMIT $1";
        self.select(which, &[Value::from(limit)]).await
    }

    /// How many of the operators who approved it may still decide: some may have been disabled since.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn count_approvers(&self, id: &ApprovalId) -> Result<usize, StoreError> {
        let select = "SELECT role FROM operators JOIN approval_decisions ON operator = email \
                      WHERE approval = $1 AND approve = 1 AND state = 'active'";
        let query = sql::query_scalar(select).bind(id.as_str());
        let roles: Vec<String> = query.fetch_all(&self.readers).await?;
        let may_decide = |role: &&String| OperatorRole::parse(role).is_some_and(OperatorRole::may_decide);
        Ok(roles.iter().filter(may_decide).count())
    }

    /// The whole call as it was held, sealed (`vault::Label::of_held_call`); `None` when it was forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn held_call(&self, id: &ApprovalId) -> Result<Option<Vec<u8>>, StoreError> {
        self.body(id, row::HELD_CALL).await
    }

    /// The answer of an execution, sealed (`vault::Label::of_approval_answer`); `None` when there is none, or it was
    /// forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn approval_answer(&self, id: &ApprovalId) -> Result<Option<Vec<u8>>, StoreError> {
        self.body(id, row::STORED_ANSWER).await
    }

    /// Notes that the agent was given the end of an approval: an identical call is a new call from now on. Nothing
    /// happens where it is not final, or was delivered before. Says whether something did.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer.
    pub async fn deliver_approval(&self, id: &ApprovalId, at: Timestamp) -> Result<bool, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        let delivered = write::deliver(&mut transaction, id, at).await?;
        if delivered {
            append::bump(&mut transaction, "approvals").await?;
        }
        transaction.commit().await?;
        Ok(delivered)
    }

    /// The agents of whose calls some are held, are executing, or have ended without the agent being told.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer or a row is damaged.
    pub async fn agents_with_live_approvals(&self) -> Result<HashSet<AgentName>, StoreError> {
        let select = "SELECT DISTINCT agent FROM approvals WHERE live = 1";
        let names: Vec<String> = sql::query_scalar(select).fetch_all(&self.readers).await?;
        let read =
            |name: &String| AgentName::parse(name).map_err(|_| StoreError::damaged("an approval's agent"));
        names.iter().map(read).collect()
    }

    /// Drops the calls and answers of a few approvals that ended before `ended_before`; identical calls are new
    /// calls from then on, whether the end was delivered or not. What is unknown stays until it is resolved. Says
    /// whether there may be more.
    ///
    /// # Errors
    /// [`StoreError`] when the store does not answer; nothing is dropped then.
    pub async fn forget_approvals(&self, ended_before: Timestamp) -> Result<bool, StoreError> {
        let mut writer = self.writer.lock().await;
        let mut transaction = writer.begin().await?;
        let select = "SELECT id FROM approvals WHERE kept = 1 AND ended_at IS NOT NULL AND ended_at < $1 \
                      AND status <> 'unknown' ORDER BY ended_at LIMIT $2";
        let query = sql::query_scalar(select).bind(micros(ended_before)).bind(FORGOTTEN_AT_ONCE);
        let ids: Vec<String> = query.fetch_all(&mut transaction).await?;
        for id in &ids {
            let delete = "DELETE FROM approval_bodies WHERE approval = $1";
            sql::query(delete).bind(id).execute(&mut transaction).await?;
            let update = "UPDATE approvals SET kept = 0, live = 0 WHERE id = $1";
            sql::query(update).bind(id).execute(&mut transaction).await?;
        }
        if !ids.is_empty() {
            append::bump(&mut transaction, "approvals").await?;
        }
        transaction.commit().await?;
        Ok(i64::try_from(ids.len()).is_ok_and(|count| count == FORGOTTEN_AT_ONCE))
    }

    async fn body(&self, id: &ApprovalId, purpose: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let select = "SELECT sealed FROM approval_bodies WHERE approval = $1 AND purpose = $2";
        let query = sql::query_scalar(select).bind(id.as_str()).bind(purpose);
        Ok(query.fetch_optional(&self.readers).await?)
    }

    /// Rows and their decisions, as they are at one moment.
    async fn select(&self, which: &str, values: &[Value<'_>]) -> Result<Vec<Approval>, StoreError> {
        let mut transaction = self.readers.begin().await?;
        select(&mut transaction, which, values).await
    }
}

/// One approval, read in the transaction that changes it.
async fn one(connection: &mut Connection<'_>, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
    Ok(select(connection, "WHERE id = $1", &[Value::from(id.as_str())]).await?.pop())
}
