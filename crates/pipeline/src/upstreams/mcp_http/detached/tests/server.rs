//! A Streamable HTTP server (MCP 2025-11-25) with manners that a test chooses. It writes down what comes in, and lets
//! nobody in without the service's credential.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Frame, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};

use super::ECHO;
use crate::upstreams::detached::tests::TOKEN;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// How it says that it does not know a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgets {
    /// As the protocol asks.
    NotFound,
    /// As many servers do.
    BadRequest,
    /// Only calls meet it.
    OnlyCalls,
}

pub(super) struct Manner {
    pub(super) keeps_sessions: bool,
    pub(super) forgets: Forgets,
    /// The status of its answer to `initialize`; 0 for none at all.
    pub(super) initialize: u16,
    /// The same for the second message.
    pub(super) initialized: u16,
    /// How much its first answer says besides (bytes).
    pub(super) padding: usize,
}

pub(super) struct Server {
    pub(super) url: String,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

struct State {
    manner: Manner,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    log: Vec<String>,
    sessions: BTreeSet<String>,
    opened: usize,
    initialize: Option<Value>,
    /// Answers to its questions.
    told: Vec<Value>,
}

pub(super) async fn server(adjust: impl FnOnce(&mut Manner)) -> Server {
    let mut manner = Manner {
        keeps_sessions: true,
        forgets: Forgets::NotFound,
        initialize: 200,
        initialized: 202,
        padding: 0,
    };
    adjust(&mut manner);
    let state = Arc::new(State { manner, seen: Mutex::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let listening = tokio::spawn({
        let state = Arc::clone(&state);
        async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                connections.spawn(async move {
                    let service = service_fn(move |request| serve(Arc::clone(&state), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }
    });
    Server { url, state, listening }
}

impl Server {
    pub(super) fn open(&self, session: &str) {
        self.state.seen.lock().unwrap().sessions.insert(session.into());
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.state.seen.lock().unwrap().log.clone()
    }

    pub(super) fn calls(&self) -> usize {
        self.log().iter().filter(|line| line.starts_with("tools/call")).count()
    }

    pub(super) fn sessions(&self) -> usize {
        self.state.seen.lock().unwrap().sessions.len()
    }

    /// Version and capabilities of the last `initialize`.
    pub(super) fn initialized_with(&self) -> (String, String) {
        let seen = self.state.seen.lock().unwrap();
        let params = &seen.initialize.as_ref().unwrap()["params"];
        (params["protocolVersion"].as_str().unwrap().into(), params["capabilities"].to_string())
    }

    pub(super) async fn hang_up(self) -> Self {
        self.listening.abort();
        let Self { url, state, listening } = self;
        let _ = listening.await;
        Self { url, state, listening: tokio::spawn(async {}) }
    }
}

fn plain(status: u16, text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}

/// An event stream that ends at once.
fn stream(events: String) -> Response<Body> {
    let mut response = plain(200, events);
    response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    response
}

/// An event stream that a task writes; it breaks off where that sends an error.
fn events() -> (mpsc::Sender<std::io::Result<String>>, Response<Body>) {
    let (sender, inbox) = mpsc::channel::<std::io::Result<String>>(8);
    let stream = futures_util::stream::unfold(inbox, |mut inbox| async {
        let event = inbox.recv().await?;
        Some((event.map(|event| Frame::data(format!("event: message\ndata: {event}\n\n").into())), inbox))
    });
    let mut response = Response::new(StreamBody::new(stream).boxed_unsync());
    response.headers_mut().insert("content-type", "text/event-stream; charset=utf-8".parse().unwrap());
    (sender, response)
}

async fn serve(state: Arc<State>, request: Request<Incoming>) -> std::io::Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    if header("authorization") != Some(format!("Bearer {TOKEN}")) {
        return Ok(plain(401, ""));
    }
    let session = header("mcp-session-id");
    let place = session.clone().unwrap_or_else(|| "-".into());
    let note = |line: String| state.seen.lock().unwrap().log.push(line);
    let known = session.as_ref().is_some_and(|id| state.seen.lock().unwrap().sessions.contains(id));
    if head.method == Method::DELETE {
        note(format!("DELETE {place}"));
        state.seen.lock().unwrap().sessions.remove(&place);
        return Ok(plain(200, ""));
    }
    if head.method == Method::GET {
        let after = header("last-event-id").unwrap();
        note(format!("GET after {after} {place}"));
        let event = match &*after {
            "1" => "id: 2\nretry: 20\ndata:\n\n".to_owned(),
            "2" => format!("id: 3\ndata: {ECHO}\n\n"),
            _ => return Ok(plain(405, "")),
        };
        return Ok(stream(event));
    }
    let message: Value = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
    let answer = |result: Value| json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string();
    let Some(method) = message["method"].as_str() else {
        assert!(known, "an answer must come on the session that was asked");
        state.seen.lock().unwrap().told.push(message);
        return Ok(plain(202, ""));
    };
    if method == "initialize" {
        note("initialize -".into());
        if state.manner.initialize == 0 {
            std::future::pending::<()>().await;
        }
        let padding = "x".repeat(state.manner.padding);
        let result = json!({"protocolVersion": "2025-03-26", "capabilities": {}, "instructions": padding});
        let mut response = plain(state.manner.initialize, answer(result));
        if state.manner.initialize == 200 {
            let mut seen = state.seen.lock().unwrap();
            seen.opened += 1;
            let id = format!("s{}", seen.opened);
            response.headers_mut().insert("mcp-session-id", id.parse().unwrap());
            seen.sessions.insert(id);
            seen.initialize = Some(message.clone());
        }
        return Ok(response);
    }
    if place.starts_with('s') {
        assert_eq!(header("mcp-protocol-version").as_deref(), Some("2025-03-26"), "what was negotiated");
    }
    if state.manner.keeps_sessions && !known {
        let passes = state.manner.forgets == Forgets::OnlyCalls && method != "tools/call";
        if method == "ping" {
            note(format!("ping {place}"));
        } else {
            note(format!("unknown {place}"));
        }
        let status = if state.manner.forgets == Forgets::BadRequest { 400 } else { 404 };
        return Ok(if passes { plain(200, answer(json!({}))) } else { plain(status, "") });
    }
    match method {
        "tools/call" => {
            let tool = message["params"]["name"].as_str().unwrap();
            note(format!("tools/call {tool} {place}"));
            call(Arc::clone(&state), tool, &message).await
        }
        "notifications/initialized" => {
            note(format!("{method} {place}"));
            Ok(plain(state.manner.initialized, ""))
        }
        _ => {
            note(format!("{method} {place}"));
            Ok(plain(200, answer(json!({}))))
        }
    }
}

async fn call(state: Arc<State>, tool: &str, message: &Value) -> std::io::Result<Response<Body>> {
    let id = message["id"].as_str().unwrap().to_owned();
    let whole = move |result: String| format!(r#"{{"jsonrpc":"2.0","id":"{id}","result":{result}}}"#);
    let echo = whole(json!({"echo": message["params"]["arguments"]}).to_string());
    let progress =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1}}"#.to_owned();
    let question = |id: &str, method: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}"}}"#);
    match tool {
        "break" => return Err(std::io::Error::other("it fell over")),
        "hang" => std::future::pending().await,
        "400" | "404" | "500" => return Ok(plain(tool.parse().unwrap(), "")),
        "large" => return Ok(plain(200, "x".repeat(128 * 1024))),
        "echo" => return Ok(plain(200, echo)),
        "later" => return Ok(stream("id: 1\nretry: 10\ndata:\n\n".into())),
        "pause" => return Ok(stream("id: 1\nretry: 500\ndata:\n\n".into())),
        "never" => return Ok(stream("id: 9\nretry: 10\ndata:\n\n".into())),
        _ => {}
    }
    let (events, response) = events();
    let tool = tool.to_owned();
    tokio::spawn(async move {
        // Nobody may be left to read.
        let _ = events.send(Ok(progress)).await;
        match tool.as_str() {
            "cut" => drop(events.send(Err(std::io::Error::other("it fell over"))).await),
            "stream" => drop(events.send(Ok(echo)).await),
            "nag" => {
                let mut number = 0_u64;
                while events.send(Ok(question(&number.to_string(), "roots/list"))).await.is_ok() {
                    number += 1;
                }
            }
            "ask" => {
                state.seen.lock().unwrap().told.clear();
                let _ = events.send(Ok(question("\"q-1\"", "sampling/createMessage"))).await;
                let _ = events.send(Ok(question("2", "ping"))).await;
                let mut told = Vec::new();
                for _ in 0..6_000 {
                    told.clone_from(&state.seen.lock().unwrap().told);
                    if told.len() == 2 {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                // They come in any order.
                told.sort_by_key(|told| told.get("result").is_some());
                let _ = events.send(Ok(whole(json!({"told": told}).to_string()))).await;
            }
            _ => {}
        }
    });
    Ok(response)
}
