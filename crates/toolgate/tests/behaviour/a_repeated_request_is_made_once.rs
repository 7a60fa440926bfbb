//! A request to an HTTP API under an idempotency key is made at most once: repeated, it is answered as the first one was,
//! head and body. On MCP: `a_repeated_call_is_made_once`.

use std::sync::Mutex;

use crate::harness::{keyed::*, *};

fn post(stage: &ApiStage, key: &str, body: impl Into<Vec<u8>>) -> Reply {
    let request = stage.request("POST", "/http/api/v1/notes").header("Content-Type", "application/json");
    stage.gateway.send(&request.header(KEY, key).body(body))
}

#[test]
fn the_whole_answer_is_replayed() {
    let stage = ApiStage::behind(|_| {
        answer(
            "201 Created",
            "Content-Type: text/x-odd\r\nLocation: /v1/notes/7\r\nX-Own: kept\r\n",
            "\u{0}made\n",
        )
    });
    let first = post(&stage, "k", "{\"a\":1}");
    assert_eq!((first.status, status(&first), first.proxy_status()), (201, "stored", "forwarded"));
    assert_eq!(stage.gateway.events_of(first.call_id()).len(), 2, "durable before the answer");
    let again = post(&stage, "k", "{\"a\":1}");
    assert_eq!((again.status, status(&again), again.proxy_status()), (201, "replayed", "replayed"));
    assert_eq!(again.body, first.body);
    for name in ["content-type", "location", "x-own", "content-length"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    for body in ["{\"a\":2}", "{\"a\": 1}", ""] {
        let reply = post(&stage, "k", body);
        assert_eq!((reply.status, status(&reply)), (422, "mismatch"), "{}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    }
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn the_upstream_is_told_the_key_where_it_knows_such() {
    let stage = ApiStage::with(Home::new(API_POLICY), ", idempotency_header: X-Their-Key", |_| json("{}"));
    assert_eq!(status(&post(&stage, "order-7", "{}")), "stored");
    assert_eq!(stage.api.last().header("x-their-key"), Some("order-7"));
    assert_eq!(stage.api.last().header(KEY), None);
    assert_eq!(stage.post("/http/api/v1/notes", "{}").header(STATUS), None);
    assert_eq!(stage.api.last().header("x-their-key"), None, "without a key none is told");
}

#[test]
fn large_bodies_are_told_apart_and_arrive_whole() {
    let stage = ApiStage::behind(|hit| json(format!("{}", hit.body.len())));
    let large = "x".repeat(300_000);
    assert_eq!(post(&stage, "k", &*large).text(), "300000");
    assert_eq!(status(&post(&stage, "k", &*large)), "replayed");
    assert_eq!(status(&post(&stage, "k", large.replacen('x', "y", 1))), "mismatch");
    assert_eq!(stage.api.hits()[0].body, large.as_bytes());
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn an_envelope_may_carry_the_key_and_a_header_wins_over_it() {
    let stage = ApiStage::new();
    let envelope =
        r#"{"service":"api","method":"POST","path":"/v1/notes","body":{"a":1},"idempotency_key":"in"}"#;
    let send = |headers: &[(&str, &str)]| {
        let request = Request::post("/proxy", envelope).key(&stage.key);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        stage.gateway.send(&request)
    };
    assert_eq!(status(&send(&[])), "stored");
    assert_eq!(status(&send(&[])), "replayed");
    assert_eq!(status(&send(&[(KEY, "out")])), "stored");
    assert_eq!(stage.api.count(), 2);
}

#[test]
fn what_the_upstream_refused_may_be_tried_again_and_what_it_failed_at_may_not() {
    let statuses = Mutex::new(vec!["500 Oops", "429 Too Many", "403 No", "401 No"]);
    let stage = ApiStage::behind(move |_| {
        let status = statuses.lock().unwrap().pop().unwrap_or("200 OK");
        answer(status, "Content-Type: text/plain\r\n", status)
    });
    for expected in [401, 403, 429] {
        let reply = post(&stage, "k", "{}");
        assert_eq!((reply.status, status(&reply)), (expected, ""), "{}", reply.text());
    }
    assert_eq!((post(&stage, "k", "{}").status, post(&stage, "k", "{}").status), (500, 500));
    assert_eq!(stage.api.count(), 4);
}

#[test]
fn a_refused_call_spends_no_key() {
    let stage = ApiStage::new();
    let request = stage.request("DELETE", "/http/api/v1/notes").header(KEY, "k");
    assert_eq!(stage.gateway.send(&request).status, 403);
    assert_eq!(status(&post(&stage, "k", "{}")), "stored");
}
