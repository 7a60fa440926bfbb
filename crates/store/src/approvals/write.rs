//! Approvals, changed. Each function runs in the transaction of its event: it reads the row, asks
//! [`Standing::after`], and writes on the condition that the row still is what it was. `false`: nothing is written.

use domain::{
    approval::{Decided, Move, Outcome, Resolved, Standing, Status},
    names::{AgentName, ApprovalId, CallId},
    operator::{Email, OperatorRole},
    stop::Fault,
};
use jiff::Timestamp;

use super::{
    one,
    row::{HELD_CALL, STORED_ANSWER},
};
use crate::sql::{self, Connection};
use crate::{Closed, HoldCall, SealedBody, StoreError, idempotency, row::micros};

type Changed = Result<bool, StoreError>;

pub async fn hold(connection: &mut Connection<'_>, hold: &HoldCall) -> Changed {
    let held = &hold.held;
    let insert = "INSERT INTO approvals (id, agent, status, quorum, created_at, decide_by, execute_within, \
                  call_id, key_id, role, service, method, action, call_digest, approval_digest, \
                  idempotency_key, policy_hash, rule, rule_place, because, risk, risk_parts, credentials, \
                  intent, args) \
                  SELECT $1, $2, 'pending', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, \
                  $17, $18, $19, $20, $21, $22, $23, $24 \
                  WHERE (SELECT count(*) FROM approvals WHERE agent = $2 AND status = 'pending') < $25 \
                  AND NOT EXISTS (SELECT 1 FROM idempotency \
                                  WHERE agent = $2 AND key = $15 AND expires_at > $4) \
                  ON CONFLICT DO NOTHING";
    let credentials =
        serde_json::to_string(&held.credentials).map_err(|_| StoreError::damaged("a credential"))?;
    let query = sql::query(insert).bind(held.id.as_str()).bind(held.agent.as_str());
    let query = query.bind(i64::from(held.quorum.get())).bind(micros(held.created_at));
    let query = query.bind(micros(held.decide_by));
    let query = query.bind(i64::try_from(held.execute_within.as_micros()).unwrap_or(i64::MAX));
    let query = query.bind(held.call_id.to_string()).bind(held.key_id.as_str()).bind(held.role.as_str());
    let query = query.bind(held.service.as_str()).bind(&held.method).bind(&held.action);
    let query = query.bind(&held.call_digest[..]).bind(&held.approval_digest[..]);
    let query = query.bind(held.idempotency_key.as_ref().map(|key| key.as_str()));
    let query = query.bind(held.policy.as_str()).bind(held.rule.as_str());
    let query = query.bind(held.rule_place.as_deref()).bind(held.because.as_deref());
    let query = query.bind(held.risk.as_ref().map(|risk| i64::from(risk.score.thousandths())));
    let query = query.bind(held.risk.as_ref().map(|risk| risk.parts.as_str()));
    let query = query.bind(credentials).bind(held.intent.as_deref()).bind(held.args.as_deref());
    let query = query.bind(i64::from(hold.pending_max));
    if query.execute(&mut *connection).await? == 0 {
        return Ok(false);
    }
    put_body(connection, &held.id, &held.agent, HELD_CALL, &hold.call).await
}

pub async fn decide(
    connection: &mut Connection<'_>,
    id: &ApprovalId,
    digest: &[u8; 32],
    approved_before: usize,
    decided: &Decided,
) -> Changed {
    let Decided { operator, approve, reason, at } = decided;
    let wanted = if *approve { Move::Approve { operator, digest } } else { Move::Deny { operator, digest } };
    if !may_decide(connection, operator).await? {
        return Ok(false);
    }
    let Some((before, after)) = allowed(connection, id, &wanted, *at).await? else { return Ok(false) };
    if before.approved_by.len() != approved_before || !write(connection, id, &before, &after, *at).await? {
        return Ok(false);
    }
    // Who approved and then denies has changed their mind; the trail has both.
    let insert = "INSERT INTO approval_decisions (approval, operator, approve, reason, at) \
                  VALUES ($1, $2, $3, $4, $5) \
                  ON CONFLICT (approval, operator) DO UPDATE SET approve = $3, reason = $4, at = $5";
    let query = sql::query(insert).bind(id.as_str()).bind(operator.as_str()).bind(*approve);
    query.bind(reason.as_deref()).bind(micros(*at)).execute(connection).await?;
    Ok(true)
}

pub async fn cancel(
    connection: &mut Connection<'_>,
    id: &ApprovalId,
    agent: &AgentName,
    at: Timestamp,
) -> Changed {
    match one(connection, id).await? {
        Some(approval) if approval.held.agent == *agent => {}
        _ => return Ok(false),
    }
    if !step(connection, id, &Move::Cancel, at).await? {
        return Ok(false);
    }
    drop_bodies(connection, id).await
}

pub async fn withdraw(connection: &mut Connection<'_>, id: &ApprovalId, at: Timestamp) -> Changed {
    let Some((before, after)) = allowed(connection, id, &Move::Cancel, at).await? else { return Ok(false) };
    // What people approved is sent, as its agent was told that it may be.
    if before.status != Status::Pending || !write(connection, id, &before, &after, at).await? {
        return Ok(false);
    }
    drop_bodies(connection, id).await?;
    let update = "UPDATE approvals SET ended_with = $2 WHERE id = $1";
    sql::query(update).bind(id.as_str()).bind(Fault::HoldUnknown.code()).execute(&mut *connection).await?;
    // Its agent knows that it may not be held.
    deliver(connection, id, at).await
}

/// Nobody sends it any more. Kept, agents could fill the disk: no person bounds what they hold and take back.
async fn drop_bodies(connection: &mut Connection<'_>, id: &ApprovalId) -> Changed {
    let delete = "DELETE FROM approval_bodies WHERE approval = $1";
    sql::query(delete).bind(id.as_str()).execute(connection).await?;
    Ok(true)
}

pub async fn expire(connection: &mut Connection<'_>, id: &ApprovalId, at: Timestamp) -> Changed {
    step(connection, id, &Move::Expire, at).await
}

pub async fn claim(
    connection: &mut Connection<'_>,
    id: &ApprovalId,
    (call, node): (CallId, i64),
    at: Timestamp,
) -> Changed {
    // Whoever has its key by now has sent the call, or is about to.
    let taken = "SELECT count(*) FROM idempotency JOIN approvals \
                 ON idempotency.agent = approvals.agent AND key = idempotency_key \
                 WHERE id = $1 AND expires_at > $2";
    let query = sql::query_scalar::<i64>(taken).bind(id.as_str()).bind(micros(at));
    if query.fetch_one(&mut *connection).await? > 0 {
        return Ok(false);
    }
    let Some((before, after)) = allowed(connection, id, &Move::Claim, at).await? else { return Ok(false) };
    let update = "UPDATE approvals SET status = $3, claimed_at = $4, executed_call = $5, node = $6 \
                  WHERE id = $1 AND status = $2";
    let query = sql::query(update).bind(id.as_str()).bind(before.status.as_str());
    let query = query.bind(after.status.as_str()).bind(micros(at)).bind(call.to_string());
    Ok(query.bind(node).execute(connection).await? > 0)
}

pub async fn close(connection: &mut Connection<'_>, closed: &Closed) -> Changed {
    let Closed { id, ending, http_status, ended_with, answer, key, at } = closed;
    if !step(connection, id, &Move::Close(*ending), *at).await? {
        return Ok(false);
    }
    let update = "UPDATE approvals SET http_status = $2, ended_with = $3 WHERE id = $1 RETURNING agent";
    let query = sql::query_scalar(update).bind(id.as_str()).bind(http_status.map(i64::from));
    let agent: String = query.bind(ended_with.as_deref()).fetch_one(&mut *connection).await?;
    if let Some((claim, settled)) = key
        // A key that was not remembered any more while people decided may belong to another call by now.
        && idempotency::claim(connection, claim, 0).await?
    {
        idempotency::settle(connection, &claim.agent, &claim.key, claim.call, settled).await?;
    }
    let (Some(answer), Ok(agent)) = (answer, AgentName::parse(&agent)) else { return Ok(true) };
    put_body(connection, id, &agent, STORED_ANSWER, answer).await
}

pub async fn deliver(connection: &mut Connection<'_>, id: &ApprovalId, at: Timestamp) -> Changed {
    let Some(approval) = one(connection, id).await? else { return Ok(false) };
    if !approval.status.is_final() {
        return Ok(false);
    }
    let update =
        "UPDATE approvals SET delivered_at = $3, live = 0 WHERE id = $1 AND status = $2 AND live = 1";
    let query = sql::query(update).bind(id.as_str()).bind(approval.status.as_str()).bind(micros(at));
    Ok(query.execute(connection).await? > 0)
}

pub async fn resolve(
    connection: &mut Connection<'_>,
    id: &ApprovalId,
    outcome: Outcome,
    resolved: &Resolved,
    at: Timestamp,
) -> Changed {
    if !may_decide(connection, &resolved.operator).await?
        || !step(connection, id, &Move::Resolve(outcome), at).await?
    {
        return Ok(false);
    }
    let update = "UPDATE approvals SET resolved_by = $2, resolved_why = $3 WHERE id = $1";
    let query = sql::query(update).bind(id.as_str()).bind(resolved.operator.as_str());
    query.bind(&resolved.reason).execute(&mut *connection).await?;
    if outcome == Outcome::Failed {
        // It did not happen: its idempotency key is free for another try.
        let delete = "DELETE FROM idempotency WHERE state = 'unknown' AND (agent, key, call_id) IN \
                      (SELECT agent, idempotency_key, call_id FROM approvals WHERE id = $1)";
        sql::query(delete).bind(id.as_str()).execute(connection).await?;
    }
    Ok(true)
}

/// Whether this is an operator who may decide, at this very moment: they may have been disabled since they signed in.
async fn may_decide(connection: &mut Connection<'_>, operator: &Email) -> Changed {
    let select = "SELECT role FROM operators WHERE email = $1 AND state = 'active'";
    let query = sql::query_scalar(select).bind(operator.as_str());
    let role: Option<String> = query.fetch_optional(connection).await?;
    Ok(role.as_deref().and_then(OperatorRole::parse).is_some_and(OperatorRole::may_decide))
}

/// A move that changes nothing but the status and its times.
async fn step(connection: &mut Connection<'_>, id: &ApprovalId, wanted: &Move<'_>, at: Timestamp) -> Changed {
    match allowed(connection, id, wanted, at).await? {
        Some((before, after)) => write(connection, id, &before, &after, at).await,
        None => Ok(false),
    }
}

/// How the row stands, and how it stands after the move, where that is allowed.
async fn allowed(
    connection: &mut Connection<'_>,
    id: &ApprovalId,
    wanted: &Move<'_>,
    at: Timestamp,
) -> Result<Option<(Standing, Standing)>, StoreError> {
    let before = one(connection, id).await?.map(|approval| approval.standing());
    Ok(before.and_then(|before| before.after(wanted, at).ok().map(|after| (before, after))))
}

/// INVARIANT: the condition names everything that the move was judged by and that can change, so that the row cannot
/// have moved between reading and writing, whatever the database's isolation.
async fn write(
    connection: &mut Connection<'_>,
    id: &ApprovalId,
    before: &Standing,
    after: &Standing,
    at: Timestamp,
) -> Changed {
    let update = "UPDATE approvals SET status = $4, approved = $5, execute_by = $6, ended_at = $7 \
                  WHERE id = $1 AND status = $2 AND approved = $3";
    let count = |standing: &Standing| i64::try_from(standing.approved_by.len()).unwrap_or(i64::MAX);
    let ended_at = (!after.status.is_under_way()).then(|| micros(at));
    let query = sql::query(update).bind(id.as_str()).bind(before.status.as_str()).bind(count(before));
    let query = query.bind(after.status.as_str()).bind(count(after));
    let query = query.bind(after.execute_by.map(micros)).bind(ended_at);
    Ok(query.execute(connection).await? > 0)
}

async fn put_body(
    connection: &mut Connection<'_>,
    id: &ApprovalId,
    agent: &AgentName,
    purpose: &str,
    body: &SealedBody,
) -> Changed {
    let insert = "INSERT INTO approval_bodies (approval, purpose, agent, sealed) VALUES ($1, $2, $3, $4)";
    let query = sql::query(insert).bind(id.as_str()).bind(purpose).bind(agent.as_str());
    query.bind(&*body.0).execute(connection).await?;
    Ok(true)
}
