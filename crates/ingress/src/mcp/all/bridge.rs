//! The body of a member's answer on its way to the client. Frames that need no translation pass byte for byte.
//! Requests from a member are declined here: it was told that nobody can be asked.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pipeline::flow::{Broken, Flow};
use tokio::sync::oneshot;
use wire::{
    Shape,
    mcp::code,
    sse::{self, Decoder},
};

use super::{
    client::Client,
    era::{Turn, read},
    kept::Noted,
    line::Lease,
};

/// How many questions of a member are declined within one answer; then it is cut off.
const QUESTIONS_MAX: u32 = 64;

/// Ends when the client has cancelled its request; never where it cannot be told like that.
pub(super) struct HungUp(pub(super) Option<oneshot::Receiver<()>>);

impl Future for HungUp {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(told) = &mut self.0 else { return Poll::Pending };
        let told = ready!(Pin::new(told).poll(context));
        self.0 = None;
        // Nobody is left who could tell.
        if told.is_ok() { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// An answer under way.
pub(super) struct Bridge {
    inner: Flow,
    /// Only event streams are read.
    decoder: Option<Decoder>,
    ready: VecDeque<Bytes>,
    turn: Turn,
    client: Arc<Client>,
    /// None after the end.
    lease: Option<Lease>,
    /// Whether the member's session may be used again.
    keeps: bool,
    questions: u32,
    hung_up: HungUp,
    _noted: Option<Noted>,
}

impl Bridge {
    #[expect(clippy::too_many_arguments, reason = "everything that must live as long as the answer")]
    pub(super) fn new(
        inner: Flow,
        is_stream: bool,
        turn: Turn,
        client: Arc<Client>,
        lease: Lease,
        keeps: bool,
        noted: Option<Noted>,
        hung_up: HungUp,
    ) -> Self {
        let bytes_max = usize::try_from(client.front.gateway.bounds.body_bytes_max).unwrap_or(usize::MAX);
        let decoder = is_stream.then(|| Decoder::new(bytes_max));
        let (ready, lease) = (VecDeque::new(), Some(lease));
        Self { inner, decoder, ready, turn, client, lease, keeps, questions: 0, hung_up, _noted: noted }
    }

    /// Takes the events that are whole.
    fn take_events(&mut self) -> Result<(), Broken> {
        let Some(decoder) = &mut self.decoder else { return Ok(()) };
        let too_large = |long: sse::TooLong| Broken::TooLarge(long.limit as u64);
        while let Some(event) = decoder.next_frame().map_err(too_large)? {
            let Some(data) = event.data.as_ref().filter(|data| !data.is_empty()) else {
                self.ready.push_back(event.raw);
                continue;
            };
            let Some(message) = read(data) else {
                return Err(Broken::Upstream("one of its events cannot be read".to_owned()));
            };
            match message.shape() {
                Shape::Request { id, method } => {
                    self.questions += 1;
                    if self.questions > QUESTIONS_MAX {
                        let why = format!("it asked more than {QUESTIONS_MAX} questions");
                        return Err(Broken::Upstream(why));
                    }
                    let id = id.text();
                    let answer = match method {
                        "ping" => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#),
                        _ => format!(
                            r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{},"message":"nobody can be asked here"}}}}"#,
                            code::METHOD_NOT_FOUND
                        ),
                    };
                    if let Some(lease) = &self.lease {
                        self.client.decline(lease, answer);
                    }
                }
                // In the newest protocol a stream tells of its own request only, and of logs only where they were asked for.
                Shape::Notification { method } if self.turn.drops(method) => {}
                // An answer to somebody else's request is not this member's to give.
                Shape::Response { .. } if !self.turn.is_own(&message) => {}
                _ => self.ready.push_back(match self.turn.response(&message) {
                    Some(turned) => event.with_data(&String::from_utf8_lossy(&turned)),
                    None => event.raw,
                }),
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take_if(|_| self.keeps) {
            lease.done();
        }
        self.lease = None;
    }
}

impl Body for Bridge {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.lease.is_none() || Pin::new(&mut this.hung_up).poll(context).is_ready() {
                this.lease = None;
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => match (frame.into_data(), &mut this.decoder) {
                    (Ok(data), Some(decoder)) => {
                        decoder.feed(data);
                        this.take_events()?;
                    }
                    (Ok(data), None) => {
                        if this.inner.is_end_stream() {
                            this.end();
                        }
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    (Err(_), _) => {}
                },
                Some(Err(broken)) => {
                    this.lease = None;
                    return Poll::Ready(Some(Err(broken)));
                }
                None => this.end(),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Some(_) => SizeHint::default(),
            None => self.inner.size_hint(),
        }
    }
}
