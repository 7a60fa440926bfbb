//! Rows of approvals, read back as what they are.

use std::{collections::HashMap, num::NonZeroU8, time::Duration};

use domain::{
    approval::{Approval, Decided, Held, HeldRisk, Resolved, Status},
    idempotency::IdempotencyKey,
    key::KeyId,
    names::{AgentName, ApprovalId, CallId, RoleName, ServiceName},
    operator::Email,
    policy::{PolicyHash, RuleName},
    risk::RiskScore,
};
use jiff::Timestamp;

use crate::sql::{self, Connection, Row, Value};
use crate::{StoreError, row::time};

/// The words of `vault::Purpose` for the two bodies.
pub const HELD_CALL: &str = "held-call";
pub const STORED_ANSWER: &str = "stored-answer";

/// By name, because a newer gateway beside this one may have added others.
const COLUMNS: &str = "id, agent, status, quorum, created_at, decide_by, execute_within, execute_by, claimed_at, \
                       executed_call, http_status, ended_with, ended_at, delivered_at, resolved_by, resolved_why, \
                       call_id, key_id, role, service, method, action, call_digest, approval_digest, \
                       idempotency_key, policy_hash, rule, rule_place, because, risk, risk_parts, credentials, \
                       intent, args";

/// The approvals that `which` picks (texts of this crate only), with their decisions. To be called in a transaction.
pub async fn select(
    connection: &mut Connection<'_>,
    which: &str,
    values: &[Value<'_>],
) -> Result<Vec<Approval>, StoreError> {
    let bound = |text| values.iter().fold(sql::assembled(text), |query, value| query.bind(value.clone()));
    let rows = format!("SELECT {COLUMNS} FROM approvals {which}");
    let rows = bound(rows).fetch_all(&mut *connection).await?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let decisions = format!(
        "SELECT approval, operator, approve, reason, at FROM approval_decisions \
         WHERE approval IN (SELECT id FROM approvals {which}) ORDER BY at, operator"
    );
    let mut decided: HashMap<String, Vec<Decided>> = HashMap::new();
    for row in bound(decisions).fetch_all(&mut *connection).await? {
        let id: String = row.try_get(0)?;
        let read = decision(&row)?.ok_or_else(|| damaged(&id))?;
        decided.entry(id).or_default().push(read);
    }
    rows.iter()
        .map(|row| {
            let id: &str = row.try_get("id")?;
            approval(row, decided.remove(id).unwrap_or_default())?.ok_or_else(|| damaged(id))
        })
        .collect()
}

fn decision(row: &Row) -> Result<Option<Decided>, sqlx::Error> {
    let (operator, approve, reason) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let (Ok(operator), Some(at)) = (Email::parse(operator), time(row.try_get(4)?)) else { return Ok(None) };
    Ok(Some(Decided { operator, approve, reason, at }))
}

/// `None` where something cannot be what it should be.
fn approval(row: &Row, decisions: Vec<Decided>) -> Result<Option<Approval>, sqlx::Error> {
    let Some(held) = held(row)? else { return Ok(None) };
    let moment = |column: &str| -> Result<Option<Timestamp>, sqlx::Error> {
        Ok(row.try_get::<Option<i64>>(column)?.and_then(time))
    };
    let resolved = match (row.try_get::<Option<&str>>("resolved_by")?, row.try_get("resolved_why")?) {
        (Some(operator), Some(reason)) => match Email::parse(operator) {
            Ok(operator) => Some(Resolved { operator, reason }),
            Err(_) => return Ok(None),
        },
        _ => None,
    };
    let Some(status) = Status::parse(row.try_get("status")?) else { return Ok(None) };
    let executed_call: Option<&str> = row.try_get("executed_call")?;
    let http_status: Option<i64> = row.try_get("http_status")?;
    Ok(Some(Approval {
        held,
        status,
        decisions,
        execute_by: moment("execute_by")?,
        claimed_at: moment("claimed_at")?,
        executed_call: executed_call.and_then(CallId::parse),
        http_status: http_status.and_then(|status| u16::try_from(status).ok()),
        ended_with: row.try_get("ended_with")?,
        ended_at: moment("ended_at")?,
        delivered_at: moment("delivered_at")?,
        resolved,
    }))
}

fn held(row: &Row) -> Result<Option<Held>, sqlx::Error> {
    let (call_digest, approval_digest): (&[u8], &[u8]) =
        (row.try_get("call_digest")?, row.try_get("approval_digest")?);
    let key: Option<&str> = row.try_get("idempotency_key")?;
    let risk: Option<i64> = row.try_get("risk")?;
    let risk = match (risk.map(u16::try_from), row.try_get("risk_parts")?) {
        (Some(Ok(score)), Some(parts)) => Some(HeldRisk { score: RiskScore::from_thousandths(score), parts }),
        (None, None) => None,
        _ => return Ok(None),
    };
    let (
        (Some(id), Some(call_id), Ok(agent), Some(key_id), Ok(role), Ok(service)),
        (Ok(call_digest), Ok(approval_digest), Some(policy), Ok(credentials)),
        (Some(quorum), Some(created_at), Some(decide_by), Ok(execute_within)),
    ) = (
        (
            ApprovalId::parse(row.try_get("id")?),
            CallId::parse(row.try_get("call_id")?),
            AgentName::parse(row.try_get("agent")?),
            KeyId::parse(row.try_get("key_id")?),
            RoleName::parse(row.try_get("role")?),
            ServiceName::parse(row.try_get("service")?),
        ),
        (
            call_digest.try_into(),
            approval_digest.try_into(),
            PolicyHash::parse(row.try_get("policy_hash")?),
            serde_json::from_str(row.try_get("credentials")?),
        ),
        (
            u8::try_from(row.try_get::<i64>("quorum")?).ok().and_then(NonZeroU8::new),
            time(row.try_get("created_at")?),
            time(row.try_get("decide_by")?),
            u64::try_from(row.try_get::<i64>("execute_within")?),
        ),
    )
    else {
        return Ok(None);
    };
    let idempotency_key = key.and_then(IdempotencyKey::parse);
    if key.is_some() != idempotency_key.is_some() {
        return Ok(None);
    }
    Ok(Some(Held {
        id,
        call_id,
        agent,
        key_id,
        role,
        service,
        method: row.try_get("method")?,
        action: row.try_get("action")?,
        call_digest,
        approval_digest,
        rule: RuleName::new(row.try_get("rule")?),
        rule_place: row.try_get("rule_place")?,
        because: row.try_get("because")?,
        risk,
        intent: row.try_get("intent")?,
        args: row.try_get::<Option<String>>("args")?.map(Into::into),
        quorum,
        created_at,
        decide_by,
        execute_within: Duration::from_micros(execute_within),
        policy,
        credentials,
        idempotency_key,
    }))
}

fn damaged(id: &str) -> StoreError {
    StoreError::damaged(format!("approval `{}`", id.escape_debug()))
}
