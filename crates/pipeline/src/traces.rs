//! OpenTelemetry traces: each call is one span, and the way to its upstream another, which the upstream is told about
//! (W3C Trace Context). No decision depends on them. When they are off, a client's trace headers pass unchanged.

mod export;
mod span;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use domain::{call::Call, clock::Clock};
use http::HeaderMap;
use jiff::Timestamp;
use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    propagation::TextMapPropagator as _,
    trace::{SpanContext, SpanKind, TraceContextExt as _, TraceState},
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SpanData};
use tokio::sync::mpsc;

pub use export::{BadCollector, Exporter};
use span::{End, Sketch};

/// How many spans may wait for the collector. What comes on top is lost, and counted: calls never wait for it.
const WAITING_MAX: usize = 8_192;
/// The header that Trace Context has beside `traceparent`.
const TRACESTATE: &str = "tracestate";

/// Where spans go.
pub struct Traces {
    outbox: mpsc::Sender<SpanData>,
    lost: AtomicU64,
    clock: Arc<dyn Clock>,
    random: fn() -> [u8; 32],
}

impl Traces {
    /// Spans, and what comes out at the other end. `random` makes their ids.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: fn() -> [u8; 32]) -> (Arc<Self>, mpsc::Receiver<SpanData>) {
        let (outbox, inbox) = mpsc::channel(WAITING_MAX);
        (Arc::new(Self { outbox, lost: AtomicU64::new(0), clock, random }), inbox)
    }

    /// Begins the trace of a call, as part of the client's where its headers name one. `None`: the client does not want
    /// it recorded, and what it said travels on.
    pub(crate) fn begin(self: &Arc<Self>, call: &Call, headers: &HeaderMap, at: Timestamp) -> Option<Trace> {
        let client = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        let client = client.span().span_context().clone();
        if client.is_valid() && !client.is_sampled() {
            return None;
        }
        let (trace, own, upstream) = ids((self.random)());
        let (trace, state) = match client.is_valid() {
            true => (client.trace_id(), client.trace_state().clone()),
            false => (trace, TraceState::default()),
        };
        Some(Trace {
            traces: Arc::clone(self),
            trace,
            client: client.span_id(),
            own,
            upstream,
            state,
            begun: at,
            sent: None,
            answered: None,
            sketch: Sketch::of(call),
            end: End::default(),
        })
    }

    fn hand_over(&self, span: SpanData) {
        if self.outbox.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Chance is never zero, and an id must not be.
fn ids(random: [u8; 32]) -> (TraceId, SpanId, SpanId) {
    let [a, b, c, d] = [0, 8, 16, 24].map(|from| {
        let bytes = random.get(from..from + 8).and_then(|bytes| bytes.try_into().ok());
        u64::from_be_bytes(bytes.unwrap_or_default()).max(1)
    });
    let trace = (u128::from(a) << 64) | u128::from(b);
    (TraceId::from_bytes(trace.to_be_bytes()), SpanId::from(c), SpanId::from(d))
}

/// The trace of one call. Its spans are handed over when it is dropped: whatever happens, each call has its own.
pub(crate) struct Trace {
    traces: Arc<Traces>,
    trace: TraceId,
    /// The client's span; all zeroes where it named none.
    client: SpanId,
    own: SpanId,
    upstream: SpanId,
    state: TraceState,
    begun: Timestamp,
    sent: Option<Timestamp>,
    answered: Option<Timestamp>,
    sketch: Sketch,
    end: End,
}

impl Trace {
    /// The call is about to be sent: its headers tell the upstream which span it belongs to.
    pub(crate) fn leaves(&mut self, headers: &mut HeaderMap) {
        self.sent = Some(self.traces.clock.now().wall);
        let context = Context::new().with_remote_span_context(self.context(self.upstream));
        TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(headers));
        if headers.get(TRACESTATE).is_some_and(|state| state.is_empty()) {
            headers.remove(TRACESTATE);
        }
    }

    /// The head of the upstream's answer is there.
    pub(crate) fn answered(&mut self) {
        self.answered = Some(self.traces.clock.now().wall);
    }

    /// What the trail says of the call's end.
    pub(crate) fn ends(&mut self, event: &domain::audit::Event) {
        self.end = End::of(event, self.traces.clock.now().wall);
    }

    fn context(&self, span: SpanId) -> SpanContext {
        SpanContext::new(self.trace, span, TraceFlags::SAMPLED, false, self.state.clone())
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let end = std::mem::take(&mut self.end);
        let over = end.at.unwrap_or_else(|| self.traces.clock.now().wall);
        if let Some(sent) = self.sent {
            let context = self.context(self.upstream);
            let until = self.answered.unwrap_or(over);
            let span = self.sketch.span(context, self.own, SpanKind::Client, (sent, until));
            self.traces.hand_over(span);
        }
        let mut span =
            self.sketch.span(self.context(self.own), self.client, SpanKind::Server, (self.begun, over));
        span.parent_span_is_remote = self.client != SpanId::INVALID;
        end.describe(&mut span);
        self.traces.hand_over(span);
    }
}

#[cfg(test)]
mod tests;
