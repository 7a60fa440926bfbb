//! What an agent asks of an HTTP service by a tool is the request that it would have sent itself: judged, held, counted
//! and recorded as that, whichever door it came by.

use serde_json::{Value, json};

use crate::harness::*;

fn request(agent: &Agent, arguments: &Value) -> Reply {
    agent.call("request", &arguments.to_string())
}

/// The result of a tool, which must not be an error of the protocol.
fn result(reply: &Reply) -> Value {
    let json = reply.json();
    assert!(json["result"].is_object(), "no result: {json}");
    json["result"].clone()
}

fn texts(result: &Value) -> Vec<&str> {
    result["content"].as_array().unwrap().iter().map(|block| block["text"].as_str().unwrap()).collect()
}

#[test]
fn to_the_byte_and_back() {
    let stage = ApiStage::behind(|_| {
        let headers = "Content-Type: application/json\r\nETag: \"7\"\r\nServer: x\r\nSet-Cookie: a=b\r\n";
        answer("201 Created", headers, r#"{"amount": 1.50,"id":12345678901234567890123}"#)
    });
    let agent = stage.gateway.agent(&stage.key, "api");
    let reply = agent.call(
        "request",
        r#"{"method":"POST","path":"/v1/notes","query":{"page":2,"tag":["a b","ü"]},"body":{"n": 1.0},
            "headers":{"X-Custom":"one","Authorization":"stolen"},"intent":"testing","idempotency_key":"k1"}"#,
    );
    assert_eq!((reply.status, reply.proxy_status()), (200, "forwarded"), "{}", reply.text());
    assert_eq!(reply.header("x-idempotency-status"), Some("stored"));
    let hit = stage.api.last();
    assert_eq!((hit.method.as_str(), hit.target()), ("POST", "/v1/notes?page=2&tag=a%20b&tag=%C3%BC"));
    assert_eq!((&*hit.body, hit.header("content-type")), (&b"{\"n\": 1.0}"[..], Some("application/json")));
    assert_eq!(hit.header("x-custom"), Some("one"));
    for foreign in ["stolen", "testing", "mcp", "k1"] {
        assert!(!hit.head.to_lowercase().contains(foreign), "{foreign}: {}", hit.head);
    }
    assert!(
        reply.text().contains(r#""body":{"amount": 1.50,"id":12345678901234567890123}"#),
        "{}",
        reply.text()
    );
    let told = result(&reply);
    let structured = &told["structuredContent"];
    assert_eq!(
        (&structured["status"], &structured["headers"], &structured["body_is"], &told["isError"]),
        (
            &json!(201),
            &json!({ "content-type": "application/json", "etag": "\"7\"" }),
            &json!("json"),
            &json!(false)
        )
    );
    assert_eq!(
        texts(&told),
        [
            "HTTP 201 Created\ncontent-type: application/json\netag: \"7\"",
            r#"{"amount": 1.50,"id":12345678901234567890123}"#
        ]
    );
    // Under its key it is made once, and answered in the same words.
    let mut again = agent.call(
        "request",
        r#"{"method":"POST","path":"/v1/notes","query":{"page":2,"tag":["a b","ü"]},"body":{"n": 1.0},
            "headers":{"X-Custom":"one"},"idempotency_key":"k1"}"#,
    );
    assert_eq!((again.proxy_status(), again.header("x-idempotency-status")), ("replayed", Some("replayed")));
    assert_eq!(again.body, reply.body);
    again = agent
        .call("request", r#"{"method":"POST","path":"/v1/notes","body":{"n":2},"idempotency_key":"k1"}"#);
    assert_eq!(
        (again.code(), again.header("x-idempotency-status")),
        (422, Some("mismatch")),
        "{}",
        again.text()
    );
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn the_policy_judges_the_request() {
    let stage = ApiStage::new();
    let agent = stage.gateway.agent(&stage.key, "api").connected();
    for (arguments, rule) in [
        (
            json!({ "method": "DELETE", "path": "/v1/x" }),
            "rule `no deletes` forbids role `user` to DELETE /v1/x on `api`",
        ),
        (json!({ "method": "GET", "path": "/v2/x" }), "no rule allows role `user` to GET /v2/x on `api`"),
    ] {
        let reply = request(&agent, &arguments);
        assert_eq!((reply.status, reply.code(), reply.proxy_status()), (200, 403, "refused"));
        assert_eq!(
            reply.message(),
            format!(
                "Refused (403): {rule}. Nothing was sent. Do not retry; make another request, or tell the user that an \
                 operator must change the policy. Call {}.",
                reply.call_id()
            )
        );
    }
    let recorded =
        stage.gateway.recorded(request(&agent, &json!({ "method": "PUT", "path": "/v1/x" })).call_id(), 1);
    assert_eq!((&recorded[0]["method"], &recorded[0]["action"]), (&"PUT".into(), &"PUT /v1/x".into()));
    assert_eq!(stage.api.connections(), 0);
}

#[test]
fn wrong_arguments_are_told_to_whoever_wrote_them() {
    let stage = ApiStage::new();
    let agent = stage.gateway.agent(&stage.key, "api");
    for (arguments, word) in [
        ("{}", "`method` is missing"),
        (r#"{"method":"GET"}"#, "`path` is missing"),
        (r#"{"method":"get","path":"/v1/x"}"#, "the method must be a name in upper-case letters"),
        (r#"{"method":"TRACE","path":"/v1/x"}"#, "not handed on"),
        (r#"{"method":"GET","path":"http://127.0.0.1/v1/x"}"#, "`path` is an address"),
        (r#"{"method":"GET","path":"/v1/x?y=1"}"#, "`path` holds a query; give that as `query`"),
        (r#"{"method":"GET","path":"/v1/../x"}"#, "segment"),
        (r#"{"method":"GET","path":"/v1//x"}"#, "empty segment"),
        (r#"{"method":"GET","path":"/v1/%61"}"#, "needless escape"),
        (r#"{"method":"GET","path":"/v1/a b"}"#, "unescaped"),
        (r#"{"method":"GET","path":["/v1/x"]}"#, "`path` must be a text"),
        (r#"{"method":"GET","path":"/v1/x","service":"other"}"#, "unknown member `service`"),
        (r#"{"method":"GET","path":"/v1/x","headers":{"X-HTTP-Method":"PUT"}}"#, "x-http-method"),
        (r#"{"method":"GET","path":"/v1/x","headers":{"a":"b\r\nc: d"}}"#, "cannot be a header"),
        (r#"{"method":"GET","path":"/v1/x","query":{"a":{"b":1}}}"#, "values in `query`"),
        (r#"{"method":"GET","path":"/v1/x","idempotency_key":"a b"}"#, "idempotency key"),
        (r#"["GET","/v1/x"]"#, "`arguments` must be an object"),
    ] {
        let reply = agent.call("request", arguments);
        let told = result(&reply);
        assert_eq!((reply.status, &told["isError"]), (200, &true.into()), "{arguments}");
        let said = texts(&told)[0];
        assert!(
            said.starts_with("Refused (400): the request cannot be read: ") && said.contains(word),
            "{said}"
        );
        assert!(said.contains("Nothing was sent."), "{said}");
        assert_eq!(stage.gateway.recorded(reply.call_id(), 1)[0]["kind"], "refusal", "{arguments}");
    }
    // What no strict reader takes is no message at all, as everywhere on MCP.
    let twice = agent.call("request", r#"{"method":"GET","method":"POST","path":"/v1/notes"}"#);
    assert_eq!((twice.status, twice.code()), (400, -32700), "{}", twice.text());
    assert_eq!(stage.api.connections(), 0);
}

#[test]
fn it_is_one_call_whichever_door_it_came_by() {
    let stage = ApiStage::new();
    let agent = stage.gateway.agent(&stage.key, "api");
    let digest = |reply: &Reply| {
        assert_eq!(reply.proxy_status(), "forwarded", "{}", reply.text());
        let events = stage.gateway.recorded(reply.call_id(), 2);
        assert_eq!(events[1]["result"], "forwarded");
        (events[0]["digest"].clone(), events[0]["action"].clone(), events[0]["args"].clone())
    };
    let mut seen = Vec::new();
    for arguments in [
        json!({ "method": "GET", "path": "/v1/x" }),
        json!({ "method": "GET", "path": "/v1/x", "query": "a=1&b" }),
        json!({ "method": "GET", "path": "/v1/x", "query": { "a": 1 } }),
        json!({ "method": "HEAD", "path": "/v1/%C3%BC" }),
        json!({ "method": "POST", "path": "/v1/notes", "body": { "amount": 5000, "to": "ü" } }),
        json!({ "method": "POST", "path": "/v1/notes", "body": "a=1", "headers": { "Content-Type": "text/plain" } }),
        json!({ "method": "POST", "path": "/v1/notes", "body": null, "headers": { "X-A": ["1", "2"] } }),
        json!({ "method": "PUT", "path": "/v1/notes/7", "body": [1, 2.50], "intent": "why", "headers": {} }),
    ] {
        let by_tool = digest(&request(&agent, &arguments));
        let mut envelope = arguments.clone();
        envelope["service"] = "api".into();
        let by_envelope = digest(&stage.post("/proxy", &envelope.to_string()));
        assert_eq!(by_tool, by_envelope, "{arguments}");
        assert!(by_tool.0.is_string() && !seen.contains(&by_tool.0), "{arguments}");
        seen.push(by_tool.0);
    }
}

#[test]
fn a_held_one_is_approved_once_and_told_at_every_door() {
    let stage = HeldStage::new(SHORT);
    let agent = stage.gateway.agent(&stage.key, "api").connected();
    let refund = |amount: u32| {
        let body = json!({ "amount": amount });
        request(&agent, &json!({ "method": "POST", "path": "/v1/refunds", "body": body, "intent": "a test" }))
    };
    assert_eq!(result(&refund(500))["structuredContent"]["status"], 201, "small ones need nobody");
    let held = refund(5000);
    assert_eq!((held.status, held.code(), held.proxy_status()), (200, 428, "held"), "{}", held.text());
    let id = approval(&held);
    assert!(
        held.message().contains(&format!("toolgate_wait with {{\"approval\":\"{id}\"}}")),
        "{}",
        held.message()
    );
    assert_eq!(approval(&refund(5000)), id);
    // The same call at another door.
    let envelope = r#"{"service":"api","method":"POST","path":"/v1/refunds","body":{"amount":5000}}"#;
    let by_envelope = stage.gateway.send(&stage.request("POST", "/proxy").body(envelope));
    assert_eq!((by_envelope.status, approval(&by_envelope)), (428, id.clone()));
    let wait = |id: &str| agent.call("toolgate_wait", &json!({ "approval": id }).to_string());
    assert_eq!(wait(&id).code(), 409);
    stage.desk.approve(&id);
    let told = eventually("the result", || Some(wait(&id)).filter(|reply| reply.verdict() == 200));
    assert_eq!(told.proxy_status(), "executed-approved");
    let told = result(&told);
    assert_eq!(told["structuredContent"]["status"], 201, "{told}");
    assert_eq!(texts(&told)[1], "{\"refunded\":5000}");
    // Held by the envelope, answered by the tool; and the other way round.
    let by_envelope = approval(&stage.gateway.send(&stage.request("POST", "/proxy").body(envelope)));
    assert_ne!(by_envelope, id, "delivered, so the same call is a new one");
    stage.desk.approve(&by_envelope);
    stage.reached(&by_envelope, "executed");
    let resumed = refund(5000);
    assert_eq!(resumed.proxy_status(), "executed-approved", "{}", resumed.text());
    assert_eq!(result(&resumed)["structuredContent"]["body"], json!({ "refunded": 5000 }));
    let by_tool = approval(&refund(6000));
    stage.desk.approve(&by_tool);
    stage.reached(&by_tool, "executed");
    let fetched = stage.result(&by_tool);
    assert_eq!((fetched.status, fetched.text().as_str()), (201, "{\"refunded\":6000}"));
    assert_eq!(stage.api.count(), 4);
    let denied = approval(&refund(7000));
    stage.desk.deny(&denied, "too much");
    assert_eq!((refund(7000).code(), wait(&denied).code()), (403, 403));
}

#[test]
fn a_held_one_is_no_task() {
    let stage = HeldStage::new(SHORT);
    let agent = stage.gateway.agent(&stage.key, "api");
    let arguments = json!({ "method": "POST", "path": "/v1/refunds", "body": { "amount": 5000 } });
    let params = json!({ "name": "request", "arguments": arguments, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": { "extensions": { "io.modelcontextprotocol/tasks": {} } },
    } });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let request = agent.post(body.to_string()).header("MCP-Protocol-Version", "2026-07-28");
    let request = request.header("Mcp-Method", "tools/call").header("Mcp-Name", "request");
    let held = stage.gateway.send(&request);
    assert_eq!((held.status, held.code(), held.proxy_status()), (200, 428, "held"), "{}", held.text());
    assert_eq!(stage.result(&approval(&held)).status, 409);
}

#[test]
fn whoever_waits_is_told_and_may_take_it_back() {
    let stage = HeldStage::new(LONG);
    let agent = stage.gateway.agent(&stage.key, "api");
    let body = |id: u32| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"request","arguments":{{"method":"POST","path":"/v1/refunds","body":{{"amount":{id}}}}},"_meta":{{"progressToken":"p"}}}}}}"#
        )
    };
    let mut stream = stage.gateway.open(&agent.post(body(5000)));
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let first = stream.event().unwrap();
    assert!(first.contains("notifications/progress") && first.contains("\"p\""), "{first}");
    stage.desk.approve(&stage.waiting());
    let last = std::iter::from_fn(|| stream.event()).last().unwrap();
    assert!(last.contains("\"structuredContent\"") && last.contains("\"id\":5000"), "{last}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| stage.gateway.send(&agent.post(body(6000))));
        let id = stage.waiting();
        let cancelled = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":6000}}"#;
        until("the call to be taken back", || {
            assert_eq!(agent.send(cancelled).status, 202);
            stage.state(&id)["status"] == "cancelled"
        });
        assert!(waiting.join().unwrap().text().contains("410"));
    });
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn an_echoed_secret_is_masked() {
    const PLAIN: &str = "sk_live_9f3c4b1d7e2a8f60";
    let api = Upstream::start(|hit| {
        let came = hit.header("authorization").unwrap_or_default().to_owned();
        let headers = format!("Content-Type: application/json\r\nLocation: /{PLAIN}\r\n");
        answer("404 Not Found", &headers, format!("{{\"sent\":\"{came}\"}}"))
    });
    let bearer = ", credentials: [{ name: secret_key, kind: bearer }]";
    let home = Home::new(API_POLICY).services(&[api.declare_api("api", bearer)]);
    home.credential("api", "secret_key", PLAIN);
    let key = home.key("laptop", "user", "api");
    let gateway = home.serve();
    let reply = request(&gateway.agent(&key, "api"), &json!({ "method": "GET", "path": "/v1/x" }));
    assert_eq!(api.last().header("authorization"), Some(format!("Bearer {PLAIN}").as_str()));
    assert!(!reply.text().contains(PLAIN), "{}", reply.text());
    let (told, mask) = (result(&reply), "*".repeat(PLAIN.len()));
    assert_eq!(told["isError"], true, "the API said no");
    assert_eq!(told["structuredContent"]["body"], json!({ "sent": format!("Bearer {mask}") }));
    assert_eq!(told["structuredContent"]["headers"]["location"], format!("/{mask}"));
}

#[test]
fn answers_are_whole_and_bounded() {
    const LIMIT: usize = 10_000_000;
    let home = Home::new(API_POLICY);
    let stage = ApiStage::with(home, ", stream: true", |hit| {
        let (media, body) = match hit.target() {
            "/v1/large" => ("text/plain", "x".repeat(LIMIT).into_bytes()),
            "/v1/larger" => ("text/plain", "x".repeat(LIMIT + 1).into_bytes()),
            "/v1/image" => ("image/png", b"\x89PNG\r\n\x1a\n\0".to_vec()),
            "/v1/archive" => ("application/zip", b"PK\x03\x04\0".to_vec()),
            _ => ("text/plain", Vec::new()),
        };
        answer("200 OK", &format!("Content-Type: {media}\r\n"), body)
    });
    let agent = stage.gateway.agent(&stage.key, "api");
    let get = |path: &str| request(&agent, &json!({ "method": "GET", "path": path }));
    let large = get("/v1/large");
    let told = result(&large);
    assert_eq!(told["structuredContent"]["body"].as_str().unwrap().len(), LIMIT);
    assert!(texts(&told)[1].contains("too long to show") && large.body.len() < LIMIT + 2_000);
    let larger = get("/v1/larger");
    assert_eq!((larger.code(), larger.proxy_status()), (502, "upstream-error"), "{}", larger.text());
    assert!(larger.message().contains("answered more than 10000000 bytes"), "{}", larger.message());
    let recorded = stage.gateway.recorded(larger.call_id(), 2);
    assert_eq!(recorded[1]["result"], "upstream-error", "{recorded:?}");
    let image = result(&get("/v1/image"));
    assert_eq!(
        (&image["content"][1]["type"], &image["content"][1]["mimeType"]),
        (&"image".into(), &"image/png".into())
    );
    let archive = result(&get("/v1/archive"));
    assert_eq!(archive["structuredContent"]["body"], Value::Null);
    assert!(texts(&archive)[1].starts_with("The body is 5 bytes of `application/zip`: no text"), "{archive}");
    let empty = result(&get("/v1/empty"));
    assert_eq!((texts(&empty).len(), &empty["structuredContent"]["body_is"]), (1, &"empty".into()));
}

#[test]
fn limits_count_it_like_the_request_that_it_is() {
    let policy = API_POLICY.replace("  per_tool: 100000/1s", "  per_tool: 2/1h");
    let stage = ApiStage::with(Home::new(&policy), "", |_| answer("200 OK", "", "ok"));
    let agent = stage.gateway.agent(&stage.key, "api");
    let get = || request(&agent, &json!({ "method": "GET", "path": "/v1/x" }));
    assert_eq!(get().verdict(), 200);
    assert_eq!(stage.send("GET", "/http/api/v1/x").status, 200);
    let over = get();
    assert_eq!((over.code(), over.header("ratelimit").is_some()), (429, true), "{}", over.text());
    assert!(over.message().contains("`GET` on `api` is limited to 2/1h"), "{}", over.message());
    assert_eq!(stage.send("GET", "/http/api/v1/x").status, 429);
    assert_eq!(request(&agent, &json!({ "method": "HEAD", "path": "/v1/x" })).verdict(), 200);
    assert_eq!(agent.request("tools/list", "{}").verdict(), 200);
}
