//! Session ids of the older protocol: sealed tokens that name agent, service and the upstream's own session.
//!
//! There is no table of sessions. A token that was made for another agent or service, or altered, opens to
//! nothing, and its bearer is told that the session is unknown.

use domain::names::{AgentName, ServiceName};
use vault::SessionSealer;

/// What a token stands for at the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// The upstream's own session id.
    Http(String),
    /// A child process, by its number in this process.
    Child(u64),
}

/// Seals and opens session tokens.
pub struct SessionTokens {
    sealer: SessionSealer,
}

impl SessionTokens {
    /// Tokens sealed with this sealer.
    #[must_use]
    pub fn new(sealer: SessionSealer) -> Self {
        Self { sealer }
    }

    /// A token for `session`, good for this agent at this service only. Visible ASCII, as MCP asks.
    #[must_use]
    pub fn seal(&self, agent: &AgentName, service: &ServiceName, session: &Session) -> String {
        let (kind, id) = match session {
            Session::Http(id) => ("h", id.clone()),
            Session::Child(number) => ("c", number.to_string()),
        };
        self.sealer.seal(format!("{agent}\0{service}\0{kind}{id}").as_bytes())
    }

    /// What a token stands for, if it was made for this agent and service.
    #[must_use]
    pub fn open(&self, token: &str, agent: &AgentName, service: &ServiceName) -> Option<Session> {
        let plain = String::from_utf8(self.sealer.open(token)?).ok()?;
        let rest = plain.strip_prefix(agent.as_str())?.strip_prefix('\0')?;
        let rest = rest.strip_prefix(service.as_str())?.strip_prefix('\0')?;
        match rest.split_at_checked(1)? {
            ("h", id) => Some(Session::Http(id.to_owned())),
            ("c", number) => number.parse().ok().map(Session::Child),
            _ => None,
        }
    }
}
