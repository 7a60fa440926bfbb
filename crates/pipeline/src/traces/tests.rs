//! Which spans a call has, what they are part of, and what they cost.

use domain::{
    audit::{Event, Kind, ResultWord},
    call::Action,
    clock::Now,
    names::CallId,
};
use opentelemetry::trace::Status;
use std::time::Duration;
use wire::mcp::Class;

use super::*;

struct Still;

impl Clock for Still {
    fn now(&self) -> Now {
        Now { wall: Timestamp::from_second(1_700_000_002).unwrap(), monotonic: Duration::ZERO }
    }
}

fn traces() -> (Arc<Traces>, mpsc::Receiver<SpanData>) {
    Traces::new(Arc::new(Still), || std::array::from_fn(|at| u8::try_from(at).unwrap()))
}

fn call() -> Call {
    Call {
        id: CallId::new(1, 2),
        service: "files".into(),
        method: "tools/call".into(),
        action: Action::Tool("read".into()),
        class: Class::Call,
    }
}

fn headers(traceparent: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", traceparent.parse().unwrap());
    headers.insert(TRACESTATE, "vendor=1".parse().unwrap());
    headers
}

const AT: Timestamp = Timestamp::UNIX_EPOCH;
const CLIENTS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_call_is_part_of_its_clients_trace_and_its_upstream_of_ours() {
    let (traces, mut inbox) = traces();
    let mut headers = headers(CLIENTS);
    let mut trace = traces.begin(&call(), &headers, AT).unwrap();
    trace.leaves(&mut headers);
    trace.answered();
    let mut event = Event::new(AT, Kind::Outcome);
    (event.status, event.result) = (Some(502), Some(ResultWord::UpstreamError));
    event.error = Some(("upstream-broken".into(), "secret words".into()));
    trace.ends(&event);
    drop(trace);

    let (upstream, own) = (inbox.try_recv().unwrap(), inbox.try_recv().unwrap());
    assert!(inbox.try_recv().is_err());
    assert_eq!(own.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(own.parent_span_is_remote);
    assert_eq!(upstream.parent_span_id, own.span_context.span_id());
    for span in [&upstream, &own] {
        assert_eq!(span.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.name, "tools/call");
    }
    let sent = headers["traceparent"].to_str().unwrap();
    assert_eq!(sent, format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", upstream.span_context.span_id()));
    assert_eq!(headers[TRACESTATE], "vendor=1");
    assert_eq!(own.status, Status::error("upstream-broken"));
    assert!(!format!("{own:?}").contains("secret words"), "the trail alone has words of upstreams");
}

#[test]
fn a_call_without_a_trace_begins_one() {
    for nonsense in
        ["", "00-zz-b7ad6b7169203331-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01"]
    {
        let (traces, mut inbox) = traces();
        let mut headers = headers(nonsense);
        let mut trace = traces.begin(&call(), &headers, AT).unwrap();
        trace.leaves(&mut headers);
        drop(trace);
        let (upstream, own) = (inbox.try_recv().unwrap(), inbox.try_recv().unwrap());
        assert_eq!(own.parent_span_id, SpanId::INVALID);
        assert!(
            headers["traceparent"].to_str().unwrap().contains(&upstream.span_context.span_id().to_string())
        );
        assert!(!headers.contains_key(TRACESTATE), "it belonged to a trace that nobody can read");
    }
}

#[test]
fn who_is_not_to_be_traced_is_not() {
    let (traces, mut inbox) = traces();
    let not_sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    assert!(traces.begin(&call(), &headers(not_sampled), AT).is_none());
    assert!(inbox.try_recv().is_err());
}

#[test]
fn a_call_that_is_not_sent_has_one_span() {
    let (traces, mut inbox) = traces();
    drop(traces.begin(&call(), &HeaderMap::new(), AT).unwrap());
    assert_eq!(inbox.try_recv().unwrap().span_kind, SpanKind::Server);
    assert!(inbox.try_recv().is_err());
}

#[test]
fn a_slow_collector_costs_spans_and_no_calls() {
    let (traces, _inbox) = traces();
    for _ in 0..WAITING_MAX + 7 {
        drop(traces.begin(&call(), &HeaderMap::new(), AT).unwrap());
    }
    assert_eq!(traces.lost.load(Ordering::Relaxed), 7);
}
