//! A body whose first bytes have been waited for, so that a body that fails at once is not announced as an answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::{Broken, Flow};

/// Waits for the first frame; the body that is returned begins with it.
///
/// # Errors
/// What the body broke on before it gave anything.
pub(crate) async fn begun(mut body: Flow) -> Result<Flow, Broken> {
    if body.is_end_stream() {
        return Ok(body);
    }
    match body.frame().await {
        None => Ok(body),
        Some(first) => Ok(Begun { first: Some(first?), rest: body }.boxed_unsync()),
    }
}

struct Begun {
    first: Option<Frame<Bytes>>,
    rest: Flow,
}

impl Body for Begun {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let here = self.first.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(here));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(here)) {
            hint.set_upper(upper);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;

    fn body(frames: Vec<Result<&'static str, Broken>>) -> Flow {
        let frames = frames.into_iter().map(|frame| frame.map(|text| Frame::data(Bytes::from(text))));
        StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync()
    }

    #[tokio::test]
    async fn a_body_is_whole_after_its_beginning_was_waited_for() {
        for frames in [vec![], vec![Ok("a")], vec![Ok("a"), Ok("bc")]] {
            let whole: String = frames.iter().flatten().copied().collect();
            let begun = begun(body(frames)).await.unwrap();
            assert_eq!(begun.collect().await.unwrap().to_bytes(), whole);
        }
        assert!(begun(body(vec![Err(Broken::TooSlow)])).await.is_err());
        let later = begun(body(vec![Ok("a"), Err(Broken::TooSlow)])).await.unwrap();
        assert!(later.collect().await.is_err());
    }
}
