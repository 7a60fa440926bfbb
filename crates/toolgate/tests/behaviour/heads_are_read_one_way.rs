//! A request whose head or framing two servers could read differently is refused, its connection ends, and what
//! stands behind it on the connection is nobody's request. What is merely unusual works.

use std::io::{Read as _, Write as _};

use crate::harness::*;

/// Sends bytes, and returns all that comes back until the connection ends.
fn exchange(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut answers = Vec::new();
    match send_bytes(address, bytes).read_to_end(&mut answers) {
        // A server that hangs up before it has read everything may reset the connection behind its answer.
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&answers).into_owned()
}

/// The status of each answer.
fn statuses(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).filter_map(|answer| answer.get(..3)).collect()
}

fn header<'a>(answers: &'a str, name: &str) -> Option<&'a str> {
    let found = answers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.map(str::trim_end)
}

/// A call that would pass, as it stands on the connection: request line, headers, body.
fn good(stage: &Stage) -> (String, String) {
    let body = call(1, "read_note", "{}");
    let head = format!(
        "POST /mcp/web HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n",
        stage.key
    );
    (head, body)
}

#[test]
fn what_two_servers_read_differently_is_refused() {
    let stage = Stage::new();
    let (head, body) = good(&stage);
    let length = body.len();
    let sized = format!("Content-Length: {length}\r\n\r\n{body}");
    let chunks = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    let with = |headers: &str, body: &str| format!("{head}{headers}\r\n\r\n{body}");
    let line = |line: &str| format!("{head}{sized}").replacen("POST /mcp/web HTTP/1.1", line, 1);
    let host = |host: &str| format!("{head}{sized}").replacen("Host: localhost\r\n", host, 1);
    let whole = format!("{head}{sized}");
    let refused = [
        (
            with(&format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"), &chunks),
            "it has both Content-Length and Transfer-Encoding",
        ),
        (
            with("Transfer-Encoding: chunked\r\nContent-Length: 5", &chunks),
            "it has both Content-Length and Transfer-Encoding",
        ),
        (
            with(&format!("Content-Length: {length}\r\nContent-Length: {length}"), &body),
            "it has more than one Content-Length",
        ),
        (
            with(&format!("Content-Length: {length}\r\nContent-Length: {}", length + 1), &body),
            "it has more than one Content-Length",
        ),
        (with(&format!("Content-Length: +{length}"), &body), "its Content-Length is no number"),
        (with(&format!("Content-Length: {length}, {length}"), &body), "its Content-Length is no number"),
        (with("Transfer-Encoding: xchunked", &chunks), "its Transfer-Encoding is not `chunked` alone"),
        (
            with("Transfer-Encoding: chunked, identity", &chunks),
            "its Transfer-Encoding is not `chunked` alone",
        ),
        (with("Transfer-Encoding: gzip, chunked", &chunks), "its Transfer-Encoding is not `chunked` alone"),
        (
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", &chunks),
            "its Transfer-Encoding is not `chunked` alone",
        ),
        (with("Transfer-Encoding : chunked", &chunks), "a line of its head is no header"),
        (format!("{head} folded: x\r\n{sized}"), "a line of its head is no header"),
        (whole.replacen("\r\n", "\n", 1), "a line of its head ends in LF without CR"),
        (whole.replacen("localhost\r\n", "localhost\n", 1), "a line of its head ends in LF without CR"),
        (whole.replacen("\r\n\r\n", "\r\n\n", 1), "a line of its head ends in LF without CR"),
        (whole.replace("\r\n", "\n"), "a line of its head ends in LF without CR"),
        (line("POST /mcp/web HTTP/1.2"), "its version is neither HTTP/1.0 nor HTTP/1.1"),
        (line("POST /mcp/web"), "its version is neither HTTP/1.0 nor HTTP/1.1"),
        (
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0".to_owned(),
            "its version is neither HTTP/1.0 nor HTTP/1.1",
        ),
        (host(""), "it has no Host"),
        (host("Host: localhost\r\nHost: localhost\r\n"), "it has more than one Host"),
        (host("Host: localhost\r\nHost: evil.test\r\n"), "it has more than one Host"),
        (
            line("POST http://evil.test/mcp/web HTTP/1.1"),
            "its target names another host than its Host header",
        ),
        (line("POST /mcp/caf\u{e9} HTTP/1.1"), "its target has characters that must be percent-encoded"),
        (line("POST /mcp/web?\u{e9} HTTP/1.1"), "its target has characters that must be percent-encoded"),
        (line("POST /\u{fffd} HTTP/1.1"), "its target has characters that must be percent-encoded"),
        (
            with(&format!("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: {length}"), &body),
            "it asks for an upgrade to another protocol",
        ),
    ];
    let mut calls = Vec::new();
    for (request, why) in &refused {
        let answers = exchange(stage.gateway.address(), format!("{request}{whole}").as_bytes());
        assert_eq!(statuses(&answers), ["400"], "{request}\n{answers}");
        assert_eq!(header(&answers, "content-type"), Some("application/problem+json"), "{answers}");
        assert_eq!(header(&answers, "connection"), Some("close"), "{answers}");
        assert_eq!(header(&answers, "x-proxy-status"), Some("refused"), "{answers}");
        let document = answers.split_once("\r\n\r\n").unwrap().1;
        let document: serde_json::Value = serde_json::from_str(document).unwrap();
        assert_eq!(document["type"], "urn:toolgate:malformed", "{document}");
        assert_eq!(
            document["detail"],
            format!("The request cannot be read: {why}. Nothing was sent."),
            "{request}"
        );
        calls.push((document["call_id"].as_str().unwrap().to_owned(), *why));
    }
    assert_eq!(stage.web.connections(), 0, "an upstream was reached");
    // One writer writes them in their order: with the last one all are there.
    stage.gateway.recorded(&calls.last().unwrap().0, 1);
    let events = stage.gateway.events();
    for (call, why) in &calls {
        let of_call: Vec<_> = events.iter().filter(|event| event["call_id"] == **call).collect();
        assert_eq!(of_call.len(), 1, "{of_call:?}");
        assert_eq!((&of_call[0]["kind"], &of_call[0]["status"]), (&"refusal".into(), &400.into()));
        assert_eq!(of_call[0]["decision"]["reason"], *why, "{of_call:?}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let stage = Stage::new();
    let (head, body) = good(&stage);
    let length = body.len();
    let whole = format!("{head}Content-Length: {length}\r\n\r\n{body}");
    let line = |line: &str| whole.replacen("POST /mcp/web HTTP/1.1", line, 1);
    let with = |headers: &str| format!("{head}{headers}\r\nContent-Length: {length}\r\n\r\n{body}");
    let chunked = |chunks: String| format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}").into_bytes();
    let many: String = (0..101).map(|number| format!("X-{number}: y\r\n")).collect();
    let mut latin = line("POST /mcp/caf? HTTP/1.1").into_bytes();
    let question = latin.iter().position(|byte| *byte == b'?').unwrap();
    latin[question] = 0xe9;
    for (request, status) in [
        (with("X: a\0b").into_bytes(), "400"),
        (with("X: a\rb").into_bytes(), "400"),
        (with("X\u{1}: a").into_bytes(), "400"),
        (line("POST  /mcp/web HTTP/1.1").into_bytes(), "400"),
        (line("POST /mcp/web  HTTP/1.1").into_bytes(), "400"),
        (line("PO ST /mcp/web HTTP/1.1").into_bytes(), "400"),
        (latin, "400"),
        (
            format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
                .replacen("HTTP/1.1", "HTTP/1.0", 1)
                .into_bytes(),
            "400",
        ),
        (with(&many).into_bytes(), "431"),
        (with(&format!("X: {}", "y".repeat(70_000))).into_bytes(), "431"),
        (with(&format!("X: {}", "y".repeat(300_000))).into_bytes(), "431"),
        (line("CONNECT localhost:443 HTTP/1.1").into_bytes(), "405"),
        (line("TRACE /mcp/web HTTP/1.1").into_bytes(), "405"),
        (chunked(format!("0x{length:x}\r\n{body}\r\n0\r\n\r\n")), "400"),
        (chunked(format!("{length:x}\n{body}\n0\n\n")), "400"),
        (chunked(format!("{length:x};a\nb\r\n{body}\r\n0\r\n\r\n")), "400"),
        (chunked(format!("{length:x}\r\n{body}0\r\n\r\n")), "400"),
        (chunked(format!("{length:x}\r\n{body}\r\n0\r\nT: 1\n\r\n\r\n")), "400"),
        (chunked(format!("10000000000000000\r\n{body}\r\n0\r\n\r\n")), "400"),
    ] {
        let answers = exchange(stage.gateway.address(), &[&request, whole.as_bytes()].concat());
        let shown: String = String::from_utf8_lossy(&request).chars().take(400).collect();
        assert_eq!(statuses(&answers), [status], "{shown}\n{answers}");
    }
    assert_eq!(stage.web.connections(), 0, "an upstream was reached");
}

#[test]
fn what_stands_before_a_refused_head_is_answered() {
    let stage = Stage::new();
    let (head, body) = good(&stage);
    let whole = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let bad = whole.replacen("\r\n", "\n", 1);
    let answers = exchange(stage.gateway.address(), format!("{whole}{whole}{bad}{whole}").as_bytes());
    assert_eq!(statuses(&answers), ["200", "200", "400"], "{answers}");
    assert_eq!(stage.web.count(), 2);
}

#[test]
fn what_is_merely_unusual_works() {
    let stage = Stage::new();
    let (head, body) = good(&stage);
    let length = body.len();
    let sized = format!("Content-Length: {length}\r\n\r\n{body}");
    let first = format!("{head}{sized}");
    let last = format!("{head}Connection: close\r\n{sized}");
    for request in [
        first.clone(),
        format!("\r\n{first}"),
        first.replacen("Host: localhost", "hOsT:localhost  ", 1),
        first.replacen("/mcp/web HTTP", "http://localhost/mcp/web HTTP", 1),
        format!(
            "{head}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n{sized}"
        ),
        format!(
            "{head}Transfer-Encoding: Chunked\r\n\r\n5 ; a=b\r\n{}\r\n{:X}\r\n{}\r\n00\r\nX-Sum: 1\r\n\r\n",
            &body[..5],
            length - 5,
            &body[5..]
        ),
    ] {
        let before = stage.web.count();
        let answers = exchange(stage.gateway.address(), format!("{request}{last}").as_bytes());
        assert_eq!(statuses(&answers), ["200", "200"], "{request}\n{answers}");
        assert_eq!(stage.web.count(), before + 2);
        assert_eq!(&*stage.web.last().body, body.as_bytes());
    }
    let old = "GET /healthz HTTP/1.0\r\n\r\n";
    for address in [stage.gateway.address(), stage.gateway.console()] {
        let answer = exchange(address, old.as_bytes());
        assert!(answer.starts_with("HTTP/1.0 200 "), "a load balancer's probe: {answer}");
    }
}

#[test]
fn a_head_may_come_in_pieces() {
    let stage = Stage::new();
    let (head, body) = good(&stage);
    let filler = "y".repeat(50_000);
    let request = format!(
        "{head}X-Filler: {filler}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = send_bytes(stage.gateway.address(), b"");
    for piece in [&request[..10], &request[10..101], &request[101..40_000], &request[40_000..]] {
        stream.write_all(piece.as_bytes()).unwrap();
        // Not needed, but then the pieces arrive as such.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(statuses(&answers), ["200"], "{answers}");
}

#[test]
fn a_client_may_ask_before_it_sends_its_body() {
    let stage = Stage::new();
    let (head, body) = good(&stage);
    let asking =
        format!("{head}Expect: 100-continue\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = send_bytes(stage.gateway.address(), asking.as_bytes());
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(statuses(&answers), ["200"], "{answers}");
}

#[test]
fn operators_doors_are_as_strict() {
    let stage = Stage::new();
    for request in [
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\nHost: localhost\n\n",
    ] {
        assert_eq!(statuses(&exchange(stage.gateway.console(), request.as_bytes())), ["400"], "{request}");
    }
}
