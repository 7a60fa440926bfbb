//! A request to an HTTP service arrives as it was sent and judged, with the credential added, and its answer comes
//! back as it was given.

use crate::harness::*;

#[test]
fn method_target_headers_and_body_arrive_as_they_came_with_the_credential_added() {
    let stage = ApiStage::new();
    let request = stage
        .request("PUT", "/http/api/v1/notes/7;a=b,c:d@e!$&'()*+~_-%20x?q=%2F..%2f&q=2&empty=&flag")
        .header("Content-Type", "text/plain; charset=latin1")
        .header("X-Custom", "one")
        .header("X-Custom", "two")
        .header("User-Agent", "an-agent/1")
        .body(b"\x00\xffbytes\r\n".to_vec());
    let reply = stage.gateway.send(&request);
    assert_eq!((reply.status, reply.proxy_status()), (200, "forwarded"), "{}", reply.text());
    assert_eq!(reply.body, b"{\"ok\":true}");

    let hit = stage.api.last();
    assert_eq!(hit.method, "PUT");
    assert_eq!(hit.target(), "/v1/notes/7;a=b,c:d@e!$&'()*+~_-%20x?q=%2F..%2f&q=2&empty=&flag");
    assert_eq!(hit.body, b"\x00\xffbytes\r\n");
    assert_eq!(hit.header("content-type"), Some("text/plain; charset=latin1"));
    assert_eq!(hit.header("user-agent"), Some("an-agent/1"));
    assert_eq!(hit.header("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert_eq!(hit.head.matches("x-custom").count() + hit.head.matches("X-Custom").count(), 2);
    assert!(!hit.head.contains(&stage.key), "the agent's key was forwarded");
}

#[test]
fn nothing_of_the_agents_identity_or_connection_travels_on() {
    let stage = ApiStage::new();
    let request = stage
        .request("GET", &format!("/http/api/v1/x?a=1&api_key={}", stage.key))
        .header("X-API-Key", &stage.key)
        .header("Cookie", "session=stolen")
        .header("Accept-Encoding", "gzip, br")
        .header("X-Forwarded-For", "10.9.8.7")
        .header("Forwarded", "for=10.9.8.7")
        .header("Proxy-Authorization", "Basic c3RvbGVu")
        .header("X-Toolgate-Intent", "stolen")
        .header("X-Hop", "stolen")
        .header("Connection", "keep-alive, X-Hop")
        .header("TE", "trailers");
    let reply = stage.gateway.send(&request);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let hit = stage.api.last();
    assert_eq!(hit.target(), "/v1/x?a=1");
    for word in ["stolen", "10.9.8.7", "c3RvbGVu", "gzip", "trailers", &stage.key] {
        assert!(!hit.head.contains(word), "{word}: {}", hit.head);
    }
    assert_eq!(hit.header("accept-encoding"), Some("identity"));
}

#[test]
fn a_header_that_asks_for_another_method_or_path_reaches_nobody() {
    let stage = ApiStage::new();
    for name in [
        "X-HTTP-Method-Override",
        "X_HTTP_Method_Override",
        "X-HTTP_Method",
        "X-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
        "x_original_url",
    ] {
        let reply = stage.gateway.send(&stage.request("GET", "/http/api/v1/x").header(name, "/admin"));
        assert_eq!(reply.status, 400, "{name}: {}", reply.text());
    }
    assert_eq!(stage.api.connections(), 0);
}

#[test]
fn the_answer_comes_back_as_it_was_given_but_for_what_leads_around_the_gateway() {
    let stage = ApiStage::behind(|_| {
        answer(
            "418 I'm a teapot",
            "Content-Type: application/octet-stream\r\nETag: \"1\"\r\nX-Twice: a\r\nX-Twice: b\r\n\
             Location: https://elsewhere.test/\r\nSet-Cookie: session=1\r\nX-Proxy-Status: executed-approved\r\n\
             X-Hop: 1\r\nConnection: X-Hop\r\n",
            b"\x00\xff\r\n",
        )
    });
    let reply = stage.send("GET", "/http/api/v1/tea");
    assert_eq!((reply.status, reply.proxy_status()), (418, "forwarded"));
    assert_eq!(reply.body, b"\x00\xff\r\n");
    assert_eq!(reply.header("etag"), Some("\"1\""));
    assert_eq!(reply.header("location"), Some("https://elsewhere.test/"));
    for name in ["set-cookie", "x-hop"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
}

#[test]
fn the_services_own_path_comes_first() {
    let api = Upstream::start(|_| answer("200 OK", "", "ok"));
    let declaration = api.declare_api("api", "").replace("\", network", "/base/\", network");
    let home = Home::new(API_POLICY).services(&[declaration]);
    let key = home.key("laptop", "user", "api");
    let gateway = home.serve();
    for (asked, sent) in [("/http/api/v1/x?y=1", "/base/v1/x?y=1"), ("/http/api/v1/", "/base/v1/")] {
        assert_eq!(gateway.send(&Request::new("GET", asked).key(&key)).status, 200);
        assert_eq!(api.last().target(), sent);
    }
}

#[test]
fn a_target_that_two_servers_could_read_differently_reaches_nobody() {
    let stage = ApiStage::new();
    for target in [
        "/http/api/v1/../admin",
        "/http/api/v1/%2e%2e/admin",
        "/http/api/v1/..;/admin",
        "/http/api/v1/a%2fb",
        "/http/api/v1/a%5Cb",
        "/http/api/v1/a\\b",
        "/http/api/v1//x",
        "/http/api/v1/x%00",
        "/http/api/v1/%61dmin",
        "/http/api/v1/%252e%252e/x",
        "/http/api/v1/%zz",
        "/http/api/v1/x%",
    ] {
        let reply = stage.send("GET", target);
        assert_eq!(reply.status, 400, "{target}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert_eq!(reply.json()["type"], "urn:toolgate:malformed");
    }
    assert_eq!(stage.api.connections(), 0);
}

#[test]
fn a_service_may_take_odd_paths_but_never_dots() {
    let stage = ApiStage::with(Home::new(API_POLICY), ", odd_paths: pass", |_| answer("200 OK", "", "ok"));
    for path in ["/v1/a%2Fb", "/v1//x"] {
        let reply = stage.send("GET", &format!("/http/api{path}"));
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_eq!(stage.api.last().target(), path);
    }
    assert_eq!(stage.send("GET", "/http/api/v1/%2e%2e/x").status, 400);
    assert_eq!(stage.send("GET", "/http/api/v1/../x").status, 400);
}

#[test]
fn what_the_policy_does_not_allow_reaches_nobody() {
    let stage = ApiStage::new();
    for (method, target, rule) in [
        ("GET", "/http/api/v2/x", None),
        ("POST", "/http/api/v1/x", None),
        ("POST", "/http/api/v1/notes/1", None),
        ("GET", "/http/api", None),
        ("DELETE", "/http/api/v1/notes/1", Some("no deletes")),
    ] {
        let reply = stage.send(method, target);
        assert_eq!((reply.status, reply.proxy_status()), (403, "refused"), "{method} {target}");
        assert_eq!(reply.json()["rule"].as_str(), rule, "{method} {target}");
    }
    let reply = stage.send("DELETE", "/http/api/v1/x");
    assert!(reply.json()["detail"].as_str().unwrap().contains("DELETE /v1/x on `api`"), "{}", reply.text());
    assert_eq!(stage.api.connections(), 0);
}

#[test]
fn a_service_out_of_scope_and_one_that_does_not_exist_look_the_same() {
    let api = Upstream::start(|_| answer("200 OK", "", "ok"));
    let home = Home::new(API_POLICY).services(&[api.declare_api("api", ""), api.declare_api("other", "")]);
    let key = home.key("outside", "user", "other");
    let gateway = home.serve();
    let problem = |target: &str| {
        let reply = gateway.send(&Request::new("GET", target).key(&key));
        assert_eq!(reply.status, 403, "{target}");
        let mut json = reply.json();
        json["call_id"] = "".into();
        json.to_string().replace("nothing", "api")
    };
    assert_eq!(problem("/http/api/v1/x"), problem("/http/nothing/v1/x"));
    assert_eq!(api.connections(), 0);
}

#[test]
fn each_service_has_its_own_door() {
    let (web, api) = (Upstream::mcp(), Upstream::start(|_| answer("200 OK", "", "ok")));
    let policy =
        POLICY.replace("service: web", "service: api").replace("tools: [\"read_*\", echo]", "tools: [echo]");
    let home = Home::new(&policy).services(&[web.declare("web"), api.declare_api("api", "")]);
    let key = home.key("laptop", "admin", "web,api");
    let gateway = home.serve();
    let http = gateway.send(&Request::new("GET", "/http/web/v1").key(&key));
    assert_eq!(http.status, 404, "{}", http.text());
    assert!(http.text().contains("/mcp/web"), "{}", http.text());
    // Over MCP it has two tools of its own (`http_services_speak_mcp`), and no other.
    let mcp = gateway.send(&Request::post("/mcp/api", call(1, "echo", "{}")).key(&key));
    assert_eq!(mcp.verdict(), -32602, "{}", mcp.text());
    assert_eq!((web.connections(), api.connections()), (0, 0));
}

#[test]
fn another_method_or_protocol_than_the_request_lines_is_refused() {
    let stage = ApiStage::new();
    for (name, value) in [
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Method-Override", "DELETE"),
        ("Upgrade", "websocket"),
    ] {
        let reply = stage.gateway.send(&stage.request("GET", "/http/api/v1/x").header(name, value));
        assert_eq!(reply.status, 400, "{name}: {}", reply.text());
    }
    for method in ["get", "TRACE", "G\u{e9}T"] {
        let reply = stage.gateway.send(&stage.request(method, "/http/api/v1/x"));
        assert!(matches!(reply.status, 400 | 405), "{method}: {}", reply.status);
    }
    assert_eq!(stage.api.connections(), 0);
}

#[test]
fn a_redirect_is_answered_and_not_followed() {
    let elsewhere = Upstream::start(|_| answer("200 OK", "", "not here"));
    let target = elsewhere.declare_api("x", "");
    let target = target.split('"').nth(1).unwrap().to_owned();
    let stage = ApiStage::behind(move |_| answer("302 Found", &format!("Location: {target}/x\r\n"), ""));
    let reply = stage.send("GET", "/http/api/v1/x");
    assert_eq!((reply.status, reply.proxy_status()), (302, "forwarded"));
    assert!(reply.header("location").is_some());
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_body_over_the_limit_is_413_and_an_answer_over_it_502() {
    let home = Home::new(API_POLICY).set("gateway.body_limit=100KB");
    let stage = ApiStage::with(home, "", |hit| match hit.target() {
        "/v1/large" => answer("200 OK", "", vec![b'x'; 200_000]),
        "/v1/endless" => {
            let mut steps = vec![say("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")];
            steps.extend((0..20).map(|_| Step::Say(vec![b'x'; 10_000])));
            steps.push(Step::HangUp);
            steps
        }
        _ => answer("200 OK", "", "ok"),
    });
    let announced =
        stage.gateway.send(&stage.request("POST", "/http/api/v1/notes").body(vec![b'x'; 200_000]));
    assert_eq!(announced.status, 413, "{}", announced.text());
    assert_eq!(stage.api.connections(), 0);

    let chunks = format!("{:x}\r\n{}\r\n0\r\n\r\n", 200_000, "x".repeat(200_000));
    let request = stage.request("POST", "/http/api/v1/notes").header("Transfer-Encoding", "chunked");
    let chunked = stage.gateway.send(&request.body(chunks));
    assert_eq!(chunked.status, 413, "{}", chunked.text());
    assert_eq!(stage.api.count(), 0, "half a body is no request");

    let large = stage.send("GET", "/http/api/v1/large");
    assert_eq!((large.status, large.proxy_status()), (502, "upstream-error"), "{}", large.text());
    assert_eq!(large.json()["type"], "urn:toolgate:answer-too-large");
    let endless = stage.send("GET", "/http/api/v1/endless");
    assert!(endless.cut_off, "an answer that is cut must not look whole");
    let within = stage.gateway.send(&stage.request("POST", "/http/api/v1/notes").body(vec![b'x'; 90_000]));
    assert_eq!(within.status, 200, "{}", within.text());
    assert_eq!(stage.api.last().body.len(), 90_000);
}

#[test]
fn a_large_body_flows_and_the_trail_holds_its_hash() {
    let stage = ApiStage::new();
    let body: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
    let reply = stage.gateway.send(&stage.request("POST", "/http/api/v1/notes").body(body.clone()));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(stage.api.last().body, body);
    let events = stage.gateway.recorded(reply.call_id(), 2);
    assert!(events[0].get("digest").is_none() && events[1].get("digest").is_none());
    // Computed with Python's hashlib over the same bytes.
    assert_eq!(events[1]["body_sha256"], "2c030d49ec131bfbbb446ad21e7a2f12cdb4f2f4f3fda3ac709dd2e68a4646c7");
}

#[test]
fn an_event_stream_flows_event_by_event_and_may_outlast_the_time_limit() {
    let first = Latch::new();
    let seen = std::sync::Arc::clone(&first);
    let home = Home::new(API_POLICY).set("gateway.upstream_timeout=2s");
    let stage = ApiStage::with(home, ", stream: true", move |_| {
        vec![
            stream_head(),
            say("data: one\n\n"),
            Step::Wait(std::sync::Arc::clone(&seen)),
            say("data: two\n\n"),
            Step::HangUp,
        ]
    });
    let mut answer = stage.gateway.open(&stage.request("GET", "/http/api/v1/events"));
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert_eq!(answer.event().as_deref(), Some("data: one\n\n"));
    // Longer than the limit for answers of services that do not stream.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    first.release();
    assert_eq!(answer.event().as_deref(), Some("data: two\n\n"));
    assert_eq!(answer.event(), None);
}

#[test]
fn an_answer_that_does_not_come_in_time_is_504() {
    let never = Latch::new();
    let waiting = std::sync::Arc::clone(&never);
    let home = Home::new(API_POLICY).set("gateway.upstream_timeout=1s");
    let stage = ApiStage::with(home, "", move |_| vec![Step::Wait(std::sync::Arc::clone(&waiting))]);
    let reply = stage.send("GET", "/http/api/v1/x");
    assert_eq!((reply.status, reply.proxy_status()), (504, "upstream-error"), "{}", reply.text());
    never.release();
}

#[test]
fn a_service_that_is_not_there_is_502_and_nothing_was_sent() {
    let home = Home::new(API_POLICY);
    let nobody = ClosedPort::new();
    let port = nobody.address().port();
    let home = home.services(&[format!(
        "  - {{ name: api, kind: http, url: \"http://127.0.0.1:{port}\", network: private }}\n"
    )]);
    let key = home.key("laptop", "user", "api");
    let gateway = home.serve();
    let reply = gateway.send(&Request::new("GET", "/http/api/v1/x").key(&key));
    assert_eq!(reply.status, 502, "{}", reply.text());
    assert_eq!(reply.json()["type"], "urn:toolgate:upstream-unreachable");
    assert!(reply.text().contains("Nothing was sent"));
    assert!(!reply.text().contains("127.0.0.1"), "where a service really is is not the agent's to know");
}

#[test]
fn intent_and_outcome_tell_the_request_without_the_secret() {
    let stage = ApiStage::new();
    let reply = stage.post("/http/api/v1/notes?page=2&token=hush", r#"{"amount":5000,"password":"hush"}"#);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let events = stage.gateway.recorded(reply.call_id(), 2);
    let (intent, outcome) = (&events[0], &events[1]);
    assert_eq!((intent["kind"].as_str(), outcome["kind"].as_str()), (Some("intent"), Some("outcome")));
    for event in [intent, outcome] {
        assert_eq!(event["service"], "api");
        assert_eq!(event["method"], "POST");
        assert_eq!(event["action"], "POST /v1/notes");
    }
    assert_eq!(
        intent["args"],
        serde_json::json!({
            "query": { "page": "2", "token": "[redacted]" },
            "body": { "amount": 5000, "password": "[redacted]" },
        })
    );
    assert_eq!(intent["digest"].as_str().map(str::len), Some(64));
    assert_eq!(outcome["status"], 200);
    assert!(!format!("{events:?}").contains("sk_live"), "{events:?}");
}

#[test]
fn limits_count_an_http_services_methods() {
    let policy = API_POLICY.replace("per_tool: 100000/1s", "per_tool: 2/1h");
    let stage = ApiStage::with(Home::new(&policy), "", |_| answer("200 OK", "", "ok"));
    for path in ["a", "b"] {
        assert_eq!(stage.send("GET", &format!("/http/api/v1/{path}")).status, 200);
    }
    let over = stage.send("GET", "/http/api/v1/c");
    assert_eq!(over.status, 429, "{}", over.text());
    assert!(over.text().contains("`GET` on `api` is limited to 2/1h"), "{}", over.text());
    assert!(over.header("retry-after").is_some() && over.header("ratelimit").is_some());
    assert_eq!(stage.post("/http/api/v1/notes", "{}").status, 200, "another method has its own bucket");
    assert_eq!(stage.api.count(), 3);
}
