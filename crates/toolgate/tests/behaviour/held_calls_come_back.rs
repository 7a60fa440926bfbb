//! A held call is one row, whoever asks and however: the waiting connection, the same call again, a poll, its result.
//! It is sent once, and every end is told apart. On HTTP; what MCP adds stands in `models_wait_for_people`.

use std::sync::Arc;

use domain::approval::Outcome;
use serde_json::Value;

use crate::harness::*;

const KEY: &str = "Idempotency-Key";
const KEY_STATUS: &str = "x-idempotency-status";

#[test]
fn the_waiting_connection_gets_the_answer_of_the_approved_call() {
    let stage = HeldStage::new(LONG);
    assert_eq!(stage.gateway.send(&stage.refund(500)).status, 201, "small ones need nobody");
    let reply = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| stage.gateway.send(&stage.refund(5000)));
        stage.desk.approve(&stage.waiting());
        waiting.join().unwrap()
    });
    assert_eq!((reply.status, reply.proxy_status()), (201, "executed-approved"), "{}", reply.text());
    assert_eq!((reply.text().as_str(), reply.header("x-refund")), ("{\"refunded\":5000}", Some("7")));
    assert_eq!(stage.api.count(), 2);
    // The waiting connection was told: the same call is another one.
    std::thread::scope(|scope| {
        let again = scope.spawn(|| stage.gateway.send(&stage.refund(5000)));
        stage.desk.deny(&stage.waiting(), "once is enough");
        assert_eq!(again.join().unwrap().status, 403);
    });
    assert_eq!(stage.api.count(), 2);
}

#[test]
fn whoever_does_not_wait_is_told_where_to_ask() {
    let stage = HeldStage::new(SHORT);
    let reply = stage.gateway.send(&stage.refund(5000));
    assert_eq!((reply.status, reply.proxy_status()), (428, "held"), "{}", reply.text());
    let id = approval(&reply);
    assert_eq!(reply.header("location"), Some(&*format!("/v1/approvals/{id}")));
    assert_eq!(reply.header("retry-after"), Some("20"));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    let json = reply.json();
    assert_eq!(json["type"], "urn:toolgate:approval-required");
    assert_eq!(json["detail"], "Rule `big refunds` wants a person's approval. Nothing was sent yet.");
    assert_eq!((&json["rule"], &json["approval"]["status"]), (&"big refunds".into(), &"pending".into()));
    assert!(
        json["next"].as_str().unwrap().starts_with(&format!("GET /v1/approvals/{id}?wait=20 until it is"))
    );
    let expires_at = json["approval"]["expires_at"].as_str().unwrap();

    let state = stage.send("GET", &format!("/v1/approvals/{id}"));
    assert_eq!((state.status, state.header("cache-control")), (200, Some("no-store")));
    assert!(state.header("retry-after").is_some());
    let told = state.json();
    assert_eq!((&told["id"], &told["status"]), (&id.as_str().into(), &"pending".into()), "{told}");
    assert_eq!(told["expires_at"], expires_at);
    let early = stage.result(&id);
    assert_eq!((early.status, early.proxy_status()), (409, "refused"), "{}", early.text());
    assert_eq!(early.json()["approval"]["status"], "pending");
    assert!(early.json()["detail"].as_str().unwrap().starts_with(&format!("{id} is pending, 23 h 5")));
    assert_eq!(stage.api.count(), 0);

    // A long poll ends with the decision, not with its time.
    let state = std::thread::scope(|scope| {
        let poll = scope.spawn(|| stage.send("GET", &format!("/v1/approvals/{id}?wait=50")));
        stage.desk.approve(&id);
        poll.join().unwrap()
    });
    assert_eq!(state.json()["status"], "executed", "{}", state.text());
    assert!(state.header("retry-after").is_none());
    // Polls have delivered nothing.
    let result = stage.result(&id);
    assert_eq!((result.status, result.proxy_status()), (201, "executed-approved"), "{}", result.text());
    assert_eq!((result.text().as_str(), result.header("x-refund")), ("{\"refunded\":5000}", Some("7")));
    assert_eq!(stage.result(&id).text(), result.text(), "a result may be fetched again");
    assert_eq!(stage.api.count(), 1);
    assert_ne!(stage.held_refund(5000), id, "delivered, so the same call is a new one");
}

#[test]
fn the_same_call_again_resumes_and_a_changed_one_does_not() {
    let stage = HeldStage::new(SHORT);
    let id = stage.held_refund(5000);
    assert_eq!(stage.held_refund(5000), id);
    let other = stage.held_refund(5001);
    assert_ne!(other, id, "a changed call needs its own approval");
    // Spaces are another body, and headers that travel are part of the call.
    let body = "{ \"amount\":5000}";
    let spaced = stage.refund(5000).body(body);
    assert_ne!(approval(&stage.gateway.send(&spaced)), id);
    assert_ne!(approval(&stage.gateway.send(&stage.refund(5000).header("X-Other", "1"))), id);
    // Another door, the same call.
    let envelope = r#"{"service":"api","method":"POST","path":"/v1/refunds","headers":{"Content-Type":"application/json"},"body":"{\"amount\":5000}"}"#;
    let reply = stage.gateway.send(&stage.request("POST", "/proxy").body(envelope));
    assert_eq!(approval(&reply), id);
    // The agent's purpose, however it is stated, is no part of the call; the first one is shown.
    assert_eq!(approval(&stage.gateway.send(&stage.refund(5000).header("X-Toolgate-Intent", "why"))), id);
    stage.desk.approve(&id);
    stage.reached(&id, "executed");
    let again = stage.gateway.send(&stage.refund(5000));
    assert_eq!((again.status, again.proxy_status()), (201, "executed-approved"), "{}", again.text());
    assert_eq!(stage.state(&other)["status"], "pending");
    assert_eq!(stage.api.count(), 1);
    assert_ne!(stage.held_refund(5000), id);
}

#[test]
fn identical_calls_at_once_are_one_approval_and_one_execution() {
    let stage = HeldStage::new(LONG);
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| stage.gateway.send(&stage.refund(5000)))).collect();
        let id = stage.waiting();
        until("all calls to have come", || {
            stage.gateway.events().iter().filter(|event| event["kind"] == "held").count() == 8
        });
        assert_eq!(stage.pending().len(), 1);
        stage.desk.approve(&id);
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    for reply in &replies {
        assert_eq!((reply.status, reply.proxy_status()), (201, "executed-approved"), "{}", reply.text());
    }
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn idempotency_keys_keep_held_calls_apart() {
    let stage = HeldStage::new(SHORT);
    let keyed = |key: &str, amount: u32| stage.gateway.send(&stage.refund(amount).header(KEY, key));
    let first = keyed("one", 5000);
    assert_eq!((first.status, first.header(KEY_STATUS)), (428, Some("in-progress")), "{}", first.text());
    let id = approval(&first);
    assert_eq!(approval(&keyed("one", 5000)), id);
    assert_ne!(approval(&keyed("two", 5000)), id, "different keys never join");
    assert_ne!(stage.held_refund(5000), id, "nor does a call without one");
    let mismatch = keyed("one", 5001);
    assert_eq!(
        (mismatch.status, mismatch.header(KEY_STATUS)),
        (422, Some("mismatch")),
        "{}",
        mismatch.text()
    );
    stage.desk.approve(&id);
    stage.reached(&id, "executed");
    let done = keyed("one", 5000);
    assert_eq!((done.status, done.header(KEY_STATUS)), (201, Some("stored")), "{}", done.text());
    assert_eq!(done.proxy_status(), "executed-approved");
    let replayed = keyed("one", 5000);
    assert_eq!(
        (replayed.status, replayed.header(KEY_STATUS)),
        (201, Some("replayed")),
        "{}",
        replayed.text()
    );
    assert_eq!(replayed.text(), done.text());
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn denied_expired_cancelled_and_failed_are_told_apart() {
    let stage = HeldStage::behind(SHORT, |hit| match hit.json()["amount"].as_u64() {
        Some(6000) => vec![Step::HangUp],
        _ => answer("409 Conflict", "Content-Type: text/plain\r\n", "already refunded"),
    });
    let denied = stage.held_refund(5000);
    stage.desk.deny(&denied, "wrong \u{202e}folder\"");
    assert_eq!(stage.state(&denied)["reason"], "wrong \u{202e}folder\"");
    let reply = stage.gateway.send(&stage.refund(5000));
    assert_eq!((reply.status, reply.proxy_status()), (403, "refused"), "{}", reply.text());
    let json = reply.json();
    assert_eq!((&json["title"], &json["approval"]["status"]), (&"Denied".into(), &"denied".into()));
    assert_eq!(
        json["detail"],
        format!("An operator denied {denied}: \"wrong \\u{{202e}}folder\\u{{22}}\". Nothing was sent.")
    );
    assert_eq!(stage.result(&denied).status, 403);

    let hasty = stage.request("POST", "/http/api/v1/hasty");
    let expired = approval(&stage.gateway.send(&hasty));
    let state = stage.reached(&expired, "expired");
    assert!(state["expires_at"].is_null(), "{state}");
    let reply = stage.gateway.send(&hasty);
    assert_eq!((reply.status, &reply.json()["title"]), (410, &"Expired".into()), "{}", reply.text());

    let cancelled = stage.held_refund(7000);
    let reply = stage.send("DELETE", &format!("/v1/approvals/{cancelled}"));
    assert_eq!((reply.status, &reply.json()["status"]), (200, &"cancelled".into()), "{}", reply.text());
    let again = stage.send("DELETE", &format!("/v1/approvals/{cancelled}"));
    assert_eq!(again.json()["status"], "cancelled", "taking back twice is taking back");
    let reply = stage.result(&cancelled);
    assert_eq!((reply.status, &reply.json()["title"]), (410, &"Cancelled".into()), "{}", reply.text());
    assert_eq!(stage.api.count(), 0);

    let refused = stage.held_refund(8000);
    stage.desk.approve(&refused);
    stage.reached(&refused, "failed");
    let reply = stage.result(&refused);
    assert_eq!((reply.status, reply.text().as_str()), (409, "already refunded"), "what the upstream said");
    assert_eq!(reply.proxy_status(), "executed-approved");
    let late = stage.send("DELETE", &format!("/v1/approvals/{refused}"));
    assert_eq!((late.status, &late.json()["title"]), (409, &"Too late".into()), "{}", late.text());
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn a_crash_in_the_middle_ends_in_unknown_and_is_never_sent_again() {
    let latch = Latch::new();
    let held = Arc::clone(&latch);
    let mut stage = HeldStage::behind(SHORT, move |_| vec![Step::Wait(Arc::clone(&held)), Step::HangUp]);
    let id = stage.held_refund(5000);
    stage.desk.approve(&id);
    until("the call to be sent", || stage.api.count() == 1);
    let being_sent = stage.gateway.send(&stage.refund(5000));
    assert_eq!((being_sent.status, approval(&being_sent)), (428, id.clone()), "{}", being_sent.text());
    assert!(!being_sent.text().contains("Nothing was sent"), "{}", being_sent.text());
    let late = stage.send("DELETE", &format!("/v1/approvals/{id}"));
    assert_eq!(late.status, 409, "{}", late.text());
    stage.gateway.crash_and_restart();
    latch.release();
    stage.reached(&id, "unknown");
    for reply in [stage.result(&id), stage.gateway.send(&stage.refund(5000)), stage.result(&id)] {
        assert_eq!(
            (reply.status, &reply.json()["title"]),
            (409, &"Outcome unknown".into()),
            "{}",
            reply.text()
        );
        assert_eq!(reply.json()["approval"]["id"], id.as_str());
    }
    stage.desk.resolve(&id, Outcome::Failed);
    stage.reached(&id, "failed");
    let told = stage.gateway.send(&stage.refund(5000));
    assert_eq!((told.status, &told.json()["title"]), (409, &"Answer lost".into()), "{}", told.text());
    assert_ne!(stage.held_refund(5000), id);
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn waiting_survives_a_restart_and_a_client_that_hangs_up() {
    let mut stage = HeldStage::new(LONG);
    let client = stage.gateway.begin(&stage.refund(5000));
    let id = stage.waiting();
    drop(client);
    stage.gateway.stop();
    stage.gateway.restart();
    assert_eq!(stage.state(&id)["status"], "pending");
    let client = stage.gateway.begin(&stage.refund(5000));
    until("the call to be met again", || {
        stage.gateway.events().iter().filter(|event| event["kind"] == "held").count() == 2
    });
    drop(client);
    assert_eq!(stage.waiting(), id);
    stage.desk.approve(&id);
    stage.reached(&id, "executed");
    stage.gateway.crash_and_restart();
    let reply = stage.gateway.send(&stage.refund(5000));
    assert_eq!((reply.status, reply.proxy_status()), (201, "executed-approved"), "{}", reply.text());
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn a_stop_does_not_wait_for_people() {
    let mut stage = HeldStage::new(LONG);
    let reply = std::thread::scope(|scope| {
        let request = stage.refund(5000);
        let address = stage.gateway.address();
        let waiting = scope.spawn(move || send(address, &request));
        stage.waiting();
        assert!(stage.gateway.stop().success());
        waiting.join().unwrap()
    });
    assert_eq!((reply.status, reply.proxy_status()), (428, "held"), "{}", reply.text());
}

#[test]
fn another_agents_approval_is_no_approval() {
    let stage = HeldStage::new(SHORT);
    let id = stage.held_refund(5000);
    let stranger = stage.other_key("desktop", "user", "web,api");
    for (method, path) in [("GET", ""), ("GET", "/result"), ("DELETE", "")] {
        let ask = |id: &str, key: &str| {
            let reply =
                stage.gateway.send(&Request::new(method, &format!("/v1/approvals/{id}{path}")).key(key));
            let mut told = reply.json();
            told["call_id"].take();
            (reply.status, told)
        };
        let theirs = ask(&id, &stranger);
        assert_eq!(theirs.0, 404, "{theirs:?}");
        for nobodys in ["ap_0000000000", "ap_", "x", "ap_0000000000000"] {
            assert_eq!(ask(nobodys, &stranger), theirs, "{method} {path}");
        }
    }
    // Somebody who guesses is seen, by name.
    until("the guesses are recorded", || {
        let of_guesser = |event: &Value| event["agent"] == "desktop" && event["kind"] == "refusal";
        let events = stage.gateway.events();
        events.iter().any(|event| of_guesser(event) && event["decision"]["reason"] == "no such approval")
    });
    // Nor does their same call meet it.
    let reply = stage.gateway.send(&stage.refund(5000).without("authorization").key(&stranger));
    assert_ne!(approval(&reply), id);
    assert_eq!(stage.state(&id)["status"], "pending");
}

#[test]
fn the_door_takes_its_methods_and_wants_a_key() {
    let stage = HeldStage::new(SHORT);
    let id = stage.held_refund(5000);
    let path = format!("/v1/approvals/{id}");
    for (method, path, allow) in [
        ("HEAD", path.clone(), "GET, DELETE"),
        ("POST", path.clone(), "GET, DELETE"),
        ("DELETE", format!("{path}/result"), "GET"),
        ("GET", "/proxy".to_owned(), "POST"),
        ("POST", "/healthz".to_owned(), "GET, HEAD"),
    ] {
        let answer = stage.gateway.open(&stage.request(method, &path));
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    for query in ["?wait=x", "?wait=", "?wait=1&wait=2"] {
        assert_eq!(stage.send("GET", &format!("{path}{query}")).status, 400, "{query}");
    }
    for nowhere in ["/v1/approvals", "/v1/approvals/", &format!("{path}/x"), &format!("{path}/result/")] {
        assert_eq!(stage.send("GET", nowhere).status, 404, "{nowhere}");
    }
    let without = stage.gateway.send(&Request::new("GET", &path));
    assert_eq!((without.status, without.proxy_status()), (401, "refused"));
    assert_eq!(stage.state(&id)["status"], "pending");
}
