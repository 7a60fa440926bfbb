//! An upstream that is down, hangs, answers garbage, dies in the middle or sends too much: the agent gets one clear
//! answer, the trail an outcome, and other calls go on.

use std::sync::Arc;

use serde_json::Value;

use crate::harness::*;

/// What the trail says became of a call.
fn outcome(gateway: &Gateway, call: &str) -> Value {
    let events = gateway.recorded(call, 2);
    assert_eq!((&events[0]["kind"], &events[1]["kind"]), (&"intent".into(), &"outcome".into()));
    events[1].clone()
}

fn assert_failed(stage: &Stage, reply: &Reply, verdict: i64, code: &str) {
    assert_eq!(reply.verdict(), verdict, "{}", reply.text());
    assert_eq!(reply.proxy_status(), "upstream-error");
    assert_eq!(reply.json()["error"]["data"]["type"], format!("urn:toolgate:{code}"));
    let outcome = outcome(&stage.gateway, reply.call_id());
    assert_eq!(outcome["result"], "upstream-error", "{outcome}");
    assert_eq!(outcome["status"], verdict, "{outcome}");
    assert_eq!(outcome["error"]["code"], code, "{outcome}");
}

/// A stage whose upstream answers every request like this.
fn answering(steps: impl Fn() -> Vec<Step> + Send + Sync + 'static) -> Stage {
    Stage::behind(Home::new(POLICY), Upstream::start(move |_| steps()))
}

#[test]
fn an_upstream_that_is_down_is_told_without_its_address() {
    let closed = ClosedPort::new();
    let port = closed.address().port();
    let down = format!(
        "  - {{ name: web, kind: mcp, url: \"http://127.0.0.1:{port}/mcp\", pins: off, network: private }}\n"
    );
    let nothing = "  - { name: child, kind: mcp, pins: off, command: [/no/such/program] }\n".to_owned();
    let home = Home::new(POLICY).services(&[down, nothing]);
    let key = home.key("laptop", "user", "web,child");
    let gateway = home.serve();
    for service in ["web", "child"] {
        let agent = gateway.agent(&key, service);
        let method =
            if service == "web" { ("tools/call", r#"{"name":"read_note"}"#) } else { ("initialize", "{}") };
        let reply = agent.request(method.0, method.1);
        assert_eq!(reply.verdict(), 502, "{}", reply.text());
        assert!(reply.message().contains("Nothing was sent."), "{}", reply.message());
        assert!(!reply.text().contains(&port.to_string()), "{}", reply.text());
        assert!(!reply.text().contains("/no/such/program"), "no path in it: {}", reply.text());
    }
    let call = gateway.agent(&key, "web").call("read_note", "{}");
    let outcome = outcome(&gateway, call.call_id());
    assert_eq!(outcome["error"]["code"], "upstream-unreachable");
    assert!(outcome["error"]["message"].to_string().contains("connection refused"), "{outcome}");
}

#[test]
fn an_address_that_is_not_public_needs_to_be_meant() {
    let web = Upstream::mcp();
    let declared = web.declare("web").replace("127.0.0.1", "localtest.invalid");
    let home = Home::new(POLICY);
    home.write(
        "services.yaml",
        &format!("services:\n{}", web.declare("web").replace(", network: private", "")),
    );
    let file = home.path().join("services.yaml");
    let ran = home.run(&["services", "apply", "-f", file.to_str().unwrap()]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("network: private"), "{}", ran.stderr);
    home.apply(&[declared]);
    let key = home.key("laptop", "user", "web");
    let gateway = home.serve();
    assert_eq!(gateway.agent(&key, "web").call("read_note", "{}").verdict(), 502, "a name that is none");
    assert_eq!(web.connections(), 0);
}

#[test]
fn an_upstream_that_hangs_is_given_up() {
    for steps in [
        |held| vec![Step::Wait(held)],
        |held| vec![say("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"), Step::Wait(held)],
    ] {
        let latch = Latch::new();
        let held = std::sync::Arc::clone(&latch);
        let web = Upstream::start(move |_| steps(std::sync::Arc::clone(&held)));
        let stage = Stage::behind(Home::new(POLICY).set("gateway.upstream_timeout=1s"), web);
        let reply = stage.at_web().call("read_note", "{}");
        assert_failed(&stage, &reply, 504, "upstream-timeout");
        assert!(reply.message().contains("The call may have happened."), "{}", reply.message());
        latch.release();
    }
    let stage = Stage::with(Home::new(POLICY).set("gateway.upstream_timeout=4s"));
    let agent = stage.at_child();
    let reply = agent.call("hang", "{}");
    assert_failed(&stage, &reply, 504, "upstream-timeout");
    assert_eq!(agent.call("echo", "{}").verdict(), 200, "the child is not to blame for one call");
}

#[test]
fn a_body_that_does_not_end_in_time_is_cut() {
    let latch = Latch::new();
    let held = std::sync::Arc::clone(&latch);
    let web = Upstream::start(move |_| {
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"half\":";
        vec![say(head), Step::Wait(std::sync::Arc::clone(&held))]
    });
    let stage = Stage::behind(Home::new(POLICY).set("gateway.upstream_timeout=3s"), web);
    let reply = stage.at_web().call("read_note", "{}");
    assert!(reply.cut_off, "{}", reply.text());
    let outcome = outcome(&stage.gateway, reply.call_id());
    assert_eq!((&outcome["result"], &outcome["bytes"]), (&"upstream-error".into(), &8.into()));
    latch.release();
}

#[test]
fn an_upstream_that_answers_garbage_is_a_bad_gateway() {
    for garbage in [
        "this is no HTTP\r\n\r\n".to_owned(),
        "HTTP/1.1 999999 What\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nA\u{0}B: c\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
            .into(),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)),
        "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100_000),
        String::new(),
    ] {
        let stage = answering(move || vec![say(&garbage), Step::HangUp]);
        let reply = stage.at_web().call("read_note", "{}");
        assert_failed(&stage, &reply, 502, "upstream-broken");
        assert!(reply.message().contains("The call may have happened."), "{}", reply.message());
    }
}

#[test]
fn an_upstream_that_dies_in_the_middle_cuts_the_answer() {
    for (head, part) in [
        ("Content-Type: application/json\r\nContent-Length: 100\r\n", "{\"half\":"),
        ("Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", "8\r\n{\"half\":"),
        ("Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", "9\r\ndata: 1\n\n\r\n"),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{head}\r\n{part}");
        let latch = Latch::new();
        let seen = Arc::clone(&latch);
        let stage = answering(move || vec![say(&text), Step::Wait(Arc::clone(&seen)), Step::HangUp]);
        let answer = stage.gateway.open(&stage.at_web().post(call(1, "read_note", "{}")));
        // Not before the head is here: whoever breaks off sooner may be seen as having sent nothing.
        latch.release();
        let reply = answer.whole();
        assert!(reply.cut_off, "an answer that broke off must not look whole: {}", reply.text());
        let outcome = outcome(&stage.gateway, reply.call_id());
        assert_eq!(outcome["result"], "upstream-error", "{outcome}");
        assert_eq!(outcome["error"]["code"], "upstream-broken", "{outcome}");
        assert_eq!(outcome["status"], 200);
    }
}

#[test]
fn an_answer_over_the_limit_is_cut() {
    let home = || Home::new(POLICY).set("gateway.body_limit=100KB");
    let stage = Stage::behind(home(), Upstream::start(|_| json(vec![b' '; 200_000])));
    let announced = stage.at_web().call("read_note", "{}");
    assert_failed(&stage, &announced, 502, "answer-too-large");

    let stage = Stage::behind(
        home(),
        Upstream::start(|_| {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n";
            vec![say(head), Step::Say(vec![b' '; 200_000]), Step::HangUp]
        }),
    );
    let reply = stage.at_web().call("read_note", "{}");
    assert!(reply.cut_off && reply.body.len() <= 100_000, "{} bytes", reply.body.len());
    assert_eq!(outcome(&stage.gateway, reply.call_id())["result"], "upstream-error");
    let list = stage.at_web().request("tools/list", "{}");
    assert_eq!(list.verdict(), 502, "{}", list.text());
}

#[test]
fn an_answer_that_was_compressed_unasked_is_a_bad_gateway() {
    let stage = answering(|| {
        answer("200 OK", "Content-Type: application/json\r\nContent-Encoding: gzip\r\n", b"\x1f\x8b\x08\x00")
    });
    let reply = stage.at_web().call("read_note", "{}");
    assert_failed(&stage, &reply, 502, "upstream-broken");
}

#[test]
fn the_trouble_of_one_upstream_is_not_anothers() {
    let latch = Latch::new();
    let held = std::sync::Arc::clone(&latch);
    let stage = Stage::behind(
        Home::new(POLICY),
        Upstream::start(move |_| vec![Step::Wait(std::sync::Arc::clone(&held)), Step::HangUp]),
    );
    let child = stage.at_child();
    std::thread::scope(|scope| {
        for _ in 0..30 {
            let agent = stage.at_web();
            scope.spawn(move || agent.call("read_note", "{}"));
        }
        until("the upstream to be reached by all", || stage.web.count() == 30);
        for _ in 0..20 {
            assert_eq!(child.call("echo", "{}").verdict(), 200);
        }
        latch.release();
    });
}
