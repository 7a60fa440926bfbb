//! An MCP server that is started as a child and spoken to over its standard streams.
//!
//! Agents never share a process unless the service says `share`: each session of the older protocol has a
//! child of its own, and in the newest protocol each key has one. Children are capped, stopped when idle, and
//! started again with a growing pause when they keep dying.

mod child;
mod detached;
mod router;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use domain::{
    clock::Clock,
    key::KeyId,
    names::ServiceName,
    service::StdioUpstream,
    stop::{Fault, Refusal, Stop, Unreadable},
};
use http::{HeaderValue, Response, StatusCode, header};
use wire::{Message, Shape};

use self::{
    child::{Child, Program},
    router::{Owner, Posted, Reader},
};
use super::{Answer, Outbound};
use crate::{
    arrival::Exchange,
    credentials::Injection,
    flow::{self, Flow},
    session::Session,
};

/// The pause after the first early death; it doubles with each one that follows.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A child that lived shorter than this died early.
const EARLY: Duration = Duration::from_secs(5);

/// One service's children.
pub(super) struct McpStdio {
    service: ServiceName,
    definition: StdioUpstream,
    injection: Injection,
    clock: Arc<dyn Clock>,
    line_bytes_max: usize,
    children: Mutex<Children>,
}

#[derive(Default)]
struct Children {
    running: HashMap<Seat, Arc<Child>>,
    early_deaths: u32,
    not_before: Duration,
    stopped: bool,
}

/// What a child is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Seat {
    /// One session of the older protocol, by the child's number.
    Session(u64),
    /// One key, in the newest protocol.
    Key(KeyId),
    /// One approved call whose session is gone, by the child's number.
    Call(u64),
    /// Everybody, where the service says `share`.
    Shared,
}

impl McpStdio {
    pub(super) fn new(
        service: ServiceName,
        definition: StdioUpstream,
        injection: Injection,
        clock: Arc<dyn Clock>,
        line_bytes_max: usize,
    ) -> Self {
        let children = Mutex::new(Children::default());
        Self { service, definition, injection, clock, line_bytes_max, children }
    }

    pub(super) async fn exchange(&self, outbound: Outbound<'_>) -> Result<Answer, Stop> {
        let (child, opened) = self.child_for(&outbound)?;
        child.note_activity(self.clock.now().monotonic);
        let owner = Owner { key: outbound.caller.key, session: outbound.session.clone() };
        let modern = outbound.modern;
        match outbound.exchange {
            Exchange::Post(message) => {
                let reader =
                    if accepts_events(&outbound.headers) { Reader::Stream } else { Reader::Response };
                let result = post(&child, &message, owner, modern, reader).await;
                child.note_activity(self.clock.now().monotonic);
                let response = result.inspect_err(|_| {
                    // One that has ended by itself is not stopped too: its early death must count.
                    if opened && !child.router().is_closed() {
                        child.stop();
                    }
                })?;
                let session = opened.then_some(Session::Child(child.number()));
                Ok(Answer { response, session })
            }
            // Gate 20 lets no such request through to an MCP service.
            Exchange::Request(_) => Err(Refusal::MethodNotAllowed.into()),
            Exchange::Listen => {
                let events = child.router().listen();
                Ok(Answer { response: event_stream(events), session: None })
            }
            Exchange::End => {
                if !self.definition.share {
                    self.forget(Seat::Session(child.number()));
                    child.stop();
                }
                Ok(Answer { response: empty(StatusCode::OK), session: None })
            }
        }
    }

    /// Stops children that had nothing to do for the service's `idle` time, and forgets dead ones.
    pub(super) async fn sweep(&self) {
        let now = self.clock.now().monotonic;
        let mut children = self.lock();
        self.bury(&mut children, now);
        children.running.retain(|_, child| {
            let keep = !child.is_idle_since(now, self.definition.idle);
            if !keep {
                child.stop();
            }
            keep
        });
    }

    /// Stops all children and waits until they are gone. No new one is started.
    pub(super) async fn stop(&self) {
        let all: Vec<Arc<Child>> = {
            let mut children = self.lock();
            children.stopped = true;
            children.running.drain().map(|(_, child)| child).collect()
        };
        for child in &all {
            child.stop();
        }
        for child in all {
            child.gone().await;
        }
    }

    /// The child that this exchange is for, and whether it was started for it as a new session.
    fn child_for(&self, outbound: &Outbound<'_>) -> Result<(Arc<Child>, bool), Stop> {
        let initializes =
            matches!(&outbound.exchange, Exchange::Post(message) if message.method() == Some("initialize"));
        if matches!(outbound.exchange, Exchange::Listen) && (outbound.modern || self.definition.share) {
            return Err(Refusal::MethodNotAllowed.into());
        }
        if self.definition.share {
            let child = self.seated(Seat::Shared)?;
            return match &outbound.session {
                Some(session) if *session != Session::Child(child.number()) => {
                    Err(Refusal::UnknownSession.into())
                }
                _ => Ok((child, initializes)),
            };
        }
        if outbound.modern {
            return Ok((self.seated(Seat::Key(outbound.caller.key))?, false));
        }
        match &outbound.session {
            Some(Session::Child(number)) => {
                let children = self.lock();
                let child = children.running.get(&Seat::Session(*number)).filter(|child| !child.is_dead());
                Ok((child.cloned().ok_or(Refusal::UnknownSession)?, false))
            }
            Some(Session::Http(_)) => Err(Refusal::UnknownSession.into()),
            None if initializes => {
                let number = new_number();
                let mut children = self.lock();
                Ok((self.start(&mut children, Seat::Session(number), number)?, true))
            }
            None => Err(Refusal::Unreadable(Unreadable::NoSession).into()),
        }
    }

    /// The living child of a seat; a new one when there is none.
    fn seated(&self, seat: Seat) -> Result<Arc<Child>, Stop> {
        let mut children = self.lock();
        if let Some(child) = children.running.get(&seat).filter(|child| !child.is_dead()) {
            return Ok(Arc::clone(child));
        }
        let number = new_number();
        Ok(self.start(&mut children, seat, number)?)
    }

    fn start(&self, children: &mut Children, seat: Seat, number: u64) -> Result<Arc<Child>, Fault> {
        let now = self.clock.now().monotonic;
        self.bury(children, now);
        if children.stopped {
            return Err(Fault::Draining);
        }
        if children.running.len() >= self.definition.processes as usize {
            return Err(Fault::UpstreamBusy);
        }
        if let Some(left) = children.not_before.checked_sub(now).filter(|left| !left.is_zero()) {
            let why = format!("its process keeps ending at once; next start in {} ms", left.as_millis());
            return Err(Fault::UpstreamUnreachable(why));
        }
        let (clock, bytes_max) = (&self.clock, self.line_bytes_max);
        let program =
            Program { service: &self.service, definition: &self.definition, injection: &self.injection };
        match Child::spawn(&program, number, seat.attribution(), clock, bytes_max) {
            Ok(child) => {
                children.running.insert(seat, Arc::clone(&child));
                Ok(child)
            }
            Err(why) => {
                children.pause(now);
                Err(Fault::UpstreamUnreachable(why))
            }
        }
    }

    /// Removes dead children; early deaths lengthen the pause before the next start, long lives end it.
    fn bury(&self, children: &mut Children, now: Duration) {
        let mut early = false;
        children.running.retain(|_, child| {
            if child.is_dead() && child.died_by_itself() {
                early |= child.age_at_death() < EARLY;
            }
            !child.is_dead()
        });
        if early {
            children.pause(now);
        } else if children.running.values().any(|child| now.saturating_sub(child.born_at()) > EARLY) {
            children.early_deaths = 0;
        }
    }

    fn forget(&self, seat: Seat) {
        self.lock().running.remove(&seat);
    }

    fn lock(&self) -> MutexGuard<'_, Children> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Children {
    fn pause(&mut self, now: Duration) {
        let pause = PAUSE_MIN.saturating_mul(1 << self.early_deaths.min(10)).min(PAUSE_MAX);
        self.early_deaths = self.early_deaths.saturating_add(1);
        self.not_before = now + pause;
    }
}

impl Seat {
    /// To whom a message of the child belongs that names no request.
    fn attribution(self) -> router::Attribution {
        match self {
            Self::Session(_) => router::Attribution::Session,
            Self::Key(_) => router::Attribution::Key,
            Self::Call(_) => router::Attribution::Detached,
            Self::Shared => router::Attribution::Nobody,
        }
    }
}

/// A child's number. Session tokens name it and outlive this process, so it must never come twice: one that did
/// would open the way from an old session to somebody else's child.
fn new_number() -> u64 {
    u64::from_be_bytes(vault::random::bytes())
}

async fn post(
    child: &Arc<Child>,
    message: &Message,
    owner: Owner,
    modern: bool,
    reader: Reader,
) -> Result<Response<Flow>, Fault> {
    let mut delivery = match child.router().post(message, owner, modern, reader).await {
        Posted::Awaiting(delivery) => delivery,
        Posted::Done => return Ok(empty(StatusCode::ACCEPTED)),
        Posted::Broken(why) => return Err(Fault::UpstreamBroken(why)),
    };
    match delivery.first().await {
        // A stream that the child ended before it began.
        Some(first) if first.bytes.is_empty() => Ok(event_stream(flow::whole(first.bytes))),
        Some(first) if first.is_final => {
            let status = if modern { modern_status(message, &first.bytes) } else { StatusCode::OK };
            let mut response = Response::new(flow::whole(first.bytes));
            *response.status_mut() = status;
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            Ok(response)
        }
        Some(first) => Ok(event_stream(delivery.into_events(Some(first)))),
        None => Err(Fault::UpstreamBroken(child.last_words())),
    }
}

/// What an HTTP server of the newest protocol would answer, so that clients find out which era a child speaks.
fn modern_status(request: &Message, answer: &bytes::Bytes) -> StatusCode {
    let limits = wire::Limits::of_bytes(answer.len());
    let Ok(answer) = Message::read(answer.clone(), &limits) else { return StatusCode::OK };
    if !matches!(answer.shape(), Shape::Response { is_error: true, .. }) {
        return StatusCode::OK;
    }
    let code = answer.root().get("error").and_then(|error| error.get("code"));
    match code.map(wire::Raw::text) {
        Some("-32601") => StatusCode::NOT_FOUND,
        Some("-32020" | "-32021" | "-32022") => StatusCode::BAD_REQUEST,
        _ if request.method() == Some("server/discover") => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

fn event_stream(events: Flow) -> Response<Flow> {
    let mut response = Response::new(events);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

fn empty(status: StatusCode) -> Response<Flow> {
    let mut response = Response::new(flow::whole(bytes::Bytes::new()));
    *response.status_mut() = status;
    response
}

/// Whether the client can read an event stream as the answer. One that says nothing can.
fn accepts_events(headers: &http::HeaderMap) -> bool {
    let mut accepted =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
    accepted.peek().is_none()
        || accepted.any(|accept| accept.contains("text/event-stream") || accept.contains("*/*"))
}
