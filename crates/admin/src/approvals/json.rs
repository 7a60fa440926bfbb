//! Held calls as `--json` and the API have them (contract §2). Texts are as they came: JSON escapes what it must.

use domain::{approval::Approval, audit::push_hex};
use serde_json::{Value, json};

use super::page::{ApprovalPage, ShownCall};

/// A held call without what will be sent.
#[must_use]
pub fn approval_json(approval: &Approval) -> Value {
    let held = &approval.held;
    let mut digest = String::with_capacity(64);
    push_hex(&mut digest, &held.approval_digest);
    let args: Option<Value> = held.args.as_deref().and_then(|args| serde_json::from_str(args).ok());
    let approved = approval.decisions.iter().filter(|decided| decided.approve).count();
    let mut value = json!({
        "id": held.id.as_str(), "status": approval.status.as_str(), "agent": held.agent.as_str(),
        "service": held.service.as_str(), "method": held.method, "action": held.action, "args": args,
        "digest": digest, "rule": held.rule.as_str(), "rule_place": held.rule_place,
        "risk": held.risk.as_ref().map(|risk| f64::from(risk.score.thousandths()) / 1000.0),
        "call_id": held.call_id.to_string(), "intent": held.intent,
        "quorum": held.quorum.get(), "approved": approved,
        "created_at": held.created_at.to_string(),
        "expires_at": approval.expires_at().unwrap_or(held.decide_by).to_string(),
    });
    let Some(members) = value.as_object_mut() else { return value };
    let mut add = |name: &str, value: Value| members.insert(name.to_owned(), value);
    if let Some(last) = approval.decisions.last() {
        add("decided_by", json!(last.operator));
        add("reason", json!(last.reason));
        let decisions = approval.decisions.iter().map(|decided| {
            json!({
                "operator": decided.operator, "approve": decided.approve, "reason": decided.reason,
                "at": decided.at.to_string()
            })
        });
        add("decisions", decisions.collect());
    }
    if let Some(resolved) = &approval.resolved {
        add("resolved_by", json!(resolved.operator));
        add("reason", json!(resolved.reason));
    }
    if approval.executed_call.is_some() || approval.http_status.is_some() {
        let took = approval.claimed_at.zip(approval.ended_at).map(|(from, to)| to.duration_since(from));
        add(
            "result",
            json!({
                "call_id": approval.executed_call.map(|call| call.to_string()),
                "status": approval.http_status, "error": approval.ended_with,
                "latency_ms": took.map(|took| took.as_millis_f64()),
                "ended_at": approval.ended_at.map(|at| at.to_string()),
            }),
        );
    }
    value
}

/// A held call with what will be sent, where it may be seen and is kept; its texts are escaped as on the page.
#[must_use]
pub fn page_json(page: &ApprovalPage) -> Value {
    let mut value = approval_json(&page.approval);
    let Some(members) = value.as_object_mut() else { return value };
    if let ShownCall::Whole(call) = &page.call {
        let headers: Vec<_> = call.headers.iter().map(|(name, value)| json!([name, value])).collect();
        members.insert("sends".to_owned(), json!({
            "method": call.method, "to": call.to, "headers": headers, "bytes": call.bytes,
            "body": call.body.lines, "invisible": call.body.odd.invisible, "lookalikes": call.body.odd.lookalikes
        }));
    }
    let adds = page
        .adds
        .iter()
        .map(|added| json!({ "name": added.name.as_str(), "kind": added.kind, "version": added.version }));
    members.insert("adds".to_owned(), adds.collect());
    members.insert("because".to_owned(), json!(page.because));
    members.insert("risk_parts".to_owned(), json!(page.risk_parts));
    members.insert("changes".to_owned(), json!(page.changes));
    value
}
