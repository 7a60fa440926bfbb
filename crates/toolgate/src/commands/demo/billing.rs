//! The demo's HTTP API: it answers only clients that present its secret, and repeats that secret in its answer, as
//! careless APIs do.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;

use super::upstream::{Upstream, empty, json};

/// The running API.
pub(super) struct Billing {
    pub(super) upstream: Upstream,
    /// How often its secret came with a request.
    seen: Arc<AtomicU64>,
}

impl Billing {
    /// Starts it; only a request with this secret is answered.
    pub(super) async fn start(secret: &str) -> std::io::Result<Self> {
        let seen = Arc::new(AtomicU64::new(0));
        let (counted, expected) = (Arc::clone(&seen), format!("Bearer {secret}"));
        let handler = move |request: &Request<Bytes>| {
            let came = request.headers().get(header::AUTHORIZATION);
            if came.is_none_or(|came| came.as_bytes() != expected.as_bytes()) {
                return (empty(StatusCode::UNAUTHORIZED), true);
            }
            counted.fetch_add(1, Ordering::SeqCst);
            (answer(request, &expected), true)
        };
        Ok(Self { upstream: Upstream::start(Arc::new(handler)).await?, seen })
    }

    /// How often its secret came since the last time this was asked.
    pub(super) fn take_seen(&self) -> u64 {
        self.seen.swap(0, Ordering::SeqCst)
    }
}

fn answer(request: &Request<Bytes>, authorization: &str) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/v1/balance") => {
            json(format!("{{\"balance\":120500,\"currency\":\"eur\",\"you_sent\":\"{authorization}\"}}"))
        }
        (&Method::POST, "/v1/refunds") => json("{\"refund\":\"re_1\",\"status\":\"done\"}".to_owned()),
        _ => empty(StatusCode::NOT_FOUND),
    }
}
