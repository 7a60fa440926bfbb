//! `POST /proxy` is the HTTP door in one JSON envelope: what can be said there can be said here, and no more.

use serde_json::json;

use crate::harness::*;

fn proxy(stage: &ApiStage, envelope: &str) -> Reply {
    let request = stage.request("POST", "/proxy").header("Content-Type", "application/json");
    stage.gateway.send(&request.body(envelope))
}

#[test]
fn an_envelope_becomes_the_request_that_it_describes() {
    let stage = ApiStage::new();
    let reply = proxy(
        &stage,
        r#"{"service":"api","method":"POST","path":"/v1/notes","query":{"page":2,"tag":["a b","ü"],"x":true},
            "headers":{"X-Custom":"one","Accept":["a","b"],"Authorization":"stolen","Cookie":"stolen"},
            "body":{"amount": 1.50, "id":12345678901234567890123},"intent":"testing"}"#,
    );
    assert_eq!((reply.status, reply.proxy_status()), (200, "forwarded"), "{}", reply.text());
    assert_eq!(reply.text(), "{\"ok\":true}");
    let hit = stage.api.last();
    assert_eq!(hit.method, "POST");
    assert_eq!(hit.target(), "/v1/notes?page=2&tag=a%20b&tag=%C3%BC&x=true");
    // To the byte: a number that was read and written again would be another one.
    assert_eq!(hit.body, br#"{"amount": 1.50, "id":12345678901234567890123}"#);
    assert_eq!(hit.header("content-type"), Some("application/json"));
    assert_eq!(hit.header("x-custom"), Some("one"));
    assert!(!hit.head.contains("stolen") && !hit.head.contains("testing"), "{}", hit.head);
}

#[test]
fn a_text_is_sent_as_it_is() {
    let stage = ApiStage::new();
    let envelope = json!({
        "service": "api", "method": "PUT", "path": "/v1/notes/1", "query": "a=1&b",
        "headers": { "content-type": "text/plain" }, "body": "two\nlines", "idempotency_key": null,
    });
    assert_eq!(proxy(&stage, &envelope.to_string()).status, 200);
    let hit = stage.api.last();
    assert_eq!((hit.target(), &*hit.body), ("/v1/notes/1?a=1&b", &b"two\nlines"[..]));
    assert_eq!(hit.header("content-type"), Some("text/plain"));
}

#[test]
fn a_length_that_an_envelope_states_does_not_cut_its_body() {
    let stage = ApiStage::new();
    for length in ["0", "3", "99"] {
        let envelope = json!({
            "service": "api", "method": "POST", "path": "/v1/notes",
            "headers": { "content-type": "text/plain", "content-length": length }, "body": "judged whole",
        });
        let reply = proxy(&stage, &envelope.to_string());
        assert_eq!(reply.status, 200, "{length}: {}", reply.text());
        let hit = stage.api.last();
        assert_eq!(
            (&*hit.body, hit.header("content-length")),
            (&b"judged whole"[..], Some("12")),
            "{length}"
        );
    }
}

#[test]
fn what_is_not_allowed_or_not_an_envelope_reaches_nobody() {
    let stage = ApiStage::new();
    for (envelope, status, word) in [
        (r#"{"service":"api","method":"DELETE","path":"/v1/x"}"#, 403, "no deletes"),
        (r#"{"service":"api","method":"GET","path":"/v2/x"}"#, 403, "silence"),
        (r#"{"service":"other","method":"GET","path":"/v1/x"}"#, 403, "not in scope"),
        (r#"{"service":"api","method":"GET","path":"http://127.0.0.1/v1/x"}"#, 400, "address"),
        (r#"{"service":"api","method":"GET","path":"v1/x"}"#, 400, "path"),
        (r#"{"service":"api","method":"GET","path":"/v1/../x"}"#, 400, "path"),
        (r#"{"service":"api","method":"GET","path":"/v1/x?y=1"}"#, 400, "path"),
        (r#"{"service":"api","method":"get","path":"/v1/x"}"#, 400, "method"),
        (r#"{"service":"api","method":"GET","path":"/v1/x","stream":true}"#, 400, "`stream`"),
        (r#"{"service":"api","method":"GET","path":"/v1/x","url":"x"}"#, 400, "`url`"),
        (r#"{"service":"api","method":"GET"}"#, 400, "`path` is missing"),
        (r#"{"service":"api","service":"api","method":"GET","path":"/v1/x"}"#, 400, "service"),
        (r#"{"service":1,"method":"GET","path":"/v1/x"}"#, 400, "`service`"),
        (r#"{"service":"api","method":"GET","path":"/v1/x","headers":{"a\r\nb":"c"}}"#, 400, "headers"),
        (r#"{"service":"api","method":"GET","path":"/v1/x","headers":{"a":"b\r\nc: d"}}"#, 400, "headers"),
        (
            r#"{"service":"api","method":"GET","path":"/v1/x","headers":{"X-HTTP-Method":"PUT"}}"#,
            400,
            "x-http-method",
        ),
        (r#"{"service":"api","method":"GET","path":"/v1/x","query":{"a":{"b":1}}}"#, 400, "query"),
        (r#"{"service":"api","method":"GET","path":"/v1/x","query":"a=1#b"}"#, 400, "query"),
        (r#"[1]"#, 400, "object"),
        (r#"{"service":"api""#, 400, ""),
    ] {
        let reply = proxy(&stage, envelope);
        assert_eq!(reply.status, status, "{envelope}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{envelope}");
        assert!(reply.text().contains(word), "{envelope}: {}", reply.text());
    }
    assert_eq!(stage.gateway.send(&stage.request("GET", "/proxy")).status, 405);
    assert_eq!(stage.api.connections(), 0);
}

#[test]
fn an_envelope_has_no_more_headers_than_a_request() {
    let stage = ApiStage::new();
    let envelope = |count: usize| {
        let headers: serde_json::Map<_, _> = (0..count).map(|n| (format!("x-{n}"), json!("v"))).collect();
        json!({ "service": "api", "method": "GET", "path": "/v1/x", "headers": headers }).to_string()
    };
    assert_eq!(proxy(&stage, &envelope(100)).status, 200);
    for count in [101, 40_000] {
        let reply = proxy(&stage, &envelope(count));
        assert_eq!(reply.status, 400, "{count}: {}", reply.text());
        assert!(reply.text().contains("more than 100"), "{count}: {}", reply.text());
    }
}

#[test]
fn a_stranger_learns_nothing_from_what_is_wrong_with_an_envelope() {
    let stage = ApiStage::new();
    let request = Request::new("POST", "/proxy").header("Content-Type", "application/json");
    let reply = stage.gateway.send(&request.body("{"));
    assert_eq!(reply.status, 401, "{}", reply.text());
}

#[test]
fn an_envelope_is_recorded_as_the_request_that_it_is() {
    let stage = ApiStage::new();
    let reply = proxy(&stage, r#"{"service":"api","method":"GET","path":"/v1/x"}"#);
    let events = stage.gateway.recorded(reply.call_id(), 2);
    assert_eq!(events[0]["action"], "GET /v1/x");
    assert_eq!(events[0]["service"], "api");
    let direct = stage.send("GET", "/http/api/v1/x");
    let events_of_direct = stage.gateway.recorded(direct.call_id(), 2);
    assert_eq!(events[0]["digest"], events_of_direct[0]["digest"], "one call, whichever door it came by");
}

#[test]
fn an_agent_finds_its_services_and_what_to_read_about_them() {
    let (web, api) = (Upstream::mcp(), Upstream::start(|_| answer("200 OK", "", "ok")));
    let home = Home::new(API_POLICY);
    home.write("about.md", "# Billing\nGET /v1/balance\n");
    let more = ", documentation: about.md, credentials: [{ name: secret_key, kind: bearer }]";
    let home =
        home.services(&[web.declare("web"), api.declare_api("api", more), api.declare_api("hidden", "")]);
    let key = home.key("laptop", "user", "web,api");
    let gateway = home.serve();
    let reply = gateway.send(&Request::new("GET", "/v1/services").key(&key));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.json(),
        json!({ "services": [
            { "name": "api", "kind": "http", "endpoint": "/http/api/", "documentation": "# Billing\nGET /v1/balance\n" },
            { "name": "web", "kind": "mcp", "endpoint": "/mcp/web", "documentation": null },
        ], "mcp": "/mcp" })
    );
    assert!(!reply.text().contains("127.0.0.1") && !reply.text().contains("secret_key"));
    assert_eq!(gateway.send(&Request::new("GET", "/v1/services")).status, 401);
    assert_eq!(gateway.send(&Request::new("POST", "/v1/services").key(&key)).status, 405);
}
