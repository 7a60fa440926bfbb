//! What goes wrong between bridge and gateway, told twice: on stderr for people, and as the answer to the
//! request, because clients hide stderr.

use bytes::Bytes;
use domain::audit::write_json_string;
use thiserror::Error;

/// Why a message was not answered by the gateway as MCP has it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Trouble {
    /// Nothing that could be sent.
    #[error("TOOLGATE_KEY is not set (bridge); make a key: toolgate keys create")]
    NoKey,
    /// Nothing that a header can carry.
    #[error("TOOLGATE_KEY is no key (bridge); for a new one: toolgate keys create")]
    NotAKey,
    /// `--url` or `TOOLGATE_URL` is no address.
    #[error("{0} (--url, TOOLGATE_URL); write it like http://127.0.0.1:8484")]
    BadUrl(String),
    /// Nobody listens there.
    #[error("no gateway answers ({0}); start `toolgate serve`, or set TOOLGATE_URL")]
    Unreachable(String),
    /// 401.
    #[error("the gateway refused TOOLGATE_KEY ({0}); for a new one: toolgate keys create")]
    KeyRefused(String),
    /// The session ended and a new one could not be made.
    #[error("the session has ended ({0}); restart this server in the client")]
    SessionEnded(String),
    /// The gateway's refusal, in its own words.
    #[error("{detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the problem document says.
        detail: String,
    },
    /// The connection broke before the answer came. The call may have happened.
    #[error("the gateway's answer broke off ({0}); the call may have happened, check before repeating it")]
    BrokeOff(String),
    /// The answer is not MCP.
    #[error("the answer is not MCP ({0}); is that a Toolgate gateway?")]
    NotMcp(String),
    /// A message over the limit.
    #[error("a message is larger than 10 MB (stdin); it was not sent")]
    TooLarge,
}

impl Trouble {
    /// The JSON-RPC error that answers the request `id`, a JSON text; without one, `null`.
    pub fn answer(&self, id: Option<&str>) -> Bytes {
        let mut json = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{},\"error\":{{\"code\":{},\"message\":",
            id.unwrap_or("null"),
            self.code()
        );
        write_json_string(&mut json, &self.to_string());
        json.push_str("}}");
        json.into()
    }

    /// The status as an application code, outside the range that JSON-RPC reserves.
    fn code(&self) -> u16 {
        match self {
            Self::NoKey | Self::NotAKey | Self::KeyRefused(_) => 401,
            Self::BadUrl(_) => 400,
            Self::SessionEnded(_) => 404,
            Self::TooLarge => 413,
            Self::Refused { status, .. } => *status,
            Self::Unreachable(_) | Self::BrokeOff(_) | Self::NotMcp(_) => 502,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_answered_with_the_same_sentence() {
        let trouble = Trouble::Unreachable("http://127.0.0.1:8484".into());
        assert_eq!(
            trouble.answer(Some("\"a\"")),
            "{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"error\":{\"code\":502,\"message\":\"no gateway answers \
             (http://127.0.0.1:8484); start `toolgate serve`, or set TOOLGATE_URL\"}}"
        );
        assert!(Trouble::TooLarge.answer(None).starts_with(b"{\"jsonrpc\":\"2.0\",\"id\":null,"));
    }
}
