//! What an upstream says back of its own credential reaches no agent: in headers, in bodies, in streams, in errors.

use crate::harness::*;

/// A secret without characters that a form would escape.
const PLAIN: &str = "sk_live_9f3c4b1d7e2a8f60";

/// A gateway before an API and an MCP server that both hold [`PLAIN`].
fn stage(answer: impl Fn(&Hit) -> Vec<Step> + Send + Sync + 'static) -> (Gateway, Upstream, String) {
    let api = Upstream::start(answer);
    let bearer = ", credentials: [{ name: secret_key, kind: bearer }]";
    let mcp = api.declare("web").replace(" }\n", &format!("{bearer} }}\n"));
    let policy = API_POLICY.replace(
        "      - { name: noting",
        "      - { service: web, tools: [echo], resources: [\"file:///**\"] }\n      - { name: noting",
    );
    let home =
        Home::new(&policy).services(&[api.declare_api("api", &format!("{bearer}, stream: true")), mcp]);
    for service in ["api", "web"] {
        home.credential(service, "secret_key", PLAIN);
    }
    let key = home.key("laptop", "user", "api,web");
    (home.serve(), api, key)
}

fn mask() -> String {
    "*".repeat(PLAIN.len())
}

#[test]
fn in_headers_and_body_with_the_length_kept() {
    let (gateway, api, key) = stage(|hit| {
        let came = hit.header("authorization").unwrap_or_default().to_owned();
        let headers = format!("Content-Type: text/plain\r\nX-Echo: {came}\r\nLocation: /?t={PLAIN}\r\n");
        answer("500 Internal Server Error", &headers, format!("you sent {came}, thank you"))
    });
    let reply = gateway.send(&Request::new("GET", "/http/api/v1/x").key(&key));
    assert_eq!(reply.status, 500);
    assert_eq!(api.last().header("authorization"), Some(format!("Bearer {PLAIN}").as_str()));
    assert_eq!(reply.text(), format!("you sent Bearer {}, thank you", mask()));
    assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
    assert_eq!(reply.header("x-echo"), Some(format!("Bearer {}", mask()).as_str()));
    assert_eq!(reply.header("location"), Some(format!("/?t={}", mask()).as_str()));
}

#[test]
fn in_the_names_of_headers() {
    let (gateway, _api, key) = stage(|_| {
        let upper = PLAIN.to_uppercase();
        answer("200 OK", &format!("{PLAIN}: 1\r\nX-{upper}: 2\r\nX-Other: 3\r\n"), "ok")
    });
    let reply = gateway.send(&Request::new("GET", "/http/api/v1/x").key(&key));
    assert_eq!((reply.status, reply.header("x-other")), (200, Some("3")));
    for name in [PLAIN.to_owned(), format!("x-{PLAIN}")] {
        assert_eq!(reply.header(&name), None, "{name}");
    }
}

#[test]
fn under_a_transfer_coding_that_nobody_asked_for() {
    let (gateway, _api, key) = stage(|_| {
        // What another coding hides is not read; it is not handed on either.
        vec![say("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n")]
    });
    let reply = gateway.send(&Request::new("GET", "/http/api/v1/x").key(&key));
    assert_eq!((reply.status, reply.proxy_status()), (502, "upstream-error"), "{}", reply.text());
}

#[test]
fn where_there_is_no_body_there_is_nothing_to_decode() {
    let (gateway, _api, key) = stage(|hit| match hit.method.as_str() {
        "HEAD" => vec![say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 77\r\n\r\n")],
        _ => vec![say("HTTP/1.1 304 Not Modified\r\nContent-Encoding: br\r\nETag: \"1\"\r\n\r\n")],
    });
    for (method, status) in [("HEAD", 200), ("GET", 304)] {
        let reply = gateway.send(&Request::new(method, "/http/api/v1/x").key(&key));
        assert_eq!(reply.status, status, "{}", reply.text());
    }
}

#[test]
fn in_every_form_that_encoders_give_it() {
    // Computed with Python's base64 and binascii.
    const BASE64: &str = "c2tfbGl2ZV85ZjNjNGIxZDdlMmE4ZjYw";
    const HEX: &str = "736b5f6c6976655f3966336334623164376532613866363";
    let (gateway, _api, key) = stage(|_| json(format!("{{\"b\":\"{BASE64}\",\"h\":\"{HEX}0\"}}")));
    let reply = gateway.send(&Request::new("GET", "/http/api/v1/x").key(&key));
    let text = reply.text();
    for piece in [BASE64.get(2..30).unwrap(), HEX] {
        assert!(!text.contains(piece), "{piece}: {text}");
    }
    assert!(text.starts_with("{\"b\":\"") && text.ends_with("\"}"), "{text}");
}

#[test]
fn in_an_event_stream_across_its_pieces_and_without_holding_events_back() {
    let go_on = Latch::new();
    let waiting = std::sync::Arc::clone(&go_on);
    let (gateway, _api, key) = stage(move |_| {
        let (first, second) = PLAIN.split_at(9);
        vec![
            stream_head(),
            say("data: nothing to hide\n\n"),
            Step::Wait(std::sync::Arc::clone(&waiting)),
            say(&format!("data: {first}")),
            say(&format!("{second}\n\n")),
            Step::HangUp,
        ]
    });
    let mut answer = gateway.open(&Request::new("GET", "/http/api/v1/x").key(&key));
    assert_eq!(answer.event().as_deref(), Some("data: nothing to hide\n\n"));
    go_on.release();
    assert_eq!(answer.event(), Some(format!("data: {}\n\n", mask())));
    assert_eq!(answer.event(), None);
}

#[test]
fn in_the_answers_of_an_mcp_server() {
    let (gateway, api, key) = stage(|hit| match hit.id() {
        Some(id) => json(rpc(&id, &format!("{{\"content\":[{{\"type\":\"text\",\"text\":\"{PLAIN}\"}}]}}"))),
        None => answer("202 Accepted", "", ""),
    });
    let reply = gateway.send(&Request::post("/mcp/web", call(1, "echo", "{}")).key(&key));
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
    assert_eq!(reply.json()["result"]["content"][0]["text"], mask());
    assert_eq!(api.last().header("authorization"), Some(format!("Bearer {PLAIN}").as_str()));
}

#[test]
fn what_is_clean_is_not_touched_and_a_new_value_counts_within_a_second() {
    let (gateway, api, key) = stage(|hit| {
        let came = hit.header("authorization").unwrap_or_default().to_owned();
        answer("200 OK", "", format!("{came} sk_live_9f3c4b1d7e2a8f6"))
    });
    let send = || gateway.send(&Request::new("GET", "/http/api/v1/x").key(&key)).text();
    assert_eq!(send(), format!("Bearer {} sk_live_9f3c4b1d7e2a8f6", mask()));
    gateway.credential("api", "secret_key", "another-value-altogether");
    until("the new value to be sent", || {
        send();
        api.last().header("authorization") == Some("Bearer another-value-altogether")
    });
    assert_eq!(send(), "Bearer ************************ sk_live_9f3c4b1d7e2a8f6");
}

#[test]
fn a_declared_credential_without_a_value_stops_the_call() {
    let api = Upstream::start(|_| answer("200 OK", "", "ok"));
    let declaration = api.declare_api("api", ", credentials: [{ name: secret_key, kind: bearer }]");
    let home = Home::new(API_POLICY).services(&[declaration]);
    let key = home.key("laptop", "user", "api");
    let gateway = home.serve();
    let reply = gateway.send(&Request::new("GET", "/http/api/v1/x").key(&key));
    assert_eq!((reply.status, reply.proxy_status()), (503, "fault"), "{}", reply.text());
    assert_eq!(reply.json()["type"], "urn:toolgate:credential-missing");
    assert!(reply.text().contains("Nothing was sent"));
    assert_eq!(api.connections(), 0);
    let events = gateway.recorded(reply.call_id(), 2);
    assert_eq!(events[1]["error"]["code"], "credential-missing");
}

#[test]
fn a_child_gets_its_credential_in_its_environment_and_cannot_say_it_back() {
    let child = ChildServer::new();
    let declaration = child.declare("child").replacen(
        "kind: mcp",
        "kind: mcp, env: { API_TOKEN: { credential: token } }",
        1,
    );
    let home = Home::new(POLICY).services(&[declaration]);
    let ran = home.run_with(&["credentials", "set", "child", "token"], PLAIN.as_bytes());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let key = home.key("laptop", "user", "child");
    let gateway = home.serve();
    let reply = gateway.agent(&key, "child").connected().call("environ", "{}");
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
    assert!(reply.text().contains("API_TOKEN"), "{}", reply.text());
    assert!(!reply.text().contains(PLAIN) && reply.text().contains(&mask()), "{}", reply.text());
}
