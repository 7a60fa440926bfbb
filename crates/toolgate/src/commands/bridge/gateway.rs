//! The gateway's side of the bridge: MCP's Streamable HTTP transport as a client speaks it.
//! It repeats a request only where that is safe: when the gateway says that the session is gone.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use domain::{
    names::ServiceName,
    service::{HttpUpstream, Network, UpstreamUrl},
};
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use pipeline::dial::{Connector, Dialler, Versions};
use wire::{
    json::Limits,
    jsonrpc::{Message, Shape},
    mcp::header,
    sse::Decoder,
};

use super::{
    lines::{Answers, MESSAGE_BYTES_MAX},
    mirror::Mirrors,
    session::Session,
    trouble::Trouble,
};

/// What comes back may be larger than what is sent, never endless (bytes).
const ANSWER_BYTES_MAX: usize = 64_000_000;
/// How long to wait before a stream that ended is opened again, unless the server says so.
const RETRY: Duration = Duration::from_secs(1);
/// A server's `retry` is obeyed up to here.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// So often a stream is opened again without getting anything new.
const RESUMES_MAX: u32 = 5;
/// After the answer a stream may still be closed properly, which keeps the connection.
const AFTER_ANSWER: Duration = Duration::from_secs(1);

/// A gateway's endpoint, for one service or for all of them.
pub struct Gateway {
    client: Client<Connector, Full<Bytes>>,
    /// How people know it.
    base: String,
    endpoint: Uri,
    authorization: HeaderValue,
    session: Mutex<Session>,
    mirrors: Mutex<Mirrors>,
    renewing: tokio::sync::Mutex<()>,
}

/// Where a stream stands, for opening it again.
#[derive(Debug)]
struct Place {
    last_event: Option<HeaderValue>,
    retry: Duration,
}

/// How reading a stream ended.
enum Streamed {
    /// The answer came.
    Answered(Bytes),
    /// It ended, or broke, before that; whether anything came at all, and something that may be the answer.
    Ended { progress: bool, unsure: bool },
}

impl Gateway {
    /// The endpoint of `service`, or of all services, at the gateway `url`, with an agent's key.
    ///
    /// # Errors
    /// No key, or one that no header can carry; an address that is none.
    pub fn new(url: &str, service: Option<&ServiceName>, key: Option<&str>) -> Result<Self, Trouble> {
        let key = key.ok_or(Trouble::NoKey)?.trim();
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| Trouble::NotAKey)?;
        authorization.set_sensitive(true);
        let bad_url = |error: &dyn std::fmt::Display| Trouble::BadUrl(error.to_string());
        let base = url.trim_end_matches('/').to_owned();
        let parsed = UpstreamUrl::parse(&base).map_err(|error| bad_url(&error))?;
        let path = service.map(|service| format!("/{service}")).unwrap_or_default();
        let endpoint = format!("{base}/mcp{path}").parse().map_err(|error| bad_url(&error))?;
        let upstream = HttpUpstream { url: parsed, network: Network::Private, ca_pem: None };
        let connector =
            Dialler::new().connector(&upstream, Versions::Http1, None).map_err(|error| bad_url(&error))?;
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base,
            endpoint,
            authorization,
            session: Mutex::default(),
            mirrors: Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
        })
    }

    /// Notes which era a message belongs to. Whether it is the modern one.
    pub fn notice_era(&self, message: &Message) -> bool {
        self.session().notice_era(message)
    }

    /// Sends a request, and what is answered to `answers`.
    ///
    /// # Errors
    /// When there was no answer that is MCP; nothing was sent to `answers` as the answer then.
    pub async fn request(&self, message: &Message, answers: &Answers) -> Result<(), Trouble> {
        let id = message.id().map(|id| id.text().to_owned());
        if message.method() == Some("initialize") {
            self.session().begin(message.body().clone());
            let response = self.post(message.body(), Some(message)).await?;
            let session = response.headers().get(header::SESSION_ID).cloned();
            let answer = self.relay(response, id.as_deref(), Some(answers)).await?;
            self.session().agree(session, &answer);
            return Ok(());
        }
        self.notice_era(message);
        let response = self.post_in_session(message).await?;
        self.relay(response, id.as_deref(), Some(answers)).await.map(drop)
    }

    /// Sends a notification or the client's answer to a request of the server.
    ///
    /// # Errors
    /// When the gateway did not take it.
    pub async fn notify(&self, message: &Message) -> Result<(), Trouble> {
        let response = self.post_in_session(message).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.refusal(response).await) }
    }

    /// Sends something that is no message, so that the gateway says what is wrong with it.
    ///
    /// # Errors
    /// What the gateway said.
    pub async fn forward_unread(&self, body: Bytes, answers: &Answers) -> Result<(), Trouble> {
        let response = self.post(&body, None).await?;
        self.relay(response, None, Some(answers)).await.map(drop)
    }

    /// Follows what the server says by itself, in this session and those that replace it. Ends when the server
    /// has no such stream.
    pub async fn listen(&self, answers: &Answers) {
        let (mut session, mut place, mut idle) = (None, Place::START, 0);
        loop {
            let current = self.session().id.clone();
            if current != session {
                (session, place, idle) = (current, Place::START, 0);
            }
            idle += 1;
            match self.get(&place).await {
                Ok(response) if response.status() == StatusCode::METHOD_NOT_ALLOWED => return,
                Ok(response) if response.status().is_success() && is_stream(&response) => {
                    let end = self.read_stream(response, None, Some(answers), &mut place).await;
                    if matches!(end, Streamed::Ended { progress: true, .. }) {
                        idle = 0;
                    }
                }
                // The next request renews a session that is gone, or tells what else is wrong.
                Ok(_) | Err(_) => {}
            }
            tokio::time::sleep(if idle < RESUMES_MAX { place.retry } else { RETRY_MAX }).await;
        }
    }

    /// Ends the legacy session, if there is one.
    pub async fn end(&self) {
        if self.session().id.is_some() {
            let request = self.build(Method::DELETE, Bytes::new(), None);
            // 405 means that the server ends sessions by itself.
            let _ = self.client.request(request).await;
        }
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mirrors(&self) -> MutexGuard<'_, Mirrors> {
        self.mirrors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Posts a message; when its session is gone, makes a new one as the client did and tries once more.
    async fn post_in_session(&self, message: &Message) -> Result<Response<Incoming>, Trouble> {
        let session = self.session().id.clone();
        let response = self.post(message.body(), Some(message)).await?;
        match session {
            Some(dead) if response.status() == StatusCode::NOT_FOUND => {
                self.renew(&dead).await?;
                self.post(message.body(), Some(message)).await
            }
            _ => Ok(response),
        }
    }

    /// Repeats the client's `initialize`: the gateway or the upstream was restarted.
    async fn renew(&self, dead: &HeaderValue) -> Result<(), Trouble> {
        let _one_at_a_time = self.renewing.lock().await;
        if self.session().id.as_ref() != Some(dead) {
            return Ok(());
        }
        let ended = || Trouble::SessionEnded(self.base.clone());
        let initialize = self.session().initialize.clone().ok_or_else(ended)?;
        let limits = Limits { bytes: MESSAGE_BYTES_MAX, depth: Limits::DEFAULT_DEPTH };
        let message = Message::read(initialize.clone(), &limits).map_err(|_| ended())?;
        self.session().begin(initialize);
        let response = self.post(message.body(), Some(&message)).await?;
        let session = response.headers().get(header::SESSION_ID).cloned();
        let id = message.id().map(|id| id.text().to_owned());
        let answer = self.relay(response, id.as_deref(), None).await?;
        self.session().agree(session, &answer);
        let initialized = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let initialized = Message::read(initialized, &limits).map_err(|_| ended())?;
        let response = self.post(initialized.body(), Some(&initialized)).await?;
        if response.status().is_success() { Ok(()) } else { Err(ended()) }
    }

    fn build(&self, method: Method, body: Bytes, message: Option<&Message>) -> Request<Full<Bytes>> {
        let has_body = method == Method::POST;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.endpoint.clone();
        let headers = request.headers_mut();
        *headers = self.session().headers(message);
        if let Some(message) = message.filter(|_| self.session().is_modern()) {
            headers.extend(self.mirrors().headers(message));
        }
        headers.insert(AUTHORIZATION, self.authorization.clone());
        if has_body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        } else {
            headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        }
        request
    }

    async fn post(&self, body: &Bytes, message: Option<&Message>) -> Result<Response<Incoming>, Trouble> {
        self.send(self.build(Method::POST, body.clone(), message)).await
    }

    async fn get(&self, place: &Place) -> Result<Response<Incoming>, Trouble> {
        let mut request = self.build(Method::GET, Bytes::new(), None);
        if let Some(last) = &place.last_event {
            request.headers_mut().insert(header::LAST_EVENT_ID, last.clone());
        }
        self.send(request).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Trouble> {
        match self.client.request(request).await {
            Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                Err(Trouble::KeyRefused(self.base.clone()))
            }
            Ok(response) => Ok(response),
            Err(error) if error.is_connect() => Err(Trouble::Unreachable(self.base.clone())),
            Err(_) => Err(Trouble::BrokeOff(self.base.clone())),
        }
    }

    /// Passes on what a response carries; returns the answer to the request `id`.
    async fn relay(
        &self,
        response: Response<Incoming>,
        id: Option<&str>,
        answers: Option<&Answers>,
    ) -> Result<Bytes, Trouble> {
        if response.status().is_success() && is_stream(&response) {
            return self.follow(response, id, answers).await;
        }
        let status = response.status();
        let body = self.collect(response).await?;
        let answer = match read(&body) {
            Some(message) if matches!(message.shape(), Shape::Response { .. }) => {
                self.mirrors().learn(&message);
                addressed(&message, id)
            }
            // What we read too strictly for is the client's to judge.
            None if status.is_success() && body.trim_ascii_start().starts_with(b"{") => body,
            _ => return Err(self.refusal_of(status, &body)),
        };
        if let Some(answers) = answers {
            answers.send(answer.clone()).await;
        }
        Ok(answer)
    }

    /// Reads a stream up to the answer, opening it again where the server lets that happen: it may close a
    /// stream early and have the client come back (2025-11-25), and connections break.
    async fn follow(
        &self,
        mut response: Response<Incoming>,
        id: Option<&str>,
        answers: Option<&Answers>,
    ) -> Result<Bytes, Trouble> {
        let mut place = Place::START;
        let mut idle = 0;
        loop {
            match self.read_stream(response, id, answers, &mut place).await {
                Streamed::Answered(answer) => return Ok(answer),
                Streamed::Ended { unsure: true, .. } => return Ok(Bytes::new()),
                Streamed::Ended { progress: true, .. } => idle = 0,
                Streamed::Ended { progress: false, .. } => idle += 1,
            }
            if place.last_event.is_none() || idle >= RESUMES_MAX {
                return Err(Trouble::BrokeOff(self.base.clone()));
            }
            tokio::time::sleep(place.retry).await;
            response = self.get(&place).await?;
            if !response.status().is_success() || !is_stream(&response) {
                return Err(Trouble::BrokeOff(self.base.clone()));
            }
        }
    }

    async fn read_stream(
        &self,
        response: Response<Incoming>,
        id: Option<&str>,
        answers: Option<&Answers>,
        place: &mut Place,
    ) -> Streamed {
        let mut body = response.into_body();
        let mut decoder = Decoder::new(ANSWER_BYTES_MAX);
        let (mut answer, mut progress, mut unsure) = (None, false, false);
        loop {
            let next = if answer.is_some() {
                tokio::time::timeout(AFTER_ANSWER, body.frame()).await.unwrap_or(None)
            } else {
                body.frame().await
            };
            let Some(Ok(frame)) = next else { break };
            let Ok(chunk) = frame.into_data() else { continue };
            decoder.feed(chunk);
            while let Ok(Some(event)) = decoder.next_frame() {
                place.note(event.id.as_deref(), event.retry.as_deref());
                let Some(mut data) = event.data.filter(|data| !data.is_empty()) else { continue };
                progress = true;
                match read(&data) {
                    Some(message) if is_answer(&message, id) => {
                        self.mirrors().learn(&message);
                        data = addressed(&message, id);
                        answer = Some(data.clone());
                    }
                    Some(_) => {}
                    None => unsure = true,
                }
                // Without `answers` only the bridge asked, and nobody else is to hear it.
                if let Some(answers) = answers {
                    answers.send(data).await;
                }
            }
        }
        match answer {
            Some(answer) => Streamed::Answered(answer),
            None => Streamed::Ended { progress, unsure },
        }
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, Trouble> {
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|_| Trouble::BrokeOff(self.base.clone()))
    }

    async fn refusal(&self, response: Response<Incoming>) -> Trouble {
        let status = response.status();
        match self.collect(response).await {
            Ok(body) => self.refusal_of(status, &body),
            Err(trouble) => trouble,
        }
    }

    /// What a problem document (RFC 9457) says, for the client's model.
    fn refusal_of(&self, status: StatusCode, body: &Bytes) -> Trouble {
        let limits = Limits { bytes: MESSAGE_BYTES_MAX, depth: Limits::DEFAULT_DEPTH };
        let Ok(problem) = wire::json::read(body, &limits) else {
            return Trouble::NotMcp(format!("{}, status {}", self.base, status.as_u16()));
        };
        let part = |key: &str| problem.get(key).and_then(|part| Some(part.as_str()?.into_owned()));
        let parts: Vec<String> = ["detail", "next"].into_iter().filter_map(part).collect();
        if parts.is_empty() {
            return Trouble::NotMcp(format!("{}, status {}", self.base, status.as_u16()));
        }
        Trouble::Refused { status: status.as_u16(), detail: parts.join(" ") }
    }
}

impl Place {
    const START: Self = Self { last_event: None, retry: RETRY };

    fn note(&mut self, id: Option<&[u8]>, retry: Option<&[u8]>) {
        if let Some(id) = id {
            self.last_event = HeaderValue::from_bytes(id).ok().filter(|id| !id.is_empty());
        }
        let retry = retry.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        if let Some(milliseconds) = retry {
            self.retry = Duration::from_millis(milliseconds).min(RETRY_MAX);
        }
    }
}

fn read(body: &Bytes) -> Option<Message> {
    Message::read(body.clone(), &Limits { bytes: ANSWER_BYTES_MAX, depth: Limits::DEFAULT_DEPTH }).ok()
}

fn is_answer(message: &Message, request: Option<&str>) -> bool {
    match message.shape() {
        Shape::Response { id: None, .. } => request.is_some(),
        Shape::Response { id: Some(id), .. } => Some(id.text()) == request,
        _ => false,
    }
}

/// The answer with its request's id. An error may come without one (JSON-RPC 2.0, section 5), and over stdio
/// nothing else says what it answers; a client would wait for ever.
fn addressed(answer: &Message, request: Option<&str>) -> Bytes {
    let (Shape::Response { id: None, .. }, Some(request)) = (answer.shape(), request) else {
        return answer.body().clone();
    };
    if let Some(null) = answer.root().get("id").and_then(|id| answer.span(id)) {
        return answer.replace(null, request);
    }
    let start = answer.body().iter().position(|byte| *byte == b'{').unwrap_or_default() + 1;
    answer.replace(start..start, &format!("\"id\":{request},"))
}

fn is_stream(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}
