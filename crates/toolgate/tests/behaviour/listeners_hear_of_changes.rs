//! When people change what an agent may list, its listeners are told, on the stream that they opened for it and in the
//! words of its version. Nobody is told whose list stays the same, and nothing is said inside another event.

use std::sync::Arc;

use serde_json::json;

use crate::harness::*;

/// With more tools and prompts than it lists, in the words of a policy.
fn policy(tools: &str, prompts: &str, other: &str) -> String {
    POLICY
        .replace("tools: [\"read_*\", echo]", &format!("tools: [\"read_*\", echo{tools}]"))
        .replace("prompts: [hello]", &format!("prompts: [hello{prompts}]"))
        .replace("allow: []", &format!("allow: [{other}]"))
}

/// A server whose streams stay open until the latch is released. It agrees to nothing by itself.
fn listening(latch: &Arc<Latch>, capabilities: &'static str) -> Upstream {
    let latch = Arc::clone(latch);
    Upstream::start(move |hit| {
        let id = hit.id().unwrap_or_default();
        let stays_open =
            |first: String| vec![stream_head(), say(&first), Step::Wait(Arc::clone(&latch)), Step::HangUp];
        match (hit.method.as_str(), hit.rpc_method().as_str()) {
            ("GET", _) => stays_open(": open\n\n".into()),
            (_, "subscriptions/listen") => stays_open(format!(
                "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{{\"notifications\":{{ }},\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id}}}}}}}\n\n"
            )),
            (_, "initialize") => json(rpc(
                &id,
                &format!(
                    r#"{{"protocolVersion":"2025-11-25","capabilities":{capabilities},"serverInfo":{{"name":"web","version":"1"}}}}"#
                ),
            )),
            _ => mcp(hit),
        }
    })
}

fn stage(latch: &Arc<Latch>, capabilities: &'static str) -> Stage {
    Stage::behind(Home::new(POLICY), listening(latch, capabilities))
}

/// Puts another policy in force.
fn change(stage: &Stage, policy: &str) {
    let reloads = || stage.gateway.said().matches("policy reloaded").count();
    let before = reloads();
    stage.gateway.write("policy.yaml", policy);
    until("the policy to be read", || reloads() > before);
}

/// What a stream tells next, without its envelope's spelling.
fn told(stream: &mut Answer) -> String {
    stream.event().expect("the stream goes on")
}

#[test]
fn a_listener_is_told_when_its_own_list_changes_and_only_then() {
    let latch = Latch::new();
    let stage = stage(&latch, "{}");
    let agent = stage.gateway.modern(&stage.key, "web");
    for list in ["tools/list", "prompts/list"] {
        assert_eq!(agent.request(list, "").verdict(), 200);
    }
    let mut stream = agent.subscribe("\"\\u0061b\"", r#"{"toolsListChanged":true}"#);
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    let acknowledged = told(&mut stream);
    assert_eq!(
        message_in(&acknowledged)["params"],
        json!({"notifications":{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/subscriptionId":"ab"}}),
        "we tell of tools, so that is promised, and nothing else"
    );
    assert!(acknowledged.starts_with("event: message\ndata: "), "{acknowledged}");

    change(&stage, &policy("", "", "{ service: web, tools: [echo] }"));
    change(&stage, &policy(", \"no_such_*\"", "", ""));
    change(&stage, &policy("", ", hidden", ""));
    change(&stage, &POLICY.replace("per_key: 100000/1s", "per_key: 90000/1s"));
    change(&stage, &policy(", write_note", "", ""));
    assert_eq!(
        told(&mut stream),
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\",\"params\":{\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":\"\\u0061b\"}}}\n\n"
    );
    assert!(agent.request("tools/list", "").text().contains("write_note"));
    latch.release();
    assert_eq!(stream.event(), None, "once for one change");
}

#[test]
fn each_list_has_news_of_its_own() {
    let latch = Latch::new();
    let stage = stage(&latch, "{}");
    let agent = stage.gateway.modern(&stage.key, "web");
    let wishes = r#"{"promptsListChanged":true,"resourcesListChanged":true,"toolsListChanged":false}"#;
    let mut stream = agent.subscribe("7", wishes);
    let agreed = message_in(&told(&mut stream))["params"]["notifications"].clone();
    assert_eq!(agreed, json!({"promptsListChanged":true,"resourcesListChanged":true}));
    change(&stage, &policy(", write_note", "", ""));
    change(&stage, &policy("", ", hidden", ""));
    let message = message_in(&told(&mut stream));
    assert_eq!(message["method"], "notifications/prompts/list_changed");
    assert_eq!(message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 7);
    change(&stage, &policy("", ", hidden", "").replace("file:///public/**", "file:///**"));
    assert_eq!(message_in(&told(&mut stream))["method"], "notifications/resources/list_changed");
    latch.release();
    assert_eq!(stream.event(), None);
}

#[test]
fn a_role_that_is_changed_and_a_tool_to_wait_with_are_news_too() {
    let latch = Latch::new();
    let stage = stage(&latch, "{}");
    let agent = stage.gateway.modern(&stage.key, "web");
    assert_eq!(agent.request("tools/list", "").verdict(), 200);
    let mut stream = agent.subscribe("7", r#"{"toolsListChanged":true}"#);
    told(&mut stream);
    let changed = "notifications/tools/list_changed";
    // A first rule that wants people lets the tool appear by which one waits for them.
    let waits = POLICY.replace("deny:", "approve:\n  - { name: ask, service: web, tools: [echo] }\ndeny:");
    change(&stage, &waits);
    assert_eq!(message_in(&told(&mut stream))["method"], changed);
    stage.gateway.ok(&["agents", "update", "laptop", "--role", "admin"]);
    assert_eq!(message_in(&told(&mut stream))["method"], changed);
    // Who loses the service hears nothing more.
    stage.gateway.ok(&["agents", "update", "laptop", "--scope", "child"]);
    assert_eq!(stream.event(), None);
    latch.release();
}

#[test]
fn nothing_is_said_inside_another_event() {
    let (half, latch) = (Latch::new(), Latch::new());
    let (first, last) = (Arc::clone(&half), Arc::clone(&latch));
    let web = Upstream::start(move |hit| match hit.rpc_method().as_str() {
        "subscriptions/listen" => vec![
            stream_head(),
            say(
                "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":7},\"notifications\":{\"toolsListChanged\":true}}}\n\nid: 5\ndata: {\"half\":\n",
            ),
            Step::Wait(Arc::clone(&first)),
            say("data: 1.0}\n\n"),
            Step::Wait(Arc::clone(&last)),
            Step::HangUp,
        ],
        _ => mcp(hit),
    });
    let stage = Stage::behind(Home::new(POLICY), web);
    let mut stream = stage.gateway.modern(&stage.key, "web").subscribe("7", r#"{"toolsListChanged":true}"#);
    assert!(told(&mut stream).contains("acknowledged"));
    change(&stage, &policy(", write_note", "", ""));
    assert!(told(&mut stream).contains("list_changed"));
    half.release();
    assert_eq!(told(&mut stream), "id: 5\ndata: {\"half\":\ndata: 1.0}\n\n");
    latch.release();
    assert_eq!(stream.event(), None);
}

#[test]
fn in_the_older_versions_it_is_told_where_the_server_said_that_it_tells() {
    let latch = Latch::new();
    let tells = listening(&latch, r#"{"tools":{"listChanged":true},"prompts":{}}"#);
    let silent = listening(&latch, r#"{"tools":{},"prompts":{"listChanged":false}}"#);
    let child = ChildServer::that_is("tells");
    let both = POLICY.replace(
        "  other:",
        "      - { service: silent, tools: [\"read_*\", echo], prompts: [hello] }\n  other:",
    );
    let home =
        Home::new(&both).services(&[tells.declare("web"), silent.declare("silent"), child.declare("child")]);
    let key = home.key("laptop", "user", "web,silent,child");
    let gateway = home.serve();
    let stage = Stage { gateway, web: tells, child, key };
    let mut streams = ["web", "silent", "child"].map(|service| {
        let agent = stage.gateway.agent(&stage.key, service).connected();
        (service, stage.gateway.open(&agent.listen()), agent)
    });
    change(
        &stage,
        &both.replace("echo", "echo, write_note").replace("prompts: [hello]", "prompts: [hello, hidden]"),
    );
    for (service, stream, agent) in &mut streams {
        match *service {
            "silent" => continue,
            "web" => assert_eq!(told(stream), ": open\n\n"),
            _ => {}
        }
        assert_eq!(
            told(stream),
            "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n",
            "{service}"
        );
        assert!(agent.request("tools/list", "{}").text().contains("write_note"));
    }
    latch.release();
    let [(_, mut web, _), (_, quiet, _), _] = streams;
    assert_eq!(web.event(), None, "of prompts it does not tell");
    assert_eq!(quiet.whole().text(), ": open\n\n");
}

#[test]
fn a_listener_at_a_child_is_told_too() {
    let stage = Stage::with(Home::new(&POLICY.replace("pair]", "pair, announce]")));
    let agent = stage.gateway.modern(&stage.key, "child");
    let mut stream = agent.subscribe("\"mine\"", r#"{"toolsListChanged":true}"#);
    assert!(told(&mut stream).contains("acknowledged"));
    let news = r#"data: {"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":"mine"}}}"#;
    change(&stage, &POLICY.replace("pair]", "pair, announce, write_note]"));
    assert_eq!(told(&mut stream).trim_end(), news);
    // The child's own news come as ever.
    assert_eq!(agent.call("announce", "{}").verdict(), 200);
    assert_eq!(message_in(&told(&mut stream)), message_in(news));
}
