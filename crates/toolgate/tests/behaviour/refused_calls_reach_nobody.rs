//! A refused call reaches no upstream, over any transport, for any reason. It is answered with what to do next,
//! and stands in the trail exactly once.

use crate::harness::*;

/// What an agent that is refused must be told, and what the trail must know.
struct Expected {
    /// The HTTP status, or the JSON-RPC code on HTTP 200.
    verdict: i64,
    /// A word of the cause that the trail keeps.
    cause: &'static str,
    /// Who it was, when that is known.
    agent: Option<&'static str>,
}

/// Sends what `request` makes for each service, and checks answer, trail and upstreams.
fn refused(stage: &Stage, expected: &Expected, request: impl Fn(&str) -> Request) {
    let (before, connections, lines) = (stage.web.count(), stage.web.connections(), stage.child.count());
    for service in ["web", "child"] {
        let reply = stage.gateway.send(&request(service));
        assert_refused(&stage.gateway, expected, &reply);
    }
    assert_eq!(stage.web.count(), before, "the HTTP upstream was reached");
    assert_eq!(stage.web.connections(), connections, "the HTTP upstream was connected to");
    assert_eq!(stage.child.count(), lines, "the stdio upstream was reached");
}

fn assert_refused(gateway: &Gateway, expected: &Expected, reply: &Reply) {
    assert_eq!(reply.verdict(), expected.verdict, "{}", reply.text());
    assert_eq!(reply.proxy_status(), "refused");
    let text = reply.text();
    assert!(text.contains("Nothing was sent."), "{text}");
    assert!(text.contains(reply.call_id()), "the answer names its call: {text}");
    let events = gateway.recorded(reply.call_id(), 1);
    let event = &events[0];
    assert_eq!(event["kind"], "refusal", "{event}");
    assert_eq!(event["result"], "refused", "{event}");
    assert_eq!(event["decision"]["effect"], "deny", "{event}");
    assert!(event["decision"]["reason"].to_string().contains(expected.cause), "{event}");
    assert_eq!(event["agent"].as_str(), expected.agent, "{event}");
    assert!(event["latency_ms"].is_number(), "{event}");
}

fn unauthorized(cause: &'static str) -> Expected {
    Expected { verdict: 401, cause, agent: None }
}

fn forbidden(cause: &'static str) -> Expected {
    Expected { verdict: 403, cause, agent: Some("laptop") }
}

fn reading(service: &str) -> Request {
    Request::post(&format!("/mcp/{service}"), call(1, "read_note", "{}"))
}

#[test]
fn a_call_without_a_key_is_refused() {
    let stage = Stage::new();
    refused(&stage, &unauthorized("no key"), reading);
}

#[test]
fn a_key_that_is_none_is_refused() {
    let stage = Stage::new();
    let mut typo = stage.key.clone();
    typo.pop();
    typo.push(if stage.key.ends_with('A') { 'B' } else { 'A' });
    for junk in ["x", "agt_short", &typo, &stage.key[..stage.key.len() - 1], "kept from children"] {
        refused(&stage, &unauthorized("not a key"), |service| reading(service).key(junk));
    }
    refused(&stage, &unauthorized("not a key"), |service| {
        reading(service).header("Authorization", "Basic bGFwdG9wOmxhcHRvcA==")
    });
}

#[test]
fn a_key_that_nobody_holds_is_refused() {
    let stage = Stage::new();
    let elsewhere = Home::new(POLICY).key_with(&["stranger"]);
    refused(&stage, &unauthorized("unknown key"), |service| reading(service).key(&elsewhere));
}

#[test]
fn a_revoked_key_is_refused() {
    let stage = Stage::new();
    let id = &stage.key[4..12];
    stage.gateway.ok(&["keys", "revoke", id]);
    until("the revocation to be noticed", || {
        stage.gateway.send(&reading("web").key(&stage.key)).status == 401
    });
    refused(&stage, &unauthorized("revoked"), |service| reading(service).key(&stage.key));
    let events = stage.gateway.events();
    let refusal = events.iter().rfind(|event| event["kind"] == "refusal").unwrap();
    assert_eq!(refusal["key_id"], id, "the trail knows which key it was");
}

#[test]
fn an_expired_key_is_refused() {
    let stage = Stage::new();
    let brief = stage.gateway.key_with(&["laptop", "--expires", "1s"]);
    until("the key to expire", || {
        let listed = stage.gateway.ok(&["keys", "list", "--json"]).stdout;
        listed.contains("\"expired\"")
    });
    refused(&stage, &unauthorized("expired"), |service| reading(service).key(&brief));
}

#[test]
fn the_key_of_a_disabled_agent_is_refused_and_works_again_when_enabled() {
    let stage = Stage::new();
    let is_refused = || stage.gateway.send(&reading("web").key(&stage.key)).status == 401;
    stage.gateway.ok(&["agents", "disable", "laptop"]);
    until("the change to be noticed", is_refused);
    refused(&stage, &unauthorized("agent disabled"), |service| reading(service).key(&stage.key));
    stage.gateway.ok(&["agents", "enable", "laptop"]);
    until("the change to be noticed", || !is_refused());
}

#[test]
fn the_key_of_a_deleted_agent_is_refused() {
    let stage = Stage::new();
    stage.gateway.ok(&["agents", "delete", "laptop"]);
    until("the change to be noticed", || stage.gateway.send(&reading("web").key(&stage.key)).status == 401);
    refused(&stage, &unauthorized("agent disabled"), |service| reading(service).key(&stage.key));
}

#[test]
fn every_bad_key_reads_the_same() {
    let stage = Stage::new();
    let revoked = stage.gateway.key("laptop", "user", "web,child");
    stage.gateway.ok(&["keys", "revoke", &revoked[4..12]]);
    until("the change to be noticed", || stage.gateway.send(&reading("web").key(&revoked)).status == 401);
    let elsewhere = Home::new(POLICY).key_with(&["stranger"]);
    let said = |request: Request| {
        let reply = stage.gateway.send(&request);
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"toolgate\""));
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        let id = reply.call_id().to_owned();
        reply.text().replace(&id, "")
    };
    let none = said(reading("web"));
    for key in ["junk", &revoked, &elsewhere] {
        assert_eq!(said(reading("web").key(key)), none);
        assert_eq!(said(reading("nowhere").key(key)), none, "nor does it tell which services there are");
    }
}

#[test]
fn two_different_keys_in_one_request_are_refused() {
    let stage = Stage::new();
    let other = stage.gateway.key("laptop", "user", "web,child");
    until("the new key to be noticed", || stage.gateway.send(&reading("web").key(&other)).status == 200);
    let expected = Expected { verdict: 400, cause: "two different keys", agent: None };
    let with_meta = |service: &str| {
        let meta = format!(r#"{{"name":"read_note","_meta":{{"toolgate/key":"{other}"}}}}"#);
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{meta}}}"#);
        Request::post(&format!("/mcp/{service}"), body).key(&stage.key)
    };
    refused(&stage, &expected, |service| reading(service).key(&stage.key).header("X-API-Key", &other));
    refused(&stage, &expected, |service| reading(service).key(&stage.key).key(&other));
    refused(&stage, &expected, |service| reading(service).key(&stage.key).header("X-API-Key", "junk"));
    refused(&stage, &expected, with_meta);
}

#[test]
fn a_service_out_of_scope_and_one_that_is_not_there_are_refused_alike() {
    let stage = Stage::new();
    let narrow = stage.gateway.key_with(&["narrow", "--role", "admin"]);
    let expected = Expected { verdict: 403, cause: "not in scope", agent: Some("narrow") };
    until("the new key to be noticed", || stage.gateway.send(&reading("web").key(&narrow)).status == 200);
    refused(&stage, &expected, |service| reading(service).key(&narrow));
    let said = |service: &str| {
        let reply = stage.gateway.send(&reading(service).key(&narrow));
        assert_refused(&stage.gateway, &expected, &reply);
        let id = reply.call_id().to_owned();
        reply.text().replace(&id, "").replace(&format!("`{service}`"), "")
    };
    assert_eq!(said("web"), said("nowhere"), "nobody learns which services exist");
}

#[test]
fn what_no_rule_allows_is_refused() {
    let stage = Stage::new();
    let ask = |service: &str, method: &str, params: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        Request::post(&format!("/mcp/{service}"), body).key(&stage.key)
    };
    for (method, params) in [
        ("tools/call", r#"{"name":"write_note","arguments":{}}"#),
        ("tools/call", r#"{"name":"READ_note"}"#),
        ("tools/call", r#"{"name":"read_\u002e\u002e/x"}"#),
        ("resources/read", r#"{"uri":"file:///secret/b"}"#),
        ("resources/subscribe", r#"{"uri":"file:///secret/b"}"#),
        ("resources/unsubscribe", r#"{"uri":"file:///secret/b"}"#),
        ("prompts/get", r#"{"name":"hidden"}"#),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"hidden"},"argument":{"name":"a","value":""}}"#,
        ),
        (
            "completion/complete",
            r#"{"ref":{"type":"ref/resource","uri":"file:///secret/b"},"argument":{"name":"a","value":""}}"#,
        ),
    ] {
        refused(&stage, &forbidden("silence"), |service| ask(service, method, params));
    }
    for uri in ["file:///public/../secret/b", "file:///public/%2e%2e/secret/b", "file:///public/./a"] {
        let params = format!(r#"{{"uri":"{uri}"}}"#);
        refused(&stage, &forbidden("in its path"), |service| ask(service, "resources/read", &params));
    }
}

#[test]
fn a_deny_binds_every_role_admin_too() {
    let stage = Stage::new();
    let chief = stage.gateway.key("chief", "admin", "web,child");
    until("the new key to be noticed", || stage.gateway.send(&reading("web").key(&chief)).status == 200);
    let deleting = |service: &str| Request::post(&format!("/mcp/{service}"), call(1, "delete_note", "{}"));
    refused(&stage, &forbidden("deny"), |service| deleting(service).key(&stage.key));
    let expected = Expected { agent: Some("chief"), ..forbidden("deny") };
    refused(&stage, &expected, |service| deleting(service).key(&chief));
    let reply = stage.gateway.send(&deleting("web").key(&chief));
    assert_eq!(reply.json()["error"]["data"]["rule"], "no deletes");
    assert_eq!(stage.gateway.recorded(reply.call_id(), 1)[0]["decision"]["rule"], "no deletes");
}

#[test]
fn a_role_that_the_policy_does_not_define_has_no_rights() {
    let stage = Stage::new();
    let guest = stage.gateway.key("guest", "other", "web,child");
    stage.gateway.write("policy.yaml", &POLICY.replace("  other:\n    allow: []\n", ""));
    until("the policy to be reloaded", || stage.gateway.said().contains("policy reloaded"));
    until("the new key to be noticed", || stage.gateway.send(&reading("web").key(&guest)).verdict() == 403);
    let expected = Expected { agent: Some("guest"), ..forbidden("does not define this role") };
    refused(&stage, &expected, |service| reading(service).key(&guest));
}

#[test]
fn an_unknown_method_is_refused() {
    let stage = Stage::new();
    for method in ["tools/delete", "Tools/call", "tools/call ", "x", "", "roots/list_all"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}"#);
        refused(&stage, &forbidden("unknown method"), |service| {
            Request::post(&format!("/mcp/{service}"), body.clone()).key(&stage.key)
        });
    }
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/made_up"}"#;
    refused(&stage, &forbidden("unknown method"), |service| {
        Request::post(&format!("/mcp/{service}"), notification).key(&stage.key)
    });
}

#[test]
fn a_foreign_host_or_origin_is_refused() {
    let stage = Stage::new();
    let foreign = |cause| Expected { verdict: 403, cause, agent: None };
    for host in ["evil.test", "127.0.0.1.evil.test", "10.0.0.1:8484", "localhost@evil.test"] {
        refused(&stage, &foreign("Host"), |service| reading(service).key(&stage.key).header("Host", host));
    }
    for origin in ["https://evil.test", "null", "http://localhost.evil.test"] {
        refused(&stage, &foreign("Origin"), |service| {
            reading(service).key(&stage.key).header("Origin", origin)
        });
    }
    let ours = stage.gateway.send(&reading("web").key(&stage.key).header("Origin", "http://localhost:3000"));
    assert_eq!(ours.verdict(), 200, "{}", ours.text());
}

#[test]
fn a_session_of_another_agent_is_refused() {
    let sessions = |hit: &Hit| match hit.rpc_method().as_str() {
        "initialize" => answer(
            "200 OK",
            "Content-Type: application/json\r\nMcp-Session-Id: the-upstreams-own\r\n",
            rpc(
                "1",
                r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"web","version":"1"}}"#,
            ),
        ),
        _ => mcp(hit),
    };
    let stage = Stage::behind(Home::new(POLICY), Upstream::start(sessions));
    let other = stage.gateway.key("other", "user", "web,child");
    until("the new key to be noticed", || stage.gateway.send(&reading("web").key(&other)).status == 200);
    let session = |service: &str| stage.gateway.agent(&stage.key, service).connected().session.unwrap();
    let (at_web, at_child) = (session("web"), session("child"));
    until("the child to have read what is on its way", || stage.child.count() == 2);
    assert!(!at_web.contains("the-upstreams-own"), "the upstream's own id is not handed out");
    let own = |service: &str| if service == "web" { at_web.clone() } else { at_child.clone() };
    let theirs = |service: &str| if service == "web" { at_child.clone() } else { at_web.clone() };

    let expected = |agent| Expected { verdict: 404, cause: "unknown session", agent: Some(agent) };
    refused(&stage, &expected("other"), |s| reading(s).key(&other).header("Mcp-Session-Id", &own(s)));
    refused(&stage, &expected("laptop"), |s| reading(s).key(&stage.key).header("Mcp-Session-Id", &theirs(s)));
    refused(&stage, &expected("laptop"), |s| reading(s).key(&stage.key).header("Mcp-Session-Id", "made-up"));
    for method in ["GET", "DELETE"] {
        let request = |service: &str| Request::new(method, &format!("/mcp/{service}"));
        refused(&stage, &expected("other"), |s| request(s).key(&other).header("Mcp-Session-Id", &own(s)));
    }
    for service in ["web", "child"] {
        let reply =
            stage.gateway.send(&reading(service).key(&stage.key).header("Mcp-Session-Id", &own(service)));
        assert_eq!(reply.verdict(), 200, "its own agent may use it: {}", reply.text());
    }
    assert_eq!(stage.web.last().header("mcp-session-id"), Some("the-upstreams-own"));
}
