//! A request body that is hashed as it flows by, since it cannot be hashed beforehand.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};

use super::{Broken, Flow};

/// The SHA-256 of a body, once it has flowed by whole.
pub type BodyHash = Arc<OnceLock<[u8; 32]>>;

/// Fills its [`BodyHash`] at the end of the body.
pub(crate) struct Hash {
    inner: Flow,
    running: Sha256,
    done: BodyHash,
}

impl Hash {
    pub(crate) fn new(inner: Flow, done: BodyHash) -> Self {
        Self { inner, running: Sha256::new(), done }
    }

    fn finish(&mut self) {
        let running = std::mem::take(&mut self.running);
        // Set once: a body that is polled past its end changes nothing.
        let _ = self.done.set(running.finalize().into());
    }
}

impl Body for Hash {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.running.update(data);
        }
        // Whoever reads may stop asking once the body says that it has ended.
        if frame.is_none() || (matches!(frame, Some(Ok(_))) && self.inner.is_end_stream()) {
            self.finish();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
