//! `/mcp` is one MCP server with the tools and prompts of all services in scope, whatever protocol they speak. Everything
//! that is decided is decided about the service and the tool's own name.

use serde_json::{Value, json};

use crate::harness::{all::*, *};

const EVERY_TOOL: [&str; 9] = [
    "child__read_note",
    "child__echo",
    "child__read_all",
    "kept__whoami",
    "newest__add",
    "web__read_note",
    "web__echo",
    "web__write_note",
    "web__read_all",
];

#[test]
fn a_client_of_either_era_gets_one_list_of_what_members_of_both_have() {
    let stage = AllStage::new();
    let every = ["child", "kept", "newest", "web"];
    let older = stage.older();
    let reply = listed("the whole list", &every, || older.request("tools/list", "{}"));
    let expected = [&EVERY_TOOL[..], &["toolgate_wait"]].concat();
    assert_eq!(names(&reply, "tools"), expected);
    assert!(reply.text().contains(r#"{"name":"newest__add","n":1E5}"#), "{}", reply.text());

    let list = newest("/mcp", "tools/list", None, "");
    let reply = listed("the whole list", &every, || stage.send(list.clone()));
    assert_eq!(names(&reply, "tools"), expected);
    let result = &reply.json()["result"];
    assert_eq!((&result["resultType"], &result["cacheScope"]), (&json!("complete"), &json!("private")));
    assert!(result["ttlMs"].as_u64().unwrap() <= 5_000, "{result}");

    let prompts = listed("the prompts", &["web", "newest"], || older.request("prompts/list", "{}"));
    assert_eq!(names(&prompts, "prompts"), ["newest__sum it up", "web__hello"]);
}

#[test]
fn a_list_is_good_for_as_long_as_the_first_part_of_it() {
    let stage = AllStage::new();
    let key = stage.gateway.key("narrow", "user", "newest");
    let list = newest("/mcp", "tools/list", None, "").key(&key);
    let reply = eventually("the list", || {
        Some(stage.gateway.send(&list))
            .filter(|reply| reply.status == 200 && !names(reply, "tools").is_empty())
    });
    assert_eq!(reply.json()["result"]["ttlMs"], 3_000);
}

#[test]
fn a_call_goes_to_its_pair_and_keeps_its_bytes() {
    let stage = AllStage::new();
    let older = stage.older();
    let text = r#"{"id":7, "jsonrpc":"2.0","method":"tools/call","params":{"arguments":{"a":1.0,"name":"x__y"},"name":"web__ech\u006f"}}"#;
    let reply = older.send(text);
    assert_eq!(reply.text(), rpc("7", r#"{"content":[{"type":"text","text":"done"}]}"#));
    assert_eq!((reply.proxy_status(), reply.header("mcp-session-id")), ("forwarded", None));
    let hit = calls(&stage.web).remove(0);
    assert_eq!(String::from_utf8_lossy(&hit.body), text.replace("web__", ""));
    let event = &stage.gateway.recorded(reply.call_id(), 2)[0];
    assert_eq!((&event["service"], &event["action"]), (&json!("web"), &json!("echo")));

    assert_eq!(older.call("kept__whoami", "{}").json()["result"]["content"][0]["text"], "session-0");
    let got = older.request("prompts/get", r#"{"name":"web__hello"}"#);
    assert_eq!(got.verdict(), 200, "{}", got.text());
    assert_eq!(stage.web.last().json()["params"], json!({"name":"hello"}));
}

#[test]
fn a_client_of_the_newest_protocol_reaches_members_of_both() {
    let stage = AllStage::new();
    let reply = stage.send(newest_call("newest__add", r#"{"a":1.0}"#));
    assert_eq!(reply.text(), rpc("1", r#"{"resultType":"complete","content":[],"z":1.0}"#));
    let hit = calls(&stage.newest).remove(0);
    assert_eq!(hit.header("mcp-name"), Some("add"));
    let said = r#"{"name":"add","arguments":{"a":1.0},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"x/y":{"n":1.0}}}}}"#;
    assert!(String::from_utf8_lossy(&hit.body).contains(said), "nobody could ask for a task: {hit:?}");

    let reply = stage.send(newest_call("web__echo", r#"{"a":1.0}"#));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["result"]["resultType"], "complete");
    let hit = calls(&stage.web).remove(0);
    assert_eq!(hit.json()["params"], json!({"name":"echo","arguments":{"a":1.0},"_meta":{}}));
    assert_eq!((hit.header("mcp-protocol-version"), hit.header("mcp-name")), (Some("2025-11-25"), None));

    for _ in 0..2 {
        let reply = stage.send(newest_call("child__echo", r#"{"a":1.0}"#));
        assert_eq!(reply.json()["result"]["content"][0]["text"], "{\"a\": 1.0}", "{}", reply.text());
    }
    let whoami =
        || stage.send(newest_call("kept__whoami", "{}")).json()["result"]["content"][0]["text"].clone();
    assert_eq!([whoami(), whoami()], ["session-0", "session-0"], "a session is used again");
}

#[test]
fn what_a_member_of_the_newest_protocol_asks_comes_back_to_it_untouched() {
    let stage = AllStage::new();
    let asked = stage.send(newest_call("newest__asks", "{}"));
    assert_eq!(asked.json()["result"]["requestState"], "s__1", "{}", asked.text());
    let more = r#""name":"newest__asks","arguments":{},"requestState":"s__1","inputResponses":{},"#;
    let reply = stage.send(newest("/mcp", "tools/call", Some("newest__asks"), more));
    assert_eq!(reply.json()["result"]["resultType"], "complete", "{}", reply.text());
    assert_eq!(stage.newest.last().json()["params"]["requestState"], "s__1");
}

#[test]
fn a_client_of_the_older_protocol_reaches_a_member_of_the_newest_that_asks_nothing() {
    let stage = AllStage::new();
    let older = stage.older();
    let reply = older.send(r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"newest__add","_meta":{"progressToken":9}}}"#);
    assert_eq!(reply.json()["result"]["z"], 1.0, "{}", reply.text());
    let meta = calls(&stage.newest).remove(0).json()["params"]["_meta"].clone();
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    assert_eq!(
        (&meta["io.modelcontextprotocol/protocolVersion"], &meta["progressToken"]),
        (&json!("2026-07-28"), &json!(9))
    );
    let asked = older.call("newest__asks", "{}");
    assert_eq!((asked.code(), asked.json()["id"].clone()), (502, json!(1)), "{}", asked.text());
}

#[test]
fn an_unknown_service_and_one_out_of_scope_are_refused_alike_and_nothing_is_opened() {
    let stage = AllStage::new();
    let narrow = stage.gateway.key("narrow", "user", "web");
    let agent = eventually("the key to be known", || {
        let agent = stage.gateway.agent_of_all(&narrow);
        (agent.request("initialize", "{}").status == 200).then(|| agent.connected())
    });
    let mut said = Vec::new();
    for tool in ["kept__whoami", "nosuch__whoami"] {
        let reply = agent.call(tool, "{}");
        assert_eq!(reply.code(), 403, "{}", reply.text());
        let service = tool.split_once("__").unwrap().0;
        said.push(reply.message().replace(service, "…").replace(reply.call_id(), "…"));
    }
    assert_eq!(said[0], said[1]);
    for tool in ["echo", "__echo", "WEB__echo", "web_echo", "\\u001b__x"] {
        let reply = agent.call(tool, "{}");
        assert_eq!(reply.code(), 403, "{tool}: {}", reply.text());
    }
    let refused = agent.call("web__delete_note", "{}");
    assert_eq!(refused.code(), 403, "{}", refused.text());
    let event = &stage.gateway.recorded(refused.call_id(), 1)[0];
    assert_eq!((&event["service"], &event["action"]), (&json!("web"), &json!("delete_note")));
    assert_eq!((stage.web.count(), stage.kept.count()), (0, 0), "nothing was sent, no session opened");
    let stranger = stage.gateway.agent_of_all("agt_nobody");
    for method in ["initialize", "tools/list", "tools/call"] {
        assert_eq!(stranger.request(method, r#"{"name":"web__echo"}"#).status, 401);
    }
}

#[test]
fn a_held_call_is_the_same_call_at_both_endpoints() {
    let stage = AllStage::with(Home::new(ALL_POLICY).set(SHORT));
    let desk = Desk::of(&stage.gateway);
    let older = stage.older();
    let held = older.call("web__write_note", r#"{"text":"a"}"#);
    assert_eq!(held.code(), 428, "{}", held.text());
    let id = approval(&held);
    let own = stage.gateway.agent(&stage.key, "web");
    assert_eq!(approval(&own.call("write_note", r#"{"text":"a"}"#)), id);
    assert_eq!(approval(&older.call("web__write_note", r#"{"text":"a"}"#)), id);
    let wait = |id: &str| older.send(call(9, "toolgate_wait", &format!(r#"{{"approval":"{id}"}}"#)));
    assert_eq!(wait(&id).code(), 409);
    assert_eq!(wait("ap_0000000000").code(), 404);
    desk.approve(&id);
    let reply = eventually("the result", || Some(wait(&id)).filter(|reply| reply.verdict() == 200));
    assert_eq!(reply.text(), rpc("9", r#"{"content":[{"type":"text","text":"done"}]}"#));
    assert_eq!(calls(&stage.web).len(), 1, "it ran once");

    // This client takes tasks: the held call is one, here too.
    let held = stage.send(newest_call("web__write_note", r#"{"text":"b"}"#)).json()["result"].clone();
    assert_eq!(held["resultType"], "task", "{held}");
    let id = held["taskId"].as_str().unwrap().to_owned();
    let look = |id: &str| stage.send(newest("/mcp", "tasks/get", None, &format!(r#""taskId":"{id}","#)));
    assert_eq!(look(&id).json()["result"]["status"], "working");
    assert_eq!(look("ap_0000000000").code(), 404);
    desk.approve(&id);
    let done = eventually("the result", || {
        Some(look(&id)).filter(|reply| reply.json()["result"]["status"] == "completed")
    });
    assert_eq!(done.json()["result"]["result"]["content"][0]["text"], "done", "{}", done.text());
    assert_eq!(calls(&stage.web).len(), 2);
    drop(desk);
}

#[test]
fn limits_count_the_pair_at_both_endpoints_together() {
    let policy = ALL_POLICY.replace("per_tool: 100000/1s", "per_tool: 1/1h");
    let stage = AllStage::with(Home::new(&policy));
    let older = stage.older();
    assert_eq!(older.call("web__echo", "{}").verdict(), 200);
    let over = older.call("web__echo", "{}");
    assert_eq!(over.code(), 429, "{}", over.text());
    assert!(over.message().contains("`echo` on `web` is limited"), "{}", over.message());
    assert_eq!(stage.gateway.agent(&stage.key, "web").call("echo", "{}").code(), 429);
    assert_eq!(older.call("web__read_note", "{}").verdict(), 200, "another tool has its own");
    assert_eq!(older.call("kept__whoami", "{}").verdict(), 200);
}

#[test]
fn progress_comes_through_and_what_is_cancelled_ends() {
    let stage = AllStage::new();
    let older = stage.older();
    let with_progress = |name: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"name":"{name}","_meta":{{"progressToken":"p"}}}}}}"#
        )
    };
    let reply = older.send(with_progress("child__progress"));
    assert_eq!(reply.text().matches("notifications/progress").count(), 2, "{}", reply.text());
    assert!(reply.text().contains("progressed") && !reply.text().contains("resultType"), "{}", reply.text());
    let name = "child__progress";
    let body = with_progress(name)
        .replace(r#""progressToken":"p"}"#, &format!(r#""progressToken":"p",{}"#, inner(NEWEST_META)));
    let request = Request::post("/mcp", body).header("MCP-Protocol-Version", "2026-07-28");
    let reply = stage.send(request.header("Mcp-Method", "tools/call").header("Mcp-Name", name));
    assert_eq!(reply.text().matches("\"progressToken\": \"p\"").count(), 2, "{}", reply.text());
    assert!(reply.text().contains("progressed") && reply.text().contains("resultType"), "{}", reply.text());

    // The older protocol cancels by a notification, the newest by hanging up.
    let hanging = |count: usize| until("the call to hang", || stage.child.noted("hanging").len() == count);
    let waits = stage.gateway.begin(&older.post(call(77, "child__hang", "{}")));
    hanging(1);
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":77}}"#;
    let nobody = stage.older();
    assert_eq!(nobody.send(cancel).status, 202, "another session has no such request");
    assert_eq!(older.send(cancel).status, 202);
    until("the child to hear of it", || {
        stage.child.noted("in").iter().any(|note| note.text.contains("notifications/cancelled"))
    });
    drop(waits);
    let waits = stage.gateway.begin(&newest_call("child__hang", "{}").key(&stage.key));
    hanging(2);
    let pid = stage.child.noted("hanging").pop().unwrap().pid;
    drop(waits);
    until("its child to end", || !is_running(pid));
}

#[test]
fn the_endpoint_says_what_it_is_and_no_more() {
    let stage = AllStage::new();
    let agent = stage.gateway.agent_of_all(&stage.key);
    for (asked, spoken) in [
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let reply = agent.request("initialize", &format!(r#"{{"protocolVersion":"{asked}"}}"#));
        assert_eq!(reply.json()["result"]["protocolVersion"], spoken);
    }
    let result = agent.request("initialize", "{}").json()["result"].clone();
    assert_eq!(result["capabilities"], json!({"tools":{}, "prompts":{}}));
    let instructions = result["instructions"].as_str().unwrap();
    assert!(instructions.contains("child, kept, newest, web"), "{instructions}");
    let discovered = stage.send(newest("/mcp", "server/discover", None, "")).json()["result"].clone();
    assert_eq!(discovered["supportedVersions"][0], "2026-07-28");
    assert_eq!(discovered["cacheScope"], "private");
    let older = stage.older();
    for method in ["resources/list", "resources/read", "tasks/get", "logging/setLevel", "nosuch"] {
        let reply = older.request(method, r#"{"uri":"file:///x","taskId":"t"}"#);
        assert_eq!((reply.status, reply.code()), (200, -32601), "{method}: {}", reply.text());
    }
    let reply = stage.send(newest("/mcp", "tasks/get", None, r#""taskId":"t","#));
    assert_eq!((reply.status, reply.code()), (404, -32601), "{}", reply.text());
    assert_eq!(older.request("tools/list", r#"{"cursor":"x"}"#).code(), -32602);
    assert_eq!(
        stage.web.count() + stage.kept.count() + stage.newest.count(),
        0,
        "all that is our own to say"
    );
}

#[test]
fn an_agent_without_services_gets_an_empty_list() {
    let stage = AllStage::new();
    let ran = stage.gateway.ok(&["keys", "create", "lonely", "--role", "user", "--json"]);
    let key = serde_json::from_str::<Value>(&ran.stdout).unwrap()["key"].as_str().unwrap().to_owned();
    let list = newest("/mcp", "tools/list", None, "").key(&key);
    let reply = eventually("the key to be known", || {
        Some(stage.gateway.send(&list)).filter(|reply| reply.status == 200)
    });
    assert_eq!(names(&reply, "tools"), [""; 0]);
}

#[test]
fn an_http_service_is_a_member_like_any_other() {
    let api =
        Upstream::start(|_| answer("200 OK", "Content-Type: application/json\r\n", r#"{"balance":1.0}"#));
    let web = Upstream::mcp();
    let reads = "      - { service: api, requests: [\"GET /v1/**\"] }\n    approve:\n";
    let home = Home::new(&ALL_POLICY.replace("    approve:\n", reads));
    let home = home.services(&[api.declare_api("api", ""), web.declare("web")]);
    let key = home.key("laptop", "user", "api,web");
    let gateway = home.serve();
    let older = gateway.agent_of_all(&key).connected();
    let list = newest("/mcp", "tools/list", None, "").key(&key);
    for reply in [
        listed("both", &["api", "web"], || older.request("tools/list", "{}")),
        listed("both", &["api", "web"], || gateway.send(&list)),
    ] {
        assert_eq!(names(&reply, "tools")[..2], ["api__request", "api__documentation"]);
    }
    let asked = r#"{"method":"GET","path":"/v1/balance"}"#;
    for reply in
        [older.call("api__request", asked), gateway.send(&newest_call("api__request", asked).key(&key))]
    {
        assert_eq!(reply.json()["result"]["structuredContent"]["body"]["balance"], 1.0, "{}", reply.text());
        let event = &gateway.recorded(reply.call_id(), 2)[0];
        assert_eq!((&event["service"], &event["action"]), (&json!("api"), &json!("GET /v1/balance")));
    }
    let refused = older.call("api__request", r#"{"method":"GET","path":"/v2"}"#);
    assert_eq!(refused.code(), 403, "{}", refused.text());
    assert_eq!(api.count(), 2);
}

#[test]
fn the_kill_switch_stops_lists_and_calls_alike() {
    let stage = AllStage::new();
    let older = stage.older();
    stage.gateway.ok(&["kill", "on", "--reason", "drill"]);
    until("the switch to be noticed", || older.request("tools/list", "{}").verdict() == 503);
    let before = stage.web.count() + stage.kept.count() + stage.newest.count();
    for method in ["tools/list", "prompts/list", "tools/call"] {
        assert_eq!(older.request(method, r#"{"name":"kept__whoami"}"#).code(), 503);
    }
    assert_eq!(stage.send(newest_call("web__echo", "{}")).code(), 503);
    assert_eq!(stage.web.count() + stage.kept.count() + stage.newest.count(), before, "nothing is sent");
}
