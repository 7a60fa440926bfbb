//! Streamable HTTP without a client: an approved call uses its session while that lives, and otherwise a fresh one
//! that is ended afterwards. The call itself is sent once, whatever the answer: not every 404 means "no such session".

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::stop::{Fault, Refusal, Stop};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, response};
use http_body_util::BodyExt;
use jiff::Timestamp;
use tokio::{runtime::Handle, time::timeout};
use wire::{Limits, Message, Raw, Shape, mcp, sse::Decoder};

use super::{McpHttp, SESSION_ID, name_the_message};
use crate::{
    arrival::Exchange,
    credentials::Injection,
    flow::{self, Broken, Flow},
    gateway::Bounds,
    leave::Leave,
    session::Session,
    upstreams::{
        Answer, Outbound,
        detached::{
            INITIALIZE_ID, INITIALIZED, NOBODY, answer_for_nobody, initialize, negotiated, no_session, ping,
            unsent,
        },
    },
};

/// The largest answer within a handshake (bytes).
const HANDSHAKE_BYTES_MAX: u64 = 1024 * 1024;
/// How long what nobody waits for may take: a "no" to a server's question, the end of a session.
const ASIDE_MAX: Duration = Duration::from_secs(10);
/// How often an answer's stream is resumed.
const RESUMES_MAX: usize = 64;
/// How long is waited before that, unless the server says.
const PAUSE: Duration = Duration::from_secs(1);
/// What it may say at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How many questions a server may ask during one call.
const QUESTIONS_MAX: usize = 64;
/// We read either form of an answer.
const EITHER_FORM: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const LAST_EVENT_ID: header::HeaderName = header::HeaderName::from_static(mcp::header::LAST_EVENT_ID);
const PROTOCOL_VERSION: header::HeaderName = header::HeaderName::from_static(mcp::header::PROTOCOL_VERSION);

impl McpHttp {
    /// Sends an approved call whose client is not there, once, and returns its answer whole, as JSON where it came on
    /// an event stream. What the server asks meanwhile is declined.
    ///
    /// Looking for the session takes at most a quarter of the time-out, and opening one at most half of it.
    pub(in crate::upstreams) async fn exchange_detached(
        &self,
        outbound: Outbound<'_>,
        injection: &Injection,
        at: Timestamp,
        bounds: &Bounds,
    ) -> Result<Answer, Stop> {
        let Exchange::Post(message) = outbound.exchange else {
            // Nothing else of MCP is ever held.
            return Err(Refusal::MethodNotAllowed.into());
        };
        let mut headers = outbound.headers;
        headers.insert(header::ACCEPT, EITHER_FORM);
        headers.remove(LAST_EVENT_ID);
        let leave = outbound.leave;
        let mut line = Line { end: self.clone(), headers, injection: injection.clone(), at, leave };
        if outbound.modern {
            name_the_message(&message, &mut line.headers);
            return Arc::new(line).call(&message, bounds).await;
        }
        let patience = bounds.upstream_timeout;
        match outbound.session {
            Some(Session::Http(id)) => {
                let id = HeaderValue::try_from(id).map_err(|_| Refusal::UnknownSession)?;
                let on_it = line.within(id);
                if on_it.is_alive(patience / 4).await? {
                    return on_it.call(&message, bounds).await;
                }
            }
            // Its servers keep no sessions, as far as anybody has seen: as it came, so it goes.
            None if !self.gives_sessions() => return Arc::new(line).call(&message, bounds).await,
            // The service was a child when the call was held.
            Some(Session::Child(_)) | None => {}
        }
        let fresh = timeout(patience / 2, line.open()).await;
        let too_slow = |_| no_session(&format!("no answer within {} s", (patience / 2).as_secs()));
        let fresh = fresh.map_err(too_slow)??;
        fresh.0.call(&message, bounds).await
    }
}

/// A way to the upstream that outlives the one who waits for an answer.
#[derive(Clone)]
struct Line {
    end: McpHttp,
    headers: HeaderMap,
    injection: Injection,
    at: Timestamp,
    leave: Leave,
}

/// A session of our own. It is ended when this is dropped, whatever became of the call.
struct Fresh(Arc<Line>);

impl Line {
    /// The same way, within a session.
    fn within(&self, id: HeaderValue) -> Arc<Self> {
        let mut line = self.clone();
        line.headers.insert(SESSION_ID, id);
        Arc::new(line)
    }

    /// Whether the session can still be used. Servers that have forgotten it say so in two ways, and neither proves of
    /// a call that it was not taken; a `ping` does nothing. One that is too busy to say is taken at its word.
    async fn is_alive(self: &Arc<Self>, patience: Duration) -> Result<bool, Stop> {
        let id = format!("\"toolgate-{:016x}\"", u64::from_be_bytes(vault::random::bytes()));
        let asked = async {
            let response = self.post(ping(&id)).await?;
            let status = response.status();
            // Whatever it says, it was there to say it. Read to its end, the connection can be used again.
            let _ = self.whole(response, Some(&id), HANDSHAKE_BYTES_MAX).await;
            Ok(!matches!(status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST))
        };
        timeout(patience, asked).await.unwrap_or(Ok(true)).map_err(unsent)
    }

    /// Opens a session of our own. Nothing that goes wrong here has to do with the call.
    async fn open(mut self) -> Result<Fresh, Stop> {
        let message = initialize(&self.headers);
        // The version is what `initialize` finds out.
        self.headers.remove(PROTOCOL_VERSION);
        let response = self.post(message).await.map_err(unsent)?;
        let status = response.status();
        let mut fresh = Fresh(match response.headers().get(SESSION_ID) {
            Some(id) => self.within(id.clone()),
            None => Arc::new(self),
        });
        if !status.is_success() {
            return Err(no_session(&format!("it answered {}", status.as_u16())).into());
        }
        let answer =
            fresh.0.whole(response, Some(INITIALIZE_ID), HANDSHAKE_BYTES_MAX).await.map_err(unsent)?;
        let version = negotiated(answer.into_body()).and_then(|version| HeaderValue::try_from(version).ok());
        let version = version.ok_or_else(|| no_session("it did not say which version it speaks"))?;
        Arc::make_mut(&mut fresh.0).headers.insert(PROTOCOL_VERSION, version);
        let status = fresh.0.post(INITIALIZED).await.map_err(unsent)?.status();
        if !status.is_success() {
            return Err(no_session(&format!("it answered {}", status.as_u16())).into());
        }
        Ok(fresh)
    }

    async fn call(self: &Arc<Self>, message: &Message, bounds: &Bounds) -> Result<Answer, Stop> {
        let response = self.post(message.body().clone()).await?;
        let whole = self.whole(response, message.id().map(Raw::text), bounds.body_bytes_max).await?;
        Ok(Answer { response: whole.map(flow::whole), session: None })
    }

    async fn post(&self, body: impl Into<Bytes>) -> Result<Response<Flow>, Stop> {
        self.send(Method::POST, body.into()).await
    }

    async fn send(&self, method: Method, body: Bytes) -> Result<Response<Flow>, Stop> {
        let mut headers = self.headers.clone();
        if method == Method::POST {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let response = self.end.send(method, headers, body, &self.injection, self.at, &self.leave).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.injection.refused();
        }
        Ok(response)
    }

    /// The answer, whole. Of an event stream that is the response to the request `id`.
    async fn whole(
        self: &Arc<Self>,
        response: Response<Flow>,
        id: Option<&str>,
        bytes_max: u64,
    ) -> Result<Response<Bytes>, Stop> {
        let fault = |broken| match broken {
            Broken::TooLarge(_) => Fault::AnswerTooLarge(bytes_max),
            other => Fault::UpstreamBroken(other.to_string()),
        };
        let (mut head, mut body) = readable(response, bytes_max).map_err(fault)?;
        if !is_event_stream(&head) {
            let bytes = flow::limited(body, bytes_max).collect().await.map_err(fault)?.to_bytes();
            return Ok(Response::from_parts(head, bytes));
        }
        let new_decoder = || Decoder::new(usize::try_from(bytes_max).unwrap_or(usize::MAX));
        let mut decoder = new_decoder();
        let (mut questions, mut resumes) = (0, 0);
        let (mut last_event, mut pause) = (None, PAUSE);
        loop {
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        decoder.feed(data);
                    }
                }
                // Its end is not the stream's: a server may let go of the connection and keep what it has to say.
                ended => {
                    let why = ended.and_then(Result::err).map(fault);
                    let Some(id) = last_event.clone().filter(|_| resumes < RESUMES_MAX) else {
                        let short = || Fault::UpstreamBroken("its stream ended before the answer".into());
                        return Err(why.unwrap_or_else(short).into());
                    };
                    resumes += 1;
                    tokio::time::sleep(pause).await;
                    // Whatever is in the way of that: the call was sent.
                    let lost = || Fault::UpstreamBroken("its stream cannot be resumed".into());
                    let resumed = self.resume(id).await.map_err(|_| lost())?;
                    let resumed = readable(resumed, bytes_max).map_err(fault)?;
                    if !resumed.0.status.is_success() || !is_event_stream(&resumed.0) {
                        return Err(lost().into());
                    }
                    (body, decoder) = (resumed.1, new_decoder());
                }
            }
            while let Some(event) = decoder.next_frame().map_err(|_| Fault::AnswerTooLarge(bytes_max))? {
                if let Some(id) = event.id {
                    last_event = HeaderValue::from_maybe_shared(id).ok().filter(|id| !id.is_empty());
                }
                if let Some(retry) =
                    event.retry.and_then(|retry| std::str::from_utf8(&retry).ok()?.parse().ok())
                {
                    pause = Duration::from_millis(retry).min(PAUSE_MAX);
                }
                // What is no message is no answer either.
                let Some(message) = event.data.and_then(read) else { continue };
                if is_answer(&message, id) {
                    let json = HeaderValue::from_static("application/json");
                    head.headers.insert(header::CONTENT_TYPE, json);
                    return Ok(Response::from_parts(head, message.body().clone()));
                }
                if let Some(no) = answer_for_nobody(&message, NOBODY) {
                    questions += 1;
                    if questions > QUESTIONS_MAX {
                        let why =
                            format!("it asked more than {QUESTIONS_MAX} questions while nobody was there");
                        return Err(Fault::UpstreamBroken(why).into());
                    }
                    self.aside(Method::POST, no.into());
                }
            }
        }
    }

    /// Listens on after an event (MCP 2025-11-25, resumability). Nothing is sent again.
    async fn resume(&self, last_event: HeaderValue) -> Result<Response<Flow>, Stop> {
        let mut line = self.beside();
        line.headers.insert(LAST_EVENT_ID, last_event);
        line.send(Method::GET, Bytes::new()).await
    }

    /// The same way for what is said when the call has left.
    fn beside(&self) -> Self {
        Self { leave: self.leave.beside(), ..self.clone() }
    }

    /// Sends what nobody waits for.
    fn aside(&self, method: Method, body: Bytes) {
        // Without a runtime the process is about to end.
        let Ok(runtime) = Handle::try_current() else { return };
        let line = self.beside();
        runtime.spawn(async move {
            match timeout(ASIDE_MAX, line.send(method, body)).await {
                Ok(Ok(_)) => {}
                Ok(Err(Stop::Fault(fault))) => {
                    tracing::debug!("an aside of an approved call failed: {}", fault.cause());
                }
                Ok(Err(_)) | Err(_) => tracing::debug!("an aside of an approved call was not sent"),
            }
        });
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if self.0.headers.contains_key(SESSION_ID) {
            self.0.aside(Method::DELETE, Bytes::new());
        }
    }
}

/// The answer without its content coding.
fn readable(response: Response<Flow>, bytes_max: u64) -> Result<(response::Parts, Flow), Broken> {
    let (mut head, body) = response.into_parts();
    let codings = flow::codings(&head.headers)?;
    if codings.is_empty() {
        return Ok((head, body));
    }
    head.headers.remove(header::CONTENT_ENCODING);
    head.headers.remove(header::CONTENT_LENGTH);
    Ok((head, flow::decode(body, &codings, bytes_max)))
}

fn read(data: Bytes) -> Option<Message> {
    let limits = Limits::of_bytes(data.len());
    Message::read(data, &limits).ok()
}

/// Whether the message answers the request `id`. A string may have been written with other escapes; an error without
/// an id is about the one request that it can be about.
fn is_answer(message: &Message, id: Option<&str>) -> bool {
    let Shape::Response { id: answered, .. } = message.shape() else { return false };
    let (Some(answered), Some(id)) = (answered, id) else { return true };
    let text = wire::json::read(id.as_bytes(), &Limits::of_bytes(id.len())).ok().and_then(Raw::as_str);
    answered.text() == id || (text.is_some() && answered.as_str() == text)
}

fn is_event_stream(head: &response::Parts) -> bool {
    let media = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media.and_then(|media| media.split(';').next()).is_some_and(|media| media.trim() == "text/event-stream")
}

#[cfg(test)]
mod tests;
