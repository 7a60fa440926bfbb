//! A request that a door has read, on its way through the walk to its answer. The walk outlives the connection, so a
//! client cannot end it by hanging up.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use domain::{
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
    mcp::task,
    outliving::Outliving,
    vigil::Vigil,
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
    /// The token under which the client wants to hear of progress, as it was written.
    pub(crate) progress: Option<String>,
    /// Whether the client takes a task for an answer while the call is held.
    pub(crate) tasks: bool,
}

impl Asked {
    /// Walks, and answers in the given form.
    pub(crate) async fn walk(self, front: &Arc<Front>, form: &Form) -> Response<Flow> {
        let Self {
            at,
            source,
            claims,
            call,
            exchange,
            headers,
            session,
            modern,
            repeatable,
            intent,
            progress,
            tasks,
        } = self;
        let token = session.clone();
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
        let stop = match Outliving::new(async move { walk(arrival, &gateway).await }).await {
            Ok(Ok(reply)) => return answer::forwarded(front, reply, &call, form, keyed).await,
            Ok(Err(Stop::Held(ticket))) if tasks => {
                return Box::pin(task::created(front, &call, form, keyed, *ticket)).await;
            }
            // While people decide, the connection waits; hanging up changes nothing.
            Ok(Err(Stop::Held(ticket))) => {
                let vigil = Vigil::of_call(front, &call, form, keyed, *ticket, token);
                return Box::pin(vigil.answered(progress)).await;
            }
            Ok(Err(stop)) => stop,
            Err(_panicked) => {
                tracing::error!(call = %call.id, "a walk ended by itself");
                Fault::Internal.into()
            }
        };
        answer::to_call(front, &stop, &call, form, keyed)
    }
}
