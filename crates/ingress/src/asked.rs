//! A request as a door has read it, through the walk to its answer. Whether a walk ends is not the client's to say: it
//! runs on a task of its own.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use domain::{
    approval::Ticket,
    call::Call,
    clock::Now,
    idempotency::Repeatable,
    stop::{Fault, Stop},
};
use http::{HeaderMap, Response};
use pipeline::{Arrival, Exchange, flow::Flow, walk};
use tokio::sync::oneshot;
use wire::mcp::Class;

use crate::{
    Front,
    answer::{self, Form},
    identity::Claims,
};

/// What a door has made of a request. What it could not read is in `exchange`, as the error it is.
pub(crate) struct Asked {
    pub(crate) at: Now,
    pub(crate) source: IpAddr,
    pub(crate) claims: Claims,
    pub(crate) call: Call,
    pub(crate) exchange: Result<Exchange, Stop>,
    pub(crate) headers: HeaderMap,
    pub(crate) session: Option<String>,
    pub(crate) modern: bool,
    pub(crate) repeatable: Option<Repeatable>,
    pub(crate) intent: Option<String>,
}

impl Asked {
    /// Walks, and answers in the given form.
    pub(crate) async fn walk(self, front: &Front, form: &Form) -> Response<Flow> {
        let Self { at, source, claims, call, exchange, headers, session, modern, repeatable, intent } = self;
        // While this future lives, so does the client. The walk itself must not end with it.
        let (_alive, gone) = oneshot::channel::<Infallible>();
        let call = Arc::new(call);
        let keyed = repeatable.is_some() && call.class == Class::Call;
        let arrival = Arrival {
            at,
            source,
            key: claims.into_presented(),
            call: Arc::clone(&call),
            exchange,
            headers,
            session,
            modern,
            repeatable,
            intent,
            gone,
        };
        let gateway = Arc::clone(&front.gateway);
        let ended = match tokio::spawn(async move { walk(arrival, &gateway).await }).await {
            // While people decide, the connection waits; hanging up changes nothing.
            Ok(Err(Stop::Held(ticket))) => Ok(Err(wait(front, *ticket).await)),
            ended => ended,
        };
        match ended {
            Ok(Ok(reply)) => answer::forwarded(reply, &call),
            Ok(Err(stop)) => {
                let world = front.gateway.freshness.current();
                let refusals = world.services.get(call.service.as_str()).map(|service| service.refusals);
                let mut response = answer::stopped(&stop, &call, form, refusals);
                if keyed {
                    answer::mark_unknown(&mut response, &stop);
                }
                response
            }
            Err(panicked) => {
                tracing::error!(call = %call.id, "a walk ended by itself: {panicked}");
                answer::stopped(&Fault::Internal.into(), &call, form, None)
            }
        }
    }
}

/// Waits for the end of a held call, as long as a connection may.
async fn wait(front: &Front, ticket: Ticket) -> Stop {
    let gateway = &front.gateway;
    let hold = gateway.approvals.terms.hold;
    match gateway.approvals.wait(&ticket.agent, &ticket.id, hold, gateway.stopping.clone()).await {
        Ok(approval) => gateway.approvals.answer(&approval).await,
        // It is held all the same.
        Err(Stop::Fault(_)) => Stop::Held(Box::new(ticket)),
        Err(stop) => stop,
    }
}
