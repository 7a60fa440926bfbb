//! An event stream whose list answers are cut. Frames that need no cut pass as the bytes they came in.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use wire::sse::Decoder;

use super::{Broken, Flow};
use crate::listing::Catalog;

/// Cuts every list answer that travels on `inner` down to what `catalog` shows.
pub(crate) fn cut_events(inner: Flow, catalog: Catalog, event_bytes_max: usize) -> Flow {
    let decoder = Decoder::new(event_bytes_max);
    CutEvents { inner, decoder, catalog, event_bytes_max, ready: VecDeque::new(), ended: false }
        .boxed_unsync()
}

struct CutEvents {
    inner: Flow,
    decoder: Decoder,
    catalog: Catalog,
    event_bytes_max: usize,
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl CutEvents {
    fn take_frames(&mut self) -> Result<(), Broken> {
        let too_large = |_| Broken::TooLarge(self.event_bytes_max as u64);
        while let Some(frame) = self.decoder.next_frame().map_err(too_large)? {
            let Some(data) = frame.data.as_ref().filter(|data| !data.is_empty()) else {
                self.ready.push_back(frame.raw);
                continue;
            };
            match self.catalog.cut(data) {
                Ok(None) => self.ready.push_back(frame.raw),
                Ok(Some(cut)) => {
                    // The cut of valid UTF-8 at JSON borders is valid UTF-8.
                    self.ready.push_back(frame.with_data(&String::from_utf8_lossy(&cut)));
                }
                Err(malformed) => {
                    return Err(Broken::Upstream(format!("an event cannot be read: {malformed}")));
                }
            }
        }
        Ok(())
    }
}

impl Body for CutEvents {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.decoder.feed(data);
                        self.take_frames()?;
                    }
                }
                Some(Err(broken)) => return Poll::Ready(Some(Err(broken))),
                // An unfinished last frame is no event (WHATWG HTML): it is dropped.
                None => self.ended = true,
            }
        }
    }
}
