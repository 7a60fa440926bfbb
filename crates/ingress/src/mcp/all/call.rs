//! One call of a tool or prompt, to the member that has it. It is translated before its walk and sent once.

use std::sync::Arc;

use domain::{
    call::Call,
    service::Service,
    stop::{Fault, Refusal, Stop},
};
use http::{Response, StatusCode, header, response};
use http_body_util::BodyExt;
use pipeline::{
    Exchange,
    flow::{self, Broken, Flow},
};
use tokio::sync::oneshot;
use wire::{Message, mcp::Era};

use super::{
    super::{Received, read::Stated},
    bridge::{Bridge, HungUp},
    client::{Client, SESSION_ID, is_no_session, media},
    era::{self, Turn},
    line::{Closed, Lease},
};
use crate::answer::{self, Form};

/// A call in the member's own words, and how its answer must look.
pub(super) struct Asked {
    call: Call,
    form: Form,
    message: Message,
    stated: Stated,
}

/// A session that the gateway itself knows no more: nothing was sent.
struct Forgotten;

impl Client {
    /// Calls what was asked for, in the member's own words already.
    pub(super) async fn call(self: &Arc<Self>, service: &Arc<Service>, received: Received) -> Response<Flow> {
        let Received { call, form, exchange, stated, .. } = received;
        let message = match exchange {
            Ok(Exchange::Post(message)) => message,
            Ok(_) => return self.refused(call, &form, Refusal::MethodNotAllowed.into()).await,
            Err(stop) => return self.refused(call, &form, stop).await,
        };
        let mut asked = Asked { call, form, message, stated };
        for is_last in [false, true] {
            let lease = match self.line(service).await {
                Ok(lease) => lease,
                Err(Closed::Told(told)) => return told_again(*told, &asked.form),
                Err(Closed::Shut(why) | Closed::Unspoken(why)) => {
                    let fault = Fault::UpstreamUnreachable(format!("no session could be opened: {why}"));
                    return self.refused(asked.call, &asked.form, fault.into()).await;
                }
            };
            match self.attempt(&asked, lease).await {
                Ok(response) => return response,
                Err(Forgotten) if is_last => break,
                Err(Forgotten) => {
                    asked.call.id = self.front.gateway.ids.next(self.front.gateway.clock.now().wall)
                }
            }
        }
        let fault = Fault::UpstreamUnreachable("its sessions end at once".to_owned());
        self.refused(asked.call, &asked.form, fault.into()).await
    }

    async fn attempt(self: &Arc<Self>, asked: &Asked, mut lease: Lease) -> Result<Response<Flow>, Forgotten> {
        let message = match era::message_for(&asked.message, self, lease.line.era) {
            Ok(message) => message,
            Err(malformed) => {
                lease.done();
                let refusal = Refusal::Unreadable(malformed);
                return Ok(self.refused(asked.call.clone(), &asked.form, refusal.into()).await);
            }
        };
        if asked.stated.repeatable.is_some() {
            lease.leave();
        }
        let id = message.id().map(|id| id.text().to_owned()).unwrap_or_default();
        let (hang_up, hung_up) = oneshot::channel();
        let can_hang_up = lease.line.era == Era::Modern;
        let noted = self.own.map(|own| {
            let hang_up = can_hang_up.then_some(hang_up);
            self.members().note(own.number, &id, &lease.service, &lease.line, hang_up)
        });
        let mut hung_up = HungUp(can_hang_up.then_some(hung_up));
        let at = self.front.gateway.clock.now();
        let received = self.passes_on(asked.call.clone(), at, &lease.line, message, asked.stated.clone());
        let response = tokio::select! {
            response = received.answered(&self.front) => response,
            () = &mut hung_up => {
                let stop = Fault::ClientGone.into();
                return Ok(answer::to_call(&self.front, &stop, &asked.call, &asked.form, false));
            }
        };
        let (mut head, body) = response.into_parts();
        // Whose session it is, is ours to know.
        head.headers.remove(SESSION_ID);
        let is_ours = answer::is_of_ours(&head.headers);
        if lease.line.session.is_some() && is_no_session(head.status) {
            // Of ours, 404 is about the session; 400 is about the message.
            if is_ours && head.status == StatusCode::NOT_FOUND {
                lease.lost();
                return Err(Forgotten);
            }
            if !is_ours {
                lease.lost();
                // To the client, 404 would mean that its session with us has ended.
                let why = format!("it answered {}, as if its session had ended", head.status.as_u16());
                return Ok(self.broken(asked, &Fault::UpstreamBroken(why)));
            }
        }
        let turn = Turn { from: lease.line.era, to: self.era(), call: asked.call.clone(), id };
        let is_json = media(&head) == Some("application/json");
        if is_json && !is_ours {
            return Ok(self.turned(asked, head, body, &turn, lease).await);
        }
        // What is held may yet be sent on this session: no other request may use it then.
        let keeps = !answer::is_held(&head.headers);
        let is_stream = media(&head) == Some("text/event-stream");
        let bridge = Bridge::new(body, is_stream, turn, Arc::clone(self), lease, keeps, noted, hung_up);
        Ok(Response::from_parts(head, bridge.boxed_unsync()))
    }

    /// An answer that is read whole: it must be one, and in the words of the client's era.
    async fn turned(
        self: &Arc<Self>,
        asked: &Asked,
        mut head: response::Parts,
        body: Flow,
        turn: &Turn,
        lease: Lease,
    ) -> Response<Flow> {
        let limit = self.front.gateway.bounds.body_bytes_max;
        let bytes = match flow::limited(body, limit).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(broken) => {
                let fault = match broken {
                    Broken::TooSlow => Fault::UpstreamTimeout(self.front.gateway.bounds.upstream_timeout),
                    Broken::TooLarge(bytes_max) => Fault::AnswerTooLarge(bytes_max),
                    other => Fault::UpstreamBroken(other.to_string()),
                };
                return self.broken(asked, &fault);
            }
        };
        if !answer::is_held(&head.headers) {
            lease.done();
        }
        let message = era::read(&bytes).filter(|message| turn.is_own(message));
        let Some(message) = message else {
            // An error of the way there, in words of its own, is no answer that a client would take for one.
            if !head.status.is_success() && era::read(&bytes).is_none() {
                return Response::from_parts(head, flow::whole(bytes));
            }
            let why = "it did not answer the request that was made".to_owned();
            return self.broken(asked, &Fault::UpstreamBroken(why));
        };
        if turn.to == Era::Legacy {
            // The older protocol tells errors in the message alone.
            head.status = StatusCode::OK;
        }
        let turned = turn.response(&message).unwrap_or(bytes);
        Response::from_parts(head, flow::whole(turned))
    }

    /// What the client is told when a member's answer cannot be handed on. The trail has its outcome already.
    fn broken(&self, asked: &Asked, fault: &Fault) -> Response<Flow> {
        let keyed = asked.stated.repeatable.is_some();
        answer::to_call(&self.front, &Stop::Fault(fault.clone()), &asked.call, &asked.form, keyed)
    }
}

/// What the gateway said to a message of ours, as the answer to the client's own request.
fn told_again(told: Response<bytes::Bytes>, form: &Form) -> Response<Flow> {
    let (mut head, body) = told.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    let message = era::read(&body);
    let body = match (message, form) {
        (Some(message), Form::Rpc { id, .. }) => message.with_id(id),
        _ => body,
    };
    Response::from_parts(head, flow::whole(body))
}
