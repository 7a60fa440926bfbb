//! The demo's MCP server: a few notes, spoken to over Streamable HTTP.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use wire::{Limits, Message, Raw, Shape};

use super::upstream::{Upstream, empty, json};

/// The five tools, in the order they are listed.
const TOOLS: [(&str, &str); 5] = [
    ("list_notes", "All notes, with their titles."),
    ("read_note", "One note, by id."),
    ("search_notes", "Notes that contain a text."),
    ("delete_note", "Deletes one note. It cannot be undone."),
    ("delete_all_notes", "Deletes every note. It cannot be undone."),
];

/// Starts the server.
pub(super) async fn start() -> std::io::Result<Upstream> {
    Upstream::start(Arc::new(answer)).await
}

/// Only `tools/call` counts as a call.
fn answer(request: &Request<Bytes>) -> (Response<Full<Bytes>>, bool) {
    if request.method() != Method::POST || request.uri().path() != "/mcp" {
        return (empty(StatusCode::METHOD_NOT_ALLOWED), false);
    }
    let body = request.body();
    let Ok(message) = Message::read(body.clone(), &Limits::of_bytes(body.len())) else {
        return (empty(StatusCode::BAD_REQUEST), false);
    };
    let Shape::Request { id, method } = message.shape() else { return (empty(StatusCode::ACCEPTED), false) };
    let id = id.text();
    let result = match method {
        "initialize" => concat!(
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"#,
            r#""serverInfo":{"name":"notes","version":"1.0"}}"#
        )
        .to_owned(),
        "tools/list" => tool_list(),
        "tools/call" => call(&message),
        _ => {
            let error = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"unknown method"}}}}"#
            );
            return (json(error), false);
        }
    };
    (json(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#)), method == "tools/call")
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
