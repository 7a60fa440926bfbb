//! What could be read in two ways is not read at all: 400 with a clear reason, no upstream hears of it, and the
//! trail has it. Whoever has no key is not told what was wrong.

use crate::harness::*;

const HEAD: &str = r#""jsonrpc":"2.0","id":1,"method":"tools/call""#;

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

fn with_params(params: &str) -> Vec<u8> {
    format!("{{{HEAD},\"params\":{params}}}").into_bytes()
}

fn with_argument(argument: &str) -> Vec<u8> {
    with_params(&format!(r#"{{"name":"read_note","arguments":{{"a":{argument}}}}}"#))
}

/// Every body must be refused with 400, for both transports.
fn refuses(stage: &Stage, bodies: &[Vec<u8>]) {
    let mut calls = Vec::new();
    for body in bodies {
        for service in ["web", "child"] {
            let shown: String = String::from_utf8_lossy(body).chars().take(200).collect();
            let target = format!("/mcp/{service}");
            let reply = stage.gateway.send(&Request::post(&target, body.clone()).key(&stage.key));
            assert_eq!(reply.status, 400, "{shown}: {}", reply.text());
            let json = reply.json();
            assert_eq!(json["error"]["data"]["type"], "urn:toolgate:malformed", "{json}");
            assert!(json["error"]["message"].to_string().contains("Nothing was sent."), "{json}");
            let code = json["error"]["code"].as_i64().unwrap();
            assert!([-32700, -32600, -32602].contains(&code), "{shown}: {json}");
            calls.push(reply.call_id().to_owned());
        }
    }
    // One writer writes them in their order: with the last one all are there.
    stage.gateway.recorded(calls.last().unwrap(), 1);
    let events = stage.gateway.events();
    for call in &calls {
        let of_call: Vec<_> = events.iter().filter(|event| event["call_id"] == **call).collect();
        assert_eq!(of_call.len(), 1, "{of_call:?}");
        assert_eq!((&of_call[0]["kind"], &of_call[0]["status"]), (&"refusal".into(), &400.into()));
        assert_eq!(of_call[0]["agent"], "laptop");
    }
    assert_eq!((stage.web.connections(), stage.child.count()), (0, 0), "an upstream was reached");
}

fn owned(bodies: &[&[u8]]) -> Vec<Vec<u8>> {
    bodies.iter().map(|body| body.to_vec()).collect()
}

#[test]
fn what_is_no_json_is_refused() {
    let whole = with_argument("1");
    let mut bodies = owned(&[
        b"",
        b" ",
        b"\0",
        b"{",
        b"nul",
        b"\xff\xfe\xfd",
        b"\xef\xbb\xbf{}",
        b"GET / HTTP/1.1",
        b"{'a':1}",
        b"{\"a\":1,}",
    ]);
    bodies.extend([1, 10, whole.len() / 2, whole.len() - 1].map(|length| whole[..length].to_vec()));
    bodies.extend(
        ["01", "+1", ".5", "1.", "0x1", "NaN", "Infinity", "1e", "'x'", "\"\n\"", "\"\t\"", "/**/1"]
            .map(with_argument),
    );
    bodies.push([&whole[..], b"{}"].concat());
    bodies.push([&whole[..], b"\0"].concat());
    bodies.push([&whole[..], &whole[..]].concat());
    refuses(&stage(), &bodies);
}

fn stage() -> Stage {
    Stage::new()
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let name = |rest: &str| with_params(&format!(r#"{{"name":"read_note",{rest}}}"#));
    let bodies = vec![
        format!("{{{HEAD},\"method\":\"tools/list\",\"params\":{{}}}}").into_bytes(),
        format!("{{{HEAD},\"params\":{{\"name\":\"read_note\"}},\"id\":2}}").into_bytes(),
        name(r#""name":"delete_note""#),
        name(r#""n\u0061me":"delete_note""#),
        name(r#""arguments":{"a":1,"a":2}"#),
        name(r#""arguments":{"x":[{"deep":{"a":1,"b":2,"\u0061":3}}]}"#),
        name(r#""_meta":{"a":1,"a":1}"#),
        with_argument(r#""\ud800""#),
        with_argument(r#""\udc00\ud800""#),
        with_argument(r#"{"\ud800":1}"#),
        with_argument("\"\u{1}\""),
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"read_\xff\"}}"
            .to_vec(),
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"\xc0\xae\"}}"
            .to_vec(),
    ];
    refuses(&stage(), &bodies);
}

#[test]
fn what_is_no_message_is_refused() {
    let call = |members: &str| format!("{{{members}}}").into_bytes();
    let whole = String::from_utf8(with_argument("1")).unwrap();
    let bodies = vec![
        b"[]".to_vec(),
        b"null".to_vec(),
        b"7".to_vec(),
        b"\"tools/call\"".to_vec(),
        b"{}".to_vec(),
        format!("[{whole}]").into_bytes(),
        format!("[{whole},{whole}]").into_bytes(),
        br#"["2.0",1,"tools/call",{"name":"read_note"}]"#.to_vec(),
        call(r#""id":1,"method":"tools/call","params":{"name":"read_note"}"#),
        call(r#""jsonrpc":"1.0","id":1,"method":"tools/call","params":{"name":"read_note"}"#),
        call(r#""jsonrpc":2.0,"id":1,"method":"tools/call","params":{"name":"read_note"}"#),
        call(r#""jsonrpc":"2.0","id":1,"method":7,"params":{}"#),
        call(r#""jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"read_note"}"#),
        call(r#""jsonrpc":"2.0","id":{},"method":"tools/call","params":{"name":"read_note"}"#),
        call(r#""jsonrpc":"2.0","id":[1],"method":"tools/call","params":{"name":"read_note"}"#),
        call(r#""jsonrpc":"2.0","id":true,"method":"tools/call","params":{"name":"read_note"}"#),
        call(r#""jsonrpc":"2.0","id":1"#),
        call(r#""jsonrpc":"2.0","id":1,"result":{},"error":{}"#),
        call(r#""jsonrpc":"2.0","id":1,"method":"tools/call","result":{}"#),
        with_params("[\"read_note\"]"),
        with_params("\"read_note\""),
        with_params("{}"),
        with_params(r#"{"name":7}"#),
        with_params(r#"{"name":null}"#),
        with_params(r#"{"name":["read_note"]}"#),
        with_params(r#"{"Name":"read_note"}"#),
        call(r#""jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":7}"#),
        call(
            r#""jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/other","name":"x"}}"#,
        ),
        format!("{{{HEAD}}}").into_bytes(),
    ];
    refuses(&stage(), &bodies);
}

#[test]
fn what_is_too_deep_is_refused() {
    let stage = stage();
    refuses(
        &stage,
        &[with_argument(&nested(64)), with_argument(&nested(100_000 / 4)), nested(20_000).into_bytes()],
    );
    let reply = stage.at_web().send(with_argument(&nested(50)));
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
}

#[test]
fn what_is_too_large_is_refused() {
    let stage = Stage::with(Home::new(POLICY).set("gateway.body_limit=200KB"));
    let body = |bytes: usize| with_argument(&format!("\"{}\"", "x".repeat(bytes)));
    let chunked = |bytes: usize| {
        let body = body(bytes);
        let chunks = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        Request::post("/mcp/web", chunks).header("Transfer-Encoding", "chunked")
    };
    let within = stage.gateway.send(&Request::post("/mcp/web", body(150_000)).key(&stage.key));
    assert_eq!(within.verdict(), 200, "{}", within.text());
    assert_eq!(stage.gateway.send(&chunked(150_000).key(&stage.key)).verdict(), 200);
    let hits = stage.web.count();
    for request in [Request::post("/mcp/web", body(250_000)), chunked(250_000)] {
        let reply = stage.gateway.send(&request.key(&stage.key));
        assert_eq!(reply.status, 413, "{}", reply.text());
        assert_eq!(reply.json()["type"], "urn:toolgate:too-large");
        assert_eq!(stage.gateway.recorded(reply.call_id(), 1)[0]["status"], 413);
    }
    // A stranger's body is not read as far: the key decides, and there is none.
    for request in [Request::post("/mcp/web", body(70_000)), chunked(70_000)] {
        assert_eq!(stage.gateway.send(&request).status, 401);
    }
    let announced =
        Request::post("/mcp/web", "").without("content-length").header("Content-Length", "99999999999");
    assert_eq!(stage.gateway.send(&announced.key(&stage.key)).status, 413, "before a byte of it was sent");
    assert_eq!(stage.web.count(), hits);
}

#[test]
fn what_is_no_json_by_its_own_word_is_refused() {
    let stage = stage();
    for media in
        ["text/plain", "application/x-www-form-urlencoded", "application/json-seq", "", "application/jsonx"]
    {
        let request = Request::post("/mcp/web", with_argument("1")).without("content-type").key(&stage.key);
        let reply = stage.gateway.send(&request.header("Content-Type", media));
        assert_eq!(reply.status, 415, "{media}: {}", reply.text());
        assert_eq!(stage.gateway.recorded(reply.call_id(), 1)[0]["status"], 415);
    }
    let none = Request::post("/mcp/web", with_argument("1")).without("content-type").key(&stage.key);
    assert_eq!(stage.gateway.send(&none).status, 415);
    let compressed =
        Request::post("/mcp/web", with_argument("1")).key(&stage.key).header("Content-Encoding", "gzip");
    assert_eq!(stage.gateway.send(&compressed).status, 400);
    assert_eq!(stage.web.connections(), 0);
    let charset = Request::post("/mcp/web", with_argument("1")).without("content-type").key(&stage.key);
    let charset = charset.header("Content-Type", "Application/JSON ; charset=utf-8");
    assert_eq!(stage.gateway.send(&charset).verdict(), 200);
}

#[test]
fn a_stranger_is_not_told_what_was_wrong() {
    let stage = stage();
    let plain = stage.gateway.send(&Request::post("/mcp/web", with_argument("1")));
    let said = |reply: &Reply| reply.text().replace(reply.call_id(), "");
    for request in [
        Request::post("/mcp/web", "{"),
        Request::post("/mcp/web", with_params("[]")),
        Request::new("PUT", "/mcp/web"),
        Request::post("/mcp/web", with_argument("1")).without("content-type"),
        Request::post("/mcp/web", with_argument("1")).header("Mcp-Session-Id", "x"),
    ] {
        let reply = stage.gateway.send(&request);
        assert_eq!((reply.status, said(&reply)), (401, said(&plain)));
    }
}

#[test]
fn other_methods_and_paths_lead_nowhere() {
    let stage = stage();
    for method in ["PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"] {
        let reply = stage
            .gateway
            .send(&Request::new(method, "/mcp/web").key(&stage.key).header("Connection", "close"));
        assert_eq!(reply.status, 405, "{method}");
    }
    for path in [
        "/",
        "/mcp/",
        "/mcp/web/",
        "/mcp/web/x",
        "/mcp//web",
        "/MCP/web",
        "/api/agents",
        "/metrics",
        "/mcp/../mcp/web",
    ] {
        let reply = stage.gateway.send(&Request::post(path, with_argument("1")).key(&stage.key));
        assert_eq!(reply.status, 404, "{path}: {}", reply.text());
        assert_eq!(reply.proxy_status(), "refused");
    }
    for path in ["/mcp/WEB", "/mcp/w%65b", "/mcp/web%00", "/mcp/%2e%2e", "/mcp/web;x"] {
        let reply = stage.gateway.send(&Request::post(path, with_argument("1")).key(&stage.key));
        assert_eq!(reply.verdict(), 403, "{path}: {}", reply.text());
    }
    assert_eq!(stage.web.connections(), 0);
    let console =
        send(stage.gateway.console(), &Request::post("/mcp/web", with_argument("1")).key(&stage.key));
    assert_eq!(console.status, 404, "agents have no way in by the console");
    assert_eq!(send(stage.gateway.console(), &Request::new("GET", "/healthz")).status, 200);
}
