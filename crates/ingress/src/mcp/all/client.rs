//! One client of all its services, and how members are spoken to on its behalf: each message walks as if the client
//! had sent it to the member's own endpoint, with the client's key.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{
    call::{Action, Call},
    clock::Now,
    names::ServiceName,
    stop::{Refusal, Stop},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, response};
use http_body_util::BodyExt;
use pipeline::{
    Exchange,
    flow::{self, Flow},
    refuse,
    session::OwnSession,
};
use tokio::runtime::Handle;
use wire::{
    Limits, Message, Raw, Shape,
    mcp::{self, Class, Era, Version, meta},
    sse::Decoder,
};

use super::{
    super::{
        Received, method_word,
        read::{Stated, subject_of},
    },
    kept::{Holder, Line, Members},
};
use crate::{
    Front,
    answer::{self, Form},
    identity::Claims,
    inquiry::Inquiry,
};

/// What nobody waits for may take so long.
const ASIDE_MAX: Duration = Duration::from_secs(10);
const EITHER_FORM: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static(mcp::header::PROTOCOL_VERSION);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static(mcp::header::LAST_EVENT_ID);
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static(mcp::header::SESSION_ID);

/// A client with a good key, as far as is known; each message of its proves that again.
pub(super) struct Client {
    pub(super) front: Arc<Front>,
    pub(super) source: IpAddr,
    pub(super) claims: Claims,
    pub(super) headers: HeaderMap,
    pub(super) holder: Holder,
    /// Its session with us; none in the newest protocol.
    pub(super) own: Option<OwnSession>,
    /// What it says of itself in the newest protocol: members of `_meta`, as JSON.
    pub(super) about: String,
}

/// What a member said to something of our own.
pub(super) struct Answered {
    pub(super) head: response::Parts,
    /// The response, where it was one.
    pub(super) message: Option<Message>,
}

/// Why there is no answer of a member.
pub(super) enum Unanswered {
    /// The gateway itself answered: a refusal, or what went wrong.
    Told(Box<Response<Bytes>>),
    /// The member said what is of no use here. For operators.
    Useless(String),
}

impl Client {
    pub(super) fn era(&self) -> Era {
        if self.own.is_some() { Era::Legacy } else { Era::Modern }
    }

    pub(super) fn members(&self) -> &Members {
        &self.front.members
    }

    pub(super) fn now(&self) -> Duration {
        self.front.gateway.clock.now().monotonic
    }

    /// A call that it has made, on its way to a member.
    pub(super) fn passes_on(
        &self,
        call: Call,
        at: Now,
        line: &Line,
        message: Message,
        stated: Stated,
    ) -> Received {
        let (headers, form) =
            (in_version(self.headers.clone(), line), Form::of(&message, line.era == Era::Modern));
        let stated = Stated { modern: line.era == Era::Modern, session: line.session.clone(), ..stated };
        let (source, claims, exchange) = (self.source, self.claims.clone(), Ok(Exchange::Post(message)));
        Received { at, source, claims, call, exchange, headers, form, stated }
    }

    /// Says something of our own to a member for it, and reads the answer whole.
    pub(super) async fn ask(
        &self,
        service: &ServiceName,
        line: &Line,
        message: String,
    ) -> Result<Answered, Unanswered> {
        let bounds = &self.front.gateway.bounds;
        let asked = async {
            let limits = Limits::of_bytes(message.len());
            let message = Message::read(message.into(), &limits)
                .map_err(|malformed| Unanswered::Useless(malformed.to_string()))?;
            let id = message.id().map(|id| id.text().to_owned());
            let received = self.of_our_own(service, line, Exchange::Post(message));
            let response = received.answered(&self.front).await;
            answered(response, id.as_deref(), bounds.body_bytes_max).await
        };
        // The walk itself ends in time, but an event stream need not.
        let late = |_| Unanswered::Useless("it did not answer in time".to_owned());
        tokio::time::timeout(bounds.upstream_timeout, asked).await.map_err(late)?
    }

    /// Says something of our own that nobody waits for.
    pub(super) fn aside(self: &Arc<Self>, service: &ServiceName, line: &Line, exchange: Exchange) {
        // Without a runtime the process is about to end.
        let Ok(runtime) = Handle::try_current() else { return };
        let (client, received) = (Arc::clone(self), self.of_our_own(service, line, exchange));
        runtime.spawn(async move {
            // An upstream that does not hear of it finds out by itself.
            let _ = tokio::time::timeout(ASIDE_MAX, received.answered(&client.front)).await;
        });
    }

    /// Passes a notification on to a member, and hands its answer back.
    pub(super) async fn tell(
        self: &Arc<Self>,
        service: &ServiceName,
        line: &Line,
        message: &Message,
    ) -> Response<Flow> {
        let mut response =
            self.of_our_own(service, line, Exchange::Post(message.clone())).answered(&self.front).await;
        response.headers_mut().remove(SESSION_ID);
        response
    }

    /// What the client is told that the gateway stopped before any walk, and what the trail has of it.
    pub(super) async fn refused(&self, call: Call, form: &Form, stop: Stop) -> Response<Flow> {
        let (front, at) = (&self.front, self.front.gateway.clock.now());
        let (claims, asked) = (self.claims.clone(), Arc::new(call.clone()));
        let mut inquiry = Inquiry::made(Arc::clone(front), at, self.source, claims, asked);
        let stop = match inquiry.caller().await {
            Ok((caller, _)) => refuse(&caller, &call, at, stop, &front.gateway).await,
            Err(other) => other,
        };
        answer::to_call(front, &stop, &call, form, false)
    }

    /// Ends a session at a member.
    pub(super) fn end(self: &Arc<Self>, service: &ServiceName, line: &Line) {
        if line.session.is_some() {
            self.aside(service, line, Exchange::End);
        }
    }

    /// An id for a request of our own: none that a client uses, in whichever session.
    pub(super) fn new_id(&self) -> String {
        format!("\"toolgate-{}\"", self.members().number())
    }

    fn of_our_own(&self, service: &ServiceName, line: &Line, exchange: Exchange) -> Received {
        let mut headers = HeaderMap::new();
        if let Some(agent) = self.headers.get(header::USER_AGENT) {
            headers.insert(header::USER_AGENT, agent.clone());
        }
        headers.insert(header::ACCEPT, EITHER_FORM);
        let headers = in_version(headers, line);
        let other = |method: Cow<'static, str>| (method, Action::Service, Class::Housekeeping);
        let (subject, form) = match &exchange {
            Exchange::Post(message) => (subject_of(message), Form::of(message, line.era == Era::Modern)),
            Exchange::End => (Ok(other(method_word(&Method::DELETE))), Form::Plain),
            Exchange::Listen | Exchange::Request(_) => (Ok(other(method_word(&Method::GET))), Form::Plain),
        };
        let (subject, exchange) = match subject {
            Ok(subject) => (subject, Ok(exchange)),
            Err(unreadable) => (other("".into()), Err(Refusal::from(unreadable).into())),
        };
        let at = self.front.gateway.clock.now();
        let (id, service) = (self.front.gateway.ids.next(at.wall), service.as_str().to_owned());
        let (method, action, class) = subject;
        let call = Call { id, service, method, action, class };
        let (modern, session) = (line.era == Era::Modern, line.session.clone());
        let stated = Stated { modern, session, ..Stated::default() };
        let (source, claims) = (self.source, self.claims.clone());
        Received { at, source, claims, call, exchange, headers, form, stated }
    }
}

/// The headers as a member is sent them, in its version.
fn in_version(mut headers: HeaderMap, line: &Line) -> HeaderMap {
    headers.remove(LAST_EVENT_ID);
    headers.remove(PROTOCOL_VERSION);
    if let Some(version) = &line.version {
        headers.insert(PROTOCOL_VERSION, version.clone());
    }
    headers
}

/// What came back, whole.
async fn answered(
    response: Response<Flow>,
    id: Option<&str>,
    bytes_max: u64,
) -> Result<Answered, Unanswered> {
    let (head, body) = response.into_parts();
    let is_ours = answer::is_of_ours(&head.headers);
    let useless = |why: &str| Unanswered::Useless(why.to_owned());
    let is_stream = media(&head) == Some("text/event-stream");
    let mut body = flow::limited(body, bytes_max);
    if !is_stream {
        let bytes =
            body.collect().await.map_err(|broken| Unanswered::Useless(broken.to_string()))?.to_bytes();
        if is_ours {
            return Err(Unanswered::Told(Box::new(Response::from_parts(head, bytes))));
        }
        return Ok(Answered { message: response_in(bytes, id), head });
    }
    let mut decoder = Decoder::new(usize::try_from(bytes_max).unwrap_or(usize::MAX));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|broken| Unanswered::Useless(broken.to_string()))?;
        if let Ok(data) = frame.into_data() {
            decoder.feed(data);
        }
        while let Some(event) = decoder.next_frame().map_err(|_| useless("an event is too large"))? {
            if let Some(message) = event.data.and_then(|data| response_in(data, id)) {
                return Ok(Answered { head, message: Some(message) });
            }
        }
    }
    Err(useless("its stream ended before the answer"))
}

/// The response to the request `id`, if this is it.
fn response_in(bytes: Bytes, id: Option<&str>) -> Option<Message> {
    let limits = Limits::of_bytes(bytes.len());
    let message = Message::read(bytes, &limits).ok()?;
    match message.shape() {
        Shape::Response { id: Some(answered), .. } if Some(answered.text()) == id => Some(message),
        // An error without an id is about the one request that it can be about.
        Shape::Response { id: None, .. } => Some(message),
        _ => None,
    }
}

/// The media type without parameters.
pub(super) fn media(head: &response::Parts) -> Option<&str> {
    let value = head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

impl Answered {
    /// Its result; else why there is none.
    pub(super) fn result(&self) -> Result<Raw<'_>, String> {
        let status = self.head.status;
        match &self.message {
            Some(message) if status.is_success() => match message.root().get("result") {
                Some(result) => Ok(result),
                None => {
                    let code = message.root().get("error").and_then(|error| error.get("code"));
                    Err(format!("it answered with the error {}", code.map_or("without a code", Raw::text)))
                }
            },
            _ => Err(format!("it answered {}", status.as_u16())),
        }
    }

    /// Whether this is how servers of the older protocol say that there is no such session (any more).
    pub(super) fn knows_no_session(&self) -> bool {
        is_no_session(self.head.status)
    }
}

/// MCP asks for 404; some servers say 400.
pub(super) fn is_no_session(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST)
}

/// What a client of the newest protocol says of itself, for members of that protocol; and what we say for one of an
/// older protocol: that nobody can be asked anything.
pub(super) fn about(message: Option<&Message>) -> String {
    let said = |key| message.and_then(|message| message.meta(key)).map(Raw::text);
    let version = Version::V2026_07_28;
    let capabilities = said(meta::CLIENT_CAPABILITIES).unwrap_or("{}");
    let client = said(meta::CLIENT_INFO).map_or_else(implementation, str::to_owned);
    format!(
        r#""{}":"{version}","{}":{capabilities},"{}":{client}"#,
        meta::PROTOCOL_VERSION,
        meta::CLIENT_CAPABILITIES,
        meta::CLIENT_INFO
    )
}

/// What we call ourselves, to clients and members alike (MCP, `Implementation`).
pub(super) fn implementation() -> String {
    format!(r#"{{"name":"toolgate","version":"{}"}}"#, env!("CARGO_PKG_VERSION"))
}
