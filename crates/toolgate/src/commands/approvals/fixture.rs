//! The held calls of the design, for tests of how they are shown.

use std::{num::NonZeroU8, time::Duration};

use admin::{AddedCredential, ApprovalPage, ShownBody, ShownCall, WholeCall};
use domain::{
    approval::{Approval, Decided, Held, HeldRisk, Status, approval_digest},
    key::KeyId,
    names::{AgentName, ApprovalId, CallId, CredentialName, RoleName, ServiceName},
    operator::Email,
    policy::{PolicyHash, RuleName},
    risk::RiskScore,
};
use jiff::{SignedDuration, Timestamp};
use store::Before;

/// Two minutes after the calls were held.
pub fn now() -> Timestamp {
    "2026-11-23T14:05:02Z".parse().unwrap()
}

pub fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

pub fn email(name: &str) -> Email {
    Email::parse(&format!("{name}@example.com")).unwrap()
}

pub fn says(name: &str, approve: bool, reason: Option<&str>, at: Timestamp) -> Decided {
    Decided { operator: email(name), approve, reason: reason.map(str::to_owned), at }
}

/// The refund of 5000: two operators must approve it.
pub fn refund() -> Approval {
    let (rule, credentials) =
        (RuleName::new("big refunds"), vec![(CredentialName::parse("secret_key").unwrap(), 1)]);
    let held = Held {
        id: ApprovalId::parse("ap_7m2kd9q4xw").unwrap(),
        call_id: CallId::parse("c_2h5tbn80ry6k").unwrap(),
        agent: AgentName::parse("laptop").unwrap(),
        key_id: KeyId::parse("7kq2m9xd").unwrap(),
        role: RoleName::parse("user").unwrap(),
        service: ServiceName::parse("billing").unwrap(),
        method: "POST".into(),
        action: "POST /v1/refunds".into(),
        call_digest: [1; 32],
        approval_digest: approval_digest(&[1; 32], &rule, &credentials, None),
        rule,
        rule_place: Some("policy.yaml:14".into()),
        because: Some("args.amount > 1000, args.amount = 5000".into()),
        risk: Some(HeldRisk {
            score: RiskScore::from_thousandths(300),
            parts: "POST 0.30; no model asked".into(),
        }),
        intent: Some("customer 88 was charged twice".into()),
        args: Some(r#"{"amount":5000}"#.into()),
        quorum: NonZeroU8::new(2).unwrap(),
        created_at: now() - seconds(120),
        decide_by: now() - seconds(120) + seconds(86_400),
        execute_within: Duration::from_secs(900),
        policy: PolicyHash::of(b"version: 1"),
        credentials,
        idempotency_key: None,
    };
    Approval {
        held,
        status: Status::Pending,
        decisions: Vec::new(),
        execute_by: None,
        claimed_at: None,
        executed_call: None,
        http_status: None,
        ended_with: None,
        ended_at: None,
        delivered_at: None,
        resolved: None,
    }
}

/// Another call: one operator is enough, and its risk was not assessed.
pub fn write(id: &str) -> Approval {
    let mut approval = refund();
    let held = &mut approval.held;
    held.id = ApprovalId::parse(id).unwrap();
    held.service = ServiceName::parse("files").unwrap();
    (held.method, held.action, held.rule) =
        ("tools/call".into(), "write_file".into(), RuleName::new("writes"));
    held.quorum = NonZeroU8::MIN;
    approval
}

/// The page of the refund.
pub fn page(approval: Approval) -> ApprovalPage {
    let mut digest = String::new();
    domain::audit::push_hex(&mut digest, &approval.held.approval_digest);
    let body = "{\"amount\":5000,\"charge\":\"ch_1042\u{202e}\",\"reason\":\"duplicate\"}";
    ApprovalPage {
        before: Before {
            forwarded: 12,
            denied: 1,
            whole: true,
            identical: Some((ApprovalId::new(1), now() - seconds(180))),
        },
        action: approval.held.action.clone(),
        call: ShownCall::Whole(WholeCall {
            method: "POST".into(),
            to: Some("https://api.example.com/v1/refunds".into()),
            headers: vec![("content-type".into(), "application/json".into())],
            bytes: 58,
            body: ShownBody::of(body.as_bytes(), true),
        }),
        adds: vec![AddedCredential {
            name: CredentialName::parse("secret_key").unwrap(),
            kind: Some("bearer"),
            version: 1,
        }],
        rule: approval.held.rule.as_str().to_owned(),
        rule_place: approval.held.rule_place.clone(),
        because: approval.held.because.clone(),
        risk_parts: Some("POST 0.30; no model asked".into()),
        tool: None,
        changes: Vec::new(),
        agent_says: approval.held.intent.clone(),
        digest,
        approval,
    }
}
