//! An agent that speaks the newest version at one service: no session, everything in each request, and headers that
//! say what the body says.

use std::net::SocketAddr;

use serde_json::Value;

use super::{Answer, Reply, Request, open, send};

/// An agent of the newest version at one service.
#[derive(Clone)]
pub struct Modern {
    address: SocketAddr,
    key: String,
    service: String,
    capabilities: String,
    /// More members of each request's `_meta`, each with a comma before it.
    pub meta: String,
}

impl Modern {
    /// With this key, declaring nothing.
    pub fn new(address: SocketAddr, key: &str, service: &str) -> Self {
        let (key, service) = (key.to_owned(), service.to_owned());
        Self { address, key, service, capabilities: "{}".into(), meta: String::new() }
    }

    /// Declaring these capabilities.
    pub fn declaring(mut self, capabilities: &str) -> Self {
        self.capabilities = capabilities.to_owned();
        self
    }

    /// Declaring that it takes tasks.
    pub fn with_tasks(self) -> Self {
        self.declaring(r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#)
    }

    /// A request; `members` are those of its parameters, as they stand between the braces.
    pub fn post(&self, id: &str, method: &str, members: &str) -> Request {
        let comma = if members.is_empty() { "" } else { "," };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{members}{comma}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}{}}}}}}}"#,
            self.capabilities, self.meta
        );
        let params = serde_json::from_str::<Value>(&body).unwrap()["params"].take();
        let name = ["name", "uri", "taskId"].into_iter().find_map(|key| params[key].as_str());
        let request = Request::post(&format!("/mcp/{}", self.service), body)
            .key(&self.key)
            .header("MCP-Protocol-Version", "2026-07-28")
            .header("Mcp-Method", method);
        match name {
            Some(name) => request.header("Mcp-Name", name),
            None => request,
        }
    }

    /// Sends a request with id 1 and waits for the whole answer.
    pub fn request(&self, method: &str, members: &str) -> Reply {
        send(self.address, &self.post("1", method, members))
    }

    /// Calls a tool.
    pub fn call(&self, tool: &str, arguments: &str) -> Reply {
        self.request("tools/call", &format!(r#""name":"{tool}","arguments":{arguments}"#))
    }

    /// Asks after a task.
    pub fn task(&self, method: &str, id: &str) -> Reply {
        self.request(method, &format!(r#""taskId":"{id}""#))
    }

    /// Opens a stream of notifications under an id, and waits for its head.
    pub fn subscribe(&self, id: &str, wishes: &str) -> Answer {
        open(self.address, &self.post(id, "subscriptions/listen", &format!(r#""notifications":{wishes}"#)))
    }
}

/// The message that an event carries.
pub fn message_in(event: &str) -> Value {
    let lines: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    serde_json::from_str(&lines.join("\n")).unwrap_or_else(|_| panic!("no message: {event}"))
}
