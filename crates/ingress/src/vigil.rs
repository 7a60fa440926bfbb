//! A request that waits for people, up to `gateway.hold`. The wait belongs to its client alone: if that hangs up, the
//! held call stays as it is, and nothing counts as delivered.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    approval::{Approval, Status, Ticket},
    call::Call,
    names::{AgentName, ApprovalId},
    stop::{Fault, Stop},
};
use futures_util::stream;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use pipeline::flow::{Broken, Flow};
use wire::{Limits, Message, sse};

use crate::{
    Front,
    answer::{self, Form},
    waiting::{Asking, Waits},
};

/// How often a client that wants to hear of progress is told that it still waits.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// A wait under way.
pub(crate) struct Vigil {
    front: Arc<Front>,
    call: Arc<Call>,
    form: Form,
    keyed: bool,
    agent: AgentName,
    approval: ApprovalId,
    status: Status,
    /// What a held call is answered when the time is over; a question about one is told how far it is.
    ticket: Option<Ticket>,
    /// When it is over, on the clock that only goes forward.
    until: Duration,
    _waits: Option<Waits>,
}

impl Vigil {
    /// A call that was held, with its session token. A client may take it back by its id.
    pub(crate) fn of_call(
        front: &Arc<Front>,
        call: &Arc<Call>,
        form: &Form,
        keyed: bool,
        ticket: Ticket,
        session: Option<String>,
    ) -> Self {
        let waits = match form {
            Form::Rpc { id, .. } | Form::Tool { id, .. } => {
                let (agent, service) = (ticket.agent.clone(), call.service.clone());
                Some(front.waiting.begin(Asking { agent, service, session, id: id.clone() }, ticket.id))
            }
            Form::Plain | Form::Http => None,
        };
        Self {
            front: Arc::clone(front),
            call: Arc::clone(call),
            form: form.clone(),
            keyed,
            agent: ticket.agent.clone(),
            approval: ticket.id,
            status: ticket.status,
            until: end(front),
            ticket: Some(ticket),
            _waits: waits,
        }
    }

    /// A question about the result of a held call.
    pub(crate) fn of_question(
        front: &Arc<Front>,
        call: &Arc<Call>,
        form: &Form,
        approval: &Approval,
    ) -> Self {
        Self {
            front: Arc::clone(front),
            call: Arc::clone(call),
            form: form.clone(),
            keyed: false,
            agent: approval.held.agent.clone(),
            approval: approval.held.id,
            status: approval.status,
            ticket: None,
            until: end(front),
            _waits: None,
        }
    }

    /// Waits, and answers. A client with a `progress` token is told on the way, on an event stream.
    pub(crate) async fn answered(self, progress: Option<String>) -> Response<Flow> {
        match progress {
            Some(token) => self.streamed(token),
            None => {
                let found = self.wait(Status::is_under_way, self.left()).await;
                self.respond(&self.end(found).await)
            }
        }
    }

    fn left(&self) -> Duration {
        self.until.saturating_sub(self.front.gateway.clock.now().monotonic)
    }

    async fn wait(&self, is_like_that: impl Fn(Status) -> bool, wait: Duration) -> Result<Approval, Stop> {
        let gateway = &self.front.gateway;
        let stopping = gateway.stopping.clone();
        gateway.approvals.wait_while(&self.agent, &self.approval, is_like_that, wait, stopping).await
    }

    /// How the wait ended.
    async fn end(&self, found: Result<Approval, Stop>) -> Stop {
        let approvals = &self.front.gateway.approvals;
        match (found, &self.ticket) {
            (Ok(approval), None) if approval.status.is_under_way() => approvals.undecided(&approval).into(),
            (Ok(approval), _) => approvals.answer(&approval).await,
            // It is held all the same.
            (Err(Stop::Fault(_)), Some(ticket)) => Stop::Held(Box::new(ticket.clone())),
            (Err(stop), _) => stop,
        }
    }

    fn respond(&self, stop: &Stop) -> Response<Flow> {
        answer::to_call(&self.front, stop, &self.call, &self.form, self.keyed)
    }

    fn streamed(self, token: String) -> Response<Flow> {
        let head = answer::event_stream(&self.call, self.keyed);
        let first = Telling { vigil: self, token, told: 0 };
        let events = stream::unfold(Some(first), |telling| async {
            let (event, telling) = telling?.next().await;
            Some((Ok::<_, Broken>(Frame::data(event)), telling))
        });
        head.map(|()| StreamBody::new(events).boxed_unsync())
    }

    /// The last event: the answer that a client without a stream would get.
    async fn last_event(&self, found: Result<Approval, Stop>) -> Bytes {
        let stop = self.end(found).await;
        let message = message_of(&self.front, &stop, &self.call, &self.form).await;
        sse::encode(&String::from_utf8_lossy(&message))
    }
}

/// The message that a call which stopped so is answered. A page of a broken proxy is none, and cannot stand for one.
pub(crate) async fn message_of(front: &Front, stop: &Stop, call: &Call, form: &Form) -> Bytes {
    match message_in(answer::to_call(front, stop, call, form, false)).await {
        Some(message) => message,
        None => {
            let broken = Fault::UpstreamBroken("its answer is no message".into());
            let told = answer::to_call(front, &broken.into(), call, form, false);
            message_in(told).await.unwrap_or_default()
        }
    }
}

/// When a wait that begins now is over.
fn end(front: &Front) -> Duration {
    front.gateway.clock.now().monotonic.saturating_add(front.gateway.approvals.terms.hold)
}

/// The body, if it is one JSON-RPC message.
async fn message_in(response: Response<Flow>) -> Option<Bytes> {
    let body = response.into_body().collect().await.ok()?.to_bytes();
    let limits = Limits::of_bytes(body.len());
    Message::read(body.clone(), &limits).ok()?;
    Some(body)
}

/// A stream that tells of progress.
struct Telling {
    vigil: Vigil,
    /// The client's token, as it was written.
    token: String,
    told: u32,
}

impl Telling {
    /// The next event; after the last one nobody is left.
    async fn next(mut self) -> (Bytes, Option<Self>) {
        if self.told > 0 {
            let vigil = &self.vigil;
            let seen = vigil.status;
            let found = vigil.wait(|status| status == seen, vigil.left().min(TELL_EVERY)).await;
            let stopping = *vigil.front.gateway.stopping.borrow();
            match found {
                Ok(approval) if approval.status.is_under_way() && !vigil.left().is_zero() && !stopping => {
                    self.vigil.status = approval.status;
                }
                found => return (vigil.last_event(found).await, None),
            }
        }
        self.told += 1;
        (self.progress(), Some(self))
    }

    fn progress(&self) -> Bytes {
        let Self { vigil: Vigil { approval, status, .. }, token, told } = self;
        sse::encode(&format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{told},"message":"waits for approval {approval}: {status}"}}}}"#
        ))
    }
}
