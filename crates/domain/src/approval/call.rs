//! The whole of a call that waits for people: what the gateway will send, and the key it was made with. It is kept
//! sealed, and no part of it is kept anywhere else.

use std::fmt;

use crate::{
    call::Action,
    key::{KeyMac, Proof},
    oauth::IssuerId,
    packed::{push_bytes, push_headers, push_number, take, take_bytes, take_headers, take_number, take_text},
};

/// A call as it was held.
#[derive(Clone, PartialEq, Eq)]
pub struct HeldCall {
    /// What proved its caller: looked at again before it is sent.
    pub proof: Proof,
    /// Where the service was ([`Upstream::destination`](crate::service::Upstream::destination)). People approved a call
    /// to there, and to nowhere else.
    pub destination: String,
    /// What it acts on.
    pub action: Action,
    /// What is sent.
    pub exchange: HeldExchange,
    /// The headers that travel on.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What is sent, by protocol.
#[derive(Clone, PartialEq, Eq)]
pub enum HeldExchange {
    /// An MCP message.
    Message {
        /// Its bytes, without our own `_meta` members.
        body: Vec<u8>,
        /// Whether it is of the newest, stateless protocol.
        modern: bool,
        /// The session token that came with it.
        session: Option<String>,
    },
    /// A request to an HTTP API.
    Request {
        /// The method.
        method: String,
        /// Path and query, as they are sent.
        target: String,
        /// The body.
        body: Vec<u8>,
    },
}

/// Shows nothing of the call.
impl fmt::Debug for HeldCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "held call, {} bytes", self.body().len())
    }
}

/// The first byte of [`HeldCall::to_bytes`]: what proved the caller. Another number would be another format.
const OF_KEY: u8 = 1;
const OF_TOKEN: u8 = 2;

impl HeldCall {
    /// The body that is sent.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match &self.exchange {
            HeldExchange::Message { body, .. } | HeldExchange::Request { body, .. } => body,
        }
    }

    /// The call as bytes, to be sealed: format, key or issuer, destination, action, exchange, headers.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.body().len() + 1_024);
        let (format, proof) = match &self.proof {
            Proof::Key(mac) => (OF_KEY, &mac.0),
            Proof::Token { issuer, expires_at: _ } => (OF_TOKEN, &issuer.0),
        };
        bytes.push(format);
        bytes.extend_from_slice(proof);
        push_bytes(&mut bytes, self.destination.as_bytes());
        let (kind, texts) = match &self.action {
            Action::Tool(name) => (b't', std::slice::from_ref(name)),
            Action::Prompt(name) => (b'p', std::slice::from_ref(name)),
            Action::Resource(uri) => (b'r', std::slice::from_ref(uri)),
            Action::Resources(uris) => (b'R', uris.as_slice()),
            Action::Request(request) => (b'h', std::slice::from_ref(request)),
            Action::List(_) | Action::Service => (b's', &[][..]),
            Action::Unknown => (b'u', &[][..]),
        };
        bytes.push(kind);
        push_number(&mut bytes, texts.len());
        for text in texts {
            push_bytes(&mut bytes, text.as_bytes());
        }
        match &self.exchange {
            HeldExchange::Message { body, modern, session } => {
                bytes.push(if *modern { b'm' } else { b'l' });
                push_number(&mut bytes, usize::from(session.is_some()));
                push_bytes(&mut bytes, session.as_deref().unwrap_or_default().as_bytes());
                push_bytes(&mut bytes, body);
            }
            HeldExchange::Request { method, target, body } => {
                bytes.push(b'h');
                for part in [method.as_bytes(), target.as_bytes(), body] {
                    push_bytes(&mut bytes, part);
                }
            }
        }
        push_headers(&mut bytes, &self.headers);
        bytes
    }

    /// Reads what [`HeldCall::to_bytes`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [format] = take(&mut rest, 1)? else { return None };
        let proof = take(&mut rest, 32)?.try_into().ok()?;
        let proof = match *format {
            OF_KEY => Proof::Key(KeyMac(proof)),
            OF_TOKEN => Proof::Token { issuer: IssuerId(proof), expires_at: None },
            _ => return None,
        };
        let destination = take_text(&mut rest)?;
        let [kind] = take(&mut rest, 1)? else { return None };
        let mut texts = Vec::new();
        for _ in 0..take_number(&mut rest)? {
            texts.push(take_text(&mut rest)?);
        }
        let action = match (kind, <[String; 1]>::try_from(texts)) {
            (b't', Ok([name])) => Action::Tool(name),
            (b'p', Ok([name])) => Action::Prompt(name),
            (b'r', Ok([uri])) => Action::Resource(uri),
            (b'R', Ok([uri])) => Action::Resources(vec![uri]),
            (b'R', Err(uris)) => Action::Resources(uris),
            (b'h', Ok([request])) => Action::Request(request),
            (b's', Err(none)) if none.is_empty() => Action::Service,
            (b'u', Err(none)) if none.is_empty() => Action::Unknown,
            _ => return None,
        };
        let [protocol] = take(&mut rest, 1)? else { return None };
        let exchange = match protocol {
            b'm' | b'l' => {
                let has_session = take_number(&mut rest)? == 1;
                let session = Some(take_text(&mut rest)?).filter(|_| has_session);
                let body = take_bytes(&mut rest)?.to_vec();
                HeldExchange::Message { body, modern: *protocol == b'm', session }
            }
            b'h' => {
                let (method, target) = (take_text(&mut rest)?, take_text(&mut rest)?);
                HeldExchange::Request { method, target, body: take_bytes(&mut rest)?.to_vec() }
            }
            _ => return None,
        };
        let headers = take_headers(&mut rest)?;
        rest.is_empty().then_some(Self { proof, destination, action, exchange, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls() -> Vec<HeldCall> {
        let headers = vec![("content-type".into(), b"application/json".to_vec()), ("x".into(), vec![0xff])];
        let message = |session: Option<&str>, modern| HeldExchange::Message {
            body: br#"{"jsonrpc":"2.0"}"#.to_vec(),
            modern,
            session: session.map(str::to_owned),
        };
        let request = HeldExchange::Request {
            method: "POST".into(),
            target: "/v1/refunds?a=b".into(),
            body: b"{}".to_vec(),
        };
        let (key, destination) = (Proof::Key(KeyMac([7; 32])), "https://api.example.com/v1");
        let of_token = Proof::Token { issuer: IssuerId([7; 32]), expires_at: None };
        let call_of = |proof, action, exchange| {
            let (destination, headers) = (destination.to_owned(), headers.clone());
            HeldCall { proof, destination, action, exchange, headers }
        };
        let call = |action, exchange| call_of(key, action, exchange);
        vec![
            call_of(of_token, Action::Tool("write".into()), message(None, true)),
            call(Action::Tool("write".into()), message(None, true)),
            call(Action::Prompt("p".into()), message(Some(""), false)),
            call(Action::Resource("file:///a".into()), message(Some("token"), false)),
            call(Action::Resources(vec!["a".into()]), message(None, false)),
            call(Action::Resources(vec!["a".into(), "b".into()]), message(None, false)),
            call(Action::Resources(Vec::new()), message(None, false)),
            call(Action::Request("POST /v1/refunds".into()), request),
            call(Action::Service, message(None, false)),
            call(Action::Unknown, message(None, true)),
        ]
    }

    #[test]
    fn a_call_reads_back_and_a_cut_one_does_not() {
        for call in calls() {
            let bytes = call.to_bytes();
            assert!(HeldCall::from_bytes(&bytes) == Some(call));
            for end in 0..bytes.len() {
                assert!(HeldCall::from_bytes(bytes.get(..end).unwrap()).is_none(), "{end}");
            }
            assert!(HeldCall::from_bytes(&[&bytes[..], b"x"].concat()).is_none());
        }
    }

    #[test]
    fn nothing_of_a_call_is_shown_by_accident() {
        for call in calls() {
            assert_eq!(format!("{call:?}"), format!("held call, {} bytes", call.body().len()));
        }
    }
}
