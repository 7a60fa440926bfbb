//! A call whose intent cannot be made durable is not forwarded: 503, and the upstream hears nothing. Once that is known it is
//! said at once. When the trail can be written again, calls pass again.

use std::time::{Duration, Instant};

use crate::harness::*;

/// So many calls that waiting for the store with each of them would take minutes; refused at once they take no time.
const MANY: usize = 40;
const MANY_TAKE_LESS: Duration = Duration::from_secs(100);

/// Many calls, one after the other, none of which may wait for the store.
#[expect(clippy::disallowed_methods, reason = "a test has no other clock")]
fn many_in_no_time(agent: &Agent, arguments: &str) -> Vec<Reply> {
    let begun = Instant::now();
    let replies = (0..MANY).map(|_| agent.call("read_note", arguments)).collect();
    assert!(begun.elapsed() < MANY_TAKE_LESS, "they waited for the store: {:?}", begun.elapsed());
    replies
}

#[test]
fn while_the_trail_cannot_be_written_nothing_is_forwarded() {
    let stage = Stage::new();
    let child = stage.at_child();
    assert_eq!(child.call("echo", "{}").verdict(), 200);
    let (hits, lines) = (stage.web.count(), stage.child.count());
    let lock = Lock::take(&stage.gateway);
    let calls: Vec<_> = [stage.at_web(), child.clone()]
        .into_iter()
        .map(|agent| std::thread::spawn(move || agent.call("read_note", "{}")))
        .collect();
    for calling in calls {
        let reply = calling.join().unwrap();
        assert_eq!(reply.verdict(), 503, "{}", reply.text());
        assert_eq!(reply.json()["error"]["data"]["type"], "urn:toolgate:audit-unavailable");
        assert_eq!(reply.header("retry-after"), Some("30"));
        assert_eq!(reply.proxy_status(), "fault");
        assert!(reply.message().contains("Nothing was sent."), "{}", reply.message());
    }
    assert_eq!((stage.web.count(), stage.child.count()), (hits, lines), "an upstream was reached");
    assert_eq!(stage.gateway.send(&Request::new("GET", "/readyz")).status, 503);
    assert_eq!(stage.gateway.send(&Request::new("GET", "/healthz")).status, 200);

    for reply in many_in_no_time(&stage.at_web(), "{}") {
        assert_eq!(reply.verdict(), 503, "{}", reply.text());
    }
    assert_eq!((stage.web.count(), stage.child.count()), (hits, lines), "an upstream was reached");
    assert_eq!(stage.gateway.send(&Request::new("GET", "/readyz")).status, 503);

    drop(lock);
    until("calls to pass again", || stage.at_web().call("read_note", "{}").verdict() == 200);
    until("the gateway to be ready again", || {
        stage.gateway.send(&Request::new("GET", "/readyz")).status == 200
    });
    assert_eq!(child.call("echo", "{}").verdict(), 200);
    assert_every_hit_has_an_intent(&stage, lines);
}

#[test]
fn a_refusal_that_could_not_be_written_at_once_is_written_later() {
    let stage = Stage::new();
    let lock = Lock::take(&stage.gateway);
    let reply = stage.at_web().call("write_note", "{}");
    assert_eq!(reply.verdict(), 403, "no is no, with or without a trail: {}", reply.text());
    // A call makes sure that the writer has met the lock.
    assert_eq!(stage.at_web().call("read_note", "{}").verdict(), 503);
    drop(lock);
    assert_eq!(stage.gateway.recorded(reply.call_id(), 1)[0]["kind"], "refusal");
}

#[test]
fn a_store_that_cannot_grow_lets_nothing_pass() {
    let stage = Stage::with(Home::on_file(POLICY).cramped());
    let agent = stage.at_web();
    let big = format!(r#"{{"text":"{}"}}"#, "x".repeat(3_000));
    let (reply, before) = eventually("the store to be full", || {
        let before = stage.web.count();
        let reply = agent.call("read_note", &big);
        (reply.verdict() != 200).then_some((reply, before))
    });
    assert_eq!(reply.verdict(), 503, "{}", reply.text());
    assert_eq!(stage.web.count(), before, "the upstream was reached");
    let refused = many_in_no_time(&agent, &big);
    // A few more may fit in; what passes is recorded.
    let passed = refused.iter().filter(|reply| reply.verdict() == 200).count();
    assert_eq!(stage.web.count(), before + passed, "the upstream was reached");
    let is_ready = || stage.gateway.send(&Request::new("GET", "/readyz")).status == 200;
    until("the gateway not to be ready", || {
        agent.call("read_note", &big);
        !is_ready()
    });
    stage.gateway.give_room();
    until("the gateway to be ready again", is_ready);
    assert_eq!(agent.call("read_note", "{}").verdict(), 200);
    // What was refused meanwhile is told, and what was forwarded has its end.
    assert_eq!(stage.gateway.recorded(reply.call_id(), 1)[0]["kind"], "refusal");
    let count = |kind: &str| stage.gateway.events().iter().filter(|event| event["kind"] == kind).count();
    until("each intent to have its end", || count("outcome") == count("intent"));
    assert_every_hit_has_an_intent(&stage, stage.child.count());
}

fn assert_every_hit_has_an_intent(stage: &Stage, lines_before: usize) {
    let hits = stage.web.hits().iter().filter(|hit| hit.rpc_method() == "tools/call").count();
    let lines = stage.child.noted("in").into_iter().skip(lines_before);
    let lines = lines.filter(|line| line.text.contains("tools/call")).count();
    let intents = stage.gateway.events().iter().filter(|event| event["kind"] == "intent").count();
    assert!(intents >= hits + lines, "{intents} intents, {hits} hits, {lines} lines");
}
