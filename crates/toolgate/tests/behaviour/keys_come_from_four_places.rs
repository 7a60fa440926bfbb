//! A key may come in four places, of which the query must be switched on. Wherever it came, it is cut out before
//! anything is recorded or forwarded.

use crate::harness::*;

fn reading(service: &str, query: &str) -> Request {
    Request::post(&format!("/mcp/{service}{query}"), call(1, "read_note", "{}"))
}

/// No byte of a key may arrive behind the gateway.
fn assert_key_stays_here(stage: &Stage) {
    let secret = &stage.key[13..];
    for hit in stage.web.hits() {
        let seen = format!("{}{}", hit.head, String::from_utf8_lossy(&hit.body));
        assert!(!seen.contains(secret), "{seen}");
    }
    for note in stage.child.notes() {
        assert!(!note.text.contains(secret), "{}", note.text);
    }
    for event in stage.gateway.events() {
        assert!(!event.to_string().contains(secret), "{event}");
    }
}

#[test]
fn a_key_is_taken_from_the_headers() {
    let stage = Stage::new();
    let key = &stage.key;
    for request in [
        reading("web", "").header("Authorization", &format!("Bearer {key}")),
        reading("web", "").header("authorization", &format!("bEARER  {key}")),
        reading("web", "").header("X-API-Key", key),
        reading("web", "").header("X-API-Key", key).key(key),
    ] {
        let reply = stage.gateway.send(&request);
        assert_eq!(reply.verdict(), 200, "{}", reply.text());
        assert_eq!(reply.proxy_status(), "forwarded");
    }
    assert_eq!(stage.web.count(), 4);
    assert_key_stays_here(&stage);
}

#[test]
fn a_key_in_the_query_is_nothing_unless_switched_on() {
    let stage = Stage::new();
    let query = format!("?api_key={}", stage.key);
    let reply = stage.gateway.send(&reading("web", &query));
    assert_eq!(reply.status, 401);
    assert_eq!(stage.gateway.recorded(reply.call_id(), 1)[0]["decision"]["reason"], "no key");
    assert_eq!(stage.web.connections(), 0);
    assert_key_stays_here(&stage);
}

#[test]
fn a_key_in_the_query_is_taken_and_cut_where_switched_on() {
    let stage = Stage::with(Home::new(POLICY).set("gateway.key_in_query=true"));
    for query in [format!("?api_key={}", stage.key), format!("?a=b&api_key={}&c=d", stage.key)] {
        let reply = stage.gateway.send(&reading("web", &query));
        assert_eq!(reply.verdict(), 200, "{}", reply.text());
        assert!(!stage.web.last().head.contains("api_key"), "{}", stage.web.last().head);
    }
    let junk = stage.gateway.send(&reading("web", &format!("?api_key=junk&api_key={}", stage.key)));
    assert_eq!(junk.status, 400, "two keys are one too many here as well");
    assert_key_stays_here(&stage);
}

#[test]
fn a_key_in_the_message_is_taken_and_cut_and_the_rest_stays_as_it_is() {
    let stage = Stage::new();
    let key = &stage.key;
    let meta = |members: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"read_note", "_meta" :{members},"arguments":{{"b":1.0,"a":2}}}}}}"#
        )
    };
    for (sent, arrives) in [
        (format!(r#"{{"toolgate/key":"{key}"}}"#), r#"{}"#),
        (
            format!(r#"{{"progressToken":7, "toolgate/key":"{key}","x":1.0}}"#),
            r#"{"progressToken":7,"x":1.0}"#,
        ),
        (format!(r#"{{"toolgate\/key":"{key}","toolgate/intent":"because","x":-0}}"#), r#"{"x":-0}"#),
    ] {
        let reply = stage.gateway.send(&Request::post("/mcp/web", meta(&sent)));
        assert_eq!(reply.verdict(), 200, "{}", reply.text());
        assert_eq!(String::from_utf8(stage.web.last().body).unwrap(), meta(arrives));
    }
    // A child of the older protocol, from the first message on.
    let initialize = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{"_meta":{{"toolgate/key":"{key}"}},"capabilities":{{}}}}}}"#
    );
    let opened = stage.gateway.send(&Request::post("/mcp/child", initialize));
    assert_eq!(opened.verdict(), 200, "{}", opened.text());
    assert_key_stays_here(&stage);
}

#[test]
fn a_key_in_the_message_opens_nothing_when_it_is_wrong() {
    let stage = Stage::new();
    for value in [r#""junk""#, "7", "null", r#"{"a":1}"#, r#""""#] {
        let params = format!(r#"{{"name":"read_note","_meta":{{"toolgate/key":{value}}}}}"#);
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let reply = stage.gateway.send(&Request::post("/mcp/web", body));
        assert_eq!(reply.status, 401, "{value}: {}", reply.text());
    }
    assert_eq!(stage.web.connections(), 0);
}
