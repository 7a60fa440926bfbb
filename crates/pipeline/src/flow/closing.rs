//! A body that carries its call's record and closes it, whatever happens: end, error, or being dropped.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Broken, Flow};
use crate::gates::g70_record::Record;

/// The outermost wrapper. The outcome is queued before the last bytes are handed out.
pub(crate) struct Closing {
    inner: Flow,
    record: Record,
    bytes: u64,
}

impl Closing {
    pub(crate) fn new(inner: Flow, record: Record) -> Self {
        let mut closing = Self { inner, record, bytes: 0 };
        if closing.inner.is_end_stream() {
            closing.record.finish(0);
        }
        closing
    }
}

impl Body for Closing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        let bytes = match &frame {
            Some(Ok(frame)) => self.bytes + frame.data_ref().map_or(0, |data| data.len() as u64),
            _ => self.bytes,
        };
        self.bytes = bytes;
        match &frame {
            Some(Ok(_)) if !self.inner.is_end_stream() => {}
            Some(Ok(_)) | None => self.record.finish(bytes),
            Some(Err(broken)) => self.record.break_off(bytes, broken),
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

impl Drop for Closing {
    fn drop(&mut self) {
        let bytes = self.bytes;
        self.record.abandon(bytes);
    }
}
