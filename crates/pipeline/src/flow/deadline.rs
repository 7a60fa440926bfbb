//! A body that must end in time.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::{Broken, Flow};

/// Ends the body with [`Broken::TooSlow`] when the timer fires first.
pub(crate) struct Deadline {
    inner: Flow,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    pub(crate) fn new(inner: Flow, timer: Pin<Box<Sleep>>) -> Self {
        Self { inner, timer }
    }
}

impl Body for Deadline {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            return Poll::Ready(frame);
        }
        self.timer.as_mut().poll(context).map(|()| Some(Err(Broken::TooSlow)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
