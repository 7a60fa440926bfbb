//! `kill -9` at any moment: every call that the upstream heard of has its intent, every answer that an agent got
//! has its intent, and the chain holds. An outcome that was lost shows as unknown. Sessions do not outlive their
//! process in a way that mixes agents up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::harness::*;

const KILLS: u64 = 20;

/// The number in the arguments of a call.
fn number_in(arguments: &serde_json::Value) -> u64 {
    arguments["n"].as_u64().unwrap()
}

#[test]
fn twenty_crashes_under_load_lose_nothing() {
    let mut stage = Stage::new();
    let (numbers, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let address = Mutex::new(stage.gateway.address());
    let answered = Mutex::new(BTreeSet::new());
    let key = stage.key.clone();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let n = numbers.fetch_add(1, Ordering::SeqCst);
                    let to = *address.lock().unwrap();
                    let request =
                        Request::post("/mcp/web", call(1, "echo", &format!(r#"{{"n":{n}}}"#))).key(&key);
                    // The gateway may die at any moment.
                    if attempt(to, &request).is_ok_and(|reply| !reply.cut_off && reply.verdict() == 200) {
                        answered.lock().unwrap().insert(n);
                    }
                }
            });
        }
        for turn in 0..KILLS {
            // Odd moments: during the start-up's first calls as well as later.
            std::thread::sleep(Duration::from_millis(5 + turn * 37 % 120));
            stage.gateway.crash_and_restart();
            *address.lock().unwrap() = stage.gateway.address();
        }
        until("enough calls to be answered", || answered.lock().unwrap().len() > 20);
        over.store(true, Ordering::SeqCst);
    });

    // Outcomes reach the trail after their answers; with the end of the gateway all are there.
    assert!(stage.gateway.stop().success());
    let events = stage.gateway.events();
    let mut calls: BTreeMap<&str, Vec<&serde_json::Value>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["call_id"].is_string()) {
        calls.entry(event["call_id"].as_str().unwrap()).or_default().push(event);
    }
    let intents: BTreeSet<u64> = calls
        .values()
        .filter(|events| events[0]["kind"] == "intent")
        .map(|events| number_in(&events[0]["args"]))
        .collect();
    let open = calls.values().filter(|events| events.len() == 1 && events[0]["kind"] == "intent").count();
    let heard: BTreeSet<u64> =
        stage.web.hits().iter().map(|hit| number_in(&hit.json()["params"]["arguments"])).collect();
    let answered = answered.into_inner().unwrap();

    assert!(heard.is_subset(&intents), "heard without an intent: {:?}", heard.difference(&intents));
    assert!(answered.is_subset(&heard), "answered without being heard: {:?}", answered.difference(&heard));
    assert_eq!(stage.web.count(), heard.len(), "no call was sent twice");
    for (id, events) in &calls {
        let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
        assert!(matches!(kinds[..], ["intent"] | ["intent", "outcome"] | ["refusal"]), "{id}: {kinds:?}");
    }
    let listed = stage.gateway.ok(&["audit", "list", "--limit", "100000"]).stdout;
    let unknown = listed.lines().filter(|line| line.contains(" unknown ")).count();
    assert_eq!(unknown, open, "intents without an outcome are shown as unknown");
}

#[test]
fn a_session_of_a_child_does_not_open_another_childs_after_a_crash() {
    let mut stage = Stage::new();
    let other = stage.gateway.key("other", "user", "child");
    let old = stage.at_child();
    assert_eq!(old.call("pid", "{}").verdict(), 200);
    stage.gateway.crash_and_restart();
    let theirs = stage.gateway.agent(&other, "child").connected();
    assert_eq!(theirs.call("pid", "{}").verdict(), 200);
    let lines = stage.child.count();
    let mut stale = stage.gateway.agent(&stage.key, "child");
    stale.session = old.session;
    let reply = stale.call("pid", "{}");
    assert_eq!(reply.verdict(), 404, "the old session is gone: {}", reply.text());
    assert_eq!(stage.child.count(), lines, "another agent's child was reached");
}

#[test]
fn a_session_of_a_child_does_not_open_another_childs_after_a_change_of_the_service() {
    let stage = Stage::new();
    let other = stage.gateway.key("other", "user", "child");
    let old = stage.at_child();
    assert_eq!(old.call("pid", "{}").verdict(), 200);
    stage.gateway.apply(&[stage.child.declare_with("child", ", processes: 7")]);
    until("the change to be noticed", || old.call("pid", "{}").verdict() == 404);
    let theirs = stage.gateway.agent(&other, "child").connected();
    assert_eq!(theirs.call("pid", "{}").verdict(), 200);
    let lines = stage.child.count();
    assert_eq!(old.call("pid", "{}").verdict(), 404);
    assert_eq!(stage.child.count(), lines, "another agent's child was reached");
}

#[test]
fn children_do_not_outlive_a_crash_for_long() {
    let mut stage = Stage::new();
    let agent = stage.at_child();
    assert_eq!(agent.call("pid", "{}").verdict(), 200);
    let pids = stage.child.pids();
    stage.gateway.signal(Signal::SIGKILL);
    stage.gateway.ended();
    // Their input is closed with the process that held it.
    until("the child to end", || !pids.iter().any(|pid| is_running(*pid)));
    stage.gateway.restart();
}
