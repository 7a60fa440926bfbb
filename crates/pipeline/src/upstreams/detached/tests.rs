//! What is said in place of a client, and the desk at which approved calls are executed in tests.

use std::{sync::Arc, time::Duration};

use domain::{
    clock::Clock as _,
    credential::CredentialKind,
    service::{Service, Upstream},
    stop::{Fault, Refusal},
};
use http::HeaderValue;
use http_body_util::BodyExt as _;

use super::*;
use crate::{
    arrival::{Caller, Exchange},
    credentials::{
        Injection,
        tests::bench::{Bench, caller, service},
    },
    dial::Dialler,
    freshness::Freshness,
    gateway::Bounds,
    leave::Leave,
    session::Session,
    upstreams::{Answer, Outbound, Upstreams},
};

/// The value of the credential that every request to the service must carry.
pub(in crate::upstreams) const TOKEN: &str = "token-of-the-desk";

/// One service of a real gateway's inside: store, vault, world, upstreams.
pub(in crate::upstreams) struct Desk {
    service: Arc<Service>,
    injection: Arc<Injection>,
    upstreams: Upstreams,
    freshness: Arc<Freshness>,
    caller: Caller,
    pub(in crate::upstreams) bounds: Bounds,
    _bench: Bench,
}

impl Desk {
    pub(in crate::upstreams) async fn new(upstream: Upstream) -> Self {
        let bench = Bench::new().await;
        let slots = [("token", CredentialKind::Bearer)];
        let slots = if upstream.http().is_some() { &slots[..] } else { &[] };
        let service = Arc::new(service(upstream, slots));
        bench.put(Service::clone(&service), None).await;
        assert!(slots.is_empty() || bench.set(&service, "token", TOKEN.as_bytes()).await);
        let injection = bench.credentials.injection(&service, &bench.world().await).await.ok().unwrap();
        let upstreams = Upstreams::new(Dialler::new(), Arc::clone(&bench.clock) as _, 4 * 1024 * 1024);
        let freshness = bench.freshness().await;
        let bounds = Bounds { body_bytes_max: 64 * 1024, upstream_timeout: Duration::from_secs(240) };
        assert!(bench.clock.now().monotonic > Duration::ZERO);
        Self { service, injection, upstreams, freshness, caller: caller(), bounds, _bench: bench }
    }

    /// A client that is connected sends a message.
    pub(in crate::upstreams) async fn live(&self, session: Option<&Session>, text: &str) -> Answer {
        let outbound = self.outbound(session, text, false);
        self.upstreams.exchange(&self.service, outbound, &self.injection).await.unwrap()
    }

    /// An approved call of a tool by that name is executed; the media type and the bytes of its answer.
    pub(in crate::upstreams) async fn execute(
        &self,
        session: Option<&Session>,
        tool: &str,
    ) -> Result<(u16, String), Stop> {
        self.execute_as(session, tool, false).await
    }

    pub(in crate::upstreams) async fn execute_as(
        &self,
        session: Option<&Session>,
        tool: &str,
        modern: bool,
    ) -> Result<(u16, String), Stop> {
        let outbound = self.outbound(session, &call(tool), modern);
        let executing =
            self.upstreams.exchange_detached(&self.service, outbound, &self.injection, &self.bounds);
        let answer = must_be_send(executing).await?;
        assert!(answer.session.is_none(), "a session of ours is nobody else's");
        let (head, body) = answer.response.into_parts();
        let media = head.headers.get("content-type").map(|media| media.to_str().unwrap().to_owned());
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        assert!(text.is_empty() || media.as_deref() == Some("application/json"), "{media:?}");
        Ok((head.status.as_u16(), text))
    }

    fn outbound(&self, session: Option<&Session>, text: &str, modern: bool) -> Outbound<'_> {
        let message = Message::read(text.to_owned().into(), &Limits::of_bytes(text.len())).unwrap();
        let mut headers = HeaderMap::new();
        let version = if modern { "2026-07-28" } else { "2025-06-18" };
        headers.insert(mcp::header::PROTOCOL_VERSION, HeaderValue::from_static(version));
        Outbound {
            caller: &self.caller,
            exchange: Exchange::Post(message),
            session: session.cloned(),
            headers,
            modern,
            leave: Leave::of_us(&self.freshness),
        }
    }

    pub(in crate::upstreams) async fn stop(&self) {
        self.upstreams.stop(Duration::from_secs(60)).await;
    }
}

/// The walk runs on tasks of its own.
fn must_be_send<F: Future + Send>(future: F) -> F {
    future
}

pub(in crate::upstreams) fn call(tool: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":"held-1","method":"tools/call","params":{{"name":"{tool}","arguments":{{"a":1}}}}}}"#
    )
}

/// Waits until it is so: what is done aside has no moment of its own.
pub(in crate::upstreams) async fn until(mut so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came to be");
}

/// Why nothing of the call was sent.
pub(in crate::upstreams) fn unreachable(outcome: Result<(u16, String), Stop>) -> String {
    match outcome {
        Err(stop @ Stop::Fault(Fault::UpstreamUnreachable(_))) => {
            assert!(!stop.may_have_happened());
            let Stop::Fault(fault) = stop else { unreachable!() };
            fault.cause()
        }
        other => panic!("{other:?}"),
    }
}

fn read(text: &str) -> Message {
    Message::read(text.to_owned().into(), &Limits::of_bytes(text.len())).unwrap()
}

#[test]
fn a_session_of_ours_promises_nothing_and_speaks_the_version_of_the_call() {
    for (said, spoken) in [
        (None, "2025-03-26"),
        (Some("2025-06-18"), "2025-06-18"),
        (Some(" 2025-11-25"), "2025-11-25"),
        (Some("1999-01-01"), "2025-03-26"),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(said) = said {
            headers.insert(mcp::header::PROTOCOL_VERSION, HeaderValue::from_static(said));
        }
        let message = read(&initialize(&headers));
        assert_eq!(message.method(), Some("initialize"));
        let params = message.params().unwrap();
        assert_eq!(params.get("protocolVersion").unwrap().as_str().unwrap(), spoken);
        assert_eq!(params.get("capabilities").unwrap().text(), "{}");
        assert_eq!(params.get("clientInfo").unwrap().get("name").unwrap().text(), "\"toolgate\"");
    }
    assert!(matches!(read(INITIALIZED).shape(), Shape::Notification { method: "notifications/initialized" }));
}

#[test]
fn nobody_answers_pings_and_declines_the_rest() {
    let answered = |text: &str| answer_for_nobody(&read(text), NOBODY);
    assert_eq!(
        answered(r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}"#).unwrap(),
        r#"{"jsonrpc":"2.0","id":"q","error":{"code":-32601,"message":"nobody is there to answer"}}"#
    );
    assert_eq!(
        answered(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#).unwrap(),
        r#"{"jsonrpc":"2.0","id":7,"result":{}}"#
    );
    assert_eq!(answered(r#"{"jsonrpc":"2.0","method":"notifications/message"}"#), None);
    assert_eq!(answered(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#), None);
}

#[test]
fn what_goes_wrong_before_the_call_does_not_look_as_if_it_had_happened() {
    let broken = unsent(Fault::UpstreamBroken("reset".into()).into());
    assert!(!broken.may_have_happened());
    assert!(unreachable(Err(broken)).ends_with(": reset"));
    assert_eq!(unsent(Refusal::Stopped.into()), Refusal::Stopped.into());
    assert_eq!(unsent(Fault::UpstreamBusy.into()), Fault::UpstreamBusy.into());
}
