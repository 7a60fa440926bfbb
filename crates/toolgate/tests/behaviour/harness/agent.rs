//! An agent at one service, or at all of its: a small MCP client over the raw one.

use std::net::SocketAddr;

use super::{Reply, Request, send};

/// An agent at one MCP endpoint.
#[derive(Clone)]
pub struct Agent {
    address: SocketAddr,
    key: String,
    target: String,
    /// Its session of the older protocol.
    pub session: Option<String>,
}

impl Agent {
    pub(super) fn new(address: SocketAddr, key: &str, target: &str) -> Self {
        Self { address, key: key.to_owned(), target: target.to_owned(), session: None }
    }

    /// With a session: what a client of the older protocols does first.
    pub fn connected(mut self) -> Self {
        let params =
            r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#;
        let reply = self.request("initialize", params);
        assert_eq!(reply.verdict(), 200, "{}", reply.text());
        self.session = reply.header("mcp-session-id").map(str::to_owned);
        let told = self.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert_eq!(told.status, 202, "{}", told.text());
        self
    }

    /// With this session, which it has opened elsewhere.
    pub fn with(mut self, session: &Option<String>) -> Self {
        self.session.clone_from(session);
        self
    }

    /// The request that posts this body.
    pub fn post(&self, body: impl Into<Vec<u8>>) -> Request {
        self.dressed(Request::post(&self.target(), body))
    }

    /// The request that listens to the server.
    pub fn listen(&self) -> Request {
        self.dressed(Request::listen(&self.target()))
    }

    /// The request that ends the session.
    pub fn end(&self) -> Request {
        self.dressed(Request::new("DELETE", &self.target()))
    }

    /// Posts a body and waits for the whole answer.
    pub fn send(&self, body: impl Into<Vec<u8>>) -> Reply {
        send(self.address, &self.post(body))
    }

    /// Sends a request with id 1.
    pub fn request(&self, method: &str, params: &str) -> Reply {
        self.send(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#))
    }

    /// Calls a tool.
    pub fn call(&self, tool: &str, arguments: &str) -> Reply {
        self.send(call(1, tool, arguments))
    }

    /// Calls a tool and gives the text of its answer.
    pub fn told(&self, tool: &str) -> String {
        let reply = self.call(tool, "{}");
        let json = reply.json();
        json["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
    }

    /// Where its gateway is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The path of the service, or of all of them.
    pub fn target(&self) -> String {
        self.target.clone()
    }

    fn dressed(&self, request: Request) -> Request {
        let request = request.key(&self.key);
        match &self.session {
            Some(session) => request.header("Mcp-Session-Id", session),
            None => request,
        }
    }
}

/// A `tools/call`.
pub fn call(id: u32, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    )
}
