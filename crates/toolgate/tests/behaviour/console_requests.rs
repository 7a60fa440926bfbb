//! What the console takes for a request at all: its own hosts, its own pages, heads that read one way, and no keys of
//! agents.

use serde_json::{Value, json};

use crate::harness::{
    Browser, Gateway, Home, POLICY, Request, Stage, attempt, call, send, send_bytes, until,
};

fn with_ada() -> (Gateway, String) {
    let home = Home::new(POLICY);
    let ada = home.operator("ada", "owner");
    (home.serve(), ada)
}

fn turn_kill_on() -> Value {
    json!({ "on": true, "reason": "a test" })
}

#[test]
fn a_cookie_alone_writes_nothing() {
    let (gateway, ada) = with_ada();
    let mut browser = Browser::of(&gateway, &ada);
    let token = browser.csrf.clone().unwrap();
    let mut other = Browser::of(&gateway, &ada);
    for wrong in
        [None, Some(String::new()), Some("x".repeat(43)), other.csrf.take(), Some(format!("{token}x"))]
    {
        browser.csrf = wrong;
        let reply = browser.write("PUT", "/api/kill", &turn_kill_on());
        assert_eq!(reply.status, 403, "{}", reply.text());
    }
    assert_eq!(browser.get("/api/kill").json()["on"], false);
    browser.csrf = Some(token);
    assert_eq!(browser.write("PUT", "/api/kill", &turn_kill_on()).status, 200);
    assert_eq!(browser.get("/api/kill").json()["by"], json!(ada));
    until("the trail to have the denials", || {
        let events = gateway.events();
        let forged = |event: &&Value| {
            event["action"] == "PUT /api/kill" && event["status"] == 403 && event["operator"] == json!(ada)
        };
        events.iter().filter(forged).count() == 5
    });
}

#[test]
fn what_another_sites_page_sends_is_refused() {
    let (gateway, ada) = with_ada();
    let browser = Browser::of(&gateway, &ada);
    let token = browser.csrf.clone().unwrap();
    let port = gateway.console().port();
    let write = |headers: &[(&str, &str)]| {
        let mut request = Request::new("PUT", "/api/kill")
            .header("Content-Type", "application/json")
            .header("X-CSRF-Token", &token)
            .body(json!({ "on": false }).to_string());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        send(gateway.console(), &browser.dressed(request)).status
    };
    for headers in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        // Another port of the same machine is another site's page too, and cookies go along there.
        &[("Sec-Fetch-Site", "same-site")],
        &[("Origin", "http://127.0.0.1:3000")],
        &[("Origin", "https://evil.test")],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", "http://127.0.0.1:1")],
    ] {
        assert_eq!(write(headers), 403, "{headers:?}");
    }
    let own = format!("http://127.0.0.1:{port}");
    assert_eq!(write(&[("Sec-Fetch-Site", "same-origin"), ("Origin", &own)]), 200);
    assert_eq!(write(&[]), 200, "what is no browser sends neither");
    let read = |site: &str| {
        let request = Request::new("GET", "/api/me").header("Sec-Fetch-Site", site);
        send(gateway.console(), &browser.dressed(request)).status
    };
    assert_eq!((read("cross-site"), read("same-origin"), read("none")), (403, 200, 200));
    // Logging somebody in as somebody else is a forgery too.
    let login = Request::post("/api/login", "{}").header("Origin", "https://evil.test");
    assert_eq!(send(gateway.console(), &login).status, 403);
}

#[test]
fn an_agents_key_opens_nothing_here_and_a_persons_tokens_nothing_there() {
    let stage = Stage::new();
    let ada = stage.gateway.operator("ada", "owner");
    let token = stage.gateway.operator_token(&ada);
    let mut browser = Browser::of(&stage.gateway, &ada);
    let login = browser.log_in(&ada, crate::harness::PASSWORD).json();
    let access = login["access_token"].as_str().unwrap();
    let console =
        |key: &str| send(stage.gateway.console(), &Request::new("GET", "/api/agents").key(key)).status;
    assert_eq!((console(&stage.key), console(&token), console(access)), (401, 200, 200));
    let in_header = Request::new("GET", "/api/agents").header("X-API-Key", &stage.key);
    assert_eq!(send(stage.gateway.console(), &in_header).status, 401);
    for secret in [&*token, access, &browser.cookies["toolgate-refresh"]] {
        let reply = stage.gateway.send(&Request::post("/mcp/web", call(1, "echo", "{}")).key(secret));
        assert_eq!(reply.status, 401, "{}", reply.text());
    }
    let with_cookies = browser.dressed(Request::new("GET", "/v1/services"));
    assert_eq!(stage.gateway.send(&with_cookies).status, 401);
    until("the trail to have the denial", || {
        stage
            .gateway
            .events()
            .iter()
            .any(|event| event["action"] == "GET /api/agents" && event["status"] == 401)
    });
}

#[test]
fn the_console_answers_to_its_own_names() {
    let (gateway, ada) = with_ada();
    let browser = Browser::of(&gateway, &ada);
    for (host, status) in
        [("localhost", 200), ("127.0.0.1:1", 200), ("evil.test", 403), ("127.0.0.1.evil.test", 403)]
    {
        let request = browser.dressed(Request::new("GET", "/api/me").header("Host", host));
        assert_eq!(send(gateway.console(), &request).status, status, "{host}");
    }
}

#[test]
fn heads_are_as_strict_as_at_the_gateway() {
    let (gateway, _) = with_ada();
    let head = |lines: &str| format!("POST /api/login HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n");
    for lines in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
        "Content-Length: 2\r\nContent-Length: 2",
        "Host: localhost\r\nContent-Length: 0",
        "Content-Length: 0\nX: y",
    ] {
        let mut stream = send_bytes(gateway.console(), head(lines).as_bytes());
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{lines}: {answer}");
    }
}

#[test]
fn bodies_are_read_strictly_and_within_bounds() {
    let (gateway, ada) = with_ada();
    let mut browser = Browser::of(&gateway, &ada);
    let token = browser.csrf.clone().unwrap();
    let mut put = |body: &str, media: &str| {
        let request = Request::new("PUT", "/api/kill")
            .header("Content-Type", media)
            .header("X-CSRF-Token", &token)
            .body(body);
        browser.send(request).status
    };
    for body in [
        "",
        "[]",
        "[false]",
        "{",
        "{\"on\":true,\"on\":false}",
        "{\"on\":0}",
        "{\"on\":false}x",
        "{\"on\":false,\"x\":1}",
        "\u{feff}{\"on\":false}",
    ] {
        assert_eq!(put(body, "application/json"), 400, "{body}");
    }
    assert_eq!(put("{\"on\":false}", "text/plain"), 415);
    assert_eq!(put("{\"on\":false}", "application/json; charset=utf-8"), 200);
    let deep = format!("{{\"on\":{}1{}}}", "[".repeat(40), "]".repeat(40));
    assert_eq!(put(&deep, "application/json"), 400);
    // Of a stranger little is read.
    let huge = Request::post("/api/login", vec![b' '; 20_000]);
    let refused = attempt(gateway.console(), &huge);
    assert!(refused.is_ok_and(|reply| reply.status == 413));
}

#[test]
fn every_answer_tells_browsers_what_a_page_may_do() {
    let (gateway, ada) = with_ada();
    let mut browser = Browser::of(&gateway, &ada);
    let mut answers =
        vec![browser.get("/api/me"), browser.get("/api/nothing"), browser.get("/api/agents/nobody")];
    answers.push(send(gateway.console(), &Request::new("GET", "/api/me")));
    answers.push(send(gateway.console(), &Request::new("DELETE", "/api/login")));
    // What comes to no route says so too.
    answers.push(send(gateway.console(), &Request::new("GET", "/").header("Host", "evil.test")));
    answers.push(send(gateway.console(), &Request::new("GET", "/").header("Upgrade", "websocket")));
    answers.push(send(gateway.console(), &Request::new("TRACE", "/api/me")));
    answers.push(send(gateway.console(), &Request::new("GET", "/healthz")));
    answers.push(send(gateway.console(), &Request::new("GET", "/readyz")));
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 404, 404, 401, 405, 403, 400, 405, 200, 200]);
    for answer in &answers {
        let policy = answer.header("content-security-policy").unwrap();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("referrer-policy"), Some("same-origin"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("strict-transport-security"), None, "it is not reached by TLS");
    }
    assert_eq!(answers[3].header("www-authenticate"), Some("Bearer realm=\"toolgate\""));
    assert_eq!(answers[4].header("allow"), Some("POST"));
    assert_eq!(
        answers[5].header("content-type"),
        Some("text/html; charset=utf-8"),
        "a browser is told in a page"
    );
    assert_eq!(answers[7].header("allow"), Some("GET"));
}

#[test]
fn a_head_that_is_refused_at_the_console_is_no_call_of_an_agent() {
    let (gateway, ada) = with_ada();
    let mut browser = Browser::of(&gateway, &ada);
    let strange = [
        Request::new("GET", "/").header("Host", "evil.test"),
        Request::new("GET", "/api/me").header("Host", "evil.test"),
        Request::new("GET", "/api/me").header("Upgrade", "websocket"),
    ];
    for request in &strange {
        let reply = send(gateway.console(), request);
        assert!(reply.header("x-call-id").is_none(), "{}", reply.text());
        assert!(!reply.text().contains("Nothing was sent"), "{}", reply.text());
    }
    let refused =
        || gateway.events().into_iter().filter(|event| event["kind"] == "refusal").collect::<Vec<_>>();
    until("the trail to have all of them", || refused().len() >= strange.len());
    assert!(refused().iter().all(|event| event["method"] == "console"), "{:?}", refused());
    let overview = browser.get("/api/overview").json();
    assert_eq!(overview["calls"]["refused"], json!(0), "{overview}");
}

#[test]
fn a_condition_that_nobody_looks_at_is_refused() {
    let (gateway, ada) = with_ada();
    let token = gateway.operator_token(&ada);
    let turn = |tag: Option<&str>| {
        let request = Request::new("PUT", "/api/kill").header("Content-Type", "application/json");
        let request = request.key(&token).body(turn_kill_on().to_string());
        let reply = send(
            gateway.console(),
            &match tag {
                Some(tag) => request.header("If-Match", tag),
                None => request,
            },
        );
        (reply.status, reply.text())
    };
    let (status, said) = turn(Some("\"seen\""));
    assert!(status == 400 && said.contains("If-Match"), "{status} {said}");
    let state = send(gateway.console(), &Request::new("GET", "/api/kill").key(&token)).json();
    assert_eq!(state["on"], false);
    assert_eq!(turn(None).0, 200);
}
