//! A forwarded call is in the trail before the upstream hears of it, and ends there with an outcome, whatever the
//! upstream or the client does.

use std::sync::Arc;

use serde_json::Value;

use crate::harness::*;

/// An upstream that answers calls when the latch is released.
fn waiting(latch: &Arc<Latch>) -> Upstream {
    let held = Arc::clone(latch);
    Upstream::start(move |hit| {
        let mut steps = mcp(hit);
        if hit.rpc_method() == "tools/call" {
            steps.insert(0, Step::Wait(Arc::clone(&held)));
        }
        steps
    })
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["kind"].as_str()).collect()
}

#[test]
fn the_intent_is_durable_before_the_upstream_hears_of_the_call() {
    let latch = Latch::new();
    let stage = Stage::behind(Home::new(POLICY), waiting(&latch));
    let agent = stage.at_web();
    let calling = std::thread::spawn(move || agent.call("read_note", r#"{"n":1}"#));
    until("the upstream to be reached", || stage.web.count() == 1);
    let events: Vec<Value> = stage.gateway.events();
    let intent = events.iter().find(|event| event["kind"] == "intent").expect("the intent is on the disk");
    assert!(!kinds(&events).contains(&"outcome"), "nothing has come of it yet");
    assert_eq!(intent["agent"], "laptop");
    assert_eq!(intent["role"], "user");
    assert_eq!(intent["key_id"], stage.key[4..12]);
    assert_eq!(intent["service"], "web");
    assert_eq!(intent["method"], "tools/call");
    assert_eq!(intent["action"], "read_note");
    assert_eq!(intent["args"], serde_json::json!({ "n": 1 }));
    assert_eq!(intent["decision"]["effect"], "allow");
    assert_eq!(intent["decision"]["rule"], "reading");
    assert_eq!(intent["decision"]["policy_hash"].as_str().unwrap().len(), 64);
    assert_eq!(intent["digest"].as_str().unwrap().len(), 64);

    latch.release();
    let reply = calling.join().unwrap();
    assert_eq!(reply.verdict(), 200);
    assert_eq!(intent["call_id"], reply.call_id());
    let events = stage.gateway.recorded(reply.call_id(), 2);
    assert_eq!(kinds(&events), ["intent", "outcome"]);
    let outcome = &events[1];
    assert_eq!(outcome["result"], "forwarded");
    assert_eq!(outcome["status"], 200);
    assert_eq!(outcome["bytes"], reply.body.len());
    assert!(outcome["latency_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn every_kind_of_call_is_recorded_over_every_transport() {
    let stage = Stage::new();
    for agent in [stage.at_web(), stage.at_child()] {
        for (method, params, action) in [
            ("tools/call", r#"{"name":"read_note"}"#, "read_note"),
            ("resources/read", r#"{"uri":"file:///public/a"}"#, "file:///public/a"),
            ("prompts/get", r#"{"name":"hello"}"#, "hello"),
            (
                "completion/complete",
                r#"{"ref":{"type":"ref/prompt","name":"hello"},"argument":{"name":"a","value":"b"}}"#,
                "hello",
            ),
        ] {
            let reply = agent.request(method, params);
            assert_eq!(reply.verdict(), 200, "{method}: {}", reply.text());
            let events = stage.gateway.recorded(reply.call_id(), 2);
            assert_eq!(kinds(&events), ["intent", "outcome"]);
            for event in &events {
                assert_eq!((&event["method"], &event["action"]), (&method.into(), &action.into()));
            }
        }
    }
}

#[test]
fn housekeeping_is_recorded_only_where_asked_for() {
    let housekeeping = [
        ("ping", "{}"),
        ("tools/list", "{}"),
        ("resources/list", "{}"),
        ("prompts/list", "{}"),
        ("logging/setLevel", r#"{"level":"info"}"#),
        ("resources/subscribe", r#"{"uri":"file:///public/a"}"#),
    ];
    let quiet = Stage::new();
    let agent = quiet.at_web().connected();
    for (method, params) in housekeeping {
        assert_eq!(agent.request(method, params).verdict(), 200);
    }
    let reply = agent.call("read_note", "{}");
    quiet.gateway.recorded(reply.call_id(), 2);
    let calls = quiet.gateway.events().into_iter().filter(|event| event["call_id"].is_string());
    assert_eq!(calls.count(), 2, "only the call is in the trail");

    let thorough = Stage::with(Home::new(POLICY).set("audit.record=everything"));
    let agent = thorough.at_web().connected();
    for (method, params) in housekeeping {
        let reply = agent.request(method, params);
        assert_eq!(kinds(&thorough.gateway.recorded(reply.call_id(), 2)), ["intent", "outcome"], "{method}");
    }
}

#[test]
fn secrets_in_arguments_are_not_recorded() {
    let stage = Stage::new();
    let long = "x".repeat(100_000);
    let arguments = format!(
        r#"{{"path":"a","password":"hunter2","nested":{{"api_key":"hunter2","Authorization":"Bearer hunter2"}},"text":"{long}"}}"#
    );
    let reply = stage.at_web().call("read_note", &arguments);
    assert_eq!(reply.verdict(), 200);
    let intent = &stage.gateway.recorded(reply.call_id(), 2)[0];
    assert!(!intent.to_string().contains("hunter2"), "{intent}");
    assert_eq!(intent["args"]["path"], "a");
    assert!(intent["args"].to_string().len() <= 4_096, "{}", intent["args"].to_string().len());
}

#[test]
fn a_client_that_hangs_up_leaves_an_outcome_and_its_call_still_happens() {
    let latch = Latch::new();
    let stage = Stage::behind(Home::new(POLICY), waiting(&latch));
    let connection = stage.gateway.begin(&stage.at_web().post(call(1, "read_note", "{}")));
    until("the upstream to be reached", || stage.web.count() == 1);
    drop(connection);
    latch.release();
    let events = eventually("the outcome", || {
        let events = stage.gateway.events();
        kinds(&events).contains(&"outcome").then_some(events)
    });
    let outcome = events.iter().find(|event| event["kind"] == "outcome").unwrap();
    assert_eq!(outcome["status"], 200, "hanging up cancels nothing in the older protocols: {outcome}");
}

#[test]
fn a_stream_is_recorded_when_it_ends() {
    let latch = Latch::new();
    let held = Arc::clone(&latch);
    let web = Upstream::start(move |_| {
        vec![
            stream_head(),
            say("data: {}\n\n"),
            Step::Wait(Arc::clone(&held)),
            say("data: {}\n\n"),
            Step::HangUp,
        ]
    });
    let stage = Stage::behind(Home::new(POLICY), web);
    let mut answer = stage.gateway.open(&stage.at_web().post(call(1, "read_note", "{}")));
    let id = answer.header("x-call-id").unwrap().to_owned();
    assert!(answer.event().is_some());
    assert_eq!(kinds(&stage.gateway.events_of(&id)), ["intent"]);
    latch.release();
    assert!(answer.event().is_some());
    assert_eq!(answer.event(), None);
    let events = stage.gateway.recorded(&id, 2);
    assert_eq!((&events[1]["kind"], &events[1]["bytes"]), (&"outcome".into(), &20.into()));
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_dropped() {
    let mut stage = Stage::new();
    let agent = stage.at_web();
    for _ in 0..100 {
        assert_eq!(agent.call("write_note", "{}").verdict(), 403);
    }
    drop(agent);
    assert!(stage.gateway.stop().success());
    let refusals: Vec<Value> =
        stage.gateway.events().into_iter().filter(|event| event["kind"] == "refusal").collect();
    assert!(refusals.len() < 100, "they are not all written one by one");
    let stands_for = |event: &Value| event["count"].as_u64().unwrap_or(1);
    assert_eq!(refusals.iter().map(stands_for).sum::<u64>(), 100);
}
