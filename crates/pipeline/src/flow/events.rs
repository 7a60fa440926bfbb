//! An event stream whose messages are edited on their way. Frames that need no edit pass byte for byte; our own news
//! goes between frames, never inside one.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use wire::sse::{self, Decoder};

use super::{Broken, Flow};
use crate::edit::Edit;

/// Edits every message that travels on `inner`, and tells between them what `edit` has to tell.
pub(crate) fn edit_events(inner: Flow, edit: Edit, event_bytes_max: usize) -> Flow {
    let decoder = Decoder::new(event_bytes_max);
    EditEvents { inner, decoder, edit, event_bytes_max, ready: VecDeque::new(), ended: false }.boxed_unsync()
}

struct EditEvents {
    inner: Flow,
    decoder: Decoder,
    edit: Edit,
    event_bytes_max: usize,
    ready: VecDeque<Bytes>,
    ended: bool,
}

impl EditEvents {
    fn take_frames(&mut self) -> Result<(), Broken> {
        let too_large = |_| Broken::TooLarge(self.event_bytes_max as u64);
        while let Some(frame) = self.decoder.next_frame().map_err(too_large)? {
            let Some(data) = frame.data.as_ref().filter(|data| !data.is_empty()) else {
                self.ready.push_back(frame.raw);
                continue;
            };
            match self.edit.apply(data) {
                Ok(None) => self.ready.push_back(frame.raw),
                Ok(Some(edited)) => {
                    // Valid UTF-8 that is edited at JSON borders is valid UTF-8.
                    self.ready.push_back(frame.with_data(&String::from_utf8_lossy(&edited)));
                }
                Err(malformed) => {
                    return Err(Broken::Upstream(format!("an event cannot be read: {malformed}")));
                }
            }
        }
        Ok(())
    }
}

impl Body for EditEvents {
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
            if let Poll::Ready(news) = self.edit.poll_news(context) {
                return Poll::Ready(Some(Ok(Frame::data(sse::encode(&news)))));
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
