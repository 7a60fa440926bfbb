//! What a condition can refer to: one call, who makes it, and when.

use std::borrow::Cow;

use jiff::Timestamp;
use wire::Raw;

use crate::{agent::Agent, call::Action};

/// Everything that the conditions of a policy can read about one call.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    pub(super) args: Result<Raw<'a>, Unusable>,
    pub(super) query: Result<Vec<(String, String)>, Unusable>,
    pub(super) call: Vec<(&'static str, Cow<'a, str>)>,
    pub(super) agent: [(&'static str, &'a str); 2],
    pub(super) now: Timestamp,
}

/// Why the arguments or the query of a call cannot be asked about. Asking is an error then, and an error counts
/// against the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// The call has none.
    Missing,
    /// The body's type is none that is read: JSON or a form.
    Type,
    /// The body is compressed.
    Compressed,
    /// It cannot be read in exactly one way: no valid JSON, a name that comes twice, an escape that is no text.
    Unreadable,
}

impl Unusable {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "the call has none",
            Self::Type => "the body is neither JSON nor a form",
            Self::Compressed => "the body is compressed",
            Self::Unreadable => "it cannot be read in exactly one way",
        }
    }
}

impl<'a> Facts<'a> {
    /// What is known of every call. `method` is the protocol's word, as in [`crate::call::Call`].
    #[must_use]
    pub fn new(
        agent: &'a Agent,
        service: &'a str,
        method: &'a str,
        action: &'a Action,
        now: Timestamp,
    ) -> Self {
        let text: &str = match action {
            Action::Tool(name) | Action::Prompt(name) | Action::Resource(name) | Action::Request(name) => {
                name
            }
            Action::Resources(_) | Action::List(_) | Action::Service | Action::Unknown => method,
        };
        let mut call = vec![("service", service.into()), ("method", method.into()), ("action", text.into())];
        match action {
            Action::Tool(name) => call.push(("tool", name.into())),
            Action::Request(request) => {
                let path = request.split_once(' ').map_or("", |(_, path)| path);
                call.push(("path", path.into()));
            }
            _ => {}
        }
        let agent = [("name", agent.name.as_str()), ("role", agent.role.as_str())];
        Self { args: Err(Unusable::Missing), query: Err(Unusable::Missing), call, agent, now }
    }

    /// With the arguments of a tool, or the body of a request.
    #[must_use]
    pub fn with_args(self, args: Result<Raw<'a>, Unusable>) -> Self {
        Self { args, ..self }
    }

    /// With the query of a request: pairs of unique names and their values, escapes undone.
    #[must_use]
    pub fn with_query(self, query: Result<Vec<(String, String)>, Unusable>) -> Self {
        Self { query, ..self }
    }
}
