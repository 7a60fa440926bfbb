//! In the newest protocol the headers repeat the body. They are compared and then made anew; a request whose
//! headers say something else reaches nobody.

use crate::harness::*;

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn body(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{META}}}}}"#)
}

fn bare(service: &str, method: &str, params: &str) -> Request {
    Request::post(&format!("/mcp/{service}"), body(method, params))
}

/// A call of `read_note` with these headers.
fn with(stage: &Stage, service: &str, headers: &[(&str, &str)]) -> Request {
    let request = bare(service, "tools/call", r#""name":"read_note","#).key(&stage.key);
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

const VERSION: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");
const METHOD: (&str, &str) = ("Mcp-Method", "tools/call");
const NAME: (&str, &str) = ("Mcp-Name", "read_note");

#[test]
fn headers_that_agree_pass_and_are_made_anew() {
    let stage = Stage::new();
    for name in ["read_note", " read_note ", "=?base64?cmVhZF9ub3Rl?="] {
        let reply = stage.gateway.send(&with(
            &stage,
            "web",
            &[VERSION, METHOD, ("mcp-name", name), ("Mcp-Param-X", "1")],
        ));
        assert_eq!(reply.verdict(), 200, "{name}: {}", reply.text());
        let hit = stage.web.last();
        assert_eq!(hit.header("mcp-protocol-version"), Some("2026-07-28"));
        assert_eq!(hit.header("mcp-method"), Some("tools/call"));
        assert_eq!(hit.header("mcp-name"), Some("read_note"));
        assert_eq!(hit.header("mcp-param-x"), Some("1"));
        assert_eq!(hit.body, body("tools/call", r#""name":"read_note","#).into_bytes());
    }
}

#[test]
fn a_name_that_no_header_can_carry_travels_encoded() {
    let stage = Stage::new();
    let request = bare("web", "resources/read", r#""uri":"file:///public/é","#)
        .key(&stage.key)
        .header(VERSION.0, VERSION.1)
        .header("Mcp-Method", "resources/read")
        .header("Mcp-Name", "=?base64?ZmlsZTovLy9wdWJsaWMvw6k=?=");
    let reply = stage.gateway.send(&request);
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
    assert_eq!(stage.web.last().header("mcp-name"), Some("=?base64?ZmlsZTovLy9wdWJsaWMvw6k=?="));
}

#[test]
fn headers_that_say_something_else_are_refused() {
    let stage = Stage::new();
    for headers in [
        &[METHOD, NAME][..],
        &[VERSION, NAME],
        &[VERSION, METHOD],
        &[("MCP-Protocol-Version", "2025-11-25"), METHOD, NAME],
        &[VERSION, ("Mcp-Method", "tools/list"), NAME],
        &[VERSION, ("Mcp-Method", "Tools/Call"), NAME],
        &[VERSION, ("Mcp-Method", ""), NAME],
        &[VERSION, METHOD, ("Mcp-Name", "delete_note")],
        &[VERSION, METHOD, ("Mcp-Name", "READ_NOTE")],
        &[VERSION, METHOD, ("Mcp-Name", "")],
        &[VERSION, METHOD, ("Mcp-Name", "=?base64?ZGVsZXRlX25vdGU=?=")],
        &[VERSION, METHOD, ("Mcp-Name", "=?base64?!!!?=")],
        &[VERSION, METHOD, ("Mcp-Name", "=?base64?/w==?=")],
        &[VERSION, METHOD, ("Mcp-Name", "\"read_note\"")],
    ] {
        for service in ["web", "child"] {
            let reply = stage.gateway.send(&with(&stage, service, headers));
            assert_eq!(reply.status, 400, "{headers:?}: {}", reply.text());
            assert_eq!(reply.code(), -32020, "{headers:?}: {}", reply.text());
            assert_eq!(reply.json()["id"], 1);
            assert_eq!(stage.gateway.recorded(reply.call_id(), 1)[0]["status"], 400);
        }
    }
    for headers in [
        [VERSION, VERSION, METHOD, NAME],
        [VERSION, METHOD, METHOD, NAME],
        [VERSION, METHOD, NAME, ("Mcp-Name", "delete_note")],
    ] {
        let reply = stage.gateway.send(&with(&stage, "web", &headers));
        assert_eq!(reply.status, 400, "{headers:?}: {}", reply.text());
    }
    assert_eq!((stage.web.connections(), stage.child.count()), (0, 0), "an upstream was reached");
}

#[test]
fn a_version_that_nobody_speaks_is_refused_with_those_that_are() {
    let stage = Stage::new();
    let newest = body("tools/call", r#""name":"read_note","#).replace("2026-07-28", "2099-01-01");
    for stated in [newest, call(1, "read_note", "{}")] {
        let request = Request::post("/mcp/web", stated)
            .key(&stage.key)
            .header("MCP-Protocol-Version", "2099-01-01")
            .header(METHOD.0, METHOD.1)
            .header(NAME.0, NAME.1);
        let reply = stage.gateway.send(&request);
        assert_eq!((reply.status, reply.code()), (400, -32022), "{}", reply.text());
        assert_eq!(reply.json()["id"], 1);
        let data = &reply.json()["error"]["data"];
        assert_eq!(data["requested"], "2099-01-01");
        assert_eq!(data["supported"], serde_json::json!(["2026-07-28"]), "versions that know this code");
    }
    assert_eq!(stage.web.connections(), 0);
}

#[test]
fn a_header_of_the_older_protocols_must_not_contradict_either() {
    let stage = Stage::new();
    let reply = stage
        .gateway
        .send(&stage.at_web().post(call(1, "read_note", "{}")).header("Mcp-Method", "tools/list"));
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(stage.web.connections(), 0);
    let reply = stage
        .gateway
        .send(&stage.at_web().post(call(1, "read_note", "{}")).header("Mcp-Method", "tools/call"));
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
    assert_eq!(stage.web.last().header("mcp-method"), None, "older upstreams do not know it");
}

#[test]
fn a_session_id_means_nothing_in_the_newest_protocol() {
    let stage = Stage::new();
    let request = with(&stage, "web", &[VERSION, METHOD, NAME, ("Mcp-Session-Id", "made-up")]);
    let reply = stage.gateway.send(&request);
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
    assert_eq!(stage.web.last().header("mcp-session-id"), None);
}

#[test]
fn hanging_up_cancels_a_stateless_call() {
    let stage = Stage::new();
    let request = bare("child", "tools/call", r#""name":"hang","#).key(&stage.key);
    let headers = [VERSION, METHOD, ("Mcp-Name", "hang")];
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
    let connection = stage.gateway.begin(&request);
    let hanging = eventually("the child to hang", || stage.child.noted("hanging").pop()).text;
    drop(connection);
    let cancelled = eventually("the cancellation to arrive", || {
        stage.child.noted("in").into_iter().find(|note| note.text.contains("notifications/cancelled"))
    });
    assert!(cancelled.text.contains(&format!("\"requestId\":{hanging}")), "{}", cancelled.text);
    let outcome = eventually("the outcome", || {
        stage.gateway.events().into_iter().find(|event| event["kind"] == "outcome")
    });
    assert_eq!(outcome["error"]["code"], "client-gone");
}

#[test]
fn an_unknown_method_passes_where_the_service_says_so() {
    let (web, child) = (Upstream::mcp(), ChildServer::new());
    let declared = web.declare("web").replace(" }", ", unknown_methods: pass }");
    let home = Home::new(POLICY).services(&[declared, child.declare("child")]);
    let key = home.key("laptop", "user", "web,child");
    let gateway = home.serve();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"vendor/thing","params":{"a":1.0}}"#;
    let reply = gateway.agent(&key, "web").send(body);
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
    assert_eq!(web.last().body, body.as_bytes());
}
