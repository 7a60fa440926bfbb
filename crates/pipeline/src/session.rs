//! Session ids of the older protocol: sealed tokens that name agent, service and the upstream's own session.
//!
//! There is no table of sessions. A token that was made for another agent or service, or altered, opens to
//! nothing, and its bearer is told that the session is unknown.

use domain::names::{AgentName, ServiceName};
use vault::SessionSealer;
use wire::mcp::Version;

/// What a token stands for at the upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// The upstream's own session id.
    Http(String),
    /// A child process, by its number in this process.
    Child(u64),
}

/// A session with the gateway itself, at the endpoint of all services. No upstream knows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnSession {
    /// Tells it from every other one.
    pub number: u64,
    /// The version that its client and we have agreed on.
    pub version: Version,
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

    /// A token for a new session with the gateway itself, good for this agent only.
    #[must_use]
    pub fn seal_own(&self, agent: &AgentName, version: Version) -> String {
        let number = u64::from_be_bytes(vault::random::bytes());
        // Where the others have a service's name, which is never empty, this one has nothing.
        self.sealer.seal(format!("{agent}\0\0{number:016x}{version}").as_bytes())
    }

    /// The session with the gateway itself that a token stands for, if it was made for this agent.
    #[must_use]
    pub fn open_own(&self, token: &str, agent: &AgentName) -> Option<OwnSession> {
        let plain = String::from_utf8(self.sealer.open(token)?).ok()?;
        let rest = plain.strip_prefix(agent.as_str())?.strip_prefix("\0\0")?;
        let (number, version) = rest.split_at_checked(16)?;
        let (number, version) = (u64::from_str_radix(number, 16).ok()?, Version::parse(version)?);
        Some(OwnSession { number, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vault::Secret;

    #[test]
    fn a_session_with_us_is_no_session_of_a_service_and_the_other_way_round() {
        let tokens = SessionTokens::new(SessionSealer::new(&Secret::new(vec![1; 32])).unwrap());
        let [ada, bob] = ["ada", "bob"].map(|name| AgentName::parse(name).unwrap());
        let files = ServiceName::parse("files").unwrap();
        let own = tokens.seal_own(&ada, Version::V2025_06_18);
        assert_eq!(tokens.open_own(&own, &ada).unwrap().version, Version::V2025_06_18);
        assert_eq!(tokens.open_own(&own, &bob), None);
        assert_eq!(tokens.open(&own, &ada, &files), None);
        let other = tokens.open_own(&tokens.seal_own(&ada, Version::V2025_06_18), &ada);
        assert_ne!(tokens.open_own(&own, &ada), other);
        let of_files = tokens.seal(&ada, &files, &Session::Http("0000000000000000".into()));
        assert_eq!(tokens.open_own(&of_files, &ada), None);
    }
}
