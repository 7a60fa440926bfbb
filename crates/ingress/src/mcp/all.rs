//! The endpoint of all services in an agent's scope: one MCP server with the tools and prompts of all of them, under
//! `service__name`. Each call is translated before its walk, and walks as if it had come to the service's own endpoint.

mod bridge;
mod call;
mod client;
mod era;
mod kept;
mod line;
mod list;
mod names;

use std::sync::Arc;

use domain::{
    call::{Action, Call},
    names::{AgentName, ApprovalId},
    policy::{Args, Rights, Verdict},
    service::Service,
    stop::{Refusal, Stop, Unreadable},
    world::World,
};
use http::{HeaderMap, HeaderValue, Response, header};
use pipeline::{Exchange, WAIT_TOOL, arrival::Caller, flow::Flow, refuse, session::OwnSession};
use wire::{
    Message, Shape,
    mcp::{ListKind, Version},
};

use self::client::{Client, SESSION_ID};
use super::{
    Received, held,
    ours::{self, About, Ours},
    read::{Stated, subject_of},
};
use crate::{
    Front,
    answer::{self, Form},
    inquiry::Inquiry,
    waiting::Asking,
};

pub use self::kept::Members;

/// Answers a request to all services, as far as it could be read.
pub(super) async fn answered(received: Received, front: &Arc<Front>) -> Response<Flow> {
    let Ok(exchange) = &received.exchange else {
        // What is wrong with it is told by the walk, and only to somebody with a key.
        return received.answered(front).await;
    };
    let message = match exchange {
        Exchange::Post(message) => message.clone(),
        Exchange::End if !received.stated.modern => return ended(received, front).await,
        _ => return not_allowed(received, front),
    };
    match message.shape() {
        Shape::Request { method: "tools/call" | "prompts/get", .. } => {
            called(received, &message, front).await
        }
        // Of tasks only held calls are known here; a member is asked about none of its own.
        Shape::Request { method: "tasks/get" | "tasks/update" | "tasks/cancel", .. }
            if received.stated.modern && task_in(&message).is_some() =>
        {
            waited(received, task_in(&message), front).await
        }
        Shape::Request { id, method } => requested(received, front, &message, id.text(), method).await,
        Shape::Notification { method } => notified(received, front, &message, method).await,
        // Nobody here has asked anything.
        Shape::Response { .. } => match proven(&received, front).await {
            Ok(_) => ours::accepted(&received.call),
            Err(stop) => stopped(&received, front, &stop),
        },
    }
}

/// A client that has shown who it is, and what it may reach.
struct Proven {
    caller: Caller,
    world: Arc<World>,
    own: Option<OwnSession>,
}

/// Who asks, and with which session. The request is charged as housekeeping.
fn proven(received: &Received, front: &Arc<Front>) -> impl Future<Output = Result<Proven, Stop>> + use<> {
    let Received { at, source, claims, call, stated, .. } = received;
    let (call, stated, at) = (held::housekeeping(call.clone()), stated.clone(), *at);
    let mut inquiry = Inquiry::made(Arc::clone(front), at, *source, claims.clone(), Arc::clone(&call));
    async move {
        let (caller, world) = inquiry.caller().await?;
        let front = &inquiry.front;
        // A client that opens its session has none.
        let own = match call.method.as_ref() {
            "initialize" => Ok(None),
            _ => own_session(&stated, front, &caller.agent.name),
        };
        match own {
            Ok(own) => Ok(Proven { caller, world, own }),
            Err(refusal) => Err(refuse(&caller, &call, at, refusal.into(), &front.gateway).await),
        }
    }
}

/// The session that a request speaks of; the newest protocol has none.
fn own_session(stated: &Stated, front: &Front, agent: &AgentName) -> Result<Option<OwnSession>, Refusal> {
    if stated.modern {
        return Ok(None);
    }
    let token = stated.session.as_deref().ok_or(Unreadable::NoSession)?;
    let own = front.gateway.sessions.open_own(token, agent).filter(|own| !front.members.is_ended(own.number));
    own.map(Some).ok_or(Refusal::UnknownSession)
}

/// A tool or a prompt.
async fn called(mut received: Received, message: &Message, front: &Arc<Front>) -> Response<Flow> {
    if matches!(&received.call.action, Action::Tool(name) if name == WAIT_TOOL) {
        return waited(received, held::approval_in(message), front).await;
    }
    let pair = match names::pair(message) {
        Ok(pair) => pair,
        Err(malformed) => {
            received.exchange = Err(Refusal::Unreadable(Unreadable::Body(malformed)).into());
            return received.answered(front).await;
        }
    };
    received.call.service = pair.service;
    let Some(own) = pair.message else {
        received.stated.session = None;
        return received.answered(front).await;
    };
    match subject_of(&own) {
        Ok((method, action, class)) => {
            received.call = Call { method, action, class, ..received.call };
            received.exchange = Ok(Exchange::Post(own));
        }
        Err(unreadable) => received.exchange = Err(Refusal::Unreadable(unreadable).into()),
    }
    let known = received.claims.key().map(|key| front.gateway.agent_of(key));
    let name = match known {
        Some(Some(name)) => Some(name),
        // A key of this very moment is known once it was proven.
        Some(None) => match proven(&received, front).await {
            Ok(proven) => Some(proven.caller.agent.name.clone()),
            Err(stop) => return stopped(&received, front, &stop),
        },
        None => None,
    };
    let open = name.and_then(|name| Some((is_open(front, &name, &received.call)?, name)));
    // Who has no key, or may not do this anyway, is told so by the walk: nothing is opened for it.
    let Some((service, name)) = open else {
        received.stated.session = None;
        return received.answered(front).await;
    };
    let own = match own_session(&received.stated, front, &name) {
        Ok(own) => own,
        Err(_) => {
            return match proven(&received, front).await {
                Ok(_) => stopped(&received, front, &Refusal::UnknownSession.into()),
                Err(stop) => stopped(&received, front, &stop),
            };
        }
    };
    client(&received, front, name, own, Some(message)).call(&service, received).await
}

/// The service, unless what is asked for there is refused whatever its arguments are.
fn is_open(front: &Front, agent: &AgentName, call: &Call) -> Option<Arc<Service>> {
    let world = front.gateway.freshness.current();
    let rights = Rights::of(&world, world.agents.get(agent)?, &call.service).ok()?;
    let is_refused = matches!(rights.judge(&call.action, Args::Unknown), Verdict::Never(_));
    let service = world.services.get(call.service.as_str()).filter(|_| !is_refused && world.kill.is_none());
    service.cloned()
}

/// The held call that a task's id names, where it has the form of one.
fn task_in(message: &Message) -> Option<ApprovalId> {
    ApprovalId::parse(&message.params()?.get("taskId")?.as_str()?)
}

/// What is asked of a held call, brought to the member that holds it.
async fn waited(mut received: Received, approval: Option<ApprovalId>, front: &Arc<Front>) -> Response<Flow> {
    let Proven { caller, .. } = match proven(&received, front).await {
        Ok(proven) => proven,
        Err(stop) => return stopped(&received, front, &stop),
    };
    let (gateway, now) = (&front.gateway, std::time::Duration::ZERO);
    let found = match approval {
        Some(id) => gateway.approvals.wait(&caller.agent.name, &id, now, gateway.stopping.clone()).await,
        None => Err(Refusal::NoApprovalNamed.into()),
    };
    match found {
        Ok(approval) => {
            received.call.service = approval.held.service.as_str().to_owned();
            received.stated.session = None;
            received.answered(front).await
        }
        Err(stop) => {
            let stop = match stop {
                Stop::Refused(_) => {
                    let call = held::housekeeping(received.call.clone());
                    refuse(&caller, &call, received.at, stop, gateway).await
                }
                other => other,
            };
            stopped(&received, front, &stop)
        }
    }
}

/// A request that is not for a member alone.
async fn requested(
    received: Received,
    front: &Arc<Front>,
    message: &Message,
    id: &str,
    method: &str,
) -> Response<Flow> {
    let Proven { caller, world, own } = match proven(&received, front).await {
        Ok(proven) => proven,
        Err(stop) => return stopped(&received, front, &stop),
    };
    let modern = received.stated.modern;
    let call = &received.call;
    let ours = Ours { call, id, modern };
    match method {
        "initialize" if !modern => {
            let instructions = instructions(&caller, &world);
            let mut response = ours.greeting(message, &about(&instructions));
            let token = front.gateway.sessions.seal_own(&caller.agent.name, ours::negotiated(message));
            if let Ok(token) = HeaderValue::try_from(token) {
                response.headers_mut().insert(SESSION_ID, token);
            }
            response
        }
        "ping" if !modern => ours.result(""),
        "server/discover" if modern => ours.discovery(&about(&instructions(&caller, &world))),
        "tools/list" | "prompts/list" => {
            if let Err(refusal) = world.check_kill_switch() {
                let call = held::housekeeping(call.clone());
                let stop = refuse(&caller, &call, received.at, refusal.into(), &front.gateway).await;
                return stopped(&received, front, &stop);
            }
            if message.params().is_some_and(|params| params.get("cursor").is_some()) {
                return ours.invalid_params("the list has one page; no cursor comes from here");
            }
            let kind = if method == "tools/list" { ListKind::Tools } else { ListKind::Prompts };
            let client = client(&received, front, caller.agent.name.clone(), own, Some(message));
            let joined = client.list(kind, members(&caller, &world)).await;
            ours.listed_for(&format!("\"{}\":{}", kind.result_member(), joined.elements), joined.ttl)
        }
        method => ours.unknown_method(method),
    }
}

/// What this endpoint is.
fn about(instructions: &str) -> About<'_> {
    About { name: "toolgate", capabilities: r#"{"tools":{},"prompts":{}}"#, instructions }
}

/// What a model is told of it.
fn instructions(caller: &Caller, world: &World) -> String {
    let names: Vec<String> = members(caller, world).iter().map(|service| service.name.to_string()).collect();
    if names.is_empty() {
        return "No service is in your scope; tell the user that an operator must widen it.".to_owned();
    }
    format!(
        "Tools and prompts of several services, each named SERVICE__NAME: {}. What you may not use is not listed. \
         A call that is refused or held for a person's approval says why, and what to do next.",
        names.join(", ")
    )
}

/// The services that an agent may use, by name.
fn members(caller: &Caller, world: &World) -> Vec<Arc<Service>> {
    let in_scope = caller.agent.scope.iter();
    in_scope
        .filter(|name| Rights::of(world, &caller.agent, name.as_str()).is_ok())
        .filter_map(|name| world.services.get(name).cloned())
        .collect()
}

/// A message that wants no answer. Only a cancellation is of use to anybody.
async fn notified(received: Received, front: &Arc<Front>, message: &Message, method: &str) -> Response<Flow> {
    let Proven { caller, world, own } = match proven(&received, front).await {
        Ok(proven) => proven,
        Err(stop) => return stopped(&received, front, &stop),
    };
    let id = message.params().and_then(|params| params.get("requestId")).map(|id| id.text().to_owned());
    let (Some(id), "notifications/cancelled") = (id, method) else { return ours::accepted(&received.call) };
    let client = client(&received, front, caller.agent.name.clone(), own, None);
    let asking = |service: &Service, session: Option<String>| {
        let (agent, service) = (caller.agent.name.clone(), service.name.as_str().to_owned());
        Asking { agent, service, session, id: id.clone() }
    };
    let accepted = ours::accepted(&received.call);
    let Some(own) = own else {
        // In the newest protocol a client hangs up; but it may take a held call back like this.
        let services = members(&caller, &world);
        let held =
            services.iter().find(|service| front.waiting.approval_of(&asking(service, None)).is_some());
        if let Some(service) = held {
            let line = line::stateless(Version::V2026_07_28);
            return client.tell(&service.name, &line, message).await;
        }
        return accepted;
    };
    let Some((name, line)) = front.members.under_way(own.number, &id) else { return accepted };
    let Some(service) = world.services.get(&name) else { return accepted };
    let is_held = front.waiting.approval_of(&asking(service, line.session.clone())).is_some();
    if is_held || line.session.is_some() {
        return client.tell(&name, &line, message).await;
    }
    front.members.hang_up(own.number, &id);
    accepted
}

/// The end of a session: the client's with us, and those that were opened for it.
async fn ended(received: Received, front: &Arc<Front>) -> Response<Flow> {
    let Proven { caller, own, .. } = match proven(&received, front).await {
        Ok(proven) => proven,
        Err(stop) => return stopped(&received, front, &stop),
    };
    if let Some(own) = own {
        let client = client(&received, front, caller.agent.name.clone(), Some(own), None);
        for (service, line) in front.members.end(own.number) {
            client.end(&service, &line);
        }
    }
    let mut response = Response::new(pipeline::flow::whole(""));
    answer::sign_own(&mut response, &received.call);
    response
}

fn not_allowed(received: Received, front: &Arc<Front>) -> Response<Flow> {
    let refusal = Refusal::MethodNotAllowed;
    let mut response = answer::turned_away(front, &received.call, received.at, refusal, &Form::Plain);
    let allow = if received.stated.modern { "POST" } else { "POST, DELETE" };
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn client(
    received: &Received,
    front: &Arc<Front>,
    agent: AgentName,
    own: Option<OwnSession>,
    message: Option<&Message>,
) -> Arc<Client> {
    let Received { source, claims, headers, stated, .. } = received;
    let (front, headers): (_, HeaderMap) = (Arc::clone(front), headers.clone());
    let about = client::about(message.filter(|_| stated.modern));
    let key = claims.key().and_then(|key| front.gateway.key_of(key));
    let (claims, holder) = (claims.clone(), (agent, key));
    Arc::new(Client { front, source: *source, claims, headers, holder, own, about })
}

fn stopped(received: &Received, front: &Front, stop: &Stop) -> Response<Flow> {
    answer::to_call(front, stop, &received.call, &received.form, false)
}
