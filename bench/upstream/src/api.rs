//! The HTTP API that is measured: a small JSON answer, 1 MiB, and 10 MB that flow down or up.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

/// An answer, whole or flowing.
pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The credential that callers are expected to come with, where they come with one.
const CREDENTIAL: &str = "Bearer bench-credential-0123456789abcdef";

const LARGE_BYTES: usize = 1 << 20;
const CHUNK_BYTES: usize = 16 << 10;
/// 10 MB, rounded down to whole chunks: the gateway's `body_limit`.
const CHUNKS: usize = 10_000_000 / CHUNK_BYTES;

/// Answers below `/api/`, made once.
pub struct Api {
    small: [Bytes; 2],
    large: Bytes,
    chunk: Bytes,
}

impl Api {
    pub fn new() -> Self {
        let small = |credential: bool| {
            let text = "x".repeat(64);
            Bytes::from(format!(r#"{{"text":"{text}","credential":{credential}}}"#))
        };
        // Text as APIs answer it; a run of one byte would be easier to look through than what people send.
        let line =
            br#"{"id":4711,"name":"A Name of a Thing","state":"open","price":12.50,"tags":["a","b"]},"#;
        let text = |bytes| Bytes::from(line.iter().copied().cycle().take(bytes).collect::<Vec<u8>>());
        Self { small: [small(false), small(true)], large: text(LARGE_BYTES), chunk: text(CHUNK_BYTES) }
    }

    /// What `path`, without `/api`, answers.
    pub async fn answer(&self, path: &str, request: Request<Incoming>) -> Answer {
        let credential = request.headers().get(AUTHORIZATION).is_some_and(|value| value == CREDENTIAL);
        match (request.method(), path) {
            (&Method::GET, "/small") => json(self.small[usize::from(credential)].clone()),
            (&Method::POST, "/small") => match request.into_body().collect().await {
                Ok(_) => json(self.small[usize::from(credential)].clone()),
                Err(_) => status(StatusCode::BAD_REQUEST),
            },
            (&Method::GET, "/large") => json(self.large.clone()),
            (&Method::GET, "/down") => {
                let chunks = Chunks { chunk: self.chunk.clone(), left: CHUNKS };
                Response::new(chunks.boxed_unsync())
            }
            (&Method::POST, "/up") => match counted(request.into_body()).await {
                Some(bytes) => json(format!(r#"{{"bytes":{bytes}}}"#).into()),
                None => status(StatusCode::BAD_REQUEST),
            },
            _ => status(StatusCode::NOT_FOUND),
        }
    }
}

/// How many bytes a body has, none of which is kept.
async fn counted(mut body: Incoming) -> Option<usize> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame.ok()?.data_ref().map_or(0, Bytes::len);
    }
    Some(bytes)
}

/// A body whose length nobody announces.
struct Chunks {
    chunk: Bytes,
    left: usize,
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.left.checked_sub(1).map(|left| {
            self.left = left;
            Ok(Frame::data(self.chunk.clone()))
        }))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

pub fn json(body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body).boxed_unsync());
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

pub fn status(code: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default().boxed_unsync());
    *answer.status_mut() = code;
    answer
}
