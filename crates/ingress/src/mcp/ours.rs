//! What the gateway says when it is an MCP server itself: results and errors of the protocol, in the form that the era
//! of the request expects.

use std::fmt::Write as _;

use domain::{audit::write_json_string, call::Call};
use http::{Response, StatusCode};
use pipeline::{
    CACHED_MS_MAX,
    flow::{self, Flow},
};
use wire::{
    Message, Raw,
    mcp::{Era, Version, code, meta},
};

use crate::answer;

/// A request that is answered here.
pub(super) struct Ours<'a> {
    /// As the trail and the answer's headers know it.
    pub(super) call: &'a Call,
    /// Its JSON-RPC id, as it was written.
    pub(super) id: &'a str,
    /// Whether it is of the newest protocol.
    pub(super) modern: bool,
}

/// What the gateway is at an endpoint.
pub(super) struct About<'a> {
    /// The name of the server there.
    pub(super) name: &'a str,
    /// What it can do, as JSON.
    pub(super) capabilities: &'a str,
    /// What models are told about using it.
    pub(super) instructions: &'a str,
}

impl Ours<'_> {
    /// A result with these members, which are JSON without the braces around them.
    pub(super) fn result(&self, members: &str) -> Response<Flow> {
        let mut body = String::with_capacity(members.len() + 128);
        // Writing to a `String` cannot fail.
        let _ = write!(body, "{{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{", self.id);
        if self.modern {
            body.push_str("\"resultType\":\"complete\"");
            if !members.is_empty() {
                body.push(',');
            }
        }
        body.push_str(members);
        body.push_str("}}");
        answer::own_message(StatusCode::OK, self.call, body)
    }

    /// The same for what clients may keep: each agent has its own, and not for long.
    pub(super) fn listed(&self, members: &str) -> Response<Flow> {
        self.listed_for(members, CACHED_MS_MAX)
    }

    /// The same for what is good for so many milliseconds at most.
    pub(super) fn listed_for(&self, members: &str, ttl: u64) -> Response<Flow> {
        let ttl = ttl.min(CACHED_MS_MAX);
        match self.modern {
            true => self.result(&format!("{members},\"ttlMs\":{ttl},\"cacheScope\":\"private\"")),
            false => self.result(members),
        }
    }

    /// The answer to `initialize`.
    pub(super) fn greeting(&self, message: &Message, about: &About<'_>) -> Response<Flow> {
        self.result(&format!(
            "\"protocolVersion\":\"{}\",\"capabilities\":{},\"serverInfo\":{},\"instructions\":{}",
            negotiated(message),
            about.capabilities,
            about.server(),
            quoted(about.instructions)
        ))
    }

    /// The answer to `server/discover`.
    pub(super) fn discovery(&self, about: &About<'_>) -> Response<Flow> {
        let modern = Version::ALL.iter().rev().filter(|version| version.era() == Era::Modern);
        let versions: Vec<String> = modern.map(|version| format!("\"{version}\"")).collect();
        self.listed(&format!(
            "\"supportedVersions\":[{}],\"capabilities\":{},\"instructions\":{},\"_meta\":{{\"{}\":{}}}",
            versions.join(","),
            about.capabilities,
            quoted(about.instructions),
            meta::SERVER_INFO,
            about.server()
        ))
    }

    /// There is no such method here.
    pub(super) fn unknown_method(&self, method: &str) -> Response<Flow> {
        // 2026-07-28, Streamable HTTP: 404 with this code; before, errors came with 200.
        let status = if self.modern { StatusCode::NOT_FOUND } else { StatusCode::OK };
        let what = format!("there is no method {} here", answer::quoted(method));
        answer::own_message(status, self.call, self.error(code::METHOD_NOT_FOUND, &what))
    }

    /// The parameters are not what the method takes.
    pub(super) fn invalid_params(&self, what: &str) -> Response<Flow> {
        answer::own_message(StatusCode::OK, self.call, self.error(code::INVALID_PARAMS, what))
    }

    fn error(&self, code: i32, what: &str) -> String {
        let message = quoted(what);
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{{\"code\":{code},\"message\":{message}}}}}",
            self.id
        )
    }
}

impl About<'_> {
    /// The `Implementation` of the protocol.
    fn server(&self) -> String {
        format!(
            "{{\"name\":{},\"title\":\"Toolgate\",\"version\":\"{}\"}}",
            quoted(self.name),
            env!("CARGO_PKG_VERSION")
        )
    }
}

/// The version that `initialize` leads to: the one that the client wants, if it is one with sessions, else the last such.
pub(super) fn negotiated(initialize: &Message) -> Version {
    let wanted = initialize.params().and_then(|params| params.get("protocolVersion")).and_then(Raw::as_str);
    let known = wanted.and_then(|wanted| Version::parse(&wanted));
    known.filter(|version| version.era() == Era::Legacy).unwrap_or(Version::V2025_11_25)
}

/// A message that wants no answer was taken.
pub(super) fn accepted(call: &Call) -> Response<Flow> {
    let mut response = Response::new(flow::whole(""));
    *response.status_mut() = StatusCode::ACCEPTED;
    answer::sign_own(&mut response, call);
    response
}

/// The text as JSON.
fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    write_json_string(&mut json, text);
    json
}
