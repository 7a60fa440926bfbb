//! Executing a call while its client is not connected: people have approved it, perhaps hours after it was made. Both
//! transports do the client's part here: the handshake of a session of its own, and "no" to whatever the server asks.

use bytes::Bytes;
use domain::stop::{Fault, Stop};
use http::HeaderMap;
use wire::{
    Limits, Message, Shape,
    mcp::{self, Version},
};

/// What a server is told that asks somebody who is not there.
pub(super) const NOBODY: &str = "nobody is there to answer";
/// The id of our `initialize`: the first request of its session.
pub(super) const INITIALIZE_ID: &str = "\"toolgate\"";
/// The second message of a session.
pub(super) const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

/// The first message of a session of our own (MCP 2025-11-25, lifecycle): no capabilities, because nobody is there to
/// be asked anything. The version is the one that the call came with; a call that names none is of 2025-03-26.
pub(super) fn initialize(headers: &HeaderMap) -> String {
    let said = headers.get(mcp::header::PROTOCOL_VERSION).and_then(|version| version.to_str().ok());
    let version = said.and_then(|said| Version::parse(said.trim())).unwrap_or(Version::V2025_03_26);
    format!(
        r#"{{"jsonrpc":"2.0","id":{INITIALIZE_ID},"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{{}},"clientInfo":{{"name":"toolgate","version":"{}"}}}}}}"#,
        env!("CARGO_PKG_VERSION")
    )
}

/// Asks whether a session is still there. Its id must be new in that session.
pub(super) fn ping(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#)
}

/// The version that the server wants to speak; none where it did not open a session.
pub(super) fn negotiated(answer: Bytes) -> Option<String> {
    let limits = Limits::of_bytes(answer.len());
    let answer = Message::read(answer, &limits).ok()?;
    Some(answer.root().get("result")?.get("protocolVersion")?.as_str()?.into_owned())
}

/// The answer to a server's request, in place of a client: yes to a `ping`, `why` not to everything else.
pub(super) fn answer_for_nobody(request: &Message, why: &str) -> Option<String> {
    let Shape::Request { id, method } = request.shape() else { return None };
    let (id, code) = (id.text(), mcp::code::METHOD_NOT_FOUND);
    Some(match method {
        "ping" => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#),
        _ => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{why}"}}}}"#),
    })
}

/// What went wrong before the call itself was sent must not look as if it might have happened.
pub(super) fn unsent(stop: Stop) -> Stop {
    match stop {
        Stop::Fault(fault) if fault.may_have_happened() => no_session(&fault.cause()).into(),
        other => other,
    }
}

/// There is no session to execute the call on; it was not sent. `why` is for operators.
pub(super) fn no_session(why: &str) -> Fault {
    Fault::UpstreamUnreachable(format!("no session could be opened for the approved call: {why}"))
}

#[cfg(test)]
pub(super) mod tests;
