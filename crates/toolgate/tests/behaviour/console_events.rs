//! What happens reaches whoever watches, nothing twice, and what was missed is told to who comes back. Monitors read
//! figures.

use serde_json::Value;

use crate::harness::{Answer, ApiStage, Browser, HeldStage, Home, POLICY, Request, SHORT, open, send};

/// Reads events until one is of this name; its id and data.
fn next(stream: &mut Answer, name: &str) -> (Option<i64>, Value) {
    for _ in 0..1_000 {
        let event = stream.event().expect("the stream goes on");
        let field = |field: &str| {
            event.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(": ")?.to_owned()))
        };
        if field("event").as_deref() == Some(name) {
            let data = serde_json::from_str(&field("data").unwrap()).unwrap();
            return (field("id").map(|id| id.parse().unwrap()), data);
        }
    }
    panic!("a thousand events, and no {name}");
}

#[test]
fn calls_and_held_calls_are_told_and_who_comes_back_is_told_the_rest() {
    let stage = HeldStage::new(SHORT);
    let token = stage.gateway.operator_token(&stage.gateway.operator("bob", "viewer"));
    let listen = || Request::listen("/api/events").key(&token);
    let mut stream = open(stage.gateway.console(), &listen());
    assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
    let (_, health) = next(&mut stream, "health");
    assert_eq!((&health["trail"], &health["kill"]), (&Value::from(true), &Value::from(false)), "{health}");

    let reply = stage.send("GET", "/http/api/v1/x");
    let (seen, call) = next(&mut stream, "call");
    assert_eq!(
        (&call["call_id"], &call["result"]),
        (&Value::from(reply.call_id()), &Value::from("forwarded")),
        "{call}"
    );
    assert!(call.get("args").is_none());
    let id = stage.held_refund(5_000);
    let (_, held) = next(&mut stream, "approval");
    assert_eq!(
        (&held["approval_id"], &held["kind"]),
        (&Value::from(id.clone()), &Value::from("held")),
        "{held}"
    );
    drop(stream);

    stage.desk.deny(&id, "not ordered");
    let back = listen().header("Last-Event-ID", &seen.unwrap().to_string());
    let mut stream = open(stage.gateway.console(), &back);
    let (again, _) = next(&mut stream, "approval");
    let (denied, decision) = next(&mut stream, "approval");
    assert!(again > seen && denied > again, "{seen:?} {again:?} {denied:?}");
    assert_eq!(decision["kind"], "decision", "{decision}");
    drop(stream);
}

#[test]
fn who_may_listen_no_more_is_told_nothing_of_it() {
    let stage = HeldStage::new(SHORT);
    let [gus, eve, ivy] = ["gus", "eve", "ivy"].map(|name| stage.gateway.operator(name, "viewer"));
    let listen = || Request::listen("/api/events");
    let begun = |request: &Request| {
        let mut stream = open(stage.gateway.console(), request);
        next(&mut stream, "health");
        stream
    };
    let ends = |mut stream: Answer, why: &str| {
        let call = stage.send("GET", "/http/api/v1/x").call_id().to_owned();
        // What was told before may still come, then the end.
        for _ in 0..100 {
            let Some(event) = stream.event() else { return };
            assert!(!event.contains(&call), "{why}: {event}");
        }
        panic!("{why}: it goes on");
    };

    let token = stage.gateway.operator_token(&gus);
    let stream = begun(&listen().key(&token));
    let revoked = stage.gateway.run(&["operators", "revoke-token", &token]);
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    ends(stream, "a revoked token");

    let token = stage.gateway.operator_token(&eve);
    let stream = begun(&listen().key(&token));
    assert_eq!(stage.gateway.run(&["operators", "disable", &eve]).code, 0);
    ends(stream, "a token of somebody who was disabled");

    // Whoever brings a refresh token for the second time ends the login, and no operator did that.
    let mut browser = Browser::of(&stage.gateway, &ivy);
    let mut thief = browser.elsewhere(stage.gateway.console());
    let stream = begun(&browser.dressed(listen()));
    assert_eq!(browser.write("POST", "/api/refresh", &serde_json::json!({})).status, 200);
    assert_eq!(thief.write("POST", "/api/refresh", &serde_json::json!({})).status, 401);
    ends(stream, "a stolen login");
}

#[test]
fn a_stream_ends_with_its_gateway() {
    let home = Home::new(POLICY);
    let token = home.operator_token(&home.operator("ada", "owner"));
    let mut gateway = home.serve();
    let mut stream = open(gateway.console(), &Request::listen("/api/events").key(&token));
    next(&mut stream, "health");
    assert!(gateway.stop().success());
    while stream.event().is_some() {}
}

#[test]
fn a_monitor_reads_figures_with_its_token_and_nothing_else() {
    let home = Home::new(crate::harness::API_POLICY)
        .set("console.metrics_token_env=MONITOR")
        .variable("MONITOR", "a token of a monitor");
    let ada = home.operator("ada", "viewer");
    let stage = ApiStage::with(home, "", |_| crate::harness::answer("200 OK", "", "ok"));
    for _ in 0..3 {
        assert_eq!(stage.send("GET", "/http/api/v1/x").status, 200);
    }
    assert_eq!(stage.send("DELETE", "/http/api/v1/x").status, 403);
    let scrape = |key: &str| send(stage.gateway.console(), &Request::new("GET", "/metrics").key(key));
    let text = crate::harness::eventually("the figures to be counted", || {
        let text = scrape("a token of a monitor").text();
        let counted = text.contains("toolgate_calls_total{decision=\"forwarded\"} 3\n");
        (counted && text.contains("toolgate_calls_total{decision=\"refused\"} 1\n")).then_some(text)
    });
    for line in [
        "# TYPE toolgate_gate_seconds histogram",
        "toolgate_gate_seconds_count 3",
        "toolgate_upstream_seconds_bucket{le=\"+Inf\"} 3",
        "toolgate_held_calls 0",
        "toolgate_audit_healthy 1",
        "toolgate_store_healthy 1",
        "toolgate_kill_switch 0",
        "toolgate_services 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}: {text}");
    }
    assert!(!text.contains("laptop"), "no name of anybody");
    assert_eq!(scrape("another token").status, 401);
    assert_eq!(scrape(&stage.key).status, 401);
    assert_eq!(send(stage.gateway.console(), &Request::new("GET", "/metrics")).status, 401);
    let api = Request::new("GET", "/api/agents").key("a token of a monitor");
    assert_eq!(send(stage.gateway.console(), &api).status, 401, "figures only");
    let mut browser = Browser::of(&stage.gateway, &ada);
    assert_eq!(browser.get("/metrics").status, 200, "operators may look too");
}
