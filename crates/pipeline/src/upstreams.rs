//! The upstreams. Whatever kind a service is, its answer comes as an HTTP response.

mod detached;
mod http;
mod mcp_http;
mod mcp_stdio;

use std::{
    collections::HashMap,
    error::Error,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use ::http::{HeaderMap, Request, Response, StatusCode};
use arc_swap::ArcSwap;
use domain::{
    clock::Clock,
    names::ServiceName,
    service::{Service, Upstream},
    stop::{Fault, Refusal, Stop, Unreadable},
};
use http::Http;
use http_body::Body;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::capture_connection},
    rt::{TokioExecutor, TokioTimer},
};
use mcp_http::McpHttp;
use mcp_stdio::McpStdio;
use tokio::sync::Notify;

use crate::{
    arrival::{Caller, Exchange},
    credentials::Injection,
    dial::{Connector, DialError, Dialler},
    flow::{Broken, Flow},
    gateway::Bounds,
    leave::Leave,
    session::Session,
};

/// How many connections to one service are kept for later calls.
const IDLE_MAX: usize = 256;
/// What one HTTP/1 connection reads ahead, its answers' heads included (bytes), and one HTTP/2 stream writes ahead.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// What one HTTP/2 stream may send us ahead of its reader (bytes).
const HTTP2_STREAM_BYTES_MAX: u32 = 256 * 1024;
/// What all streams of one HTTP/2 connection may (bytes): one slow reader does not stop the others.
const HTTP2_CONNECTION_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// How many interim answers (1xx, RFC 9110 §15.2) may come before an answer: one every half second until it is late.
const INTERIM_ANSWERS_MAX: u32 = 60;
/// How often an HTTP/2 connection with calls under way is asked whether it is still there.
const HTTP2_PING_EVERY: Duration = Duration::from_secs(10);
/// How long it may take to say so.
const HTTP2_PING_MAX: Duration = Duration::from_secs(10);

/// A call on its way out: everything about it has been judged.
pub(crate) struct Outbound<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) exchange: Exchange,
    pub(crate) session: Option<Session>,
    pub(crate) headers: HeaderMap,
    pub(crate) modern: bool,
    /// Tells while it waits for a connection whether it may still leave.
    pub(crate) leave: Leave,
}

/// What an upstream answered.
pub(crate) struct Answer {
    pub(crate) response: Response<Flow>,
    /// The session that the upstream has opened.
    pub(crate) session: Option<Session>,
}

/// Every upstream that has been used, with its connections or children.
pub struct Upstreams {
    dialler: Dialler,
    clock: Arc<dyn Clock>,
    line_bytes_max: usize,
    ends: ArcSwap<HashMap<ServiceName, Arc<End>>>,
    building: Mutex<()>,
}

/// One service's end. It belongs to one definition of the service; another definition gets another end.
struct End {
    service: Arc<Service>,
    /// The credentials' values that its connections or children were made with.
    versions: Vec<u64>,
    kind: Kind,
}

enum Kind {
    Api(Http),
    Http(McpHttp),
    Stdio(McpStdio),
}

impl Upstreams {
    /// No upstream is contacted before its first call. `line_bytes_max` bounds one message of a child.
    #[must_use]
    pub fn new(dialler: Dialler, clock: Arc<dyn Clock>, line_bytes_max: usize) -> Self {
        let ends = ArcSwap::from_pointee(HashMap::new());
        Self { dialler, clock, line_bytes_max, ends, building: Mutex::new(()) }
    }

    /// Sends what was judged with what is to be added to it, and returns the answer's head with its body still
    /// flowing.
    pub(crate) async fn exchange(
        &self,
        service: &Arc<Service>,
        outbound: Outbound<'_>,
        injection: &Injection,
    ) -> Result<Answer, Stop> {
        let end = self.end(service, injection)?;
        let at = self.clock.now().wall;
        let answer = match &end.kind {
            Kind::Api(end) => end.exchange(outbound, injection, at).await,
            Kind::Http(end) => end.exchange(outbound, injection, at).await,
            Kind::Stdio(end) => end.exchange(outbound).await,
        };
        if answer.as_ref().is_ok_and(|answer| answer.response.status() == StatusCode::UNAUTHORIZED) {
            injection.refused();
        }
        answer
    }

    /// Sends a call that people approved, while nobody is connected: of MCP on its session while that lives, else on a
    /// fresh one, and the answer is whole. What the server asks meanwhile is declined. The call is sent once.
    ///
    /// All of it is meant to happen within the caller's `bounds.upstream_timeout`.
    pub(crate) async fn exchange_detached(
        &self,
        service: &Arc<Service>,
        outbound: Outbound<'_>,
        injection: &Injection,
        bounds: &Bounds,
    ) -> Result<Answer, Stop> {
        let end = self.end(service, injection)?;
        let at = self.clock.now().wall;
        let answer = match &end.kind {
            Kind::Api(end) => end.exchange(outbound, injection, at).await,
            Kind::Http(end) => end.exchange_detached(outbound, injection, at, bounds).await,
            Kind::Stdio(end) => end.exchange_detached(outbound, bounds).await,
        };
        if answer.as_ref().is_ok_and(|answer| answer.response.status() == StatusCode::UNAUTHORIZED) {
            injection.refused();
        }
        answer
    }

    /// Stops children that have had nothing to do, and those of services that are gone or changed.
    pub async fn sweep(&self, services: &HashMap<ServiceName, Arc<Service>>) {
        let ends = self.ends.load_full();
        for (name, end) in ends.iter() {
            let current = services.get(name).is_some_and(|service| *service == end.service);
            if let Kind::Stdio(stdio) = &end.kind {
                if current { stdio.sweep().await } else { stdio.stop().await }
            }
            if !current {
                let _turn = self.building.lock().unwrap_or_else(PoisonError::into_inner);
                self.ends.rcu(|ends| {
                    let mut ends = HashMap::clone(ends);
                    if ends.get(name).is_some_and(|kept| Arc::ptr_eq(kept, end)) {
                        ends.remove(name);
                    }
                    ends
                });
            }
        }
    }

    /// Ends all children, politely first: within about `grace` they are gone, with their process groups.
    pub async fn stop(&self, grace: Duration) {
        let ends = self.ends.load_full();
        let children = ends.values().filter_map(|end| match &end.kind {
            Kind::Stdio(stdio) => Some(stdio.stop()),
            Kind::Api(_) | Kind::Http(_) => None,
        });
        let all = futures_util::future::join_all(children);
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::warn!("some children of stdio services did not end in time");
        }
    }

    fn end(&self, service: &Arc<Service>, injection: &Injection) -> Result<Arc<End>, Stop> {
        let fits = |end: &&Arc<End>| {
            end.versions == injection.versions
                && (Arc::ptr_eq(&end.service, service) || end.service == *service)
        };
        if let Some(end) = self.ends.load().get(&service.name).filter(fits) {
            return Ok(Arc::clone(end));
        }
        let _turn = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let ends = self.ends.load_full();
        if let Some(end) = ends.get(&service.name).filter(fits) {
            return Ok(Arc::clone(end));
        }
        let kind = match &service.upstream {
            Upstream::Api(api) => Kind::Api(Http::new(api, &self.dialler, injection)?),
            Upstream::Http(http) => Kind::Http(McpHttp::new(http, &self.dialler, injection)?),
            Upstream::Stdio(stdio) => Kind::Stdio(McpStdio::new(
                service.name.clone(),
                stdio.clone(),
                injection.clone(),
                Arc::clone(&self.clock),
                self.line_bytes_max,
            )),
        };
        let end = Arc::new(End { service: Arc::clone(service), versions: injection.versions.clone(), kind });
        if let Some(old) = ends.get(&service.name) {
            // The service was changed: what ran under its old definition must not go on.
            if let Kind::Stdio(_) = &old.kind {
                let old = Arc::clone(old);
                tokio::spawn(async move {
                    if let Kind::Stdio(stdio) = &old.kind {
                        stdio.stop().await;
                    }
                });
            }
        }
        self.ends.rcu(|ends| {
            let mut ends = HashMap::clone(ends);
            ends.insert(service.name.clone(), Arc::clone(&end));
            ends
        });
        Ok(end)
    }
}

/// The connections to one service. What they buffer is bounded, so that a body that flows by takes the same memory
/// whatever its length, and whoever of the two sides is slow.
fn client<B>(connector: Connector) -> Client<Connector, B>
where
    B: ::http_body::Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(IDLE_MAX)
        .http1_max_buf_size(BUFFER_BYTES_MAX)
        .http2_initial_stream_window_size(HTTP2_STREAM_BYTES_MAX)
        .http2_initial_connection_window_size(HTTP2_CONNECTION_BYTES_MAX)
        .http2_max_send_buf_size(BUFFER_BYTES_MAX)
        // A connection that all calls share and nobody answers on any more would hold every one of them up.
        .http2_keep_alive_interval(HTTP2_PING_EVERY)
        .http2_keep_alive_timeout(HTTP2_PING_MAX)
        .build(connector)
}

/// Sends a request as soon as there is a connection for it, unless it may not `leave` any more by then, and waits for the
/// head of its answer. A request that is on its way is waited for: its answer is all that can still be had of it. The HTTP
/// library passes over any number of interim answers; we do not.
async fn send<B>(
    client: &Client<Connector, B>,
    mut request: Request<B>,
    leave: &Leave,
) -> Result<Response<Incoming>, Stop>
where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
{
    let too_many = Arc::new(Notify::new());
    let (told, count) = (Arc::clone(&too_many), AtomicU32::new(0));
    hyper::ext::on_informational(&mut request, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == INTERIM_ANSWERS_MAX {
            told.notify_one();
        }
    });
    let connection = capture_connection(&mut request);
    let mut answer = pin!(client.request(request));
    let withdrawn = tokio::select! {
        // INVARIANT: the last look comes right before the poll that finds a connection and writes to it.
        biased;
        stop = leave.withdrawn() => stop,
        answer = &mut answer => return answer.map_err(|error| fault(&error)),
        () = too_many.notified() => return Err(too_many_interim_answers()),
    };
    if connection.connection_metadata().is_none() {
        return Err(withdrawn);
    }
    tokio::select! {
        biased;
        answer = answer => answer.map_err(|error| fault(&error)),
        () = too_many.notified() => Err(too_many_interim_answers()),
    }
}

fn too_many_interim_answers() -> Stop {
    Fault::UpstreamBroken(format!("it sent more than {INTERIM_ANSWERS_MAX} interim answers")).into()
}

/// Whether anything was sent decides what the agent may conclude.
fn fault(error: &hyper_util::client::legacy::Error) -> Stop {
    let mut text = error.to_string();
    let mut source: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = source {
        if let Some(dial) = cause.downcast_ref::<DialError>() {
            return Fault::UpstreamUnreachable(dial.to_string()).into();
        }
        match cause.downcast_ref::<Broken>() {
            Some(Broken::TooLarge(bytes_max)) => return Refusal::TooLarge(*bytes_max).into(),
            Some(Broken::Client) => return Refusal::Unreadable(Unreadable::CutOff).into(),
            Some(broken @ (Broken::Stopped | Broken::Withdrawn | Broken::Unconfirmed)) => {
                return Fault::UpstreamBroken(broken.to_string()).into();
            }
            _ => {}
        }
        // Of other causes the words may be the upstream's own: an HTTP/2 server says what it likes in its last frame.
        if cause.is::<hyper::Error>() || cause.is::<std::io::Error>() {
            text = cause.to_string();
        }
        source = cause.source();
    }
    let fault = if error.is_connect() { Fault::UpstreamUnreachable } else { Fault::UpstreamBroken };
    fault(text).into()
}

#[cfg(test)]
mod tests;
