//! A body that must not exceed a limit.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Broken, Flow};

/// Ends the body with [`Broken::TooLarge`] at the first byte over the limit.
pub(crate) struct Limit {
    inner: Flow,
    bytes_max: u64,
    bytes_left: u64,
}

impl Limit {
    pub(crate) fn new(inner: Flow, bytes_max: u64) -> Self {
        Self { inner, bytes_max, bytes_left: bytes_max }
    }
}

impl Body for Limit {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.bytes_left.checked_sub(bytes) {
                Some(left) => self.bytes_left = left,
                None => return Poll::Ready(Some(Err(Broken::TooLarge(self.bytes_max)))),
            }
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
