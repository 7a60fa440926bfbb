//! Brings the messages of one child to the clients they are for.
//!
//! Every request that goes to the child gets an id and a progress token of our own, and gets its own back on
//! the way out: several connections may use one child, and clients number their requests alike. Everything
//! else in a message stays as it came.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use domain::key::KeyId;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use wire::{Limits, Message, Raw, Shape, mcp, sse};

use crate::{
    flow::{Broken, Flow},
    session::Session,
    upstreams::detached::{NOBODY, answer_for_nobody},
};

/// How many messages may wait for one client. A client that lets more pile up loses its stream.
const CLIENT_QUEUE_MAX: usize = 1_024;
/// How many messages for nobody in particular are kept until somebody listens.
const BACKLOG_MAX: usize = 64;

/// One child's router.
pub(super) struct Router {
    to_child: mpsc::Sender<Bytes>,
    attribution: Attribution,
    state: Mutex<State>,
}

/// To whom a message of the child belongs that names no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attribution {
    /// To the one client whose session the child serves.
    Session,
    /// To whichever request of the one key is under way. The newest protocol has no requests to clients.
    Key,
    /// To nobody: several agents share the child.
    Nobody,
    /// To nobody: the child serves an approved call whose client is not there.
    Detached,
}

/// Who reads what a child says about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A client that can read an event stream as the answer.
    Stream,
    /// A client that reads the response alone.
    Response,
    /// Nobody for now: the gateway keeps the response. Whatever the child asks meanwhile is declined.
    Detached,
}

/// Who sent a request: only the same one may cancel it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) key: KeyId,
    pub(super) session: Option<Session>,
}

#[derive(Default)]
struct State {
    next: u64,
    pending: HashMap<u64, Pending>,
    listener: Option<mpsc::Sender<Delivered>>,
    backlog: VecDeque<Bytes>,
    closed: bool,
}

/// A request that the child has not answered yet.
struct Pending {
    owner: Owner,
    /// The client's id, as it wrote it.
    id: String,
    /// The client's progress token, as it wrote it.
    progress: Option<String>,
    /// Whether it opened a stream of notifications, which then name it.
    listens: bool,
    /// Whether it asked for log messages.
    wants_log: bool,
    reader: Reader,
    client: mpsc::Sender<Delivered>,
}

impl Pending {
    /// Whether somebody reads what is said about it.
    fn is_open(&self) -> bool {
        self.reader == Reader::Stream && !self.client.is_closed()
    }
}

/// The request that opens a stream of notifications in the newest protocol.
const LISTEN: &str = "subscriptions/listen";

/// One message on its way to a client.
pub(super) struct Delivered {
    /// Empty where a stream ends without a last message.
    pub(super) bytes: Bytes,
    /// Whether it answers the request, so that nothing follows.
    pub(super) is_final: bool,
}

/// What became of a message to the child.
pub(super) enum Posted {
    /// A request: here come its messages.
    Awaiting(Delivery),
    /// A notification or a response: nothing will come.
    Done,
    /// The child cannot be written to.
    Broken(String),
}

impl Router {
    pub(super) fn new(to_child: mpsc::Sender<Bytes>, attribution: Attribution) -> Self {
        Self { to_child, attribution, state: Mutex::new(State { next: 1, ..State::default() }) }
    }

    /// Whether a request is under way or somebody listens.
    pub(super) fn is_in_use(&self) -> bool {
        let state = self.lock();
        !state.pending.is_empty() || state.listener.as_ref().is_some_and(|listener| !listener.is_closed())
    }

    /// Whether the child is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The child is gone: everybody who waits learns it.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.pending.clear();
        state.listener = None;
        state.backlog.clear();
    }

    /// Sends a client's message to the child.
    pub(super) async fn post(
        self: &Arc<Self>,
        message: &Message,
        owner: Owner,
        modern: bool,
        reader: Reader,
    ) -> Posted {
        let broken = || Posted::Broken("the process does not read its input".into());
        match message.shape() {
            Shape::Request { id, method } => {
                let progress = message.meta(mcp::meta::PROGRESS_TOKEN);
                let (client, inbox) = mpsc::channel(CLIENT_QUEUE_MAX);
                let pending = Pending {
                    owner,
                    id: id.text().to_owned(),
                    progress: progress.map(|token| token.text().to_owned()),
                    listens: method == LISTEN,
                    wants_log: message.meta(mcp::meta::LOG_LEVEL).is_some(),
                    reader,
                    client,
                };
                let Some(number) = self.admit(pending) else { return broken() };
                let ours = number.to_string();
                let edits = [Some(id), progress].into_iter().flatten().filter_map(|raw| message.span(raw));
                let line = line(message.body(), edits.map(|span| (span, ours.as_str())));
                let delivery = Delivery { router: Arc::clone(self), number, inbox, modern, ended: false };
                if self.to_child.send(line).await.is_err() {
                    return broken();
                }
                Posted::Awaiting(delivery)
            }
            Shape::Notification { method } => {
                let line = if method == "notifications/cancelled" {
                    match self.cancellation(message, &owner) {
                        Some(line) => line,
                        // It names no request of this client, so there is nothing to cancel.
                        None => return Posted::Done,
                    }
                } else {
                    line(message.body(), [])
                };
                if self.to_child.send(line).await.is_ok() { Posted::Done } else { broken() }
            }
            // Only a session's client is ever asked anything, so only it can answer.
            Shape::Response { .. } if self.attribution == Attribution::Session => {
                if self.to_child.send(line(message.body(), [])).await.is_ok() {
                    Posted::Done
                } else {
                    broken()
                }
            }
            Shape::Response { .. } => Posted::Done,
        }
    }

    /// The stream for messages that answer no request. A new listener takes the place of an older one.
    pub(super) fn listen(self: &Arc<Self>) -> Flow {
        let (listener, inbox) = mpsc::channel(CLIENT_QUEUE_MAX);
        let mut state = self.lock();
        for bytes in state.backlog.drain(..) {
            // The queue is larger than the backlog.
            let _ = listener.try_send(Delivered { bytes, is_final: false });
        }
        if !state.closed {
            state.listener = Some(listener);
        }
        Events { first: None, source: Source::Listener(inbox) }.boxed_unsync()
    }

    /// Takes one line from the child to whom it is for.
    pub(super) fn deliver(&self, line: Bytes) {
        let text = line.trim_ascii();
        if text.is_empty() {
            return;
        }
        let message = match Message::read(line.slice_ref(text), &Limits::of_bytes(text.len())) {
            Ok(message) => message,
            Err(malformed) => {
                tracing::warn!("a child wrote what is no message, it is ignored: {malformed}");
                return;
            }
        };
        match message.shape() {
            Shape::Response { id, .. } => self.deliver_response(&message, id),
            Shape::Notification { .. } => self.deliver_notification(&message),
            Shape::Request { .. } => {
                let why = match self.attribution {
                    Attribution::Session if !self.is_detached() => {
                        return self.deliver_unrelated(message.body().clone());
                    }
                    Attribution::Session | Attribution::Detached => NOBODY,
                    Attribution::Key | Attribution::Nobody => "this client takes no requests",
                };
                if let Some(mut no) = answer_for_nobody(&message, why) {
                    no.push('\n');
                    // One that asks without end and reads nothing gets no more answers. To wait for it would be to wait
                    // for each other: it may not read before we have.
                    let _ = self.to_child.try_send(no.into());
                }
            }
        }
    }

    /// Whether the latest request that the child could be asking about is one whose client is not there.
    fn is_detached(&self) -> bool {
        let state = self.lock();
        let open = |pending: &&Pending| pending.reader != Reader::Response && !pending.client.is_closed();
        let latest =
            state.pending.iter().filter(|(_, pending)| open(pending)).max_by_key(|(number, _)| **number);
        latest.is_some_and(|(_, pending)| pending.reader == Reader::Detached)
    }

    /// Gives a request its number; none when the child is gone.
    fn admit(&self, pending: Pending) -> Option<u64> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        let number = state.next;
        state.next += 1;
        state.pending.insert(number, pending);
        Some(number)
    }

    fn deliver_response(&self, message: &Message, id: Option<Raw<'_>>) {
        let number = id.and_then(Raw::as_u64);
        let pending = number.and_then(|number| self.lock().pending.remove(&number));
        let (Some(id), Some(pending)) = (id, pending) else {
            tracing::warn!("a child answered a request that nobody made, it is ignored");
            return;
        };
        // The answer that ends a stream names it once more.
        let meta = message.root().get("result").and_then(|result| result.get("_meta"));
        let subscription = meta.and_then(|meta| meta.get(mcp::meta::SUBSCRIPTION_ID));
        let subscription = subscription.filter(|named| pending.listens && named.as_u64() == number);
        let spans = [Some(id), subscription].into_iter().flatten().filter_map(|raw| message.span(raw));
        let bytes = spliced(message.body(), spans.map(|span| (span, pending.id.as_str()))).freeze();
        // The client may have hung up.
        let _ = pending.client.try_send(Delivered { bytes, is_final: true });
    }

    fn deliver_notification(&self, message: &Message) {
        let named = |key| message.params().and_then(|params| params.get(key));
        match message.method() {
            Some("notifications/progress") => {
                let Some(token) = named(mcp::meta::PROGRESS_TOKEN) else { return };
                return self.deliver_related(message, token, |pending| pending.progress.clone());
            }
            // In the older protocols it is about a request of the child's own.
            Some("notifications/cancelled") if self.attribution != Attribution::Session => {
                return self.end_stream(named("requestId"));
            }
            Some("notifications/message") if self.attribution == Attribution::Key => {
                return self.deliver_log(message.body());
            }
            _ => {}
        }
        match message.meta(mcp::meta::SUBSCRIPTION_ID) {
            Some(subscription) => self.deliver_related(message, subscription, |pending| {
                pending.listens.then(|| pending.id.clone())
            }),
            None => self.deliver_unrelated(message.body().clone()),
        }
    }

    /// The child ends a stream of notifications; nothing else of a client's is a child's to cancel.
    fn end_stream(&self, id: Option<Raw<'_>>) {
        let mut state = self.lock();
        let Some(number) = id.and_then(Raw::as_u64) else { return };
        if state.pending.get(&number).is_some_and(|pending| pending.listens)
            && let Some(pending) = state.pending.remove(&number)
        {
            // The client may have hung up.
            let _ = pending.client.try_send(Delivered { bytes: Bytes::new(), is_final: true });
        }
    }

    /// Delivers a log message of a child that serves one key: to the latest request that asked for any.
    fn deliver_log(&self, bytes: &Bytes) {
        let state = self.lock();
        let asked = state.pending.iter().filter(|(_, pending)| pending.wants_log && pending.is_open());
        if let Some((_, pending)) = asked.max_by_key(|(number, _)| **number) {
            let _ = pending.client.try_send(Delivered { bytes: bytes.clone(), is_final: false });
        }
    }

    /// Delivers a message that names a request by our number, with the client's own word in its place.
    fn deliver_related(&self, message: &Message, ours: Raw<'_>, theirs: impl Fn(&Pending) -> Option<String>) {
        let mut state = self.lock();
        let Some(number) = ours.as_u64() else { return };
        let Some(pending) = state.pending.get(&number) else { return };
        let (Some(theirs), Some(span)) = (theirs(pending), message.span(ours)) else { return };
        let bytes = message.replace(span, &theirs);
        if pending.reader == Reader::Stream
            && pending.client.try_send(Delivered { bytes, is_final: false }).is_err()
        {
            // It hung up, or lets everything pile up: the answer alone is of no use to it any more.
            state.pending.remove(&number);
        }
    }

    /// Delivers a message that names no request: to a request under way, else to the listener, else later.
    fn deliver_unrelated(&self, bytes: Bytes) {
        if self.attribution == Attribution::Nobody {
            return;
        }
        let mut state = self.lock();
        let latest = state
            .pending
            .iter()
            .filter(|(_, pending)| pending.is_open())
            .max_by_key(|(number, _)| **number)
            .map(|(_, pending)| pending.client.clone());
        let delivered = |client: &mpsc::Sender<Delivered>, bytes: &Bytes| {
            client.try_send(Delivered { bytes: bytes.clone(), is_final: false }).is_ok()
        };
        if latest.is_some_and(|client| delivered(&client, &bytes)) {
            return;
        }
        if state.listener.as_ref().is_some_and(|listener| delivered(listener, &bytes)) {
            return;
        }
        if self.attribution == Attribution::Session && state.backlog.len() < BACKLOG_MAX {
            state.backlog.push_back(bytes);
        }
    }

    /// A client's cancellation with our number in place of its own id; none when it is not its to cancel.
    fn cancellation(&self, message: &Message, owner: &Owner) -> Option<Bytes> {
        let id = message.params()?.get("requestId")?;
        let number = {
            let state = self.lock();
            let theirs = |pending: &Pending| pending.owner == *owner && pending.id == id.text();
            state.pending.iter().find(|(_, pending)| theirs(pending)).map(|(number, _)| *number)?
        };
        Some(line(message.body(), [(message.span(id)?, number.to_string().as_str())]))
    }

    /// The client of a stateless request hung up, which cancels it.
    fn give_up(&self, number: u64) {
        if self.lock().pending.remove(&number).is_some() {
            let cancel = format!(
                "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{number}}}}}\n"
            );
            // A full queue means a child that does not listen anyway.
            let _ = self.to_child.try_send(cancel.into());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The messages that belong to one request.
pub(super) struct Delivery {
    router: Arc<Router>,
    number: u64,
    inbox: mpsc::Receiver<Delivered>,
    modern: bool,
    ended: bool,
}

impl Delivery {
    /// The first message; none when the child died before.
    pub(super) async fn first(&mut self) -> Option<Delivered> {
        let first = self.inbox.recv().await;
        self.ended = first.as_ref().is_none_or(|message| message.is_final);
        first
    }

    /// All messages as an event stream, `first` before the others.
    pub(super) fn into_events(self, first: Option<Delivered>) -> Flow {
        Events { first, source: Source::Request(self) }.boxed_unsync()
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.modern && !self.ended {
            self.router.give_up(self.number);
        }
    }
}

/// An event stream made of a child's messages.
struct Events {
    first: Option<Delivered>,
    source: Source,
}

enum Source {
    Request(Delivery),
    Listener(mpsc::Receiver<Delivered>),
}

impl Body for Events {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let next = match (this.first.take(), &mut this.source) {
            (Some(first), _) => Some(first),
            (None, Source::Request(delivery)) if delivery.ended => return Poll::Ready(None),
            (None, Source::Request(delivery)) => ready!(delivery.inbox.poll_recv(context)),
            (None, Source::Listener(inbox)) => ready!(inbox.poll_recv(context)),
        };
        let Some(message) = next else {
            return Poll::Ready(match &mut this.source {
                Source::Listener(_) => None,
                Source::Request(delivery) => {
                    delivery.ended = true;
                    Some(Err(Broken::Upstream("the process ended before it answered".into())))
                }
            });
        };
        if let (true, Source::Request(delivery)) = (message.is_final, &mut this.source) {
            delivery.ended = true;
        }
        if message.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let text = String::from_utf8_lossy(&message.bytes);
        Poll::Ready(Some(Ok(Frame::data(sse::encode(&text)))))
    }
}

/// The bytes with some spans replaced, as one line. Line breaks between tokens become blanks; inside strings
/// the strict reader has refused them.
fn line<'a>(body: &Bytes, edits: impl IntoIterator<Item = (Range<usize>, &'a str)>) -> Bytes {
    let mut line = spliced(body, edits);
    for byte in line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    line.extend_from_slice(b"\n");
    line.freeze()
}

/// The bytes with some spans replaced.
fn spliced<'a>(body: &Bytes, edits: impl IntoIterator<Item = (Range<usize>, &'a str)>) -> BytesMut {
    let mut edits: Vec<(Range<usize>, &str)> = edits.into_iter().collect();
    edits.sort_by_key(|(span, _)| span.start);
    let mut whole = BytesMut::with_capacity(body.len() + 24);
    let mut copied = 0;
    for (span, new) in edits {
        whole.extend_from_slice(body.get(copied..span.start).unwrap_or_default());
        whole.extend_from_slice(new.as_bytes());
        copied = span.end;
    }
    whole.extend_from_slice(body.get(copied..).unwrap_or_default());
    whole
}
