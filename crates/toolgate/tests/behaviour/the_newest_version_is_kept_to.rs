//! What MCP 2026-07-28 asks of a server, the gateway asks of requests before they reach one, whatever stands behind it:
//! which methods there are, in which order contradictions are told, what is not looked at any more.

use crate::harness::*;

const BOTH: [&str; 2] = ["web", "child"];

#[test]
fn a_method_that_the_version_does_not_have_is_not_found() {
    let stage = Stage::new();
    let gone = ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];
    for (method, members) in
        gone.map(|method| (method, r#""uri":"file:///public/a""#)).into_iter().chain([("vendor/thing", "")])
    {
        for service in BOTH {
            let reply = stage.gateway.send(&stage.gateway.modern(&stage.key, service).post(
                "\"\\u0061\"",
                method,
                members,
            ));
            assert_eq!((reply.status, reply.code()), (404, -32601), "{method}: {}", reply.text());
            assert_eq!(reply.json()["id"], "a", "{method}");
            assert!(reply.message().contains(&format!("has no method `{method}`")), "{}", reply.text());
            let refusal = &stage.gateway.recorded(reply.call_id(), 1)[0];
            assert_eq!((&refusal["kind"], &refusal["status"]), (&"refusal".into(), &404.into()), "{refusal}");
        }
    }
    assert_eq!((stage.web.connections(), stage.child.count()), (0, 0), "an upstream was reached");
}

#[test]
fn what_is_not_found_is_not_told_to_whoever_may_not_know_the_service() {
    let stage = Stage::new();
    let reply = stage.gateway.modern(&stage.key, "elsewhere").request("vendor/thing", "");
    assert_eq!(reply.verdict(), 403, "{}", reply.text());
}

#[test]
fn contradictions_are_told_before_versions_and_versions_before_methods() {
    let stage = Stage::new();
    let agent = stage.gateway.modern(&stage.key, "web");
    let whole = agent.post("7", "ping", "");
    let stated = |from: &str, to: &str| whole.clone().body(whole.text().replace(from, to));
    let other = "2099-01-01";
    for (request, code) in [
        (stated("clientCapabilities", "other"), -32602),
        (stated("\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",", ""), -32602),
        (stated("2026-07-28", other), -32020),
        (whole.clone().without("Mcp-Method").header("Mcp-Method", "tools/list"), -32020),
        (
            stated("2026-07-28", other).without("MCP-Protocol-Version").header("MCP-Protocol-Version", other),
            -32022,
        ),
    ] {
        let reply = stage.gateway.send(&request);
        assert_eq!((reply.status, reply.code()), (400, code), "{}", reply.text());
        assert_eq!(reply.json()["id"], 7, "{}", reply.text());
        if code == -32022 {
            let data = &reply.json()["error"]["data"];
            assert_eq!((&data["requested"], &data["supported"]), (&other.into(), &["2026-07-28"].into()));
        }
    }
    assert_eq!(stage.web.connections(), 0);
}

#[test]
fn there_are_no_streams_and_no_sessions_to_ask_for() {
    let stage = Stage::new();
    for service in BOTH {
        for method in ["GET", "DELETE"] {
            let request = Request::new(method, &format!("/mcp/{service}"))
                .key(&stage.key)
                .header("Accept", "text/event-stream")
                .header("Mcp-Session-Id", "made-up")
                .header("MCP-Protocol-Version", "2026-07-28");
            let reply = stage.gateway.send(&request);
            assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{}", reply.text());
        }
    }
    assert_eq!(stage.web.connections(), 0);

    let resumed = stage.gateway.modern(&stage.key, "web").post("1", "tools/list", "");
    let reply = stage.gateway.send(&resumed.header("Last-Event-ID", "3").header("Mcp-Session-Id", "made-up"));
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
    let hit = stage.web.last();
    assert_eq!((hit.header("last-event-id"), hit.header("mcp-session-id")), (None, None));
}

/// A list of the newest version, as an odd server writes it.
const PAGE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1 , "result":{ "ttlMs" : 86400000,"cacheScope":"public","tools":[ "#,
    r#"{"name":"read_note","inputSchema":{"type":"object"},"n":1E5},"#,
    r#"{"name":"read_odd","inputSchema":{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}},"#,
    r#"{"name":"write_note"}],"nextCursor":"c","resultType":"complete","_meta":{"a":-0} }}"#
);
const PAGE_SHOWN: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1 , "result":{ "ttlMs" : 5000,"cacheScope":"private","tools":[ "#,
    r#"{"name":"read_note","inputSchema":{"type":"object"},"n":1E5}"#,
    r#"],"nextCursor":"c","resultType":"complete","_meta":{"a":-0} }}"#
);

#[test]
fn a_list_is_one_agents_own_and_not_kept_for_long() {
    let stage = Stage::behind(Home::new(POLICY), Upstream::start(|_| json(PAGE)));
    let agent = stage.gateway.modern(&stage.key, "web");
    for members in ["", r#""cursor":"b""#] {
        assert_eq!(agent.request("tools/list", members).text(), PAGE_SHOWN);
    }
    for (said, shown) in [("0", "0"), ("4999", "4999"), ("5001", "5000"), ("6e4", "0"), ("-1", "0")] {
        let page = PAGE.replace("86400000", said).replace("public", "private");
        let stage = Stage::behind(Home::new(POLICY), Upstream::start(move |_| json(&page)));
        let reply = stage.gateway.modern(&stage.key, "web").request("tools/list", "");
        assert_eq!(reply.text(), PAGE_SHOWN.replace("5000", shown), "{said}");
    }
}

#[test]
fn a_list_that_says_nothing_of_caches_is_not_made_to() {
    let page = PAGE.replace(r#" "ttlMs" : 86400000,"cacheScope":"public","#, "");
    let stage = Stage::behind(Home::new(POLICY), Upstream::start(move |_| json(&page)));
    let reply = stage.gateway.modern(&stage.key, "web").request("tools/list", "");
    assert_eq!(reply.text(), PAGE_SHOWN.replace(r#" "ttlMs" : 5000,"cacheScope":"private","#, ""));
}

#[test]
fn clients_that_repeat_no_arguments_see_the_tools_that_ask_for_it_wrongly() {
    let page = PAGE.replace(r#""resultType":"complete","#, "");
    let stage = Stage::behind(Home::new(POLICY), Upstream::start(move |_| json(&page)));
    let tools = stage.at_web().request("tools/list", "{}").json()["result"]["tools"].clone();
    assert_eq!(tools.as_array().map(Vec::len), Some(2), "{tools}");
}

/// A server with one tool that wants an argument in a header too.
fn regional(hit: &Hit) -> Vec<Step> {
    let schema =
        r#"{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"n":{}}}"#;
    let listed =
        format!(r#"{{"resultType":"complete","tools":[{{"name":"read_region","inputSchema":{schema}}}]}}"#);
    let result = if hit.rpc_method() == "tools/list" { listed } else { r#"{"content":[]}"#.into() };
    json(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, hit.id().unwrap_or_default()))
}

#[test]
fn arguments_that_a_tool_wants_in_headers_stand_there_as_in_the_body() {
    let stage = Stage::behind(Home::new(POLICY), Upstream::start(regional));
    let agent = stage.gateway.modern(&stage.key, "web");
    assert_eq!(agent.request("tools/list", "").verdict(), 200);
    let call = |arguments: &str, headers: &[(&str, &str)]| {
        let members = format!(r#""name":"read_region","arguments":{arguments}"#);
        let request = agent.post("1", "tools/call", &members);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        stage.gateway.send(&request)
    };
    for (arguments, headers) in [
        (r#"{"region":"eu"}"#, &[("Mcp-Param-Region", "eu"), ("Mcp-Param-Other", "1")][..]),
        (r#"{"region":"é"}"#, &[("mcp-param-region", "=?base64?w6k=?=")]),
        (r#"{"region":null,"n":1}"#, &[]),
    ] {
        let reply = call(arguments, headers);
        assert_eq!(reply.verdict(), 200, "{arguments} {headers:?}: {}", reply.text());
        let hit = stage.web.last();
        for (name, value) in headers {
            assert_eq!(hit.header(name), Some(*value));
        }
    }
    let before = stage.web.count();
    for (arguments, headers) in [
        (r#"{"region":"eu"}"#, &[][..]),
        (r#"{"region":"eu"}"#, &[("Mcp-Param-Region", "us")]),
        (r#"{"region":"eu"}"#, &[("Mcp-Param-Region", "eu"), ("mcp-param-region", "us")]),
        (r#"{"region":"eu"}"#, &[("Mcp-Param-Region", "=?base64?ZXU?=")]),
        ("{}", &[("Mcp-Param-Region", "eu")]),
    ] {
        let reply = call(arguments, headers);
        assert_eq!((reply.status, reply.code()), (400, -32020), "{arguments} {headers:?}: {}", reply.text());
        assert_eq!(reply.json()["id"], 1);
    }
    assert_eq!(stage.web.count(), before, "the upstream was reached");
}
