//! How much of a body is read whole, and for how long: little from strangers, up to `gateway.body_limit` from key
//! holders.

use std::time::Duration;

use bytes::Bytes;
use domain::stop::{Refusal, Stop, Unreadable};
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use pipeline::{Presented, flow::Broken};

use crate::Front;

/// What is read before a key is known, which may stand in the body (bytes).
const STRANGER_BYTES_MAX: u64 = 64 * 1024;
/// How long a body may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(30);

/// Reads the whole body of a message that we must read ourselves.
///
/// # Errors
/// 413 over the limit; 400 when it is compressed, breaks off or takes too long; 503 when as many bodies are held as
/// may be.
pub(crate) async fn read_message(
    headers: &HeaderMap,
    body: Incoming,
    front: &Front,
    key: Option<&Presented>,
) -> Result<Bytes, Stop> {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::Unreadable(Unreadable::Header("content-encoding".into())).into());
    }
    read_whole(headers, body, front, key).await
}

/// Reads the whole body, whatever it is. A large one keeps its part of the budget for bodies as long as it is there.
///
/// # Errors
/// 413 over the limit; 400 when it breaks off or takes too long; 503 when as many bodies are held as may be.
pub(crate) async fn read_whole(
    headers: &HeaderMap,
    body: Incoming,
    front: &Front,
    key: Option<&Presented>,
) -> Result<Bytes, Stop> {
    let gateway = &front.gateway;
    let announced = announced(headers);
    // A small body needs no look at the key before it is read.
    let small = announced.is_some_and(|bytes| bytes <= STRANGER_BYTES_MAX);
    let known = match key {
        Some(key) if !small => gateway.knows(key).await,
        _ => false,
    };
    let bytes_max = if known { gateway.bounds.body_bytes_max } else { STRANGER_BYTES_MAX };
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(Refusal::TooLarge(bytes_max).into());
    }
    if known {
        let body = body.map_err(|_| Broken::Client).boxed_unsync();
        return gateway.bodies.read(body, bytes_max, ARRIVAL_MAX).await.map(Bytes::from);
    }
    let limited = Limited::new(body, usize::try_from(bytes_max).unwrap_or(usize::MAX));
    match tokio::time::timeout(ARRIVAL_MAX, limited.collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(Refusal::TooLarge(bytes_max).into())
        }
        Ok(Err(_)) | Err(_) => Err(Refusal::Unreadable(Unreadable::CutOff).into()),
    }
}

/// The length that the head announces (bytes).
pub(crate) fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
