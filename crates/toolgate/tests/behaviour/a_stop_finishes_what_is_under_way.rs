//! SIGTERM lets calls under way finish, takes no new ones, and exits with 0. Streams that only listen, and clients
//! that keep their connection, do not hold it up.

use std::sync::Arc;

use nix::sys::signal::Signal;

use crate::harness::*;

/// An upstream that answers calls, and ends streams, when the latch is released.
fn waiting(latch: &Arc<Latch>) -> Upstream {
    let held = Arc::clone(latch);
    Upstream::start(move |hit| {
        let wait = Step::Wait(Arc::clone(&held));
        match (hit.method.as_str(), hit.rpc_method().as_str()) {
            ("GET", _) => vec![stream_head(), say("data: {\"open\":1}\n\n"), wait, Step::HangUp],
            (_, "tools/call") => [vec![wait], mcp(hit)].into_iter().flatten().collect(),
            _ => mcp(hit),
        }
    })
}

fn accepts(address: std::net::SocketAddr) -> bool {
    #[expect(clippy::disallowed_methods, reason = "a test speaks to its own gateway")]
    let connected = std::net::TcpStream::connect(address);
    connected.is_ok()
}

#[test]
fn a_call_under_way_finishes() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let latch = Latch::new();
        let mut stage = Stage::behind(Home::new(POLICY), waiting(&latch));
        let agent = stage.at_web();
        let calling = std::thread::spawn(move || agent.call("read_note", "{}"));
        until("the upstream to be reached", || stage.web.count() == 1);
        stage.gateway.signal(signal);
        until("the listener to close", || !accepts(stage.gateway.address()));
        until("the stop to be told", || stage.gateway.said().contains("draining: 1 call in flight"));
        latch.release();
        let reply = calling.join().unwrap();
        assert_eq!(reply.verdict(), 200, "{}", reply.text());
        assert!(!reply.cut_off);
        assert!(stage.gateway.ended().success());
        let kinds: Vec<_> =
            stage.gateway.recorded(reply.call_id(), 2).iter().map(|event| event["kind"].clone()).collect();
        assert_eq!(kinds, ["intent", "outcome"]);
    }
}

#[test]
fn a_call_to_a_child_finishes() {
    let mut stage = Stage::new();
    let agent = stage.at_child();
    let asking = agent.clone();
    let calling = std::thread::spawn(move || asking.call("slow", "{}"));
    until("the child to be reached", || stage.child.noted("slow").len() == 1);
    stage.gateway.signal(Signal::SIGTERM);
    let reply = calling.join().unwrap();
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
    assert!(stage.gateway.ended().success());
    assert!(stage.child.pids().iter().all(|pid| !is_running(*pid)));
}

#[test]
fn a_stream_that_only_listens_does_not_hold_the_stop_up() {
    let latch = Latch::new();
    let mut stage = Stage::behind(Home::new(POLICY), waiting(&latch));
    let child = stage.at_child();
    let mut at_web = stage.gateway.open(&stage.at_web().listen());
    assert!(at_web.event().is_some());
    let at_child = stage.gateway.open(&child.listen());
    assert_eq!(at_child.status, 200);
    assert!(stage.gateway.stop().success());
    latch.release();
}

#[test]
fn an_idle_connection_does_not_hold_the_stop_up() {
    let mut stage = Stage::new();
    let idle = send_bytes(stage.gateway.address(), b"");
    until("a call to pass", || stage.at_web().call("echo", "{}").verdict() == 200);
    assert!(stage.gateway.stop().success());
    drop(idle);
}

#[test]
fn a_second_signal_stops_at_once() {
    let latch = Latch::new();
    let mut stage = Stage::behind(Home::new(POLICY), waiting(&latch));
    let connection = stage.gateway.begin(&stage.at_web().post(call(1, "read_note", "{}")));
    until("the upstream to be reached", || stage.web.count() == 1);
    stage.gateway.signal(Signal::SIGTERM);
    until("the gateway to drain", || stage.gateway.said().contains("draining"));
    stage.gateway.signal(Signal::SIGTERM);
    assert!(stage.gateway.ended().success());
    let calls = stage.gateway.ok(&["audit", "list"]).stdout;
    assert!(calls.contains("unknown"), "what was cut off is shown as unknown: {calls}");
    latch.release();
    drop(connection);
}

#[test]
fn start_and_stop_are_in_the_trail() {
    let mut stage = Stage::new();
    assert!(stage.gateway.stop().success());
    let system: Vec<_> = stage
        .gateway
        .events()
        .into_iter()
        .filter(|event| event["kind"] == "system")
        .map(|event| event["action"].clone())
        .collect();
    assert_eq!(system, ["gateway.start", "gateway.stop"]);
}
