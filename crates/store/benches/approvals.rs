//! What 10,000 held calls cost the people who decide: ms to list a page, to list all, to show one and to decide.
//! Run with `cargo bench -p store --bench approvals`; it only prints, it judges nothing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement reads the clock, prints, and may fail loudly"
)]

use std::{
    num::NonZeroU8,
    time::{Duration, Instant},
};

use domain::{
    approval::{Decided, Held, Status},
    audit::{Event, Kind},
    key::KeyId,
    names::{AgentName, ApprovalId, CallId, RoleName, ServiceName},
    operator::{Email, Operator, OperatorRole},
    policy::{PolicyHash, RuleName},
};
use jiff::Timestamp;
use store::{ApprovalQuery, Birth, Change, Entry, HoldCall, SealedBody, Store, StoreOptions, Sync};

const HELD: u32 = 10_000;
/// As much as the trail keeps of a call's arguments, and a body of a usual size.
const ARGS_BYTES: usize = 1_000;
const CALL_BYTES: usize = 4_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let birth = Birth { install: [0; 16], now: now() };
    let path = folder.path().join("toolgate.db");
    let store = Store::open(&StoreOptions { place: path.into(), sync: Sync::Flush, create: Some(birth) })
        .await
        .unwrap();
    let ada = Email::parse("ada@example.com").unwrap();
    let (email, role) = (ada.clone(), OperatorRole::Owner);
    let operator = Operator { email, role, password_hash: String::new(), created_at: now() };
    let mut entries = vec![entry(Change::CreateOperator(operator))];
    entries.extend((0..HELD).map(|number| entry(hold(number))));
    store.append(&entries).await.unwrap();

    let pending = ApprovalQuery { status: Some(Status::Pending), ..ApprovalQuery::default() };
    measure("list the newest 100", 20, async |_| {
        assert_eq!(store.approvals(&pending, 100).await.unwrap().len(), 100);
    })
    .await;
    measure("list all 10,000", 5, async |_| {
        assert_eq!(store.approvals(&pending, HELD).await.unwrap().len(), HELD as usize);
    })
    .await;
    measure("show one", 20, async |round| {
        let approval = store.approval(&id(round * 100)).await.unwrap().unwrap();
        store.before(&approval, now()).await.unwrap();
    })
    .await;
    measure("decide", 50, async |round| {
        let approval = store.approval(&id(round * 100)).await.unwrap().unwrap();
        let decided = Decided { operator: ada.clone(), approve: true, reason: None, at: now() };
        let (id, digest) = (approval.held.id, approval.held.approval_digest);
        let change = Change::DecideApproval { id, digest, approved_before: 0, decided };
        store.append(&[entry(change)]).await.unwrap();
    })
    .await;
    measure("what is due", 20, async |_| {
        assert!(store.due_approvals(now(), 100).await.unwrap().is_empty());
    })
    .await;
    measure("the revision alone", 50, async |_| {
        store.approvals_revision().await.unwrap();
    })
    .await;
    store.close().await;
}

async fn measure(what: &str, rounds: u32, mut each: impl AsyncFnMut(u32)) {
    let mut times: Vec<Duration> = Vec::new();
    for round in 0..rounds {
        let started = Instant::now();
        each(round).await;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let ms = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
    println!("{what:<20} p50 {:>8.2} ms   max {:>8.2} ms", ms(times.get(times.len() / 2)), ms(times.last()));
}

fn now() -> Timestamp {
    "2026-11-23T14:00:00Z".parse().unwrap()
}

/// Ids as they come: scattered.
fn id(number: u32) -> ApprovalId {
    ApprovalId::new(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn entry(change: Change) -> Entry {
    Entry { change: Some(change), event: Event::new(now(), Kind::Held) }
}

fn hold(number: u32) -> Change {
    let mut digest = [0; 32];
    digest.iter_mut().zip(number.to_be_bytes()).for_each(|(to, from)| *to = from);
    let held = Held {
        id: id(number),
        call_id: CallId::new(1_000, number),
        agent: AgentName::parse(&format!("agent{}", number % 500)).unwrap(),
        key_id: KeyId::parse("7kq2m9xd").unwrap(),
        role: RoleName::parse("user").unwrap(),
        service: ServiceName::parse("billing").unwrap(),
        method: "POST".into(),
        action: "POST /v1/refunds".into(),
        call_digest: digest,
        approval_digest: digest,
        rule: RuleName::new("big refunds"),
        rule_place: Some("policy.yaml:14".into()),
        because: Some("args.amount > 1000, args.amount = 5000".into()),
        risk: None,
        intent: Some("customer 88 was charged twice".into()),
        args: Some(format!("{{\"note\":\"{}\"}}", "x".repeat(ARGS_BYTES)).into()),
        quorum: NonZeroU8::MIN,
        created_at: now() + Duration::from_millis(number.into()),
        decide_by: now() + Duration::from_secs(86_400),
        execute_within: Duration::from_secs(900),
        policy: PolicyHash::of(b"version: 1"),
        credentials: Vec::new(),
        idempotency_key: None,
    };
    Change::HoldCall(Box::new(HoldCall { held, call: SealedBody(vec![7; CALL_BYTES]), pending_max: 20 }))
}
