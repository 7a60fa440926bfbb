//! A call: one intended effect, whichever door it came in by.

use std::borrow::Cow;

use wire::mcp::{Class, ListKind};

use crate::names::CallId;

/// What a request wants, in the words that policy, limits and trail use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its id, answered as `X-Call-Id`.
    pub id: CallId,
    /// The service as the request named it; it may not exist, or not be in scope.
    pub service: String,
    /// The protocol's own word: an MCP method such as `tools/call`, an HTTP method such as `POST`.
    pub method: Cow<'static, str>,
    /// What the method acts on.
    pub action: Action,
    /// Whether it counts as a call or as housekeeping.
    pub class: Class,
}

/// What a method acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A tool, by name.
    Tool(String),
    /// A prompt, by name.
    Prompt(String),
    /// A resource, by URI.
    Resource(String),
    /// Several resources at once (`subscriptions/listen`); each must be allowed.
    Resources(Vec<String>),
    /// A request to an HTTP service, as `METHOD /path`: the text that `requests:` patterns are compared with. The
    /// path is, byte for byte, the one that is sent.
    Request(String),
    /// One of the lists; its answer is cut down to what the agent may use.
    List(ListKind),
    /// The service as such: `initialize`, `ping`, notifications, task polling …
    Service,
    /// A method that no supported version of the protocol knows.
    Unknown,
}

impl Call {
    /// The action as people read it: the tool's, prompt's or resource's name, `METHOD /path`, else the method.
    #[must_use]
    pub fn action_text(&self) -> &str {
        match &self.action {
            Action::Tool(name) | Action::Prompt(name) | Action::Resource(name) | Action::Request(name) => {
                name
            }
            Action::Resources(_) | Action::List(_) | Action::Service | Action::Unknown => &self.method,
        }
    }
}
