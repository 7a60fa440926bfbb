//! What is kept of an answer. On HTTP, the answer itself; on MCP, the JSON-RPC response, so that it can be given again
//! under another id, whether it came as JSON or on an event stream.

use bytes::Bytes;
use domain::idempotency::StoredAnswer;
use http::{HeaderName, StatusCode, header, response};
use wire::{Limits, Message, Raw, Shape, sse::Decoder};

use crate::arrival::Exchange;

/// Headers that belong to one answer on one connection.
const CARRIAGE: [HeaderName; 3] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, HeaderName::from_static("x-accel-buffering")];

/// What was asked, as far as it says how an answer is kept.
#[derive(Clone)]
pub(crate) enum Asked {
    /// An MCP message.
    Message {
        /// Its JSON-RPC id as the client wrote it.
        id: Option<Box<str>>,
    },
    /// A request to an HTTP API.
    Request,
}

impl Asked {
    /// What an exchange asks.
    pub(crate) fn of(exchange: &Exchange) -> Self {
        match exchange {
            Exchange::Post(message) => match message.shape() {
                Shape::Request { id, .. } => Self::Message { id: Some(id.text().into()) },
                Shape::Notification { .. } | Shape::Response { .. } => Self::Message { id: None },
            },
            Exchange::Request(_) | Exchange::Listen | Exchange::End => Self::Request,
        }
    }
}

/// What is kept of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// This.
    Answer(StoredAnswer),
    /// Nothing: by its status the upstream has refused to do anything, so the call may be made again.
    Refused,
    /// Nothing, and the call may have happened: the stream has ended without the response.
    Nothing,
}

pub(super) fn keep(asked: &Asked, head: &response::Parts, body: &Bytes) -> Kept {
    let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS]
        .contains(&head.status);
    match asked {
        _ if refused => Kept::Refused,
        // Streamable HTTP answers so when it did not take the message: an unknown session, an unfit version.
        Asked::Message { .. } if head.status.is_client_error() => Kept::Refused,
        _ => whole(asked, head, body).map_or(Kept::Nothing, Kept::Answer),
    }
}

/// The answer as it is kept; `None` for a stream that has ended without the response.
pub(crate) fn whole(asked: &Asked, head: &response::Parts, body: &Bytes) -> Option<StoredAnswer> {
    match asked {
        Asked::Request | Asked::Message { id: None } => Some(stored(head, body, None)),
        Asked::Message { id: Some(id) } => match media_type(head) {
            Some("text/event-stream") => response_in(body, id).map(|message| {
                let mut answer = stored(head, message.body(), Some(&message));
                answer.headers.retain(|(name, _)| name != header::CONTENT_TYPE.as_str());
                answer.headers.push(("content-type".into(), b"application/json".to_vec()));
                answer
            }),
            // What is no response (a page of a broken proxy) is given again as it is.
            _ => Some(stored(head, body, read_response(body.clone(), id).as_ref())),
        },
    }
}

/// Whether an upstream says with its answer that it did not do what was asked: by its status, or by a JSON-RPC error.
pub(crate) fn is_error(asked: &Asked, answer: &StoredAnswer) -> bool {
    let is_rpc_error = || {
        let body = Bytes::copy_from_slice(&answer.body);
        let limits = Limits::of_bytes(body.len());
        Message::read(body, &limits)
            .is_ok_and(|message| matches!(message.shape(), Shape::Response { is_error: true, .. }))
    };
    answer.status >= 400 || (matches!(asked, Asked::Message { .. }) && is_rpc_error())
}

/// The response to the request `id` among the events of a whole stream.
fn response_in(stream: &Bytes, id: &str) -> Option<Message> {
    let mut decoder = Decoder::new(stream.len());
    decoder.feed(stream.clone());
    while let Ok(Some(frame)) = decoder.next_frame() {
        if let Some(message) = frame.data.and_then(|data| read_response(data, id)) {
            return Some(message);
        }
    }
    None
}

/// The response to the request `id`, if the bytes are that.
fn read_response(bytes: Bytes, id: &str) -> Option<Message> {
    let limits = Limits::of_bytes(bytes.len());
    let message = Message::read(bytes, &limits).ok()?;
    match message.shape() {
        Shape::Response { id: Some(answered), .. } if is_same(answered, id) => Some(message),
        _ => None,
    }
}

/// A string may have been written with other escapes.
fn is_same(answered: Raw<'_>, id: &str) -> bool {
    let decoded = |raw: Raw<'_>| raw.as_str().map(std::borrow::Cow::into_owned);
    let asked = wire::json::read(id.as_bytes(), &Limits::of_bytes(id.len()));
    answered.text() == id || asked.is_ok_and(|id| id.as_str().is_some() && decoded(id) == decoded(answered))
}

fn stored(head: &response::Parts, body: &Bytes, message: Option<&Message>) -> StoredAnswer {
    let headers = head.headers.iter().filter(|(name, _)| !CARRIAGE.contains(name));
    StoredAnswer {
        status: head.status.as_u16(),
        headers: headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect(),
        body: body.to_vec(),
        id: message.and_then(|message| message.span(message.id()?)),
    }
}

fn media_type(head: &response::Parts) -> Option<&str> {
    let value = head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, media: &str) -> response::Parts {
        let builder = http::Response::builder().status(status).header("content-type", media);
        builder.header("content-length", "1").header("x-own", "kept").body(()).unwrap().into_parts().0
    }

    fn kept(asked: &Asked, status: u16, media: &str, body: &str) -> Kept {
        keep(asked, &head(status, media), &Bytes::copy_from_slice(body.as_bytes()))
    }

    fn answer(kept: Kept) -> StoredAnswer {
        match kept {
            Kept::Answer(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn message(id: &str) -> Asked {
        Asked::Message { id: Some(id.into()) }
    }

    #[test]
    fn a_response_can_be_given_again_under_another_id() {
        let text = r#"{"result":{"id":1},"id":1,"jsonrpc":"2.0"}"#;
        let stream = format!(
            ": hello\n\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}}\n\n\
             data: {}\n\nid: 5\ndata: {text}\n\n",
            text.replace("\"id\":1,", "\"id\":2,")
        );
        for (media, body) in [("application/json", text), ("text/event-stream", &stream)] {
            let answer = answer(kept(&message("1"), 200, media, body));
            assert_eq!(answer.body, text.as_bytes());
            let again = r#"{"result":{"id":1},"id":"x","jsonrpc":"2.0"}"#;
            assert_eq!(answer.body_for("\"x\""), again.as_bytes());
            let own = ("x-own".to_owned(), b"kept".to_vec());
            let json = ("content-type".to_owned(), b"application/json".to_vec());
            assert!(answer.headers.contains(&own) && answer.headers.contains(&json), "{:?}", answer.headers);
            assert_eq!(answer.headers.len(), 2);
        }
        let escaped = r#"{"jsonrpc":"2.0","id":"\u0061","result":{}}"#;
        assert!(answer(kept(&message("\"a\""), 200, "application/json", escaped)).id.is_some());
    }

    #[test]
    fn a_stream_without_the_response_keeps_nothing() {
        for stream in [
            "",
            "data: {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}\n\n",
            "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}",
            "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n\n",
        ] {
            assert_eq!(kept(&message("1"), 200, "text/event-stream", stream), Kept::Nothing, "{stream}");
        }
    }

    #[test]
    fn what_an_upstream_refused_may_be_tried_again() {
        for status in [401, 403, 429] {
            assert_eq!(kept(&Asked::Request, status, "text/plain", "no"), Kept::Refused);
        }
        assert_eq!(kept(&message("1"), 404, "text/plain", "no such session"), Kept::Refused);
        for status in [200, 201, 302, 400, 404, 409, 500, 503] {
            let answer = answer(kept(&Asked::Request, status, "text/plain", "body"));
            assert_eq!((answer.status, &answer.body[..], answer.id), (status, &b"body"[..], None));
        }
        assert_eq!(answer(kept(&message("1"), 500, "text/plain", "oops")).body, b"oops");
    }
}
