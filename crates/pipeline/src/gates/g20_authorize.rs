//! Gate 20: may they ask for this? Scope first, then the policy (silence means no), then whether the session
//! that they speak of is theirs.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use domain::{
    call::Call,
    clock::Now,
    idempotency::Repeatable,
    policy::{Refused, Verdict, judge},
    service::{Service, Upstream},
    stop::{Refusal, Stop},
    world::World,
};
use http::HeaderMap;
use tokio::sync::oneshot;
use wire::mcp::Class;

use super::{g10_authenticate::Authenticated, g70_record::Draft};
use crate::{
    arrival::{CallBody, Caller, Exchange},
    budget::BodyBudget,
    gateway::Bounds,
    session::{Session, SessionTokens},
};

/// A readable call that the policy allows. Only this gate can make one.
pub struct Authorized {
    pub(crate) caller: Caller,
    pub(crate) call: Arc<Call>,
    pub(crate) service: Arc<Service>,
    pub(crate) session: Option<Session>,
    pub(crate) exchange: Exchange,
    pub(crate) at: Now,
    pub(crate) headers: HeaderMap,
    pub(crate) modern: bool,
    /// The key under which it is made at most once; housekeeping has none.
    pub(crate) repeatable: Option<Repeatable>,
    pub(crate) gone: oneshot::Receiver<Infallible>,
    _proof: Proof,
}

/// Makes [`Authorized`] impossible to build in another file.
struct Proof;

impl Authorized {
    /// Reads the body whole where it still flows, because somebody must look at it. It stays the same body.
    pub(crate) async fn hold_body(&mut self, bodies: &BodyBudget, bounds: &Bounds) -> Result<(), Stop> {
        let Exchange::Request(request) = &mut self.exchange else { return Ok(()) };
        if let CallBody::Flow(_) = request.body {
            let body = std::mem::replace(&mut request.body, CallBody::Whole(Bytes::new()));
            if let CallBody::Flow(flow) = body {
                request.body =
                    CallBody::Held(bodies.read(flow, bounds.body_bytes_max, bounds.upstream_timeout).await?);
            }
        }
        Ok(())
    }
}

pub(crate) fn authorize(
    call: Authenticated,
    world: &World,
    sessions: &SessionTokens,
    draft: &mut Draft,
) -> Result<Authorized, Stop> {
    let (caller, arrival) = call.into_parts();
    // What was wrong with a request is told only to somebody with a key.
    let exchange = arrival.exchange?;
    let call = arrival.call;
    let verdict = judge(world, &caller.agent, &call.service, &call.action);
    draft.judged(&verdict, world.policy.hash());
    let service = world.services.get(call.service.as_str()).ok_or(Refusal::NotInScope)?;
    match verdict {
        // Whoever may not know that the service exists is not told where it is.
        Verdict::Never(Refused::NotInScope) => return Err(Refusal::NotInScope.into()),
        Verdict::Never(refused) => {
            check_door(service, &exchange)?;
            return Err(refused.into_refusal(&caller.agent.role).into());
        }
        Verdict::Allow { .. } => check_door(service, &exchange)?,
    }
    let session = match &arrival.session {
        None => None,
        Some(token) => {
            let session = sessions.open(token, &caller.agent.name, &service.name);
            Some(session.ok_or(Refusal::UnknownSession)?)
        }
    };
    let repeatable = arrival.repeatable.filter(|_| call.class == Class::Call);
    Ok(Authorized {
        service: Arc::clone(service),
        caller,
        call,
        session,
        exchange,
        at: arrival.at,
        headers: arrival.headers,
        modern: arrival.modern,
        repeatable,
        gone: arrival.gone,
        _proof: Proof,
    })
}

/// MCP services are reached by MCP messages, HTTP services by requests.
fn check_door(service: &Service, exchange: &Exchange) -> Result<(), Refusal> {
    let name = &service.name;
    match (&service.upstream, exchange) {
        (Upstream::Api(_), Exchange::Request(_)) => Ok(()),
        (Upstream::Api(_), _) => Err(Refusal::WrongDoor { endpoint: format!("/http/{name}/…") }),
        (_, Exchange::Request(_)) => Err(Refusal::WrongDoor { endpoint: format!("/mcp/{name}") }),
        _ => Ok(()),
    }
}
