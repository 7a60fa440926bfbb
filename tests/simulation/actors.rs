//! Agents and people: what they ask of a gateway, and what they are told.

use std::{sync::Arc, time::Duration};

use admin::AdminError;
use bytes::Bytes;
use domain::{
    approval::{Held, Status},
    call::{Action, Call},
    idempotency::{IdempotencyKey, Repeatable, StoredAnswer},
    key::PresentedKey,
    operator::PresentedToken,
    stop::Stop,
};
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt as _;
use pipeline::{ApiRequest, Arrival, CallBody, Exchange, Gateway, Presented, Reply, inquire, walk};
use store::{ApprovalQuery, StoreError};
use tokio::sync::oneshot;
use wire::{OddTargets, Target, mcp::Class};

use crate::{
    gateway::{SOURCE, SimulatedClock},
    history::{Fact, History, Told},
    plan::Op,
};

/// An agent makes a call, for the `nth` time, and reads the answer to its end.
pub async fn ask(
    gateway: Arc<Gateway>,
    clock: Arc<SimulatedClock>,
    history: History,
    key: PresentedKey,
    op: Op,
    nth: usize,
) {
    let body = format!(r#"{{"op":{},"other":{}}}"#, op.number, op.is_other(nth));
    let arrival = arrival(&gateway, key, &op.path(), body, op.repeatable());
    let call = arrival.call.id;
    let told = match walk(arrival, &gateway).await {
        Ok(reply) => read(reply).await,
        Err(Stop::Replayed(answer)) => kept(&answer, "replayed"),
        Err(Stop::Executed(answer)) => kept(&answer, "executed"),
        Err(Stop::Held(_)) => Told::Held,
        Err(Stop::Refused(refusal)) => Told::Refused { status: refusal.status(), code: refusal.code() },
        Err(Stop::Fault(fault)) => Told::Refused { status: fault.status(), code: fault.code() },
    };
    history.push(clock.time(), Fact::Told { op: op.number, nth, call, told });
}

async fn read(reply: Reply) -> Told {
    let status = reply.head.status.as_u16();
    match reply.body.collect().await {
        Ok(body) => Told::Answer { status, serial: serial_in(&body.to_bytes()), how: "forwarded" },
        Err(_) => Told::Broken,
    }
}

fn kept(answer: &StoredAnswer, how: &'static str) -> Told {
    Told::Answer { status: answer.status, serial: serial_in(&answer.body), how }
}

fn serial_in(body: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(body).ok()?.get("serial")?.as_u64()
}

/// An agent takes back what was held of this call.
pub async fn take_back(
    gateway: Arc<Gateway>,
    clock: Arc<SimulatedClock>,
    history: History,
    key: PresentedKey,
    op: Op,
) {
    let done = async {
        let asked = arrival(&gateway, key, &op.path(), String::new(), None);
        let (caller, _) = inquire(asked, &gateway).await.ok()?;
        let held = gateway.store.approvals(&ApprovalQuery::default(), 50).await.ok()?;
        let action = format!("POST {}", op.path());
        let id = held.iter().find(|approval| approval.held.action == action)?.held.id;
        gateway.approvals.cancel(&caller, &id).await.ok().filter(|held| held.status == Status::Cancelled)
    };
    let done = done.await.is_some();
    history.push(clock.time(), Fact::TakenBack { op: op.number, done });
}

/// A person decides about a call that waits, as the console does it.
pub async fn decide(
    gateway: Arc<Gateway>,
    clock: Arc<SimulatedClock>,
    history: History,
    token: PresentedToken,
    op: Op,
    (person, approve): (usize, bool),
) {
    let desk = admin::Admin::new(Arc::clone(&gateway.store));
    let counted = async {
        let now = gateway.clock.now().wall;
        let operator = desk.sign_in_with_token(now, &gateway.pepper, &token).await?;
        let query = ApprovalQuery { status: Some(Status::Pending), ..ApprovalQuery::default() };
        let pending = desk.list_approvals(&query, 50).await?;
        let action = format!("POST {}", op.path());
        let Some(waits) = pending.into_iter().find(|approval| approval.held.action == action) else {
            return Ok(false);
        };
        let Held { id, approval_digest, .. } = waits.held;
        if approve {
            desk.approve(&operator, now, &id, &approval_digest, None).await?;
        } else {
            desk.deny(&operator, now, &id, Some(&approval_digest), "no").await?;
        }
        Ok(true)
    };
    let counted = match counted.await {
        Ok(counted) => Some(counted),
        Err(AdminError::Store(StoreError::Unanswered(_))) => None,
        Err(_) => Some(false),
    };
    history.push(clock.time(), Fact::Decided { op: op.number, person, approve, counted });
}

/// A request as the door of HTTP services hands it to the walk.
fn arrival(
    gateway: &Gateway,
    key: PresentedKey,
    path: &str,
    body: String,
    repeatable: Option<IdempotencyKey>,
) -> Arrival {
    let at = gateway.clock.now();
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Nobody looks at it: only calls of the newest MCP are cancelled by hanging up.
    let (_, gone) = oneshot::channel();
    Arrival {
        at,
        source: SOURCE,
        key: Presented::One(key),
        call: Arc::new(Call {
            id: gateway.ids.next(at.wall),
            service: "bank".to_owned(),
            method: "POST".into(),
            action: Action::Request(format!("POST {path}")),
            class: Class::Call,
        }),
        exchange: Ok(Exchange::Request(ApiRequest {
            method: Method::POST,
            target: Target::parse(path, None, OddTargets::Refuse).unwrap(),
            body: CallBody::Whole(Bytes::from(body)),
            reads_answer: false,
        })),
        headers,
        session: None,
        modern: false,
        repeatable: repeatable.map(|key| Repeatable { key, wait: Duration::ZERO }),
        intent: None,
        gone,
    }
}
