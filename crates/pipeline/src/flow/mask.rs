//! A body, its trailers and headers, with the call's own secrets masked. What contains none passes unchanged.

#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use wire::mask::{Masker, Stream};

use super::{Broken, Flow};

/// Masks a body, however its frames are cut, and its trailers. Lengths stay.
///
/// Where the body breaks off, what is held back is dropped: it may be the beginning of a secret. At an ordinary
/// end it is handed out, because nothing more can follow it.
pub(crate) struct Mask {
    inner: Flow,
    masker: Masker,
    stream: Stream,
    ready: VecDeque<Frame<Bytes>>,
    ended: bool,
}

impl Mask {
    pub(crate) fn new(inner: Flow, masker: Masker) -> Self {
        let stream = Stream::new(masker.clone());
        Self { inner, masker, stream, ready: VecDeque::new(), ended: false }
    }

    fn give(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.ready.push_back(Frame::data(bytes));
        }
    }

    fn end(&mut self) {
        let rest = self.stream.finish();
        self.give(rest);
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(data) => {
                let [first, second] = self.stream.push(data);
                self.give(first);
                self.give(second);
            }
            Err(frame) => {
                self.end();
                self.ready.push_back(match frame.into_trailers() {
                    Ok(mut trailers) => {
                        mask_headers(&self.masker, &mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(other) => other,
                });
            }
        }
    }
}

impl Body for Mask {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => {
                    self.take(frame);
                    // The last bytes are to be known as the last ones when they are handed out.
                    if self.inner.is_end_stream() {
                        self.ended = true;
                        self.end();
                    }
                }
                Some(Err(broken)) => {
                    self.ended = true;
                    self.stream.finish();
                    return Poll::Ready(Some(Err(broken)));
                }
                None => {
                    self.ended = true;
                    self.end();
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.stream.held_bytes() == 0 && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let ready: usize = self.ready.iter().filter_map(Frame::data_ref).map(Bytes::len).sum();
        let here = (ready + self.stream.held_bytes()) as u64;
        let inner = if self.ended { SizeHint::with_exact(0) } else { self.inner.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(here));
        if let Some(upper) = inner.upper().and_then(|upper| upper.checked_add(here)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// Masks every value. A header with a secret in its name goes altogether: no other name would be true.
pub(crate) fn mask_headers(masker: &Masker, headers: &mut HeaderMap) {
    let named: Vec<HeaderName> =
        headers.keys().filter(|name| masker.mask(name.as_str().as_bytes()).is_some()).cloned().collect();
    for name in named {
        headers.remove(name);
    }
    for value in headers.values_mut() {
        // A mask is made of visible ASCII, so what was a value stays one.
        let masked = masker.mask(value.as_bytes()).and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
        if let Some(masked) = masked {
            *value = masked;
        }
    }
}
