//! What a client says about itself stays here: only named headers travel on, in either direction.

use crate::harness::*;

#[test]
fn nothing_of_the_client_reaches_the_upstream_that_is_not_named() {
    let stage = Stage::new();
    let request = Request::post("/mcp/web?x=y", call(1, "read_note", "{}"))
        .header("X-API-Key", &stage.key)
        .header("Cookie", "session=stolen")
        .header("Accept-Encoding", "gzip, br")
        .header("X-Forwarded-For", "10.9.8.7")
        .header("Forwarded", "for=10.9.8.7")
        .header("Proxy-Authorization", "Basic c3RvbGVu")
        .header("X-HTTP-Method-Override", "DELETE")
        .header("Origin", "http://localhost:1")
        .header("Referer", "http://localhost:1/stolen")
        .header("X-Custom", "stolen")
        .header("Connection", "keep-alive, X-Custom")
        .header("User-Agent", "a-client/1")
        .header("MCP-Protocol-Version", "2025-11-25")
        .header("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let reply = stage.gateway.send(&request);
    assert_eq!(reply.verdict(), 200, "{}", reply.text());

    let hit = stage.web.last();
    let mut names: Vec<String> = hit
        .head
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase()))
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "accept",
            "accept-encoding",
            "content-length",
            "content-type",
            "host",
            "mcp-protocol-version",
            "traceparent",
            "user-agent"
        ]
    );
    assert_eq!(hit.header("accept-encoding"), Some("identity"));
    assert_eq!(hit.header("user-agent"), Some("a-client/1"));
    assert_ne!(hit.header("host"), Some(stage.gateway.address().to_string().as_str()));
    assert!(hit.head.starts_with("POST /mcp HTTP/1.1\r\n"), "{}", hit.head);
    assert!(!hit.head.contains("stolen") && !hit.head.contains("10.9.8.7"), "{}", hit.head);
}

#[test]
fn nothing_of_the_upstream_reaches_the_client_that_is_not_named() {
    let web = Upstream::start(|_| {
        answer(
            "200 OK",
            "Content-Type: application/json; charset=utf-8\r\nSet-Cookie: a=b\r\nServer: secret/1\r\n\
             X-Call-Id: c_000000000000\r\nX-Proxy-Status: executed-approved\r\nWWW-Authenticate: Basic\r\n\
             Location: http://elsewhere.test/\r\nCache-Control: max-age=5\r\n",
            rpc("1", "{}"),
        )
    });
    let stage = Stage::behind(Home::new(POLICY), web);
    let reply = stage.at_web().call("read_note", "{}");
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
    for name in ["set-cookie", "server", "www-authenticate", "location"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.proxy_status(), "forwarded");
    assert_ne!(reply.call_id(), "c_000000000000");
    assert_eq!(reply.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(reply.header("cache-control"), Some("max-age=5"));
}

#[test]
fn a_session_is_the_upstreams_behind_us_and_ours_in_front() {
    let web = Upstream::start(|hit| match (hit.method.as_str(), hit.rpc_method().as_str()) {
        (_, "initialize") => answer(
            "200 OK",
            "Content-Type: application/json\r\nMcp-Session-Id: theirs\r\n",
            rpc("1", r#"{"protocolVersion":"2025-06-18","capabilities":{}}"#),
        ),
        ("DELETE", _) => answer("204 No Content", "", ""),
        (_, "tools/call") => answer("404 Not Found", "Content-Type: application/json\r\n", "{}"),
        _ => mcp(hit),
    });
    let stage = Stage::behind(Home::new(POLICY), web);
    let agent = stage.at_web().connected();
    assert_ne!(agent.session.as_deref(), Some("theirs"));
    let hits = stage.web.hits();
    assert_eq!(hits[0].header("mcp-session-id"), None);
    assert_eq!(hits[1].header("mcp-session-id"), Some("theirs"));
    assert_eq!(
        agent.call("read_note", "{}").status,
        404,
        "that a session has ended is the upstream's to say"
    );
    assert_eq!(stage.gateway.send(&agent.end()).status, 204);
    let last = stage.web.last();
    assert_eq!((&*last.method, last.header("mcp-session-id")), ("DELETE", Some("theirs")));
}

#[test]
fn a_redirect_is_not_followed() {
    let elsewhere = Upstream::mcp();
    let target = elsewhere.declare("x");
    let target = target.split('"').nth(1).unwrap().to_owned();
    let web =
        Upstream::start(move |_| answer("307 Temporary Redirect", &format!("Location: {target}\r\n"), ""));
    let stage = Stage::behind(Home::new(POLICY), web);
    let reply = stage.at_web().call("read_note", "{}");
    assert_eq!(reply.status, 307, "{}", reply.text());
    assert_eq!(reply.header("location"), None);
    assert_eq!(elsewhere.connections(), 0);
}
