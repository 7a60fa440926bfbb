//! A right that is withdrawn ends within a second, open streams included: the key, the agent, the scope, the service.

use std::{io::Read as _, net::TcpListener, time::Duration};

use crate::harness::*;

/// Longer than any snapshot may be used without being confirmed. That a test waits longer cannot make it fail.
const A_SECOND: Duration = Duration::from_millis(1_000);

/// Withdraws something while streams are open, and checks that streams and calls end.
fn withdrawn_by(arguments: impl Fn(&Stage) -> Vec<String>) {
    let latch = Latch::new();
    let stage = Stage::behind(Home::new(POLICY), Upstream::endless(&latch));
    let child = stage.at_child();
    let agents = [stage.at_web(), child.clone()];
    let mut at_web = stage.gateway.open(&stage.at_web().listen());
    assert!(at_web.event().is_some());
    let at_child = stage.gateway.open(&child.listen());
    for agent in &agents {
        assert_eq!(agent.call("read_note", "{}").verdict(), 200);
    }
    let (hits, lines) = (stage.web.count(), stage.child.count());

    let arguments = arguments(&stage);
    stage.gateway.ok(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    std::thread::sleep(A_SECOND);
    for _ in 0..5 {
        for agent in &agents {
            assert_refused(agent, &arguments);
        }
    }
    assert_eq!((stage.web.count(), stage.child.count()), (hits, lines), "an upstream was reached");
    assert_eq!(at_web.event(), None, "the open stream is cut");
    assert!(at_child.whole().cut_off, "the open stream of the child is cut");
    latch.release();
}

/// A call must be refused. A gateway that cannot confirm its snapshot in time may refuse it for that first.
fn assert_refused(agent: &Agent, after: &[String]) {
    let verdict = eventually("the snapshot to be confirmed", || {
        let verdict = agent.call("read_note", "{}").verdict();
        (verdict != 503).then_some(verdict)
    });
    assert!(matches!(verdict, 401 | 403), "{after:?}: {verdict}");
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_revoked_key_stops_within_a_second() {
    withdrawn_by(|stage| words(&format!("keys revoke {}", &stage.key[4..12])));
}

#[test]
fn a_disabled_agent_stops_within_a_second() {
    withdrawn_by(|_| words("agents disable laptop"));
}

#[test]
fn a_deleted_agent_stops_within_a_second() {
    withdrawn_by(|_| words("agents delete laptop"));
}

#[test]
fn a_service_taken_out_of_scope_stops_within_a_second() {
    withdrawn_by(|_| {
        vec!["agents".into(), "update".into(), "laptop".into(), "--scope".into(), String::new()]
    });
}

#[test]
fn a_removed_service_stops_within_a_second_and_its_children_end() {
    let stage = Stage::new();
    let agent = stage.at_child();
    assert_eq!(agent.call("read_note", "{}").verdict(), 200);
    let pids = stage.child.pids();
    stage.gateway.ok(&["services", "remove", "child"]);
    std::thread::sleep(A_SECOND);
    assert_refused(&agent, &words("services remove child"));
    until("the child to end", || !pids.iter().any(|pid| is_running(*pid)));
}

#[test]
fn a_stream_is_cut_when_its_key_expires() {
    let latch = Latch::new();
    let stage = Stage::behind(Home::new(POLICY), Upstream::endless(&latch));
    // A machine that is too slow to open a stream before its key has expired is given a longer-lived one.
    let mut stream = [2, 8, 32]
        .into_iter()
        .find_map(|seconds| {
            let brief = stage.gateway.key_with(&["laptop", "--expires", &format!("{seconds}s")]);
            let answer = stage.gateway.open(&stage.gateway.agent(&brief, "web").listen());
            (answer.status == 200).then_some(answer)
        })
        .expect("a new key opens a stream");
    assert!(stream.event().is_some());
    assert_eq!(stream.event(), None);
    latch.release();
}

#[test]
fn an_answer_of_unknown_length_is_cut_like_any_stream() {
    let latch = Latch::new();
    let held = std::sync::Arc::clone(&latch);
    // Nothing but the revocation ends it: the service is not said to stream, and its time limit is far away.
    let stage = ApiStage::with(Home::new(API_POLICY).set("gateway.upstream_timeout=10m"), "", move |_| {
        vec![stream_head(), say("data: one\n\n"), Step::Wait(std::sync::Arc::clone(&held)), Step::HangUp]
    });
    let mut stream = stage.gateway.open(&stage.request("GET", "/http/api/v1/events"));
    assert_eq!(stream.event().as_deref(), Some("data: one\n\n"));
    stage.gateway.ok(&["keys", "revoke", &stage.key[4..12]]);
    assert!(stream.whole().cut_off);
    latch.release();
}

#[test]
fn others_go_on() {
    let latch = Latch::new();
    let stage = Stage::behind(Home::new(POLICY), Upstream::endless(&latch));
    let other = stage.gateway.key("laptop", "user", "web,child");
    until("the new key to be noticed", || {
        stage.gateway.agent(&other, "web").call("echo", "{}").verdict() == 200
    });
    let mut stream = stage.gateway.open(&stage.gateway.agent(&other, "web").listen());
    assert!(stream.event().is_some());
    stage.gateway.ok(&["keys", "revoke", &stage.key[4..12]]);
    until("the revocation to be noticed", || stage.at_web().call("echo", "{}").verdict() == 401);
    assert_eq!(stage.gateway.agent(&other, "web").call("echo", "{}").verdict(), 200);
    latch.release();
    // The upstream ended the stream, not we.
    assert!(!stream.whole().cut_off);
}

#[test]
fn a_call_that_waits_for_a_connection_does_not_outlive_its_key() {
    // Somebody who takes connections and never speaks TLS.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let home = Home::new(POLICY).services(&[format!(
        "  - {{ name: web, kind: mcp, url: \"https://{address}/mcp\", pins: off, network: private }}\n"
    )]);
    let other = home.key("other", "user", "web");
    let gateway = home.serve();
    silent.set_nonblocking(true).unwrap();
    // A machine that takes longer to revoke a key than the gateway waits for a connection gets another try.
    let refused = (0..5).find_map(|nth| {
        let key = gateway.key(&format!("laptop-{nth}"), "user", "web");
        until("the new key to be noticed", || {
            // What the policy refuses dials nobody.
            gateway.agent(&key, "web").call("delete_note", "{}").verdict() == 403
        });
        let (reply, mut connection) = std::thread::scope(|scope| {
            let call = scope.spawn(|| gateway.agent(&key, "web").call("read_note", "{}"));
            let connection = eventually("the gateway to dial", || match silent.accept() {
                Ok((connection, _)) => Some(Some(connection)),
                Err(_) => call.is_finished().then_some(None),
            });
            gateway.ok(&["keys", "revoke", &key[4..12]]);
            (call.join().unwrap(), connection)
        });
        let mut heard = Vec::new();
        if let Some(connection) = &mut connection {
            connection.set_nonblocking(false).unwrap();
            // The gateway hangs up.
            let _ = connection.read_to_end(&mut heard);
        }
        assert!(!String::from_utf8_lossy(&heard).contains("read_note"), "the call was sent");
        (reply.status == 401).then_some(reply)
    });
    let refused = refused.expect("the call is refused before the gateway gives up");
    let events = gateway.recorded(refused.call_id(), 2);
    assert_eq!((events[0]["kind"].as_str(), events[1]["kind"].as_str()), (Some("intent"), Some("outcome")));
    assert_eq!(
        (events[1]["status"].as_i64(), events[1]["decision"]["effect"].as_str()),
        (Some(401), Some("deny")),
        "{events:?}"
    );
    // Others are waited for: nobody has withdrawn anything from them.
    assert_eq!(gateway.agent(&other, "web").call("delete_note", "{}").verdict(), 403);
}
