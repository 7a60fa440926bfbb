//! What the bridge knows about the conversation: the legacy era's session, or the modern era's version.
//! It makes the headers that MCP's HTTP transport wants and that stdio has no place for.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use wire::{
    json::{Limits, Raw},
    jsonrpc::Message,
    mcp::{self, Subject, encode_header, header, meta},
};

use super::lines::MESSAGE_BYTES_MAX;

/// One conversation with the gateway.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// The legacy session that the gateway gave.
    pub id: Option<HeaderValue>,
    /// The version that `initialize` agreed on, or that the last modern request stated.
    version: Option<HeaderValue>,
    /// The client's `initialize`, to be repeated when the session is lost.
    pub initialize: Option<Bytes>,
}

impl Session {
    /// Notes that a conversation begins.
    pub fn begin(&mut self, initialize: Bytes) {
        *self = Self { id: None, version: None, initialize: Some(initialize) };
    }

    /// Notes what the answer to `initialize` says.
    pub fn agree(&mut self, id: Option<HeaderValue>, answer: &[u8]) {
        let limits = Limits { bytes: MESSAGE_BYTES_MAX, depth: Limits::DEFAULT_DEPTH };
        let version = Message::read(Bytes::copy_from_slice(answer), &limits).ok().and_then(|answer| {
            answer.root().get("result")?.get("protocolVersion")?.as_str().and_then(|text| visible(&text))
        });
        self.id = id;
        self.version = version;
    }

    /// Notes the version that a message of the modern era states. Whether it is of that era.
    pub fn notice_era(&mut self, message: &Message) -> bool {
        let Some(version) = stated_version(message) else { return false };
        *self = Self { id: None, version: Some(version), initialize: None };
        true
    }

    /// Whether no `initialize` has begun it: then it is of the modern era.
    pub fn is_modern(&self) -> bool {
        self.id.is_none() && self.initialize.is_none()
    }

    /// The headers that a message of this conversation needs.
    pub fn headers(&self, message: Option<&Message>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: Option<HeaderValue>| {
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        put(header::SESSION_ID, self.id.clone());
        put(header::PROTOCOL_VERSION, message.and_then(stated_version).or_else(|| self.version.clone()));
        if let Some((message, method)) =
            message.filter(|_| self.is_modern()).and_then(|m| Some((m, m.method()?)))
        {
            put(header::METHOD, visible(method));
            put(header::NAME, name(message, method).and_then(|name| visible(&encode_header(&name))));
        }
        headers
    }
}

fn stated_version(message: &Message) -> Option<HeaderValue> {
    visible(&message.meta(meta::PROTOCOL_VERSION).and_then(Raw::as_str)?)
}

/// What `Mcp-Name` repeats: the tool, prompt, resource or task.
fn name(message: &Message, method: &str) -> Option<String> {
    match mcp::subject(message, mcp::method(method)?).ok()? {
        Subject::Tool(name) | Subject::Prompt(name) | Subject::Resource(name) | Subject::Task(name)
            if !method.starts_with("completion/") =>
        {
            Some(name.into_owned())
        }
        _ => None,
    }
}

fn visible(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        let limits = Limits { bytes: 10_000, depth: 64 };
        Message::read(Bytes::copy_from_slice(text.as_bytes()), &limits).unwrap()
    }

    fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
        let mut pairs: Vec<_> =
            headers.iter().map(|(k, v)| (k.to_string(), v.to_str().unwrap().to_owned())).collect();
        pairs.sort();
        pairs
    }

    #[test]
    fn a_modern_request_says_in_headers_what_it_says_in_its_body() {
        let call = message(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"grüßen","_meta":
            {"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
        );
        let mut session = Session::default();
        assert!(session.notice_era(&call));
        let pairs = pairs(&session.headers(Some(&call)));
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("mcp-method", "tools/call"),
                ("mcp-name", "=?base64?Z3LDvMOfZW4=?="),
                ("mcp-protocol-version", "2026-07-28")
            ]
        );
    }

    #[test]
    fn a_legacy_request_carries_session_and_agreed_version() {
        let list = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        let mut session = Session::default();
        session.begin(Bytes::from_static(b"{}"));
        assert!(session.headers(Some(&list)).is_empty());
        session.agree(
            Some(HeaderValue::from_static("s1")),
            br#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25"}}"#,
        );
        let pairs = pairs(&session.headers(Some(&list)));
        assert_eq!(pairs[0], ("mcp-protocol-version".to_owned(), "2025-11-25".to_owned()));
        assert_eq!(pairs[1], ("mcp-session-id".to_owned(), "s1".to_owned()));
        assert_eq!(pairs.len(), 2);
        assert!(!session.notice_era(&list));
    }
}
