//! Decisions are people's: signed in, bound to what they saw, recorded with name, time and reason.

use std::{num::NonZeroU8, sync::Arc, time::Duration};

use admin::{ActingOperator, Actor, Admin, AdminError, REASON_CHARACTERS_MAX};
use domain::{
    approval::{Approval, Ending, Held, HeldRisk, Outcome, Status, approval_digest},
    audit::{Event, Kind},
    key::KeyId,
    names::{AgentName, ApprovalId, CallId, CredentialName, RoleName, ServiceName},
    operator::OperatorRole,
    policy::{PolicyHash, RuleName},
    risk::RiskScore,
};
use jiff::Timestamp;
use serde_json::Value;
use store::{Applied, ApprovalQuery, Change, Closed, Entry, HoldCall, Query, SealedBody, Store};
use vault::{Label, Vault};

use crate::install::{PASSWORD, at, email, store, vault};

struct Desk {
    admin: Admin,
    store: Arc<Store>,
    vault: Vault,
    _folder: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let (store, folder) = store().await;
        let vault = vault(&store).await;
        Self { admin: Admin::new(store.clone()), store, vault, _folder: folder }
    }

    /// Adds an operator and signs them in.
    async fn operator(&self, name: &str, role: OperatorRole) -> ActingOperator {
        let email = email(name);
        self.admin.create_operator(&root(), at(0), email.clone(), role, PASSWORD).await.unwrap();
        self.admin.sign_in(at(0), &email, PASSWORD).await.unwrap()
    }

    /// Holds a call; `quorum` operators must approve it.
    async fn hold(&self, number: u64, quorum: u8) -> Held {
        let agent = AgentName::parse("laptop").unwrap();
        let id = ApprovalId::new(number << 30);
        let (rule, credentials) =
            (RuleName::new("big refunds"), vec![(CredentialName::parse("secret_key").unwrap(), 1)]);
        let mut call_digest = [1; 32];
        call_digest[0] = u8::try_from(number).unwrap();
        let held = Held {
            id,
            call_id: CallId::new(1_000, u32::try_from(number).unwrap()),
            agent: agent.clone(),
            key_id: KeyId::parse("7kq2m9xd").unwrap(),
            role: RoleName::parse("user").unwrap(),
            service: ServiceName::parse("billing").unwrap(),
            method: "POST".into(),
            action: "POST /v1/refunds".into(),
            call_digest,
            approval_digest: approval_digest(&call_digest, &rule, &credentials, None),
            rule,
            rule_place: None,
            because: None,
            risk: Some(HeldRisk { score: RiskScore::from_thousandths(300), parts: "POST 0.30".into() }),
            intent: None,
            args: Some(r#"{"amount":5000}"#.into()),
            quorum: NonZeroU8::new(quorum).unwrap(),
            created_at: at(0),
            decide_by: at(1_000),
            execute_within: Duration::from_secs(900),
            policy: PolicyHash::of(b"version: 1"),
            credentials,
            idempotency_key: None,
        };
        let call = SealedBody(self.vault.seal(&Label::of_held_call(&agent, &id), b"the whole call"));
        let hold = HoldCall { held: held.clone(), call, pending_max: 20 };
        self.write(Change::HoldCall(Box::new(hold))).await;
        held
    }

    async fn close(
        &self,
        id: ApprovalId,
        ending: Ending,
        http_status: Option<u16>,
        answer: Option<SealedBody>,
        at: Timestamp,
    ) {
        let closed = Closed { id, ending, http_status, ended_with: None, answer, key: None, at };
        self.write(Change::CloseApproval(Box::new(closed))).await;
    }

    async fn write(&self, change: Change) {
        let event = Event::new(at(0), Kind::System);
        let applied = self.store.append(&[Entry { change: Some(change), event }]).await.unwrap();
        assert!(matches!(applied[..], [Applied::Done]), "{applied:?}");
    }

    /// The decisions of the trail, which holds.
    async fn decisions(&self) -> Vec<Value> {
        assert!(self.store.verify(|_, _| {}).await.unwrap().ok);
        let query = Query { kind: Some("decision".into()), ..Query::default() };
        let events = self.store.events(&query).await.unwrap();
        events.iter().map(|event| serde_json::from_str(&event.rec).unwrap()).collect()
    }

    async fn approve(&self, who: &ActingOperator, held: &Held, second: u64) -> Result<Approval, AdminError> {
        self.admin.approve(who, at(second), &held.id, &held.approval_digest, None).await
    }
}

fn root() -> Actor {
    Actor::os_user("root")
}

#[tokio::test]
async fn a_quorum_decides_and_the_trail_names_each_of_them() {
    let desk = Desk::new().await;
    let ada = desk.operator("ada", OperatorRole::Owner).await;
    let grace = desk.operator("grace", OperatorRole::Approver).await;
    let held = desk.hold(1, 2).await;
    let one = desk.approve(&ada, &held, 10).await.unwrap();
    assert_eq!((one.status, one.decisions.len()), (Status::Pending, 1));
    let again = desk.approve(&ada, &held, 11).await.unwrap_err();
    assert_eq!(
        again.to_string(),
        format!("`ada@example.com` has approved {} already; another operator must approve it too", held.id)
    );
    let digest = &held.approval_digest;
    let two = desk.admin.approve(&grace, at(12), &held.id, digest, Some(" looks right ")).await.unwrap();
    assert_eq!((two.status, two.execute_by), (Status::Approved, Some(at(912))));
    let decisions = desk.decisions().await;
    let said: Vec<_> = decisions.iter().map(|event| &event["decision"]).collect();
    assert_eq!((&said[0]["effect"], &said[0]["reason"]), (&"hold".into(), &"approved, 1 of 2".into()));
    assert_eq!((&said[1]["effect"], &said[1]["reason"]), (&"allow".into(), &"approved, 2 of 2".into()));
    let last = &decisions[1];
    let mut digest = String::new();
    domain::audit::push_hex(&mut digest, &held.approval_digest);
    let expected = serde_json::json!({
        "at": "2026-11-23T14:00:12.000000Z", "kind": "decision", "call_id": held.call_id.to_string(),
        "agent": "laptop", "key_id": "7kq2m9xd", "role": "user", "service": "billing", "method": "POST",
        "action": "POST /v1/refunds", "args": {"reason": "looks right"}, "digest": digest,
        "approval_id": held.id.to_string(), "operator": "grace@example.com",
    });
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&last[member], value, "{member}");
    }
    assert_eq!((&said[1]["gate"], &said[1]["rule"]), (&60.into(), &"big refunds".into()));
    assert_eq!(said[1]["risk"].as_f64(), Some(0.3));
    assert_eq!(said[1]["policy_hash"], held.policy.as_str());
}

#[tokio::test]
async fn a_no_ends_it_and_everybody_after_is_told_by_whom() {
    let desk = Desk::new().await;
    let ada = desk.operator("ada", OperatorRole::Owner).await;
    let grace = desk.operator("grace", OperatorRole::Approver).await;
    let held = desk.hold(1, 2).await;
    desk.approve(&ada, &held, 10).await.unwrap();
    let denied = desk.admin.deny(&grace, at(20), &held.id, None, "wrong folder").await.unwrap();
    assert_eq!(denied.status, Status::Denied);
    assert_eq!(denied.decisions[1].reason.as_deref(), Some("wrong folder"));
    let late = desk.approve(&ada, &held, 23).await.unwrap_err().to_string();
    let expected = "was denied 3 s ago by grace@example.com (status denied); nothing was changed";
    assert_eq!(late, format!("{} {expected}", held.id));
    let late = desk.admin.deny(&grace, at(7_220), &held.id, None, "again").await.unwrap_err().to_string();
    assert!(late.contains("2 h ago by grace"), "{late}");
    assert_eq!(desk.decisions().await.len(), 2);
}

#[tokio::test]
async fn a_decision_is_bound_to_what_was_shown() {
    let desk = Desk::new().await;
    let ada = desk.operator("ada", OperatorRole::Owner).await;
    let (held, other) = (desk.hold(1, 1).await, desk.hold(2, 1).await);
    for digest in [other.approval_digest, held.call_digest, [0; 32]] {
        let approve = desk.admin.approve(&ada, at(10), &held.id, &digest, None).await;
        assert!(matches!(approve, Err(AdminError::OtherDigest(id)) if id == held.id));
        let deny = desk.admin.deny(&ada, at(10), &held.id, Some(&digest), "no").await;
        assert!(matches!(deny, Err(AdminError::OtherDigest(_))));
    }
    assert_eq!(desk.store.approval(&held.id).await.unwrap().unwrap().status, Status::Pending);
    assert!(desk.decisions().await.is_empty());
}

#[tokio::test]
async fn viewers_and_whoever_was_disabled_meanwhile_decide_nothing() {
    let desk = Desk::new().await;
    let owner = desk.operator("olga", OperatorRole::Owner).await;
    let viewer = desk.operator("vera", OperatorRole::Viewer).await;
    let gone = desk.operator("grace", OperatorRole::Approver).await;
    desk.admin.disable_operator(&root(), at(5), gone.email()).await.unwrap();
    let held = desk.hold(1, 1).await;
    let wrong = desk.approve(&viewer, &held, 10).await.unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "`vera@example.com` is a viewer and may not decide; ask an approver or an owner"
    );
    assert!(matches!(desk.approve(&gone, &held, 10).await, Err(AdminError::OperatorDisabled(_))));
    let deny = desk.admin.deny(&gone, at(10), &held.id, None, "no").await;
    assert!(matches!(deny, Err(AdminError::OperatorDisabled(_))));
    let resolve = desk.admin.resolve(&viewer, at(10), &held.id, Outcome::Failed, "no").await;
    assert!(matches!(resolve, Err(AdminError::MayNotDecide(_))));
    assert!(desk.decisions().await.is_empty());
    assert!(desk.approve(&owner, &held, 10).await.is_ok());
}

#[tokio::test]
async fn a_decision_comes_in_time_and_with_a_reason_where_one_is_needed() {
    let desk = Desk::new().await;
    let ada = desk.operator("ada", OperatorRole::Owner).await;
    let held = desk.hold(1, 1).await;
    let deny = async |reason: &str| desk.admin.deny(&ada, at(10), &held.id, None, reason).await;
    assert!(matches!(deny(" ").await, Err(AdminError::NoReason)));
    let long = "x".repeat(REASON_CHARACTERS_MAX + 1);
    assert!(matches!(deny(&long).await, Err(AdminError::ReasonTooLong(501))));
    let late = desk.approve(&ada, &held, 1_000).await.unwrap_err().to_string();
    assert_eq!(late, format!("nobody decided {} in time (status pending); nothing was changed", held.id));
    let unknown = ApprovalId::new(99);
    let missing = desk.admin.deny(&ada, at(10), &unknown, None, "no").await;
    assert!(matches!(missing, Err(AdminError::NoSuchApproval(_))));
    assert!(deny(&"x".repeat(REASON_CHARACTERS_MAX)).await.is_ok());
}

#[tokio::test]
async fn a_lost_outcome_is_resolved_by_a_person_once() {
    let desk = Desk::new().await;
    let ada = desk.operator("ada", OperatorRole::Owner).await;
    let held = desk.hold(1, 1).await;
    let resolve = async |outcome| desk.admin.resolve(&ada, at(50), &held.id, outcome, "the bank says").await;
    let early = resolve(Outcome::Executed).await.unwrap_err().to_string();
    assert!(early.contains("waits for a decision (status pending)"), "{early}");
    desk.approve(&ada, &held, 10).await.unwrap();
    let (id, at) = (held.id, at(20));
    desk.write(Change::ClaimApproval { id, call: held.call_id, at }).await;
    let ending = Ending::Unknown;
    desk.close(id, ending, None, None, at).await;
    let resolved = resolve(Outcome::Executed).await.unwrap();
    assert_eq!(resolved.status, Status::Executed);
    assert_eq!(resolved.resolved.unwrap().operator, *ada.email());
    assert!(matches!(resolve(Outcome::Failed).await, Err(AdminError::NotDecidable(_))));
    let decisions = desk.decisions().await;
    assert_eq!(decisions[1]["decision"]["reason"], "resolved as executed");
    assert_eq!((decisions.len(), &decisions[1]["args"]["reason"]), (2, &"the bank says".into()));
}

#[tokio::test]
async fn a_call_is_found_by_a_start_of_its_id_and_shown_with_its_past() {
    let desk = Desk::new().await;
    let ada = desk.operator("ada", OperatorRole::Owner).await;
    let (first, second) = (desk.hold(1, 1).await, desk.hold(2, 1).await);
    desk.admin.deny(&ada, at(5), &first.id, None, "no").await.unwrap();
    let shown = desk.admin.show_approval(at(10), second.id.as_str()).await.unwrap();
    assert_eq!((shown.approval.held, shown.before.denied), (second, 1));
    let several = desk.admin.show_approval(at(10), "ap_00").await.unwrap_err().to_string();
    assert!(several.contains("give more of it"), "{several}");
    let none = desk.admin.show_approval(at(10), "zz\u{1b}").await.unwrap_err().to_string();
    assert_eq!(none, "there is no approval `zz\\u{1b}`; look at the list of held calls");
    let pending = ApprovalQuery { status: Some(Status::Pending), ..ApprovalQuery::default() };
    assert_eq!(desk.admin.list_approvals(&pending, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn held_calls_and_their_answers_go_along_when_the_vault_is_rotated() {
    let desk = Desk::new().await;
    let ada = desk.operator("ada", OperatorRole::Owner).await;
    let held = desk.hold(1, 1).await;
    desk.approve(&ada, &held, 10).await.unwrap();
    let (id, sent) = (held.id, at(20));
    desk.write(Change::ClaimApproval { id, call: held.call_id, at: sent }).await;
    let label = Label::of_approval_answer(&held.agent, &id);
    let answer = Some(SealedBody(desk.vault.seal(&label, b"the answer")));
    let ending = Ending::Executed;
    desk.close(id, ending, Some(200), answer, sent).await;
    let rotated = desk.admin.rotate_vault(&root(), at(30), &desk.vault, |_| ()).await.unwrap();
    assert_eq!(rotated.term, 2);
    let call = desk.store.held_call(&id).await.unwrap().unwrap();
    let answer = desk.store.approval_answer(&id).await.unwrap().unwrap();
    assert_eq!(
        (&call[1..5], &answer[1..5]),
        (&[0, 0, 0, 2][..], &[0, 0, 0, 2][..]),
        "sealed by the new term"
    );
    let opened = desk.vault.open_sealed(&Label::of_held_call(&held.agent, &id), &call).unwrap();
    assert_eq!(opened.reveal(), b"the whole call");
    assert_eq!(desk.vault.open_sealed(&label, &answer).unwrap().reveal(), b"the answer");
    assert!(desk.vault.open_sealed(&label, &call).is_err(), "neither takes the other's place");
}
