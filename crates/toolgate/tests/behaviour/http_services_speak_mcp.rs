//! An HTTP service is an MCP server too: in every version, with two tools, for those who may use them.

use serde_json::{Value, json};

use crate::harness::*;

const NEWEST: &str = "2026-07-28";

/// A request of the newest protocol.
fn newest(agent: &Agent, method: &str, params: Value) -> Reply {
    let mut params = params;
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": NEWEST, "io.modelcontextprotocol/clientCapabilities": {},
    });
    let name = params["name"].as_str().map(str::to_owned);
    let body = json!({ "jsonrpc": "2.0", "id": "é", "method": method, "params": params }).to_string();
    let request = agent.post(body).header("MCP-Protocol-Version", NEWEST).header("Mcp-Method", method);
    let request = match &name {
        Some(name) => request.header("Mcp-Name", name),
        None => request,
    };
    send(agent.address(), &request)
}

fn names(reply: &Reply) -> Vec<String> {
    let json = reply.json();
    let tools = json["result"]["tools"].as_array().unwrap_or_else(|| panic!("no list: {json}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn to_clients_of_the_older_versions() {
    let stage = ApiStage::new();
    let agent = stage.gateway.agent(&stage.key, "api");
    for (wanted, spoken) in
        [("2025-06-18", "2025-06-18"), ("2025-11-25", "2025-11-25"), ("1999-01-01", "2025-11-25")]
    {
        let params = json!({ "protocolVersion": wanted, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
        let reply = agent.request("initialize", &params.to_string());
        let result = reply.json()["result"].clone();
        assert_eq!((reply.status, &result["protocolVersion"]), (200, &spoken.into()), "{}", reply.text());
        assert_eq!(
            (&result["capabilities"], &result["serverInfo"]["name"]),
            (&json!({ "tools": {} }), &"api".into())
        );
        assert!(result["instructions"].as_str().unwrap().contains("HTTP API `api`"));
        assert_eq!((&result["resultType"], reply.header("mcp-session-id")), (&Value::Null, None));
    }
    // A session that somebody else gave out means nothing here.
    let mut agent = agent.connected();
    agent.session = Some("somebody's".into());
    assert_eq!(agent.request("ping", "{}").json(), json!({ "jsonrpc": "2.0", "id": 1, "result": {} }));
    let list = agent.request("tools/list", "{}");
    assert_eq!(names(&list), ["request", "documentation"], "{}", list.text());
    let list = list.json()["result"].clone();
    assert_eq!(list["tools"][0]["inputSchema"]["required"], json!(["method", "path"]));
    assert_eq!(list["tools"][0]["inputSchema"]["additionalProperties"], false);
    assert_eq!((&list["ttlMs"], &list["nextCursor"]), (&Value::Null, &Value::Null));
    for method in ["resources/list", "prompts/get", "server/discover", "logging/setLevel", "made/up"] {
        let reply = agent.request(method, r#"{"name":"x"}"#);
        assert_eq!((reply.status, reply.code()), (200, -32601), "{method}: {}", reply.text());
    }
    assert_eq!(agent.request("tools/list", r#"{"cursor":"2"}"#).code(), -32602);
    assert_eq!(agent.call("echo", "{}").code(), -32602);
    for request in [agent.listen(), agent.end()] {
        let reply = stage.gateway.send(&request);
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
    }
    let answered = agent.send(r#"{"jsonrpc":"2.0","id":9,"result":{}}"#);
    assert_eq!(answered.status, 202, "{}", answered.text());
    assert_eq!(stage.api.connections(), 0);
}

#[test]
fn to_clients_of_the_newest_version() {
    let stage = ApiStage::new();
    let agent = stage.gateway.agent(&stage.key, "api");
    let met = newest(&agent, "server/discover", json!({}));
    assert_eq!(met.status, 200, "{}", met.text());
    let (met, id) = (met.json()["result"].clone(), met.json()["id"].clone());
    assert_eq!((&id, &met["supportedVersions"]), (&"é".into(), &json!([NEWEST])));
    assert_eq!((&met["resultType"], &met["cacheScope"]), (&"complete".into(), &"private".into()));
    assert!(met["ttlMs"].as_u64().is_some(), "{met}");
    assert_eq!(met["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "api");
    let list = newest(&agent, "tools/list", json!({}));
    assert_eq!(names(&list), ["request", "documentation"]);
    let list = list.json()["result"].clone();
    assert_eq!((&list["resultType"], &list["cacheScope"]), (&"complete".into(), &"private".into()));
    assert!(list["ttlMs"].as_u64().is_some_and(|kept| kept <= 60_000), "{list}");
    let arguments = json!({ "method": "GET", "path": "/v1/balance" });
    let told = newest(&agent, "tools/call", json!({ "name": "request", "arguments": arguments }));
    assert_eq!((told.status, told.proxy_status()), (200, "forwarded"), "{}", told.text());
    assert_eq!(told.json()["result"]["resultType"], "complete");
    assert_eq!(told.json()["result"]["structuredContent"]["body"], json!({ "ok": true }));
    let unread = newest(&agent, "tools/call", json!({ "name": "request", "arguments": {} }));
    assert_eq!(unread.json()["result"]["resultType"], "complete", "{}", unread.text());
    for method in ["initialize", "ping", "resources/list", "made/up"] {
        let reply = newest(&agent, method, json!({}));
        assert_eq!((reply.status, reply.code()), (404, -32601), "{method}: {}", reply.text());
    }
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn its_documentation_is_what_an_operator_has_written() {
    let (api, bare) =
        (Upstream::start(|_| answer("200 OK", "", "ok")), Upstream::start(|_| answer("200 OK", "", "ok")));
    let policy =
        API_POLICY.replace("  other:", "      - { service: bare, requests: [\"GET /**\"] }\n  other:");
    let home = Home::new(&policy).set("audit.record=everything");
    home.write("about.md", "# Billing\nGET \"/v1/balance\"\n");
    let home =
        home.services(&[api.declare_api("api", ", documentation: about.md"), bare.declare_api("bare", "")]);
    let key = home.key("laptop", "user", "api,bare");
    let gateway = home.serve();
    let agent = gateway.agent(&key, "api");
    let read = agent.call("documentation", "{}");
    assert_eq!(
        read.json()["result"],
        json!({ "content": [{ "type": "text", "text": "# Billing\nGET \"/v1/balance\"\n" }], "isError": false })
    );
    assert!(
        gateway
            .agent(&key, "bare")
            .told("documentation")
            .starts_with("Nobody has written documentation for `bare`.")
    );
    let more = agent.call("documentation", r#"{"page":2}"#);
    assert_eq!(more.json()["result"]["isError"], true, "{}", more.text());
    assert!(more.text().contains("`documentation` takes no arguments"), "{}", more.text());
    // Where everything is recorded, so is this; as no call to the service.
    let events = gateway.recorded(read.call_id(), 1);
    assert_eq!((&events[0]["kind"], &events[0]["method"]), (&"outcome".into(), &"tools/call".into()));
    assert_eq!(gateway.recorded(more.call_id(), 1)[0]["kind"], "refusal");
    assert_eq!((api.connections(), bare.connections()), (0, 0));
}

#[test]
fn only_to_those_who_may_use_it() {
    let api = Upstream::start(|_| answer("200 OK", "", "ok"));
    let policy = API_POLICY.replace(
        "  other:\n    allow: []\n",
        "  other:\n    allow: [{ service: api, tools: [\"*\"] }]\n  barred:\n    allow: [{ service: api, requests: [\"DELETE /v1/x\"] }]\n  \
         asker:\n    approve: [{ service: api, requests: [\"GET /v1/x\"] }]\n",
    );
    let home = Home::new(&policy).services(&[api.declare_api("api", ""), api.declare_api("far", "")]);
    let keys = ["other", "barred", "asker"].map(|role| home.key(role, role, "api"));
    let gateway = home.serve();
    for key in &keys[..2] {
        let agent = gateway.agent(key, "api").connected();
        assert!(names(&agent.request("tools/list", "{}")).is_empty());
        for (tool, arguments) in
            [("request", r#"{"method":"GET","path":"/v1/x"}"#), ("documentation", "{}"), ("echo", "{}")]
        {
            let reply = agent.call(tool, arguments);
            assert_eq!(reply.verdict(), 403, "{tool} {arguments}: {}", reply.text());
        }
    }
    let asker = gateway.agent(&keys[2], "api");
    assert_eq!(names(&asker.request("tools/list", "{}")), ["request", "documentation", "toolgate_wait"]);
    // A service out of scope is like one that is not there, whatever is asked.
    let (far, none) = (gateway.agent(&keys[2], "far"), gateway.agent(&keys[2], "none"));
    let without_ids = |reply: &Reply| {
        let text = reply.text().replace(reply.call_id(), "ID");
        (reply.status, text.replace("`none`", "`far`"))
    };
    for (method, params) in [
        ("initialize", r#"{"protocolVersion":"2025-11-25"}"#),
        ("tools/list", "{}"),
        ("tools/call", r#"{"name":"request","arguments":{"method":"GET","path":"/v1/x"}}"#),
        ("tools/call", r#"{"name":"request","arguments":{"method":"GET","path":"/a//b"}}"#),
        ("tools/call", r#"{"name":"request"}"#),
        ("tools/call", r#"{"name":"documentation"}"#),
        ("resources/list", "{}"),
    ] {
        let (one, other) = (far.request(method, params), none.request(method, params));
        assert_eq!(one.verdict(), 403, "{method} {params}: {}", one.text());
        assert_eq!(without_ids(&one), without_ids(&other), "{method} {params}");
    }
    for (one, other) in [(far.listen(), none.listen()), (far.end(), none.end())] {
        assert_eq!(without_ids(&gateway.send(&one)), without_ids(&gateway.send(&other)));
    }
    let stranger = gateway.agent("agt_nobody", "api");
    for (method, params) in [("tools/list", "{}"), ("tools/call", r#"{"name":"request"}"#)] {
        assert_eq!(stranger.request(method, params).status, 401, "{method}");
    }
    assert_eq!(api.connections(), 0);
}

#[test]
fn not_while_the_kill_switch_is_on() {
    let stage = ApiStage::new();
    let agent = stage.gateway.agent(&stage.key, "api");
    stage.gateway.ok(&["kill", "on", "--reason", "a test"]);
    until("the switch to be seen", || agent.request("tools/list", "{}").verdict() == 503);
    for (tool, arguments) in [("request", r#"{"method":"GET","path":"/v1/x"}"#), ("documentation", "{}")] {
        assert_eq!(agent.call(tool, arguments).verdict(), 503, "{tool}");
    }
    assert_eq!(stage.api.connections(), 0);
}
