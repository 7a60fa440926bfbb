//! Executes what people approved, once, on the gateway's own account: whether the agent still waits makes no difference.
//! It also ends what nobody decided in time, and gives up what a gateway was sending when it died.

use std::{collections::HashSet, convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    approval::{Approval, Ending, HeldCall, HeldExchange, NotApproved},
    audit::{Effect, Event, Kind, ResultWord},
    call::Call,
    idempotency::Repeatable,
    key::Proof,
    names::ApprovalId,
    service::Upstream,
    stop::{Fault, Refusal},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use store::{Change, Closed, Entry, StoreError};
use tokio::{sync::oneshot, task::JoinSet};
use wire::{Limits, Message, OddTargets, Target, mcp::Class};

use crate::{
    arrival::{ApiRequest, Arrival, CallBody, Exchange, Presented},
    gateway::Gateway,
    idempotency::Asked,
    recorder::Written,
    walk,
};

/// How many approved calls are sent at once.
const AT_ONCE: usize = 16;
/// How often it looks for deadlines, and without any news for what could not be done before.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What executes longer than twice the upstream's time and this is lost.
const LOST_AFTER: Duration = Duration::from_secs(120);
/// How many are given up at once.
const LOST_AT_ONCE: u32 = 1_000;

/// A held call, ready to walk on.
pub(crate) struct Resumed {
    pub(crate) arrival: Arrival,
    pub(crate) proof: Proof,
    /// Where the service was when it was held.
    pub(crate) destination: String,
    /// How many of those who approved it may still decide.
    pub(crate) approvers: usize,
    pub(crate) approval: Approval,
    pub(crate) asked: Asked,
}

/// Executes until the gateway stops, and then waits for what is being sent.
pub async fn run(gateway: Arc<Gateway>) {
    let mut stopping = gateway.stopping.clone();
    let mut revision = gateway.approvals.subscribe();
    revision.mark_changed();
    let mut under_way = JoinSet::new();
    let mut ids = HashSet::new();
    let mut failing = false;
    let mut tick = tokio::time::interval(LOOK_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !*stopping.borrow_and_update() {
        let mut deadlines = false;
        tokio::select! {
            biased;
            _ = stopping.changed() => continue,
            Some(ended) = under_way.join_next() => {
                // A panic is told by its record.
                if let Ok(id) = ended {
                    ids.remove(&id);
                }
                if under_way.is_empty() { ids.clear(); }
            }
            // Before the news: however much of it there is, deadlines pass.
            _ = tick.tick() => deadlines = true,
            _ = revision.changed() => {}
        }
        revision.borrow_and_update();
        match look(&gateway, &mut under_way, &mut ids, deadlines).await {
            Ok(()) => failing = false,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!("approved calls cannot be looked up: {error}");
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// Gives up what was being sent when its gateway ended (see [`store::Store::serve`] and
/// [`store::Store::disown_the_dead`]): it may have happened, and is never sent again.
///
/// # Errors
/// [`StoreError`] when the store does not answer.
pub async fn lose_executions(gateway: &Gateway) -> Result<usize, StoreError> {
    let lost = gateway.store.lost_executions(LOST_AT_ONCE).await?;
    Ok(lose(gateway, lost, "its gateway ended while it was being sent").await)
}

async fn look(
    gateway: &Arc<Gateway>,
    under_way: &mut JoinSet<ApprovalId>,
    ids: &mut HashSet<ApprovalId>,
    deadlines: bool,
) -> Result<(), StoreError> {
    send(gateway, under_way, ids).await?;
    if !deadlines {
        return Ok(());
    }
    gateway.approvals.expire().await?;
    let now = gateway.clock.now().wall;
    let lost_after = gateway.bounds.upstream_timeout.saturating_mul(2).saturating_add(LOST_AFTER);
    let before = now.checked_sub(lost_after).unwrap_or(Timestamp::MIN);
    let mut lost = gateway.store.executing_approvals(before, LOST_AT_ONCE).await?;
    // What is being sent here is not lost, however far the wall clock was moved on.
    lost.retain(|approval| !ids.contains(&approval.held.id));
    lose(gateway, lost, "nobody could write down how it ended").await;
    Ok(())
}

/// Sends what is approved. While the kill switch is on, or nothing can be claimed, nothing is: what waits, waits.
async fn send(
    gateway: &Arc<Gateway>,
    under_way: &mut JoinSet<ApprovalId>,
    ids: &mut HashSet<ApprovalId>,
) -> Result<(), StoreError> {
    if under_way.len() >= AT_ONCE || !gateway.recorder.is_healthy() {
        return Ok(());
    }
    let most = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
    let approved = gateway.store.claimable(gateway.clock.now().wall, most).await?;
    if approved.is_empty() {
        return Ok(());
    }
    // The switch may have been turned, a key revoked, in the last quarter of a second.
    gateway.freshness.refresh().await?;
    if gateway.freshness.current().kill.is_some() {
        return Ok(());
    }
    for approval in approved {
        let id = approval.held.id;
        if under_way.len() < AT_ONCE && ids.insert(id) {
            let gateway = Arc::clone(gateway);
            under_way.spawn(async move {
                if let Err(error) = execute(&gateway, approval).await {
                    tracing::warn!("the approved call {id} cannot be sent yet: {error}");
                    // Not at once again.
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                id
            });
        }
    }
    Ok(())
}

async fn execute(gateway: &Gateway, approval: Approval) -> Result<(), String> {
    let held = &approval.held;
    let at = gateway.clock.now();
    let opened = opened(gateway, &approval).await?;
    let approvers = gateway.store.count_approvers(&held.id).await.map_err(|error| error.to_string())?;
    let world = gateway.freshness.current();
    let upstream = world.services.get(held.service.as_str()).map(|service| &service.upstream);
    let Some((exchange, headers, call)) = opened.and_then(|call| rebuilt(call, upstream)) else {
        return give_up(gateway, &approval, at.wall).await.map_err(|fault| fault.cause());
    };
    let (_alive, gone) = oneshot::channel::<Infallible>();
    let (modern, session) = match &call.exchange {
        HeldExchange::Message { modern, session, .. } => (*modern, session.clone()),
        HeldExchange::Request { .. } => (false, None),
    };
    let asked = Asked::of(&exchange);
    let arrival = Arrival {
        at,
        source: std::net::Ipv4Addr::LOCALHOST.into(),
        // Its key is not presented again, but looked up by what it hashes to; a token was not kept.
        key: Presented::Missing,
        call: Arc::new(Call {
            id: held.call_id,
            service: held.service.as_str().to_owned(),
            method: held.method.clone().into(),
            action: call.action,
            class: Class::Call,
        }),
        exchange: Ok(exchange),
        headers,
        session,
        modern,
        repeatable: held.idempotency_key.clone().map(|key| Repeatable { key, wait: Duration::ZERO }),
        intent: held.intent.clone(),
        gone,
    };
    let (proof, destination) = (call.proof, call.destination);
    let resumed = Resumed { arrival, proof, destination, approvers, approval: approval.clone(), asked };
    walk::resume(resumed, gateway).await.map_err(|fault| fault.cause())
}

/// The call as it was held; `None` when it opens nowhere. An error when another gateway may have the key that this one lacks:
/// it stays approved.
async fn opened(gateway: &Gateway, approval: &Approval) -> Result<Option<HeldCall>, String> {
    let lacks_term =
        async || gateway.approvals.lacks_term_of(approval).await.map_err(|error| error.to_string());
    if lacks_term().await? {
        gateway.freshness.refresh().await.map_err(|error| error.to_string())?;
        if lacks_term().await? {
            return Err("the vault of this gateway has no key for it".to_owned());
        }
    }
    gateway.approvals.open(approval).await.map_err(|error| error.to_string())
}

/// The call as the walk takes it; `None` for what cannot be read any more, or not for this upstream.
pub(crate) fn rebuilt(
    mut call: HeldCall,
    upstream: Option<&Upstream>,
) -> Option<(Exchange, HeaderMap, HeldCall)> {
    // What the service takes for a path may have become stricter since.
    let odd = match upstream {
        Some(Upstream::Api(api)) => api.odd_paths.into(),
        _ => OddTargets::Refuse,
    };
    let mut headers = HeaderMap::with_capacity(call.headers.len());
    for (name, value) in &call.headers {
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    let exchange = match &mut call.exchange {
        HeldExchange::Message { body, .. } => {
            let limits = Limits::of_bytes(body.len());
            Exchange::Post(Message::read(Bytes::from(std::mem::take(body)), &limits).ok()?)
        }
        HeldExchange::Request { method, target, body } => {
            let (path, query) = match target.split_once('?') {
                Some((path, query)) => (path, Some(query)),
                None => (target.as_str(), None),
            };
            let target = Target::parse(path, query, odd).ok()?;
            let method = Method::from_bytes(method.as_bytes()).ok()?;
            let body = CallBody::Whole(Bytes::from(std::mem::take(body)));
            // Its answer goes into its row as it comes: whoever reads it may have asked at any door.
            Exchange::Request(ApiRequest { method, target, body, reads_answer: false })
        }
    };
    Some((exchange, headers, call))
}

/// A call that cannot be read any more ends without being sent. Nothing may have happened: it is no fault of the kind
/// that leaves that open.
async fn give_up(gateway: &Gateway, approval: &Approval, at: Timestamp) -> Result<(), Fault> {
    const WHY: &str = "the held call cannot be read any more";
    let id = approval.held.id;
    let claim = Change::ClaimApproval { id, call: approval.held.call_id, at };
    let mut event = approval.decision(at, Effect::Deny, WHY);
    if gateway.recorder.durable(Entry { change: Some(claim), event: event.clone() }).await? != Written::Done {
        return Ok(());
    }
    let void = Refusal::from(NotApproved::Void(id));
    event.kind = Kind::Outcome;
    event.result = Some(ResultWord::Refused);
    event.status = Some(void.status());
    event.error = Some((void.code().into(), WHY.into()));
    let (ending, http_status) = (Ending::Failed, Some(void.status()));
    let ended_with = Some(void.code().to_owned());
    close(gateway, Closed { id, ending, http_status, ended_with, answer: None, key: None, at }, event).await
}

/// Gives these up; how many there were.
async fn lose(gateway: &Gateway, lost: Vec<Approval>, why: &'static str) -> usize {
    let at = gateway.clock.now().wall;
    for approval in &lost {
        let mut event = approval.decision(at, Effect::Allow, why);
        event.kind = Kind::Outcome;
        event.result = Some(ResultWord::Fault);
        event.error = Some(("outcome-unknown".into(), why.into()));
        event.decision = None;
        // Its key stays this call's: repeated after somebody has resolved it, it must not become a new one.
        let key = gateway.idempotency.of_execution(&approval.held, None, at);
        let id = approval.held.id;
        let (http_status, ended_with, answer) = (None, None, None);
        let lost = Closed { id, ending: Ending::Unknown, http_status, ended_with, answer, key, at };
        if close(gateway, lost, event).await.is_err() {
            break;
        }
    }
    lost.len()
}

async fn close(gateway: &Gateway, closed: Closed, event: Event) -> Result<(), Fault> {
    let change = Some(Change::CloseApproval(Box::new(closed)));
    gateway.recorder.durable(Entry { change, event }).await?;
    gateway.approvals.tell();
    Ok(())
}
