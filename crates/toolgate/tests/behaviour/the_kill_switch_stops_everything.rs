//! While the kill switch is on nothing is forwarded, for anybody: calls, lists, streams, uploads, through every door.
//! It acts within a second, outlives restarts, and gives everything back when it is turned off.

use std::{io::Write as _, net::TcpListener, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{harness::*, terminal::Terminal};

/// Longer than any snapshot may be used without being confirmed. That a test waits longer cannot make it fail.
const A_SECOND: Duration = Duration::from_millis(1_000);

const WORDS: &str = "Stopped (503): an operator has turned the kill switch on. Nothing was sent. Do not retry; tell the user.";

/// Turns it on, and waits until nothing may be forwarded any more.
fn stop(home: &Home) {
    home.ok(&["kill", "on", "--reason", "laptop stolen"]);
    std::thread::sleep(A_SECOND);
}

/// The answer once the snapshot is confirmed: a slow gateway may say first that it is not.
fn confirmed(mut ask: impl FnMut() -> Reply) -> Reply {
    eventually("the snapshot to be confirmed", || {
        Some(ask()).filter(|reply| !reply.text().contains("stale-authorization"))
    })
}

/// The answer of an HTTP door, or to a message without an id.
fn assert_problem(reply: &Reply) {
    let json = reply.json();
    assert_eq!((reply.status, reply.proxy_status()), (503, "refused"), "{json}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(
        (json["type"].as_str(), json["title"].as_str()),
        (Some("urn:toolgate:stopped"), Some("Stopped"))
    );
    assert_eq!(json["detail"], "An operator has turned the kill switch on. Nothing was sent.");
    assert_eq!(json["next"], "Do not retry; tell the user.");
    assert!(reply.header("retry-after").is_some());
    assert!(!reply.text().contains("laptop stolen"), "the reason is for operators");
}

/// The answer to a JSON-RPC request.
fn assert_stopped(reply: &Reply) {
    assert_eq!((reply.status, reply.code(), reply.proxy_status()), (200, 503, "refused"), "{}", reply.text());
    assert_eq!(reply.message(), format!("{WORDS} Call {}.", reply.call_id()));
    assert_eq!(reply.json()["error"]["data"]["type"], "urn:toolgate:stopped");
}

#[test]
fn mcp_calls_lists_and_housekeeping_reach_nobody() {
    let stage = Stage::new();
    let (web, child) = (stage.at_web(), stage.at_child());
    for agent in [&web, &child] {
        assert_eq!(agent.call("read_note", "{}").verdict(), 200);
    }
    let (hits, lines, pids) = (stage.web.count(), stage.child.count(), stage.child.pids());
    stop(&stage.gateway);
    for agent in [&web, &child] {
        for (method, params) in [
            ("tools/call", r#"{"name":"read_note","arguments":{}}"#),
            // What is refused anyway is told the same: nobody learns anything while all is stopped.
            ("tools/call", r#"{"name":"delete_note","arguments":{}}"#),
            ("resources/read", r#"{"uri":"file:///public/a"}"#),
            ("tools/list", "{}"),
            ("ping", "{}"),
            (
                "initialize",
                r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#,
            ),
        ] {
            assert_stopped(&confirmed(|| agent.request(method, params)));
        }
        assert_problem(&confirmed(|| {
            agent.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
        }));
        assert_problem(&confirmed(|| stage.gateway.send(&agent.listen())));
        assert_problem(&confirmed(|| stage.gateway.send(&agent.end())));
    }
    assert_eq!((stage.web.count(), stage.child.count()), (hits, lines), "an upstream was reached");
    assert_eq!(stage.child.pids(), pids, "no child was started");

    stage.gateway.ok(&["kill", "off"]);
    for agent in [&web, &child] {
        until("calls to pass again", || agent.call("read_note", "{}").verdict() == 200);
    }
    assert_eq!((stage.web.count(), stage.child.count()), (hits + 1, lines + 1), "the old session goes on");
}

#[test]
fn http_requests_and_envelopes_reach_nobody() {
    let stage = ApiStage::new();
    assert_eq!(stage.send("GET", "/http/api/v1/x").status, 200);
    stop(&stage.gateway);
    assert_problem(&confirmed(|| stage.send("GET", "/http/api/v1/x")));
    assert_problem(&confirmed(|| stage.post("/http/api/v1/notes", "{}")));
    let envelope = r#"{"service":"api","method":"GET","path":"/v1/x"}"#;
    assert_problem(&confirmed(|| stage.post("/proxy", envelope)));
    assert_eq!(stage.api.count(), 1, "the upstream was reached");
    // What agents are told by the gateway itself is not forwarded.
    assert_eq!(confirmed(|| stage.send("GET", "/v1/services")).status, 200);
    stage.gateway.ok(&["kill", "off"]);
    until("requests to pass again", || stage.send("GET", "/http/api/v1/x").status == 200);
}

#[test]
fn strangers_are_told_what_they_are_always_told() {
    let stage = Stage::new();
    let stranger = stage.gateway.agent("agt_7kq2m9xd_nobody", "web");
    let before = confirmed(|| stranger.call("read_note", "{}"));
    stop(&stage.gateway);
    assert_stopped(&confirmed(|| stage.at_web().call("read_note", "{}")));
    let after = confirmed(|| stranger.call("read_note", "{}"));
    assert_eq!((before.status, after.status), (401, 401));
    let same = |reply: &Reply| reply.text().replace(reply.call_id(), "c_");
    assert_eq!(same(&before), same(&after), "a stranger does not learn that all is stopped");
}

#[test]
fn open_streams_end() {
    let latch = Latch::new();
    let stage = Stage::behind(Home::new(POLICY).set("audit.record=everything"), Upstream::endless(&latch));
    let child = stage.at_child();
    let mut streams = [
        stage.gateway.open(&stage.at_web().listen()),
        stage.gateway.open(&stage.at_web().post(call(1, "read_all", "{}"))),
    ];
    for stream in &mut streams {
        assert!(stream.event().is_some());
    }
    let at_child = stage.gateway.open(&child.listen());
    let calls =
        streams.iter().chain([&at_child]).map(|stream| stream.header("x-call-id").unwrap().to_owned());
    let calls: Vec<_> = calls.collect();
    stage.gateway.ok(&["kill", "on", "--reason", "x"]);
    for mut stream in streams {
        assert_eq!(stream.event(), None, "the open stream is cut");
    }
    assert!(at_child.whole().cut_off, "the open stream of the child is cut");
    for call in calls {
        let events = stage.gateway.recorded(&call, 2);
        assert_eq!(events[1]["error"]["code"], "stopped", "{events:?}");
    }
    latch.release();
}

#[test]
fn an_upload_under_way_ends() {
    // Nothing but the switch ends it.
    let home = Home::new(API_POLICY).set("gateway.upstream_timeout=10m");
    let stage = ApiStage::with(home, "", |_| json("{}"));
    let request = stage.request("POST", "/http/api/v1/notes").header("Content-Length", "1000000");
    let mut connection = stage.gateway.begin(&request.body(vec![b'x'; 1_000]));
    until("the upload to begin", || stage.api.connections() == 1);
    stage.gateway.ok(&["kill", "on", "--reason", "x"]);
    until("the upload to be refused", || connection.write_all(&[b'x'; 16]).is_err());
    until("its end to be recorded", || {
        stage.gateway.events().iter().any(|event| {
            let why = event["error"]["message"].as_str().unwrap_or_default();
            event["kind"] == "outcome" && why.contains("an operator has turned the kill switch on")
        })
    });
    assert_eq!(stage.api.count(), 0, "a whole request arrived");
}

#[test]
fn what_was_sent_before_is_answered() {
    let latch = Latch::new();
    let held = Arc::clone(&latch);
    let web = Upstream::start(move |hit| {
        if hit.rpc_method() == "tools/call" {
            held.wait();
        }
        mcp(hit)
    });
    let stage = Stage::behind(Home::new(POLICY), web);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| stage.at_web().call("read_note", "{}"));
        until("the call to arrive", || stage.web.count() == 1);
        stage.gateway.ok(&["kill", "on", "--reason", "x"]);
        assert_stopped(&eventually("the switch to act", || {
            Some(stage.at_web().request("tools/list", "{}")).filter(|reply| reply.verdict() == 503)
        }));
        latch.release();
        let answer = first.join().unwrap();
        assert_eq!((answer.verdict(), answer.proxy_status()), (200, "forwarded"), "{}", answer.text());
    });
}

#[test]
fn a_call_that_waits_for_a_connection_is_not_sent() {
    // Somebody who takes connections and never speaks TLS.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let home = Home::new(POLICY).services(&[format!(
        "  - {{ name: web, kind: mcp, url: \"https://{address}/mcp\", pins: off, network: private }}\n"
    )]);
    let key = home.key("laptop", "user", "web");
    let gateway = home.serve();
    silent.set_nonblocking(true).unwrap();
    // A machine that takes longer to turn the switch than the gateway waits for a connection gets another try.
    let stopped = (0..5).find_map(|_| {
        let reply = std::thread::scope(|scope| {
            let call = scope.spawn(|| gateway.agent(&key, "web").call("read_note", "{}"));
            let _connection = eventually("the gateway to dial", || match silent.accept() {
                Ok((connection, _)) => Some(Some(connection)),
                Err(_) => call.is_finished().then_some(None),
            });
            gateway.ok(&["kill", "on", "--reason", "x"]);
            call.join().unwrap()
        });
        gateway.ok(&["kill", "off"]);
        until("the switch to be off", || {
            // What the policy refuses dials nobody.
            gateway.agent(&key, "web").call("delete_note", "{}").verdict() == 403
        });
        reply.text().contains("urn:toolgate:stopped").then_some(reply)
    });
    let stopped = stopped.expect("the call is stopped before the gateway gives up");
    assert_stopped(&stopped);
    let events = gateway.recorded(stopped.call_id(), 2);
    assert_eq!((events[0]["kind"].as_str(), events[1]["kind"].as_str()), (Some("intent"), Some("outcome")));
    assert_eq!(
        (events[1]["status"].as_i64(), events[1]["decision"]["reason"].as_str()),
        (Some(503), Some("kill switch"))
    );
}

#[test]
fn a_call_that_waits_for_its_token_is_not_sent() {
    let latch = Latch::new();
    let held = Arc::clone(&latch);
    let tokens = Upstream::start(move |_| {
        held.wait();
        json(r#"{"access_token":"a-token-of-the-endpoint","token_type":"Bearer","expires_in":3600}"#)
    });
    let api = Upstream::start(|_| json("{}"));
    let url = tokens.declare_api("x", "").split('"').nth(1).unwrap().to_owned();
    let more = format!(
        ", credentials: [{{ name: client, kind: oauth2_client_credentials, token_url: \"{url}/token\", client_id: me }}]"
    );
    let home = Home::new(API_POLICY).services(&[api.declare_api("api", &more)]);
    home.credential("api", "client", "the-secret-of-the-client");
    let key = home.key("laptop", "user", "api");
    let gateway = home.serve();
    let request = Request::new("GET", "/http/api/v1/x").key(&key);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| gateway.send(&request));
        until("the token to be asked for", || tokens.count() == 1);
        stop(&gateway);
        latch.release();
        let reply = call.join().unwrap();
        // A machine that is slower than the gateway waits for a token is told that there is none.
        if reply.status != 502 {
            assert_problem(&reply);
        }
    });
    assert_eq!(api.count(), 0, "the call was sent");
    gateway.ok(&["kill", "off"]);
    until("calls to pass again", || gateway.send(&request).status == 200);
}

#[test]
fn a_bridge_tells_its_client() {
    let web = Upstream::mcp();
    let home = Home::new(POLICY).services(&[web.declare("web")]);
    let key = home.key("laptop", "user", "web");
    let gateway = home.variable("TOOLGATE_KEY", &key).serve();
    stop(&gateway);
    let url = format!("http://{}", gateway.address());
    let line = r#"{"jsonrpc":"2.0","id":"one","method":"tools/list","params":{}}"#;
    let json = eventually("the snapshot to be confirmed", || {
        let ran = gateway.run_with(&["bridge", "web", "--url", &url], format!("{line}\n").as_bytes());
        let json: Value = serde_json::from_str(ran.stdout.trim()).expect(&ran.stderr);
        (json["error"]["data"]["type"] != "urn:toolgate:stale-authorization").then_some(json)
    });
    assert_eq!((json["id"].as_str(), json["error"]["code"].as_i64()), (Some("one"), Some(503)), "{json}");
    assert!(json["error"]["message"].as_str().unwrap().starts_with(WORDS), "{json}");
    assert_eq!(web.count(), 0);
}

#[test]
fn it_is_turned_without_a_gateway_and_outlives_restarts() {
    let web = Upstream::mcp();
    let home = Home::new(POLICY).services(&[web.declare("web")]);
    let key = home.key("laptop", "user", "web");
    home.ok(&["kill", "on", "--reason", "laptop stolen"]);
    let mut gateway = home.serve();
    for _ in 0..2 {
        let told = gateway.said();
        let line =
            told.lines().find(|line| line.starts_with("! safety  kill switch on since ")).expect(&told);
        assert!(line.contains(": \"laptop stolen\"; nothing is forwarded until: "), "{line}");
        assert_stopped(&confirmed(|| gateway.agent(&key, "web").call("read_note", "{}")));
        gateway.crash_and_restart();
    }
    assert_eq!(web.count(), 0);
    gateway.stop();
    gateway.ok(&["kill", "off"]);
    gateway.restart();
    assert!(!gateway.said().contains("kill switch"), "{}", gateway.said());
    assert_eq!(gateway.agent(&key, "web").call("read_note", "{}").verdict(), 200);
}

#[test]
fn the_trail_names_who_turned_it_and_whom_it_stopped() {
    let stage = Stage::new();
    stop(&stage.gateway);
    stage.gateway.ok(&["kill", "on", "--reason", "again"]);
    let refused = confirmed(|| stage.at_web().call("read_note", "{}"));
    stage.gateway.ok(&["kill", "off"]);
    stage.gateway.ok(&["kill", "off"]);
    let refusal = &stage.gateway.recorded(refused.call_id(), 1)[0];
    assert_eq!((refusal["kind"].as_str(), refusal["status"].as_i64()), (Some("refusal"), Some(503)));
    assert_eq!(
        (refusal["agent"].as_str(), refusal["error"]["code"].as_str()),
        (Some("laptop"), Some("stopped"))
    );
    let events = stage.gateway.events();
    let turns: Vec<&Value> = events
        .iter()
        .filter(|event| event["action"].as_str().is_some_and(|action| action.starts_with("kill.")))
        .collect();
    let told =
        |event: &Value| (event["action"].as_str().unwrap().to_owned(), event["args"]["reason"].clone());
    assert_eq!(
        turns.iter().map(|event| told(event)).collect::<Vec<_>>(),
        [("kill.on".to_owned(), "laptop stolen".into()), ("kill.off".to_owned(), "laptop stolen".into())],
        "what changes nothing is no event"
    );
    assert!(turns.iter().all(|event| event["operator"].as_str().unwrap().starts_with("os:")));
}

#[test]
fn operators_are_told_how_it_stands() {
    let terminal = Terminal::with_home();
    assert_eq!(terminal.run(&["kill", "status"]).ok().stdout, "✓ kill switch  off\n");
    let off: Value = serde_json::from_str(r#"{"on":false,"since":null,"by":null,"reason":null}"#).unwrap();
    assert_eq!(terminal.run(&["kill", "status", "--json"]).ok().json(), off);
    assert_eq!(terminal.run(&["kill", "off"]).ok().stdout, "= kill switch  off\n");
    assert!(!terminal.run(&["doctor"]).stdout.contains("kill"));

    terminal.run(&["kill", "on"]).fails(2, "error: --reason is missing; see toolgate kill on --help");
    for reason in ["", "one\ntwo"] {
        terminal.run(&["kill", "on", "--reason", reason]).fails(
            2,
            "error: a reason is 1 to 500 characters on one line (--reason); see toolgate kill on --help",
        );
    }
    let done = terminal.run(&["kill", "on", "--reason", "laptop \u{202e}stolen"]).ok();
    assert_eq!(done.stdout, "✓ kill switch  on; within a second nothing is forwarded\n");
    assert_eq!(done.stderr, "to forward calls again: toolgate kill off\n");

    let on = terminal.run(&["kill", "status", "--json"]).ok().json();
    assert_eq!((&on["on"], &on["reason"]), (&true.into(), &"laptop \u{202e}stolen".into()));
    assert!(on["by"].as_str().unwrap().starts_with("os:") && on["since"].as_str().unwrap().ends_with('Z'));
    let shown = terminal.run(&["kill", "status"]).ok().stdout;
    assert!(shown.starts_with("! kill switch  on since 20"), "{shown}");
    assert!(shown.ends_with(": \"laptop \\u{202e}stolen\"\n"), "{shown}");
    let again = terminal.run(&["kill", "on", "--reason", "other"]).ok();
    assert_eq!(again.stdout, shown.replacen('!', "=", 1), "the first reason stays");
    let doctor = terminal.run(&["doctor"]);
    let line = doctor.stdout.lines().find(|line| line.starts_with("! kill       on since 20"));
    assert!(
        line.is_some_and(|line| line.ends_with("nothing is forwarded until: toolgate kill off")),
        "{doctor:?}"
    );
    assert!(
        terminal.run(&["doctor", "--json"]).json().get("kill").is_none(),
        "it is no part that works or not"
    );

    let lifted = terminal.run(&["kill", "off"]).ok().stdout;
    assert!(lifted.starts_with("✓ kill switch  off after "), "{lifted}");
    let changed = terminal.run(&["kill", "on", "--reason", "x", "--json"]).ok().json();
    assert_eq!((&changed["on"], &changed["changed"]), (&true.into(), &true.into()));
    let changed = terminal.run(&["kill", "off", "--json"]).ok().json();
    assert_eq!((&changed["on"], &changed["changed"]), (&false.into(), &true.into()));
}
