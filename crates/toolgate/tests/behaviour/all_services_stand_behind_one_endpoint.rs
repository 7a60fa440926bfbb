//! `/mcp` is one MCP server with the tools and prompts of all services in scope, whatever protocol they speak. Everything
//! that is decided is decided about the service and the tool's own name. No upstream hides another.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::harness::*;

const ALL_POLICY: &str = r#"
version: 1
roles:
  user:
    allow:
      - { service: web, tools: ["read_*", echo], prompts: [hello] }
      - { service: child, tools: ["read_*", echo, pid, progress, hang, ask], prompts: [hello] }
      - { service: kept, tools: ["*"] }
      - { service: newest, tools: ["*"], prompts: ["*"] }
      - { service: odd, tools: ["*"] }
      - { service: dead, tools: ["*"] }
      - { service: silent, tools: ["*"] }
    approve:
      - { name: writes, service: web, tools: [write_note] }
limits:
  per_key: 100000/1s
  per_tool: 100000/1s
  housekeeping: 100000/1s
  refusals: 100000/1s
"#;

const NEWEST_META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":{"x/y":{"n":1.0},"io.modelcontextprotocol/tasks":{}}}}"#;

/// What stands in an object that is a member's value.
fn inner(member: &str) -> &str {
    member.split_once('{').unwrap().1
}

/// A request of the newest protocol, with `more` parameters.
fn newest(target: &str, method: &str, name: Option<&str>, more: &str) -> Request {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{more}{NEWEST_META}}}}}"#);
    let request =
        Request::post(target, body).header("MCP-Protocol-Version", "2026-07-28").header("Mcp-Method", method);
    match name {
        Some(name) => request.header("Mcp-Name", name),
        None => request,
    }
}

/// A call of the newest protocol.
fn newest_call(name: &str, arguments: &str) -> Request {
    newest("/mcp", "tools/call", Some(name), &format!(r#""name":"{name}","arguments":{arguments},"#))
}

fn error(status: &str, id: &str, code: i32) -> Vec<Step> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"no"}}}}"#);
    answer(status, "Content-Type: application/json\r\n", body)
}

/// A server of the newest protocol and no other.
fn only_newest(hit: &Hit) -> Vec<Step> {
    let id = hit.id().unwrap_or_default();
    let params = &hit.json()["params"];
    if params["_meta"]["io.modelcontextprotocol/protocolVersion"] != "2026-07-28" {
        return error("400 Bad Request", &id, -32602);
    }
    let cached = r#""resultType":"complete","ttlMs":3000,"cacheScope":"public""#;
    match hit.rpc_method().as_str() {
        "server/discover" => json(rpc(
            &id,
            &format!(r#"{{"supportedVersions":["2026-07-28"],"capabilities":{{"tools":{{}}}},{cached}}}"#),
        )),
        "tools/list" => json(rpc(&id, &format!(r#"{{"tools":[{{"name":"add","n":1E5}}],{cached}}}"#))),
        "prompts/list" => json(rpc(&id, &format!(r#"{{"prompts":[{{"name":"sum it up"}}],{cached}}}"#))),
        "tools/call" if params["name"] == "asks" && params.get("requestState").is_none() => {
            json(rpc(&id, r#"{"resultType":"input_required","requestState":"s__1","inputRequests":{}}"#))
        }
        "tools/call" | "prompts/get" => json(rpc(&id, r#"{"resultType":"complete","content":[],"z":1.0}"#)),
        _ => error("404 Not Found", &id, -32601),
    }
}

/// A server of the older protocol that gives sessions, and has forgotten those that are not in `known`.
fn with_sessions(known: &Mutex<Vec<String>>, hit: &Hit) -> Vec<Step> {
    let mut known = known.lock().unwrap();
    if hit.rpc_method() == "initialize" {
        let session = format!("session-{}", known.len());
        known.push(session.clone());
        let result = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"k","version":"1"}}"#;
        let headers = format!("Content-Type: application/json\r\nMcp-Session-Id: {session}\r\n");
        return answer("200 OK", &headers, rpc(&hit.id().unwrap(), result));
    }
    match hit.header("mcp-session-id") {
        Some(session) if known.iter().any(|known| known == session) => match hit.rpc_method().as_str() {
            "tools/list" => json(rpc(&hit.id().unwrap(), r#"{"tools":[{"name":"whoami"}]}"#)),
            "tools/call" => {
                let told = format!(r#"{{"content":[{{"type":"text","text":"{session}"}}]}}"#);
                json(rpc(&hit.id().unwrap(), &told))
            }
            _ => mcp(hit),
        },
        _ => answer("404 Not Found", "", "who are you"),
    }
}

/// The gateway before `web`, `kept`, `newest` over HTTP and `child` over stdio.
struct AllStage {
    gateway: Gateway,
    web: Upstream,
    kept: Upstream,
    newest: Upstream,
    child: ChildServer,
    sessions: Arc<Mutex<Vec<String>>>,
    key: String,
}

impl AllStage {
    fn new() -> Self {
        Self::with(Home::new(ALL_POLICY))
    }

    fn with(home: Home) -> Self {
        let sessions = Arc::<Mutex<Vec<String>>>::default();
        let known = Arc::clone(&sessions);
        let (web, newest) = (Upstream::mcp(), Upstream::start(only_newest));
        let kept = Upstream::start(move |hit| with_sessions(&known, hit));
        let child = ChildServer::new();
        let home = home.services(&[
            web.declare("web"),
            kept.declare("kept"),
            newest.declare("newest"),
            child.declare("child"),
        ]);
        let key = home.key("laptop", "user", "web,kept,newest,child");
        Self { gateway: home.serve(), web, kept, newest, child, sessions, key }
    }

    /// A client of the older protocol, with a session.
    fn older(&self) -> Agent {
        self.gateway.agent_of_all(&self.key).connected()
    }

    fn send(&self, request: Request) -> Reply {
        self.gateway.send(&request.key(&self.key))
    }
}

fn names(reply: &Reply, member: &str) -> Vec<String> {
    let json = reply.json();
    let list = json["result"][member].as_array().unwrap_or_else(|| panic!("no list: {json}"));
    list.iter().map(|element| element["name"].as_str().unwrap().to_owned()).collect()
}

fn calls(upstream: &Upstream) -> Vec<Hit> {
    upstream.hits().into_iter().filter(|hit| hit.rpc_method() == "tools/call").collect()
}

/// A list as soon as it has every one of these services: a slow machine may take longer than a member has.
fn listed(what: &str, services: &[&str], mut ask: impl FnMut() -> Reply) -> Reply {
    eventually(what, || {
        let reply = ask();
        let names =
            names(&reply, if reply.json()["result"].get("tools").is_some() { "tools" } else { "prompts" });
        let has = |service: &&str| names.iter().any(|name| name.starts_with(&format!("{service}__")));
        services.iter().all(has).then_some(reply)
    })
}

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
fn a_session_is_its_agents_until_it_ends() {
    let stage = AllStage::new();
    let older = stage.older();
    let without = stage.gateway.agent_of_all(&stage.key);
    for reply in [without.request("tools/list", "{}"), without.call("web__echo", "{}")] {
        assert_eq!(reply.status, 400, "{}", reply.text());
        assert!(reply.text().contains("initialize"), "{}", reply.text());
    }
    let other_key = stage.gateway.key("other", "user", "web,kept");
    let mut other = eventually("the key to be known", || {
        let other = stage.gateway.agent_of_all(&other_key);
        (other.request("initialize", "{}").status == 200).then_some(other)
    });
    other.session = older.session.clone();
    let mut of_a_service = stage.gateway.agent(&stage.key, "kept").connected();
    let token = of_a_service.session.take();
    let mut confused = stage.gateway.agent_of_all(&stage.key);
    confused.session = token;
    for agent in [&other, &confused] {
        for reply in [agent.request("tools/list", "{}"), agent.call("kept__whoami", "{}")] {
            assert_eq!(reply.status, 404, "{}", reply.text());
        }
    }
    assert_eq!(older.request("ping", "{}").json()["result"], json!({}));
    let told = |agent: &Agent| agent.told("child__pid");
    let (second, pid) = (stage.older(), told(&older));
    assert_ne!(told(&second), pid, "each session has a child of its own");
    assert_eq!(told(&older), pid);
    let listening = stage.gateway.send(&older.listen());
    assert_eq!((listening.status, listening.header("allow")), (405, Some("POST, DELETE")));
    assert_eq!(stage.gateway.send(&older.end()).status, 200);
    let pid: i32 = pid.parse().unwrap();
    until("its child to end", || !is_running(pid));
    assert_eq!(older.request("tools/list", "{}").status, 404);
    assert_eq!(second.request("ping", "{}").verdict(), 200, "the other one goes on");
}

#[test]
fn a_session_that_a_member_has_forgotten_is_opened_anew() {
    let stage = AllStage::new();
    let older = stage.older();
    assert_eq!(older.told("kept__whoami"), "session-0");
    *stage.sessions.lock().unwrap() = vec!["gone".into(); 7];
    let lost = older.call("kept__whoami", "{}");
    assert_eq!(lost.code(), 502, "{}", lost.text());
    assert_eq!(calls(&stage.kept).len(), 2, "a call is never sent twice");
    assert_eq!(older.told("kept__whoami"), "session-7");
    stage.sessions.lock().unwrap().clear();
    let reply = older.request("tools/list", "{}");
    assert!(reply.text().contains("kept__whoami"), "a list is asked for again: {}", reply.text());
}

#[test]
fn a_member_that_does_not_answer_hides_nothing_of_the_others() {
    let (latch, dead) = (Latch::new(), ClosedPort::new());
    let waits = Arc::clone(&latch);
    let silent = Upstream::start(move |_| vec![Step::Wait(Arc::clone(&waits)), Step::HangUp]);
    let web = Upstream::mcp();
    let declared = format!(
        "  - {{ name: dead, kind: mcp, url: \"http://{}/mcp\", network: private }}\n",
        dead.address()
    );
    let home = Home::new(ALL_POLICY).services(&[declared, silent.declare("silent"), web.declare("web")]);
    let key = home.key("laptop", "user", "dead,silent,web");
    let gateway = home.serve();
    let list = newest("/mcp", "tools/list", None, "").key(&key);
    let reply = listed("what answers", &["web"], || gateway.send(&list));
    assert!(
        names(&reply, "tools").iter().all(|name| !name.starts_with("silent") && !name.starts_with("dead"))
    );
    assert_eq!(reply.json()["result"]["ttlMs"], 0, "it is worth asking again soon");
    for left_out in ["`dead` is not in the list", "`silent` is not in the list"] {
        until("it is told", || gateway.said().contains(left_out));
    }
    let call = gateway.send(&newest_call("dead__x", "{}").key(&key));
    assert_eq!(call.code(), 502, "{}", call.text());
    assert!(call.message().contains("Nothing was sent"), "{}", call.message());
    latch.release();
}

#[test]
fn names_that_an_upstream_makes_up_stay_its_own() {
    let tools = r#"{"tools":[{"name":"web__echo"},{"name":"__x"},{"name":"a b"},{"name":"web__echo","second":1},{"name":"toolgate_wait"},{"name":7},{"name":"LONG"},{"name":"ok","description":"d"}]}"#;
    let tools = tools.replace("LONG", &"l".repeat(200));
    let odd = Upstream::start(move |hit| match hit.rpc_method().as_str() {
        "tools/list" => json(rpc(&hit.id().unwrap(), &tools)),
        _ => mcp(hit),
    });
    let web = Upstream::mcp();
    let home = Home::new(ALL_POLICY).services(&[odd.declare("odd"), web.declare("web")]);
    let key = home.key("laptop", "user", "odd,web");
    let gateway = home.serve();
    let agent = gateway.agent_of_all(&key).connected();
    let reply = listed("both", &["odd", "web"], || agent.request("tools/list", "{}"));
    let of_odd: Vec<String> =
        names(&reply, "tools").into_iter().filter(|name| name.starts_with("odd__")).collect();
    assert_eq!(of_odd, ["odd__web__echo", "odd____x", "odd__ok"]);
    for (tool, own) in [("odd__web__echo", "web__echo"), ("odd____x", "__x")] {
        assert_eq!(agent.call(tool, "{}").verdict(), 200);
        assert_eq!(odd.last().json()["params"]["name"], own);
    }
    assert_eq!(calls(&web).len(), 0);
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
fn what_a_member_asks_is_declined_and_the_call_goes_on() {
    let stage = AllStage::new();
    for reply in [stage.older().call("child__ask", "{}"), stage.send(newest_call("child__ask", "{}"))] {
        assert!(!reply.text().contains("sampling/createMessage"), "{}", reply.text());
        assert!(reply.text().contains("null"), "{}", reply.text());
    }
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

/// A server that answers what it was not asked.
fn forger(hit: &Hit) -> Vec<Step> {
    let Some(id) = hit.id() else { return mcp(hit) };
    match hit.rpc_method().as_str() {
        "tools/list" => json(rpc(&id, r#"{"tools":[{"name":"stream"},{"name":"plain"}]}"#)),
        "tools/call" => {
            let forged = rpc("77", r#"{"content":[{"type":"text","text":"forged"}]}"#);
            if hit.json()["params"]["name"] == "plain" {
                return json(forged);
            }
            let own = rpc(&id, r#"{"content":[{"type":"text","text":"own"}]}"#);
            let events = format!("data: {forged}\n\ndata: {own}\n\n");
            answer("200 OK", "Content-Type: text/event-stream\r\n", events)
        }
        _ => mcp(hit),
    }
}

#[test]
fn a_member_answers_its_own_requests_only() {
    let odd = Upstream::start(forger);
    let home = Home::new(ALL_POLICY).services(&[odd.declare("odd")]);
    let key = home.key("laptop", "user", "odd");
    let gateway = home.serve();
    let older = gateway.agent_of_all(&key).connected();
    for reply in [older.call("odd__stream", "{}"), gateway.send(&newest_call("odd__stream", "{}").key(&key))]
    {
        assert!(reply.text().contains("own") && !reply.text().contains("forged"), "{}", reply.text());
    }
    for reply in [older.call("odd__plain", "{}"), gateway.send(&newest_call("odd__plain", "{}").key(&key))] {
        assert_eq!(reply.verdict(), 502, "{}", reply.text());
        assert!(!reply.text().contains("forged"), "{}", reply.text());
    }
}
