//! The demo's upstream: a small MCP server for notes, spoken to over Streamable HTTP. It counts the tool calls
//! that reach it, and that count is what the demo's proofs rest on.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};
use wire::{Limits, Message, Raw, Shape};

/// The largest message it reads (bytes).
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The five tools, in the order they are listed.
const TOOLS: [(&str, &str); 5] = [
    ("list_notes", "All notes, with their titles."),
    ("read_note", "One note, by id."),
    ("search_notes", "Notes that contain a text."),
    ("delete_note", "Deletes one note. It cannot be undone."),
    ("delete_all_notes", "Deletes every note. It cannot be undone."),
];

/// The running server. It ends when this is dropped.
pub(super) struct Notes {
    address: SocketAddr,
    hits: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Notes {
    /// Starts it on a free port of the loopback address.
    pub(super) async fn start() -> std::io::Result<Self> {
        let socket = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = socket.local_addr()?;
        let hits = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&hits);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let hits = Arc::clone(&counted);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let hits = Arc::clone(&hits);
                        async move { Ok::<_, Infallible>(answer(request, &hits).await) }
                    });
                    // How a connection ended is its client's business.
                    let _ = stream.set_nodelay(true);
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(Self { address, hits, task })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Tool calls that reached it since the last reset.
    pub(super) fn hits(&self) -> u64 {
        self.hits.load(Ordering::SeqCst)
    }

    pub(super) fn reset(&self) {
        self.hits.store(0, Ordering::SeqCst);
    }

    /// The hits since the last reset, and a reset.
    pub(super) fn take_hits(&self) -> u64 {
        self.hits.swap(0, Ordering::SeqCst)
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(request: Request<Incoming>, hits: &AtomicU64) -> Response<Full<Bytes>> {
    if request.method() != Method::POST || request.uri().path() != "/mcp" {
        return empty(StatusCode::METHOD_NOT_ALLOWED);
    }
    let Ok(body) = Limited::new(request.into_body(), MESSAGE_BYTES_MAX).collect().await else {
        return empty(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let Ok(message) = Message::read(body.to_bytes(), &Limits::of_bytes(MESSAGE_BYTES_MAX)) else {
        return empty(StatusCode::BAD_REQUEST);
    };
    let Shape::Request { id, method } = message.shape() else { return empty(StatusCode::ACCEPTED) };
    let id = id.text();
    let result = match method {
        "initialize" => concat!(
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"#,
            r#""serverInfo":{"name":"notes","version":"1.0"}}"#
        )
        .to_owned(),
        "tools/list" => tool_list(),
        "tools/call" => {
            hits.fetch_add(1, Ordering::SeqCst);
            call(&message)
        }
        _ => {
            let error = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"unknown method"}}}}"#
            );
            return json(error);
        }
    };
    json(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

fn tool_list() -> String {
    let one = |(name, about): &(&str, &str)| {
        format!(r#"{{"name":"{name}","description":"{about}","inputSchema":{{"type":"object"}}}}"#)
    };
    let all: Vec<String> = TOOLS.iter().map(one).collect();
    format!(r#"{{"tools":[{}]}}"#, all.join(","))
}

fn call(message: &Message) -> String {
    let name =
        message.params().and_then(|params| params.get("name")).and_then(Raw::as_str).unwrap_or_default();
    let said = match &*name {
        "list_notes" => "q1 First quarter\\nq2 Second quarter\\nq3 Third quarter",
        // Written so that a proxy that reads and writes JSON again is found out: 1.0, an escape, an odd blank.
        "read_note" => "Third quarter: the budget is 1\\u002e5 M\\u20ac",
        "search_notes" => "q3 Third quarter",
        "delete_note" => "note q3 is deleted",
        "delete_all_notes" => "all notes are deleted",
        _ => "there is no such tool",
    };
    format!(r#"{{"content":[ {{"type":"text","text":"{said}"}}],"_meta":{{"cost":1.0}}}}"#)
}

fn json(body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
