//! An MCP server over Streamable HTTP, and an HTTP API, that answer at once, so that what is measured is the gateway
//! in front of them. One thread, JSON answers, both protocol eras; it counts what reaches it. Only for `bench/`.
//!
//! Usage: `bench-upstream PORT TOOLS`, on 127.0.0.1. `POST /mcp` is the server, `/api/…` the API, `GET /stats` the
//! counts.

mod api;

use std::convert::Infallible;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;

use api::{Answer, Api, status};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter_map(|word| word.parse::<u32>().ok());
    let (Some(port), Some(tools)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: bench-upstream PORT TOOLS");
        return ExitCode::from(2);
    };
    let server = Rc::new(Server {
        tools: tool_list(tools),
        api: Api::new(),
        calls: 0.into(),
        lists: 0.into(),
        sessions: 0.into(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let outcome =
        runtime.and_then(|runtime| tokio::task::LocalSet::new().block_on(&runtime, serve(port, server)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(port: u32, server: Rc<Server>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let server = Rc::clone(&server);
        tokio::task::spawn_local(async move {
            let service = hyper::service::service_fn(move |request| {
                let server = Rc::clone(&server);
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            // A client that goes away ends its own connection, nothing else.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

struct Server {
    tools: String,
    api: Api,
    calls: AtomicU64,
    lists: AtomicU64,
    sessions: AtomicU64,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<&'a str>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Deserialize, Default)]
struct Params<'a> {
    #[serde(borrow, default)]
    arguments: Arguments<'a>,
    #[serde(borrow)]
    _meta: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Arguments<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if let Some(path) = request.uri().path().strip_prefix("/api").map(str::to_owned) {
            self.calls.fetch_add(1, Relaxed);
            return self.api.answer(&path, request).await;
        }
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/stats") => json(format!(
                r#"{{"calls":{},"lists":{}}}"#,
                self.calls.load(Relaxed),
                self.lists.load(Relaxed)
            )),
            (&Method::POST, "/mcp") => match request.into_body().collect().await {
                Ok(body) => self.message(&body.to_bytes()),
                Err(_) => status(StatusCode::BAD_REQUEST),
            },
            (&Method::DELETE, "/mcp") => status(StatusCode::OK),
            (_, "/mcp") => status(StatusCode::METHOD_NOT_ALLOWED),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    fn message(&self, body: &[u8]) -> Answer {
        let Ok(message) = serde_json::from_slice::<Message<'_>>(body) else {
            return status(StatusCode::BAD_REQUEST);
        };
        let (Some(id), Some(method)) = (message.id, message.method) else {
            return status(StatusCode::ACCEPTED); // a notification
        };
        let modern = message.params._meta.is_some_and(|meta| meta.get().contains("2026-07-28"));
        // What 2026-07-28 wants in every result, and in lists.
        let kind = if modern { r#""resultType":"complete","# } else { "" };
        match method {
            "tools/call" => {
                self.calls.fetch_add(1, Relaxed);
                let text = message.params.arguments.text.map_or(r#""""#, RawValue::get);
                result(
                    id,
                    &format!(r#"{{{kind}"content":[{{"type":"text","text":{text}}}],"isError":false}}"#),
                )
            }
            "tools/list" => {
                self.lists.fetch_add(1, Relaxed);
                let caching = if modern { r#""ttlMs":0,"cacheScope":"private","# } else { "" };
                result(id, &format!(r#"{{{kind}{caching}"tools":{}}}"#, self.tools))
            }
            "initialize" => {
                let mut answer = result(
                    id,
                    r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench-upstream","version":"0.1.0"}}"#,
                );
                let number = self.sessions.fetch_add(1, Relaxed);
                if let Ok(session) = HeaderValue::from_str(&format!("session-{number}")) {
                    answer.headers_mut().insert("mcp-session-id", session);
                }
                answer
            }
            "server/discover" => result(
                id,
                r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"public"}"#,
            ),
            "ping" => result(id, "{}"),
            _ => json(format!(
                r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32601,"message":"method not found"}}}}"#,
                id.get()
            )),
        }
    }
}

/// `echo`, then `tool_0001` and so on, each about as large as real servers' tools are.
fn tool_list(count: u32) -> String {
    let mut list = String::from("[");
    for number in 0..count {
        let name = if number == 0 { "echo".to_owned() } else { format!("tool_{number:04}") };
        let comma = if number == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(
            list,
            concat!(
                r#"{}{{"name":"{}","title":"Tool number {}","description":"Answers with the text it was given, as it was given. "#,
                r#"Takes a text and how often to repeat it.","inputSchema":{{"type":"object","properties":{{"#,
                r#""text":{{"type":"string","description":"the text to answer with"}},"#,
                r#""times":{{"type":"integer","minimum":1,"maximum":9}}}},"required":["text"]}},"#,
                r#""annotations":{{"readOnlyHint":true}}}}"#
            ),
            comma, name, number
        );
    }
    list.push(']');
    list
}

fn result(id: &RawValue, result: &str) -> Answer {
    json(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, id.get()))
}

fn json(body: String) -> Answer {
    api::json(body.into())
}
