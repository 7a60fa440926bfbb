//! Held calls: each change has its condition, and of many at once exactly those count that the quorum allows.

mod races;
mod withdrawn;

use std::{num::NonZeroU8, time::Duration};

use domain::{
    approval::{Approval, Decided, Ending, Held, HeldRisk, Outcome, Resolved, Status},
    audit::{Event, Kind},
    idempotency::IdempotencyKey,
    key::KeyId,
    names::{ApprovalId, CredentialName, RoleName, ServiceName},
    operator::{Email, Operator, OperatorRole, OperatorState},
    policy::{PolicyHash, RuleName},
    risk::RiskScore,
};
use store::{Applied, ApprovalQuery, Change, Closed, Entry, FoundApproval, HoldCall, SealedBody, Store};

use crate::world::{World, call, call_id, moment, name};

pub fn id(number: u64) -> ApprovalId {
    // The number comes first, so that starts of ids differ.
    ApprovalId::new(number << 30)
}

pub fn email(text: &str) -> Email {
    Email::parse(&format!("{text}@example.com")).unwrap()
}

/// A call that one agent makes again and again is the same call; `number` makes another one.
pub fn held(number: u32, agent: &str, quorum: u8) -> Held {
    let mut call_digest = [1; 32];
    call_digest[..4].copy_from_slice(&number.to_be_bytes());
    let mut approval_digest = call_digest;
    approval_digest[31] = 9;
    Held {
        id: id(number.into()),
        call_id: call_id(number),
        agent: name(agent),
        key_id: KeyId::parse("7kq2m9xd").unwrap(),
        role: RoleName::parse("user").unwrap(),
        service: ServiceName::parse("billing").unwrap(),
        method: "POST".into(),
        action: "POST /v1/refunds".into(),
        call_digest,
        approval_digest,
        rule: RuleName::new("big refunds"),
        rule_place: Some("policy.yaml:14".into()),
        because: Some("args.amount > 1000, args.amount = 5000".into()),
        risk: Some(HeldRisk { score: RiskScore::from_thousandths(305), parts: "POST 0.30".into() }),
        intent: Some("charged twice \u{202e}".into()),
        args: Some(r#"{"amount":5000}"#.into()),
        quorum: NonZeroU8::new(quorum).unwrap(),
        created_at: moment(number),
        decide_by: moment(number + 1_000),
        execute_within: Duration::from_secs(100),
        policy: PolicyHash::of(b"version: 1"),
        credentials: vec![(CredentialName::parse("secret_key").unwrap(), 3)],
        idempotency_key: None,
    }
}

pub fn hold(held: Held) -> Change {
    Change::HoldCall(Box::new(HoldCall { held, call: SealedBody(b"sealed call".to_vec()), pending_max: 20 }))
}

pub fn decision(number: u32, approved_before: usize, operator: &str, approve: bool, second: u32) -> Change {
    let reason = (!approve).then(|| "wrong folder".to_owned());
    let decided = Decided { operator: email(operator), approve, reason, at: moment(second) };
    let digest = held(number, "laptop", 1).approval_digest;
    Change::DecideApproval { id: id(number.into()), digest, approved_before, decided }
}

pub fn claim(number: u32, second: u32) -> Change {
    Change::ClaimApproval { id: id(number.into()), call: call_id(900), at: moment(second) }
}

fn close(number: u32, ending: Ending, second: u32) -> Change {
    let answer = (ending != Ending::Unknown).then(|| SealedBody(b"sealed answer".to_vec()));
    Change::CloseApproval(Box::new(Closed {
        id: id(number.into()),
        ending,
        http_status: Some(200),
        ended_with: None,
        answer,
        key: None,
        at: moment(second),
    }))
}

fn cancel(number: u32, agent: &str) -> Change {
    Change::CancelApproval { id: id(number.into()), agent: name(agent), at: moment(5) }
}

fn expire(number: u32, second: u32) -> Change {
    Change::ExpireApproval { id: id(number.into()), at: moment(second) }
}

async fn deliver(world: &World, number: u32) -> bool {
    world.store.deliver_approval(&id(number.into()), moment(500)).await.unwrap()
}

fn resolve(number: u32, operator: &str, outcome: Outcome) -> Change {
    let resolved = Resolved { operator: email(operator), reason: "asked the bank".into() };
    Change::ResolveApproval { id: id(number.into()), outcome, resolved, at: moment(400) }
}

/// Operators who may decide.
pub async fn operators(world: &World, names: &[&str]) {
    for name in names {
        assert!(world.change(operator(name, OperatorRole::Approver)).await);
    }
}

fn operator(name: &str, role: OperatorRole) -> Change {
    let password_hash = "$argon2id$…".to_owned();
    Change::CreateOperator(Operator { email: email(name), role, password_hash, created_at: moment(0) })
}

pub async fn world() -> World {
    let world = World::new().await;
    operators(&world, &["ada", "grace"]).await;
    world
}

pub async fn status(store: &Store, number: u32) -> Status {
    read(store, number).await.status
}

async fn read(store: &Store, number: u32) -> Approval {
    store.approval(&id(number.into())).await.unwrap().unwrap()
}

/// Takes approval `number` to a status on the shortest way.
pub async fn bring_to(world: &World, number: u32, wanted: Status) {
    let decided = match wanted {
        Status::Pending => return,
        Status::Denied => decision(number, 0, "ada", false, 10),
        Status::Expired => expire(number, 5_000),
        Status::Cancelled => cancel(number, "laptop"),
        _ => decision(number, 0, "ada", true, 10),
    };
    assert!(world.change(decided).await);
    if !matches!(wanted, Status::Executing | Status::Executed | Status::Failed | Status::Unknown) {
        return;
    }
    assert!(world.change(claim(number, 20)).await);
    let ending = match wanted {
        Status::Executed => Ending::Executed,
        Status::Failed => Ending::Failed,
        Status::Unknown => Ending::Unknown,
        _ => return,
    };
    assert!(world.change(close(number, ending, 30)).await);
}

#[tokio::test]
async fn what_was_held_reads_back_whole() {
    let world = world().await;
    let key = IdempotencyKey::parse("k");
    let full = Held { idempotency_key: key, ..held(1, "laptop", 2) };
    let sparse = Held {
        rule_place: None,
        because: None,
        risk: None,
        intent: None,
        args: None,
        credentials: Vec::new(),
        ..held(2, "laptop", 1)
    };
    for wanted in [full, sparse] {
        assert!(world.change(hold(wanted.clone())).await);
        let read = world.store.approval(&wanted.id).await.unwrap().unwrap();
        assert_eq!(read.held, wanted);
        assert_eq!((read.status, read.expires_at()), (Status::Pending, Some(wanted.decide_by)));
        assert_eq!(world.store.held_call(&wanted.id).await.unwrap().as_deref(), Some(&b"sealed call"[..]));
        assert_eq!(world.store.approval_answer(&wanted.id).await.unwrap(), None);
    }
    assert_eq!(world.store.approval(&id(3)).await.unwrap(), None);
}

#[tokio::test]
async fn a_whole_life_is_told_by_its_row() {
    let world = world().await;
    assert!(world.change(hold(held(1, "laptop", 2))).await);
    assert!(world.change(decision(1, 0, "ada", true, 10)).await);
    assert_eq!(status(&world.store, 1).await, Status::Pending);
    assert!(!world.change(decision(1, 1, "ada", true, 11)).await, "the same person again");
    assert!(world.change(decision(1, 1, "grace", true, 12)).await);
    let approved = read(&world.store, 1).await;
    assert_eq!((approved.status, approved.execute_by), (Status::Approved, Some(moment(112))));
    assert_eq!(world.store.claimable(moment(111), 9).await.unwrap(), std::slice::from_ref(&approved));
    assert_eq!(world.store.claimable(moment(112), 9).await.unwrap(), []);
    assert!(world.change(claim(1, 20)).await);
    assert!(!world.change(claim(1, 20)).await);
    assert!(world.change(close(1, Ending::Executed, 30)).await);
    assert!(!world.change(close(1, Ending::Failed, 31)).await);
    let answer = world.store.approval_answer(&id(1)).await.unwrap();
    assert_eq!(answer.as_deref(), Some(&b"sealed answer"[..]));
    assert!(deliver(&world, 1).await);
    assert!(!deliver(&world, 1).await);
    let ended = read(&world.store, 1).await;
    let decided = |operator, second| Decided { operator, approve: true, reason: None, at: moment(second) };
    assert_eq!(ended.decisions, [decided(email("ada"), 10), decided(email("grace"), 12)]);
    assert_eq!((ended.status, ended.http_status), (Status::Executed, Some(200)));
    assert_eq!((ended.executed_call, ended.claimed_at), (Some(call_id(900)), Some(moment(20))));
    assert_eq!((ended.ended_at, ended.delivered_at), (Some(moment(30)), Some(moment(500))));
    assert_eq!(world.count().await, 2 + 5, "what did not happen is not told");
}

#[tokio::test]
async fn only_an_end_is_delivered() {
    let world = world().await;
    for (number, status) in (1..).zip(Status::ALL) {
        let agent_free = Held { idempotency_key: None, ..held(number, "laptop", 1) };
        assert!(world.change(hold(agent_free)).await, "{status}");
        bring_to(&world, number, status).await;
        assert_eq!(deliver(&world, number).await, status.is_final(), "{status}");
        assert_eq!(read(&world.store, number).await.delivered_at.is_some(), status.is_final(), "{status}");
    }
}

/// Which moves are made from which status, on a row that really is there: the table of the whole ledger.
#[tokio::test]
async fn every_change_happens_from_its_statuses_only() {
    use Status::{Approved, Executing, Pending, Unknown};
    type Make = fn(u32) -> Change;
    let table: [(&str, Make, &[Status]); 8] = [
        ("approve", |number| decision(number, 0, "grace", true, 40), &[Pending]),
        ("deny", |number| decision(number, 0, "grace", false, 40), &[Pending]),
        ("expire", |number| expire(number, 9_000), &[Pending, Approved]),
        ("cancel", |number| cancel(number, "laptop"), &[Pending, Approved]),
        ("claim", |number| claim(number, 40), &[Approved]),
        ("close", |number| close(number, Ending::Executed, 40), &[Executing]),
        ("lose", |number| close(number, Ending::Unknown, 40), &[Executing]),
        ("resolve", |number| resolve(number, "ada", Outcome::Executed), &[Unknown]),
    ];
    let world = world().await;
    let mut number = 0;
    for (what, change, from) in table {
        for before in Status::ALL {
            number += 1;
            let agent_free = Held { idempotency_key: None, ..held(number, "laptop", 1) };
            assert!(world.change(hold(agent_free)).await, "{what} {before}");
            bring_to(&world, number, before).await;
            let row = read(&world.store, number).await;
            let (told, revision) = (world.count().await, world.store.approvals_revision().await.unwrap());
            // The number of those who approved before fits, so that nothing but the status can be in the way.
            let mut wanted = change(number);
            if let Change::DecideApproval { approved_before, .. } = &mut wanted {
                *approved_before = row.standing().approved_by.len();
            }
            let done = world.change(wanted).await;
            assert_eq!(done, from.contains(&before), "{what} from {before}");
            let moved = world.store.approvals_revision().await.unwrap();
            assert_eq!(moved.0, revision.0 + i64::from(done), "{what} from {before}");
            assert_eq!(world.count().await, told + u64::from(done), "{what} from {before}");
            if !done {
                assert_eq!(read(&world.store, number).await, row, "{what} from {before}");
            }
            if status(&world.store, number).await == Pending {
                assert!(world.change(cancel(number, "laptop")).await);
            }
        }
    }
    assert_eq!(world.store.revision().await.unwrap().0, 1, "running gateways have nothing to read anew");
}

#[tokio::test]
async fn a_decision_names_what_was_shown_and_comes_in_time() {
    let world = world().await;
    assert!(world.change(hold(held(1, "laptop", 2))).await);
    let good = || decision(1, 0, "ada", true, 10);
    for place in 0..32 {
        let Change::DecideApproval { id, mut digest, approved_before, decided } = good() else {
            panic!("another change")
        };
        digest[place] ^= 1;
        let no = Decided { approve: false, ..decided.clone() };
        assert!(!world.change(Change::DecideApproval { id, digest, approved_before, decided }).await);
        assert!(!world.change(Change::DecideApproval { id, digest, approved_before, decided: no }).await);
    }
    assert!(!world.change(decision(1, 0, "ada", true, 1_001)).await, "its deadline is past the time");
    assert!(!world.change(decision(1, 1, "ada", true, 10)).await, "nobody has approved before");
    assert!(!world.change(decision(2, 0, "ada", true, 10)).await, "there is no such approval");
    assert!(!world.change(expire(1, 1_000)).await);
    assert!(world.change(good()).await);
    assert!(!world.change(decision(1, 0, "grace", true, 11)).await, "one has approved before");
}

#[tokio::test]
async fn only_active_operators_who_may_decide_do() {
    let world = world().await;
    assert!(world.change(operator("vera", OperatorRole::Viewer)).await);
    assert!(world.change(operator("olga", OperatorRole::Owner)).await);
    let disabled =
        Change::SetOperatorState { email: email("grace"), state: OperatorState::Disabled, at: moment(0) };
    assert!(world.change(disabled).await);
    assert!(world.change(hold(held(1, "laptop", 1))).await);
    for who in ["nobody", "vera", "grace"] {
        assert!(!world.change(decision(1, 0, who, true, 10)).await, "{who}");
        assert!(!world.change(decision(1, 0, who, false, 10)).await, "{who}");
    }
    bring_to(&world, 1, Status::Unknown).await;
    for who in ["nobody", "vera", "grace"] {
        assert!(!world.change(resolve(1, who, Outcome::Failed)).await, "{who}");
    }
    assert!(world.change(resolve(1, "olga", Outcome::Failed)).await);
    let ended = read(&world.store, 1).await;
    let resolved = Resolved { operator: email("olga"), reason: "asked the bank".into() };
    assert_eq!((ended.status, ended.resolved), (Status::Failed, Some(resolved)));
}

#[tokio::test]
async fn who_approved_may_still_deny() {
    let world = world().await;
    assert!(world.change(hold(held(1, "laptop", 2))).await);
    assert!(world.change(decision(1, 0, "ada", true, 10)).await);
    assert!(world.change(decision(1, 1, "ada", false, 11)).await);
    let ended = read(&world.store, 1).await;
    let reason = Some("wrong folder".to_owned());
    let said = Decided { operator: email("ada"), approve: false, reason, at: moment(11) };
    assert_eq!((ended.status, ended.decisions), (Status::Denied, vec![said]));
}

#[tokio::test]
async fn an_agent_takes_back_its_own_calls_only() {
    let world = world().await;
    assert!(world.change(hold(held(1, "laptop", 1))).await);
    assert!(!world.change(cancel(1, "tablet")).await);
    assert!(world.store.held_call(&id(1)).await.unwrap().is_some());
    assert!(world.change(cancel(1, "laptop")).await);
    assert_eq!(world.store.held_call(&id(1)).await.unwrap(), None, "or agents could fill the disk");
}

#[tokio::test]
async fn an_identical_call_meets_its_row_until_the_end_was_delivered() {
    let world = world().await;
    let again = |number: u64| hold(Held { id: id(number), ..held(1, "laptop", 1) });
    let live = async || {
        let digest = held(1, "laptop", 1).call_digest;
        let found = world.store.live_approval(&name("laptop"), &digest, None).await.unwrap();
        found.map(|approval| approval.held.id)
    };
    assert_eq!(live().await, None);
    assert!(world.change(again(1)).await);
    for ended in [Status::Pending, Status::Executing, Status::Unknown, Status::Failed] {
        match ended {
            Status::Executing => bring_to(&world, 1, Status::Executing).await,
            Status::Unknown => assert!(world.change(close(1, Ending::Unknown, 30)).await),
            Status::Failed => assert!(world.change(resolve(1, "ada", Outcome::Failed)).await),
            _ => {}
        }
        assert_eq!(live().await, Some(id(1)), "{ended}");
        assert!(!world.change(again(2)).await, "{ended}");
    }
    let other = Held { id: id(3), agent: name("tablet"), ..held(1, "laptop", 1) };
    assert!(world.change(hold(other)).await, "another agent's is another call");
    assert!(deliver(&world, 1).await);
    assert_eq!(live().await, None);
    assert!(world.change(again(2)).await);
    assert!(!world.change(again(2)).await, "an id is given once");
    assert_eq!(live().await, Some(id(2)));
}

#[tokio::test]
async fn an_idempotency_key_stands_for_one_held_call() {
    let world = world().await;
    let key = |text: &str| IdempotencyKey::parse(text);
    let keyed = |number: u32, digest_of: u32, text: &str| {
        let call_digest = held(digest_of, "laptop", 1).call_digest;
        hold(Held { call_digest, idempotency_key: key(text), ..held(number, "laptop", 1) })
    };
    assert!(world.change(keyed(1, 1, "a")).await);
    assert!(world.change(keyed(2, 1, "b")).await, "different keys never join");
    assert!(world.change(hold(Held { id: id(3), ..held(1, "laptop", 1) })).await, "nor one and none");
    assert!(!world.change(keyed(4, 1, "a")).await);
    assert!(!world.change(keyed(5, 5, "a")).await, "another request under the same key");
    let digest = held(5, "laptop", 1).call_digest;
    let met = world.store.live_approval(&name("laptop"), &digest, key("a").as_ref()).await.unwrap().unwrap();
    assert_eq!(met.held.id, id(1));
    assert_ne!(met.held.call_digest, digest, "which the caller sees");
    let none = world.store.live_approval(&name("tablet"), &digest, key("a").as_ref()).await.unwrap();
    assert_eq!(none, None, "keys belong to an agent");
}

#[tokio::test]
async fn an_agent_has_so_many_pending_calls_and_no_more() {
    let world = world().await;
    let hold = |number: u32, agent: &str| {
        let call = SealedBody(b"x".to_vec());
        Change::HoldCall(Box::new(HoldCall { held: held(number, agent, 1), call, pending_max: 3 }))
    };
    for number in 1..=3 {
        assert!(world.change(hold(number, "laptop")).await);
    }
    assert!(!world.change(hold(4, "laptop")).await);
    assert!(world.change(hold(4, "tablet")).await, "each agent has its own");
    assert_eq!(world.store.count_pending(&name("laptop")).await.unwrap(), 3);
    bring_to(&world, 2, Status::Approved).await;
    assert_eq!(world.store.count_pending(&name("laptop")).await.unwrap(), 2);
    assert_eq!(world.store.count_waiting().await.unwrap(), 3, "of all agents");
    let statuses = world.store.approval_statuses(&[id(2), id(4), id(77)]).await.unwrap();
    let statuses: std::collections::BTreeMap<_, _> = statuses.into_iter().collect();
    assert_eq!(statuses, [(id(2), Status::Approved), (id(4), Status::Pending)].into());
    assert_eq!(world.store.approval_statuses(&[]).await.unwrap(), []);
    assert!(world.change(hold(5, "laptop")).await);
    assert_eq!(world.store.held_call(&id(6)).await.unwrap(), None);
}

#[tokio::test]
async fn deadlines_and_lost_executions_are_found() {
    let world = world().await;
    for number in 1..=4 {
        assert!(world.change(hold(held(number, "laptop", 1))).await);
    }
    bring_to(&world, 2, Status::Approved).await;
    bring_to(&world, 3, Status::Executing).await;
    let ids = |found: Vec<Approval>| found.into_iter().map(|one| one.held.id).collect::<Vec<_>>();
    let due = async |second| ids(world.store.due_approvals(moment(second), 9).await.unwrap());
    assert_eq!(due(109).await, []);
    assert_eq!(due(110).await, [id(2)]);
    assert_eq!(due(1_001).await, [id(1), id(2)]);
    assert_eq!(due(9_000).await, [id(1), id(4), id(2)]);
    let lost = async |second| ids(world.store.executing_approvals(moment(second), 9).await.unwrap());
    assert_eq!((lost(20).await, lost(21).await), (vec![], vec![id(3)]));
    assert!(world.change(expire(2, 110)).await);
    assert_eq!(status(&world.store, 2).await, Status::Expired, "approved, and told as expired");
}

#[tokio::test]
async fn lists_are_filtered_and_the_newest_comes_first() {
    let world = world().await;
    for (number, agent) in [(1, "laptop"), (2, "tablet"), (3, "laptop"), (4, "laptop")] {
        assert!(world.change(hold(held(number, agent, 2))).await);
    }
    bring_to(&world, 3, Status::Denied).await;
    assert!(world.change(decision(4, 0, "ada", true, 10)).await);
    let list = async |status, agent: Option<&str>, limit| {
        let query = ApprovalQuery { status, agent: agent.map(name), before: None };
        let found = world.store.approvals(&query, limit).await.unwrap();
        found.iter().map(|one| (one.held.id, one.decisions.len())).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, 9).await, [(id(4), 1), (id(3), 1), (id(2), 0), (id(1), 0)]);
    assert_eq!(list(None, None, 1).await, [(id(4), 1)]);
    assert_eq!(list(Some(Status::Pending), Some("laptop"), 9).await, [(id(4), 1), (id(1), 0)]);
    assert_eq!(list(None, Some("tablet"), 9).await, [(id(2), 0)]);
    assert_eq!(list(Some(Status::Denied), None, 9).await, [(id(3), 1)]);
    assert_eq!(list(Some(Status::Executed), None, 9).await, []);
    // Page by page, each begins behind the last of the one before.
    for (status, agent, all) in [
        (None, None, vec![id(4), id(3), id(2), id(1)]),
        (Some(Status::Pending), Some(name("laptop")), vec![id(4), id(1)]),
        (None, Some(name("laptop")), vec![id(4), id(3), id(1)]),
        (Some(Status::Pending), None, vec![id(4), id(2), id(1)]),
    ] {
        let (mut before, mut seen) = (None, Vec::new());
        for _ in 0..=all.len() {
            let query = ApprovalQuery { status, agent: agent.clone(), before };
            let Some(last) = world.store.approvals(&query, 1).await.unwrap().pop() else { break };
            before = Some((last.held.created_at, last.held.id));
            seen.push(last.held.id);
        }
        assert_eq!(seen, all);
    }
}

#[tokio::test]
async fn a_unique_start_of_an_id_will_do() {
    let world = world().await;
    for number in [1, 2, 40] {
        assert!(world.change(hold(held(number, "laptop", 1))).await);
    }
    let whole = id(40).to_string();
    for start in [&whole[..], &whole[3..], &whole[..6]] {
        let FoundApproval::One(found) = world.store.find_approval(start).await.unwrap() else {
            panic!("not one: {start}")
        };
        assert_eq!(found.held.id, id(40));
    }
    assert_eq!(world.store.find_approval("zz").await.unwrap(), FoundApproval::None);
    let several = world.store.find_approval("ap_000").await.unwrap();
    assert_eq!(several, FoundApproval::Several(vec![id(1), id(2)]));
}

#[tokio::test]
async fn the_past_of_a_call_is_told() {
    let world = world().await;
    for number in 1..=3 {
        assert!(world.change(hold(held(number, "laptop", 1))).await);
    }
    bring_to(&world, 1, Status::Executed).await;
    assert!(deliver(&world, 1).await);
    bring_to(&world, 2, Status::Denied).await;
    let outcome = |agent: &str| {
        let [_, mut outcome] = call(7);
        outcome.agent = Some(name(agent));
        outcome.service = Some("billing".into());
        outcome.action = Some("POST /v1/refunds".into());
        Entry::from(outcome)
    };
    world.store.append(&[outcome("laptop"), outcome("laptop"), outcome("tablet")]).await.unwrap();
    let again = Held { id: id(9), ..held(1, "laptop", 1) };
    assert!(world.change(hold(again)).await);
    let asked = read(&world.store, 9).await;
    let before = world.store.before(&asked, moment(0)).await.unwrap();
    assert_eq!((before.forwarded, before.denied, before.whole), (2, 1, true));
    assert_eq!(before.identical, Some((id(1), moment(30))));
    let later = world.store.before(&asked, moment(300)).await.unwrap();
    assert_eq!((later.forwarded, later.denied), (0, 0));
    let first = world.store.before(&read(&world.store, 3).await, moment(0)).await.unwrap();
    assert_eq!(first.identical, None);
}

#[tokio::test]
async fn ended_calls_are_forgotten_but_what_is_unknown_stays() {
    let world = world().await;
    for number in 1..=4 {
        assert!(world.change(hold(held(number, "laptop", 1))).await);
    }
    bring_to(&world, 1, Status::Executed).await;
    bring_to(&world, 2, Status::Unknown).await;
    bring_to(&world, 3, Status::Denied).await;
    let revision = world.store.approvals_revision().await.unwrap();
    assert!(!world.store.forget_approvals(moment(30)).await.unwrap());
    assert_eq!(world.store.approvals_revision().await.unwrap().0, revision.0 + 1, "the denied one");
    assert!(world.store.approval_answer(&id(1)).await.unwrap().is_some(), "it ended at 30, not before");
    assert!(!world.store.forget_approvals(moment(3_000)).await.unwrap());
    for (number, kept) in [(1, false), (2, true), (3, false), (4, true)] {
        assert_eq!(world.store.held_call(&id(number)).await.unwrap().is_some(), kept, "{number}");
    }
    assert_eq!(world.store.approval_answer(&id(1)).await.unwrap(), None);
    assert_eq!(status(&world.store, 1).await, Status::Executed, "its history stays");
    assert!(world.change(hold(Held { id: id(8), ..held(1, "laptop", 1) })).await, "a new call");
    assert!(!deliver(&world, 1).await, "there is nothing to deliver any more");
    let idle = world.store.approvals_revision().await.unwrap();
    assert!(!world.store.forget_approvals(moment(3_000)).await.unwrap());
    assert_eq!(world.store.approvals_revision().await.unwrap(), idle);
}

#[tokio::test]
async fn a_rotation_finds_held_calls_and_answers() {
    let world = world().await;
    assert!(world.change(hold(held(1, "laptop", 1))).await);
    bring_to(&world, 1, Status::Executed).await;
    let table = world.store.sealed_tables().iter().find(|table| table.name == "approval_bodies").unwrap();
    let page = world.store.sealed_page(table, None, None, 10).await.unwrap();
    let found: Vec<_> = page
        .iter()
        .map(|row| (&*row.purpose, &*row.service, &*row.origin, row.name.clone(), row.version))
        .collect();
    let name = id(1).to_string();
    let expected = [("held-call", "laptop", "", name.clone(), 1), ("stored-answer", "laptop", "", name, 1)];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_claim_and_its_intent_are_written_together_or_not_at_all() {
    let world = world().await;
    assert!(world.change(hold(held(1, "laptop", 1))).await);
    bring_to(&world, 1, Status::Approved).await;
    world.refuse_inserts("audit", None).await;
    let event = Event::new(moment(0), Kind::Intent);
    let entry = Entry { change: Some(claim(1, 20)), event };
    let applied = world.store.append(std::slice::from_ref(&entry)).await;
    assert!(!matches!(applied.as_deref(), Ok([Applied::Done])), "{applied:?}");
    assert_eq!(status(&world.store, 1).await, Status::Approved, "no intent, no claim");
    world.let_inserts("audit").await;
    let applied = world.store.append(&[entry]).await.unwrap();
    assert!(matches!(applied[..], [Applied::Done]));
}

#[tokio::test]
async fn the_database_itself_refuses_an_execution_without_a_quorum() {
    let world = world().await;
    assert!(world.change(hold(held(1, "laptop", 2))).await);
    let mut raw = world.raw().await;
    for sql in [
        "UPDATE approvals SET status = 'approved'",
        "UPDATE approvals SET status = 'executing', claimed_at = 1",
        "UPDATE approvals SET approved = 2, status = 'executing'",
        "UPDATE approvals SET status = 'done'",
        "UPDATE approvals SET quorum = 0",
    ] {
        assert!(raw.execute(sql).await.is_err(), "{sql}");
    }
}
