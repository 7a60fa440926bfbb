//! Activity on one HTTP/2 connection. A moving socket proves little there: a client may keep it alive without asking
//! for anything, or leave one answer unread behind its window (RFC 9113 §5.2).

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pipeline::flow::{Broken, Flow};

/// How often a connection is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// For how many looks an answer may wait for its client, and a connection be without requests: a minute, as long as
/// a socket may stand still.
const LOOKS_MAX: u32 = 6;

/// The requests of one connection.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<Ledger>>);

#[derive(Default)]
struct Ledger {
    looks: u32,
    /// Before which look the last request ended.
    busy_at: u32,
    next: u64,
    /// For each request under way, since which look its client has something to take.
    waiting_since: HashMap<u64, Option<u32>>,
}

/// What a look has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing to object to.
    InOrder,
    /// There was no request for a while.
    Idle,
    /// A client takes nothing of an answer.
    Stalled,
}

impl Streams {
    /// A request has come.
    pub(super) fn begin(&self) -> UnderWay {
        let mut ledger = self.ledger();
        let id = ledger.next;
        ledger.next += 1;
        ledger.waiting_since.insert(id, None);
        drop(ledger);
        UnderWay { streams: self.clone(), id }
    }

    /// To be called every [`LOOK_EVERY`].
    pub(super) fn look(&self) -> Found {
        let mut ledger = self.ledger();
        ledger.looks += 1;
        let looks = ledger.looks;
        let is_stalled = |since: &u32| looks - since > LOOKS_MAX;
        if ledger.waiting_since.values().flatten().any(is_stalled) {
            Found::Stalled
        } else if ledger.waiting_since.is_empty() && looks - ledger.busy_at >= LOOKS_MAX {
            Found::Idle
        } else {
            Found::InOrder
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request, until its answer has ended.
pub(super) struct UnderWay {
    streams: Streams,
    id: u64,
}

impl UnderWay {
    /// Watches over the answer's body.
    pub(super) fn watch(self, body: Flow) -> Watched {
        Watched { body, under_way: self }
    }

    fn waits(&self, waits: bool) {
        let mut ledger = self.streams.ledger();
        let since = waits.then_some(ledger.looks);
        ledger.waiting_since.insert(self.id, since);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut ledger = self.streams.ledger();
        ledger.waiting_since.remove(&self.id);
        ledger.busy_at = ledger.looks;
    }
}

/// A body that is asked for its next frame only when the client has taken the last one.
pub(super) struct Watched {
    body: Flow,
    under_way: UnderWay,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.under_way.waits(matches!(frame, Poll::Ready(Some(Ok(_)))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use pipeline::flow::whole;

    use super::*;

    fn look(streams: &Streams, times: u32) -> Found {
        (0..times).fold(Found::InOrder, |_, _| streams.look())
    }

    #[tokio::test]
    async fn only_an_answer_that_its_client_leaves_is_stalled() {
        let streams = Streams::default();
        assert_eq!(look(&streams, LOOKS_MAX - 1), Found::InOrder);
        let under_way = streams.begin();
        assert_eq!(look(&streams, 10 * LOOKS_MAX), Found::InOrder, "the upstream takes long");
        let mut body = under_way.watch(whole("x"));
        assert_eq!(look(&streams, 10 * LOOKS_MAX), Found::InOrder, "nobody has asked for the body yet");
        body.frame().await.unwrap().unwrap();
        assert_eq!(look(&streams, LOOKS_MAX), Found::InOrder);
        assert_eq!(streams.look(), Found::Stalled);
        assert!(body.frame().await.is_none());
        assert_eq!(streams.look(), Found::InOrder, "it was taken after all");
        drop(body);
        assert_eq!(look(&streams, LOOKS_MAX - 1), Found::InOrder);
        assert_eq!(streams.look(), Found::Idle);
    }
}
