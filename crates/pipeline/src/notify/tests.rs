//! Notifications on a real store and real sockets: what is told, how often, and what it must not hold up.

use std::{
    collections::VecDeque,
    num::NonZeroU8,
    sync::{Arc, Mutex},
};

use domain::{
    approval::{Decided, Held, HeldRisk},
    audit::{Decision, Effect},
    clock::Now,
    key::KeyId,
    names::{AgentName, CallId, RoleName, ServiceName},
    operator::{Email, Operator, OperatorRole},
    policy::{PolicyHash, RuleName},
    risk::RiskScore,
    service::UpstreamUrl,
    stop::Gate,
};
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{Applied, Birth, Change, Entry, HoldCall, Query, SealedBody, StoreOptions, Sync};
use tokio::{net::TcpListener, task::JoinHandle};

use super::*;
use crate::recorder::DURABLE_WITHIN;

fn start() -> Timestamp {
    "2026-11-23T14:00:00Z".parse().unwrap()
}

/// A clock that stands still, so many hours after [`start`].
struct Still(i64);

impl Clock for Still {
    fn now(&self) -> Now {
        Now { wall: start() + SignedDuration::from_hours(self.0), monotonic: Duration::ZERO }
    }
}

/// What a receiver got.
#[derive(Debug, Clone)]
struct Hit {
    path: String,
    id: String,
    signature: Option<String>,
    timestamp: String,
    body: Value,
}

/// A receiver that remembers; it answers 200 once its other answers are used up.
#[derive(Clone)]
struct Receiver {
    address: std::net::SocketAddr,
    hits: Arc<Mutex<Vec<Hit>>>,
}

impl Receiver {
    async fn start(answers: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self { address: listener.local_addr().unwrap(), hits: Arc::default() };
        let (hits, answers) =
            (Arc::clone(&receiver.hits), Arc::new(Mutex::new(VecDeque::from(answers.to_vec()))));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (hits, answers) = (Arc::clone(&hits), Arc::clone(&answers));
                let service =
                    service_fn(move |request| taken(request, Arc::clone(&hits), Arc::clone(&answers)));
                tokio::spawn(async move {
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        receiver
    }

    fn sink(&self, format: Format, topics: &[Topic]) -> Sink {
        let url = UpstreamUrl::parse(&format!("http://{}/hook-token", self.address)).unwrap();
        let signer =
            (format == Format::Json).then(|| Signer::new("a secret of this test, not so short").unwrap());
        Sink { url, format, topics: topics.to_vec(), signer }
    }

    fn hits(&self) -> Vec<Hit> {
        self.hits.lock().unwrap().clone()
    }

    fn types(&self) -> Vec<String> {
        self.hits().iter().map(|hit| hit.body["type"].as_str().unwrap_or("slack").to_owned()).collect()
    }

    /// Waits for so many hits, longer than anything takes that works.
    async fn got(&self, count: usize) -> Vec<Hit> {
        until("the receiver to be told", async || self.hits().len() >= count).await;
        self.hits()
    }
}

async fn taken(
    request: Request<Incoming>,
    hits: Arc<Mutex<Vec<Hit>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
) -> Result<Response<Full<bytes::Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    hits.lock().unwrap().push(Hit {
        path: parts.uri.path().to_owned(),
        id: header("webhook-id").unwrap(),
        signature: header("webhook-signature"),
        timestamp: header("webhook-timestamp").unwrap(),
        body: serde_json::from_slice(&body).unwrap(),
    });
    let status = answers.lock().unwrap().pop_front().unwrap_or(200);
    let answer = Response::builder().status(status).header(header::LOCATION, "/elsewhere");
    Ok(answer.body(Full::new("ignored".into())).unwrap())
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..3_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain: {what}");
}

struct Bench {
    store: Arc<Store>,
    recorder: Arc<Recorder>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let birth = Birth { install: [7; 16], now: start() };
        let path = folder.path().join("toolgate.db");
        let store = Store::open(&StoreOptions { place: path.into(), sync: Sync::Os, create: Some(birth) })
            .await
            .unwrap();
        let store = Arc::new(store);
        let (recorder, _task) = Recorder::start(Arc::clone(&store), Arc::new(Still(0)), None, DURABLE_WITHIN);
        Self { store, recorder, _folder: folder }
    }

    /// Tells these sinks, `hours` after [`start`], until the task is ended.
    async fn notify(&self, hours: i64, sinks: Vec<Sink>) -> JoinHandle<()> {
        let dialler = Dialler::new();
        let notifier = Notifier::new(
            sinks,
            Arc::clone(&self.store),
            Arc::clone(&self.recorder),
            Arc::new(Still(hours)),
            &dialler,
            || [0; 8],
            "https://desk.example.com".to_owned(),
        );
        tokio::spawn(notifier.await.unwrap().run())
    }

    async fn append(&self, change: Option<Change>, event: Event) {
        let applied = self.store.append(&[Entry { change, event }]).await.unwrap();
        assert!(matches!(applied[..], [Applied::Done]), "{applied:?}");
    }

    async fn kill(&self, action: &str) {
        let mut event = Event::new(start(), Kind::Operator);
        event.action = Some(action.into());
        event.operator = Some("os:ada".into());
        event.args = Some(r#"{"reason":"laptop <stolen>"}"#.into());
        self.append(None, event).await;
    }

    async fn actions(&self) -> Vec<Option<String>> {
        let events = self.store.events(&Query::default()).await.unwrap();
        events.into_iter().map(|event| event.action).collect()
    }
}

fn call_id(number: u32) -> CallId {
    CallId::new(1_795_000_000, number)
}

fn approval_id() -> ApprovalId {
    ApprovalId::new(77 << 30)
}

fn held(quorum: u8) -> Held {
    Held {
        id: approval_id(),
        call_id: call_id(1),
        agent: AgentName::parse("laptop").unwrap(),
        key_id: KeyId::parse("7kq2m9xd").unwrap(),
        role: RoleName::parse("user").unwrap(),
        service: ServiceName::parse("billing").unwrap(),
        method: "POST".into(),
        action: "POST /v1/refunds".into(),
        call_digest: [1; 32],
        approval_digest: [2; 32],
        rule: RuleName::new("big refunds"),
        rule_place: Some("policy.yaml:14".into()),
        because: Some("args.amount > 1000, args.amount = 5000".into()),
        risk: Some(HeldRisk { score: RiskScore::from_thousandths(305), parts: "POST 0.30".into() }),
        intent: Some("charged twice".into()),
        args: Some(r#"{"amount":5000}"#.into()),
        quorum: NonZeroU8::new(quorum).unwrap(),
        created_at: start(),
        decide_by: start() + SignedDuration::from_hours(24),
        execute_within: Duration::from_secs(900),
        policy: PolicyHash::of(b"version: 1"),
        credentials: Vec::new(),
        idempotency_key: None,
    }
}

/// The event of a call that is held, or that joins one.
fn held_event(call: u32) -> Event {
    let mut event = Event::new(start(), Kind::Held);
    event.call_id = Some(call_id(call));
    event.approval_id = Some(approval_id());
    event.args = Some(r#"{"amount":5000}"#.into());
    event
}

fn decision_event(operator: &str, effect: Effect, minutes: i64) -> Event {
    let mut event = Event::new(start() + SignedDuration::from_mins(minutes), Kind::Decision);
    event.call_id = Some(call_id(1));
    event.approval_id = Some(approval_id());
    event.operator = Some(format!("{operator}@example.com").into());
    event.args = Some(r#"{"reason":"customer was charged twice"}"#.into());
    let (rule, risk, policy) = (None, None, None);
    event.decision =
        Some(Decision { gate: Gate::Approve, effect, rule, reason: "said".into(), risk, policy });
    event
}

async fn decide(bench: &Bench, operator: &str, effect: Effect, before: usize, minutes: i64) {
    let email = Email::parse(&format!("{operator}@example.com")).unwrap();
    let operator_row = Operator {
        email: email.clone(),
        role: OperatorRole::Approver,
        password_hash: "$argon2id$".into(),
        created_at: start(),
    };
    bench.append(Some(Change::CreateOperator(operator_row)), Event::new(start(), Kind::Operator)).await;
    let at = start() + SignedDuration::from_mins(minutes);
    let decided = Decided { operator: email, approve: effect != Effect::Deny, reason: None, at };
    let (id, digest) = (approval_id(), [2; 32]);
    let change = Change::DecideApproval { id, digest, approved_before: before, decided };
    bench.append(Some(change), decision_event(operator, effect, minutes)).await;
}

async fn hold(bench: &Bench, quorum: u8) {
    let call = HoldCall { held: held(quorum), call: SealedBody(b"sealed".to_vec()), pending_max: 20 };
    bench.append(Some(Change::HoldCall(Box::new(call))), held_event(1)).await;
}

#[tokio::test]
async fn a_held_call_and_its_decisions_are_told_without_what_is_in_the_call() {
    let bench = Bench::new().await;
    let receiver = Receiver::start(&[]).await;
    let task = bench.notify(0, vec![receiver.sink(Format::Json, &Topic::ALL)]).await;
    hold(&bench, 2).await;
    bench.append(None, held_event(2)).await;
    decide(&bench, "ada", Effect::Hold, 0, 1).await;
    decide(&bench, "bob", Effect::Allow, 1, 2).await;
    let change = Change::ClaimApproval {
        id: approval_id(),
        call: call_id(9),
        at: start() + SignedDuration::from_mins(3),
    };
    bench.append(Some(change), Event::new(start(), Kind::Intent)).await;

    let hits = receiver.got(3).await;
    let approval = |status: &str, expires_at: &str, decided_by: Value, reason: Value| {
        json!({
            "id": approval_id().as_str(), "agent": "laptop", "service": "billing", "action": "POST /v1/refunds",
            "rule": "big refunds", "risk": 0.305, "quorum": 2, "expires_at": expires_at, "status": status,
            "decided_by": decided_by, "reason": reason,
            "url": format!("https://desk.example.com/approvals/{}", approval_id()),
        })
    };
    let why = json!("customer was charged twice");
    assert_eq!(
        hits[0].body,
        json!({
            "type": "approval.held", "id": hits[0].id, "at": "2026-11-23T14:00:00Z",
            "approval": approval("pending", "2026-11-24T14:00:00Z", Value::Null, Value::Null),
        })
    );
    assert_eq!(hits[1].body["type"], "approval.decided");
    let waits = approval("pending", "2026-11-24T14:00:00Z", json!("ada@example.com"), why.clone());
    assert_eq!(hits[1].body["approval"], waits);
    // By now it is executing; what is told is what was decided.
    let approved = approval("approved", "2026-11-23T14:17:00Z", json!("bob@example.com"), why);
    assert_eq!(hits[2].body["approval"], approved);
    for hit in &hits {
        let text = hit.body.to_string();
        for inside in ["amount", "5000", "\"charged twice\""] {
            assert!(!text.contains(inside), "{text}");
        }
        assert!(!hit.id.contains('.') && hit.id.starts_with("ev_07070707_gw-1_"), "{}", hit.id);
        let signer = Signer::new("a secret of this test, not so short").unwrap();
        let signed = signer.sign(&hit.id, hit.timestamp.parse().unwrap(), text.as_bytes());
        assert_eq!(hit.signature.as_ref(), Some(&signed));
    }
    // The call that joined is no news: what comes after it is the next thing that is told.
    bench.kill("kill.on").await;
    receiver.got(4).await;
    assert_eq!(receiver.types(), ["approval.held", "approval.decided", "approval.decided", "kill.on"]);
    task.abort();
}

#[tokio::test]
async fn a_sink_that_fails_holds_up_no_other_and_misses_nothing() {
    let bench = Bench::new().await;
    let (bad, good) = (Receiver::start(&[500, 429]).await, Receiver::start(&[]).await);
    let sinks =
        || vec![bad.sink(Format::Json, &Topic::ALL), good.sink(Format::Json, &[Topic::Killed, Topic::Held])];
    let task = bench.notify(0, sinks()).await;
    bench.kill("kill.on").await;
    bench.kill("kill.off").await;
    good.got(2).await;
    let tries = bad.got(4).await;
    assert_eq!(bad.types(), ["kill.on", "kill.on", "kill.on", "kill.off"]);
    assert!(tries[0].id == tries[1].id && tries[1].id == tries[2].id && tries[2].id != tries[3].id);
    assert!(tries[0].body == tries[2].body);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());

    // What happens while nobody runs is told by the next one; a double is known by its id.
    bench.kill("kill.on").await;
    let task = bench.notify(1, sinks()).await;
    bench.kill("kill.off").await;
    for receiver in [&bad, &good] {
        until("both receivers to be told of four events", async || {
            let mut ids: Vec<String> = receiver.hits().into_iter().map(|hit| hit.id).collect();
            ids.dedup();
            assert!(ids.len() <= 4, "{ids:?}");
            ids.len() == 4
        })
        .await;
    }
    task.abort();
}

#[tokio::test]
async fn a_new_sink_is_not_flooded_and_hears_only_its_topics() {
    let bench = Bench::new().await;
    bench.kill("kill.on").await;
    hold(&bench, 1).await;
    let (calls, kills) = (Receiver::start(&[]).await, Receiver::start(&[]).await);
    let sinks =
        vec![calls.sink(Format::Slack, &[Topic::Decided]), kills.sink(Format::Json, &[Topic::Killed])];
    let task = bench.notify(0, sinks).await;
    bench.kill("kill.off").await;
    decide(&bench, "ada", Effect::Deny, 0, 1).await;
    let (denied, lifted) = (calls.got(1).await, kills.got(1).await);
    assert_eq!((calls.hits().len(), kills.types()), (1, vec!["kill.off".to_owned()]));
    assert_eq!(lifted[0].body["kill"], json!({ "by": "os:ada", "reason": "laptop <stolen>" }));
    let text = denied[0].body["text"].as_str().unwrap();
    let link = format!("<https://desk.example.com/approvals/{0}|{0}>", approval_id());
    assert_eq!(
        text,
        format!(
            "Denied: `POST /v1/refunds` at `billing`, asked by `laptop` · by `ada@example.com` · \
             reason `customer was charged twice` · {link}"
        )
    );
    assert!(denied[0].signature.is_none());
    task.abort();
}

#[tokio::test]
async fn after_a_day_an_event_is_given_up_and_the_next_one_is_told() {
    let bench = Bench::new().await;
    // A redirect is a failure like any other.
    let receiver = Receiver::start(&[302]).await;
    let task = bench.notify(25, vec![receiver.sink(Format::Json, &Topic::ALL)]).await;
    bench.kill("kill.on").await;
    bench.kill("kill.off").await;
    let hits = receiver.got(2).await;
    assert_eq!(receiver.types(), ["kill.on", "kill.off"]);
    assert!(hits.iter().all(|hit| hit.path == "/hook-token"), "{hits:?}");
    let failed = || async {
        bench.actions().await.into_iter().flatten().filter(|action| action == "notify.failed").count()
    };
    until("the trail to tell", async || failed().await == 1).await;
    let events = bench.store.events(&Query::default()).await.unwrap();
    let record = &events.iter().find(|event| event.action.as_deref() == Some("notify.failed")).unwrap().rec;
    assert!(record.contains("it answered 302") && !record.contains("hook-token"), "{record}");
    task.abort();
}

#[test]
fn pauses_double_up_to_five_minutes() {
    for (attempts, most) in
        [(1, 1_000), (2, 2_000), (3, 4_000), (9, 256_000), (10, 300_000), (9_999, 300_000)]
    {
        for random in [0, 1, 499, u64::MAX] {
            let pause = pause(attempts, random).as_millis();
            assert!((most / 2..=most).contains(&pause), "{attempts} {random}: {pause}");
        }
    }
    assert_ne!(pause(3, 1), pause(3, 1_001));
}
