//! Idempotency keys: a call repeated under the same key gets the first call's answer and is not made again
//! (draft-ietf-httpapi-idempotency-key-header).

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use crate::packed::{push_bytes, push_headers, push_number, take, take_bytes, take_headers, take_number};

/// The most characters a key may have.
const LENGTH_MAX: usize = 255;
/// How long a key is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest that a repeated call may wait for the first one (RFC 7240 §4.3, `Prefer: wait`).
pub const WAIT_MAX: Duration = Duration::from_secs(10);

/// A key as the agent sent it: 1 to 255 visible ASCII characters. It means something within one agent only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Parses a key; `None` when it is empty, too long, or not visible ASCII.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=LENGTH_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// That a call may be repeated without being made again, and how long the repeated one may wait for the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeatable {
    /// The key.
    pub key: IdempotencyKey,
    /// At most [`WAIT_MAX`]; zero where the client does not ask to wait.
    pub wait: Duration,
}

/// An answer that is kept to be given again.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The headers that travelled on, as bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, whole.
    pub body: Vec<u8>,
    /// Where in the body the JSON-RPC id stands that a repeated request has another one for.
    pub id: Option<Range<usize>>,
}
impl fmt::Debug for StoredAnswer {
    /// Without the body: it is the agent's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stored answer {}, {} bytes", self.status, self.body.len())
    }
}

/// The first byte of [`StoredAnswer::to_bytes`]; another number would be another format.
const FORMAT: u8 = 1;

impl StoredAnswer {
    /// The answer as bytes, to be sealed: format, status, span of the id, headers, body. Numbers are big-endian,
    /// what has no fixed length stands after it (`u32`).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.body.len() + 1_024);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.status.to_be_bytes());
        let id = self.id.clone().unwrap_or_default();
        push_number(&mut bytes, id.start);
        push_number(&mut bytes, id.end);
        push_headers(&mut bytes, &self.headers);
        push_bytes(&mut bytes, &self.body);
        bytes
    }

    /// Reads what [`StoredAnswer::to_bytes`] wrote; `None` for anything else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [format, high, low] = take(&mut rest, 3)?.try_into().ok()?;
        if format != FORMAT {
            return None;
        }
        let (start, end) = (take_number(&mut rest)?, take_number(&mut rest)?);
        let headers = take_headers(&mut rest)?;
        let body = take_bytes(&mut rest)?.to_vec();
        // An id has at least one character.
        let id = (start < end).then_some(start..end);
        let fits = rest.is_empty() && end <= body.len();
        fits.then_some(Self { status: u16::from_be_bytes([high, low]), headers, body, id })
    }

    /// The body for the request with this JSON-RPC id, as the client wrote it.
    #[must_use]
    pub fn body_for(&self, id: &str) -> Vec<u8> {
        let Some(span) = &self.id else { return self.body.clone() };
        match (self.body.get(..span.start), self.body.get(span.end..)) {
            (Some(before), Some(after)) => [before, id.as_bytes(), after].concat(),
            _ => self.body.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length() {
        for good in ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", &"x".repeat(255)] {
            assert_eq!(IdempotencyKey::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "ä", "a\n", &"x".repeat(256)] {
            assert!(IdempotencyKey::parse(bad).is_none(), "{bad}");
        }
    }

    fn answer() -> StoredAnswer {
        let headers = vec![("content-type".into(), b"text/plain".to_vec()), ("x".into(), vec![0xff, 0])];
        StoredAnswer { status: 207, headers, body: b"{\"id\":\"one\",\"a\":1}".to_vec(), id: Some(6..11) }
    }

    #[test]
    fn an_answer_reads_back_and_a_cut_one_does_not() {
        let nothing = StoredAnswer { status: 204, headers: Vec::new(), body: Vec::new(), id: None };
        for answer in [answer(), nothing] {
            let bytes = answer.to_bytes();
            assert_eq!(StoredAnswer::from_bytes(&bytes), Some(answer));
            for end in 0..bytes.len() {
                assert_eq!(StoredAnswer::from_bytes(bytes.get(..end).unwrap()), None, "{end}");
            }
            assert_eq!(StoredAnswer::from_bytes(&[&bytes[..], b"x"].concat()), None);
        }
    }

    #[test]
    fn a_repeated_request_gets_its_own_id() {
        assert_eq!(answer().body_for("-42"), b"{\"id\":-42,\"a\":1}");
        let plain = StoredAnswer { id: None, ..answer() };
        assert_eq!(plain.body_for("-42"), plain.body);
    }
}
