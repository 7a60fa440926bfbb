//! A stream of notifications carries the id of the request that opened it, begins with its acknowledgement, and ends
//! with whoever hangs up or takes it down. Streams of the older versions are resumed by their own session alone, and a
//! lost connection cancels nothing there.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::harness::*;

const FREE: &str = r#"
version: 1
roles:
  user:
    allow:
      - { service: child, tools: ["**"] }
      - { service: web, tools: ["**"] }
limits: { per_key: 100000/1s, per_tool: 100000/1s, housekeeping: 100000/1s, refusals: 100000/1s }
"#;
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// One child for all, and two agents of the newest version.
struct Shared {
    gateway: Gateway,
    child: ChildServer,
    agents: [Modern; 2],
}

fn shared() -> Shared {
    let child = ChildServer::new();
    let home = Home::new(FREE).services(&[child.declare_with("child", ", share: true")]);
    let keys = ["one", "two"].map(|agent| home.key(agent, "user", "child"));
    let gateway = home.serve();
    let agents = [0, 1].map(|nth: usize| gateway.modern(&keys[nth], "child"));
    Shared { gateway, child, agents }
}

fn next(stream: &mut Answer) -> Value {
    message_in(&stream.event().expect("the stream goes on"))
}

/// Opens a stream whose first message acknowledges it under the client's own id.
fn opened(agent: &Modern, id: &str, wishes: &str) -> Answer {
    let mut stream = agent.subscribe(id, wishes);
    let first = next(&mut stream);
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    assert_eq!(first["params"]["_meta"][SUBSCRIPTION].to_string(), id);
    assert_eq!(first["params"]["notifications"].to_string(), wishes);
    stream
}

#[test]
fn each_stream_of_a_shared_child_has_its_own_id_to_its_end() {
    let Shared { agents: [one, two], gateway: _gateway, child: _child } = shared();
    let mut streams = [
        ("7", opened(&one, "7", r#"{"toolsListChanged":true}"#)),
        ("\"7\"", opened(&two, "\"7\"", r#"{"toolsListChanged":true}"#)),
        ("7", opened(&two, "7", r#"{"promptsListChanged":true}"#)),
        ("8", opened(&two, "8", r#"{"toolsListChanged":true}"#)),
    ];
    assert_eq!(one.call("announce", "{}").verdict(), 200);
    assert_eq!(two.call("finish", "{}").verdict(), 200);
    for (nth, (id, stream)) in streams.iter_mut().enumerate() {
        // The one that did not ask for it is not told.
        if nth != 2 {
            let news = next(stream);
            assert_eq!(news["method"], "notifications/tools/list_changed", "{nth}: {news}");
            assert_eq!(news["params"]["_meta"][SUBSCRIPTION].to_string(), *id);
        }
        let last = next(stream);
        assert_eq!(last["id"].to_string(), *id, "{nth}: {last}");
        assert_eq!(last["result"]["_meta"][SUBSCRIPTION].to_string(), *id, "{nth}: {last}");
        assert_eq!(last["result"]["_meta"]["x"], 1);
        assert_eq!(stream.event(), None);
    }
}

#[test]
fn who_hangs_up_is_cancelled_and_nobody_else() {
    let Shared { agents: [one, two], child, gateway: _gateway } = shared();
    let leaves = opened(&one, "7", r#"{"toolsListChanged":true}"#);
    let mut stays = opened(&two, "7", r#"{"toolsListChanged":true}"#);
    let listens = || child.noted("in").into_iter().filter(|note| note.text.contains("subscriptions/listen"));
    let ids: Vec<Value> =
        listens().map(|note| serde_json::from_str::<Value>(&note.text).unwrap()["id"].take()).collect();
    assert_eq!(ids.len(), 2);
    drop(leaves);
    let cancelled = eventually("the cancellation to arrive", || {
        child.noted("in").into_iter().find(|note| note.text.contains("notifications/cancelled"))
    });
    assert!(cancelled.text.contains(&format!("\"requestId\":{}}}", ids[0])), "{}", cancelled.text);
    assert_eq!(one.call("announce", "{}").verdict(), 200);
    assert_eq!(next(&mut stays)["params"]["_meta"][SUBSCRIPTION], 7);
    let all = child.noted("in").into_iter().filter(|note| note.text.contains("notifications/cancelled"));
    assert_eq!(all.count(), 1);
}

#[test]
fn a_stream_that_its_child_takes_down_ends_for_its_client() {
    let Shared { agents: [one, two], gateway: _gateway, child: _child } = shared();
    let ends = opened(&one, "7", r#"{"promptsListChanged":true}"#);
    let mut stays = opened(&two, "7", r#"{"toolsListChanged":true}"#);
    assert_eq!(two.call("teardown", "{}").verdict(), 200);
    let rest = ends.whole();
    assert_eq!((rest.text().as_str(), rest.cut_off), ("", false), "closing says it, over HTTP");
    assert_eq!(two.call("announce", "{}").verdict(), 200);
    assert_eq!(next(&mut stays)["method"], "notifications/tools/list_changed");
}

#[test]
fn who_hangs_up_is_cancelled_at_a_server_behind_a_url_too() {
    let web = Upstream::start(move |hit| match hit.rpc_method().as_str() {
        "subscriptions/listen" => {
            let ack = format!(
                "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{{\"_meta\":{{\"{SUBSCRIPTION}\":{}}},\"notifications\":{{}}}}}}\n\n",
                hit.id().unwrap()
            );
            // It then waits for what comes next on this connection: its end.
            vec![stream_head(), say(&ack)]
        }
        _ => mcp(hit),
    });
    let home = Home::new(FREE).services(&[web.declare("web")]);
    let key = home.key("laptop", "user", "web");
    let gateway = home.serve();
    let agent = gateway.modern(&key, "web");
    let [leaves, stays] = ["7", "8"].map(|id| opened(&agent, id, "{}"));
    assert_eq!(web.closed(), 0);
    drop(leaves);
    until("the connection to be closed", || web.closed() == 1);
    assert_eq!(agent.call("echo", "{}").verdict(), 200);
    drop(stays);
    until("the other one to be closed", || web.closed() == 2);
}

#[test]
fn log_messages_come_only_where_they_were_asked_for() {
    let child = ChildServer::new();
    let home = Home::new(FREE).services(&[child.declare("child")]);
    let key = home.key("laptop", "user", "child");
    let gateway = home.serve();
    let mut agent = gateway.modern(&key, "child");
    let mut stream = opened(&agent, "7", r#"{"toolsListChanged":true}"#);
    let silent = agent.call("chatter", "{}");
    assert_eq!(silent.header("content-type"), Some("application/json"));
    assert!(!silent.text().contains("notifications/message"), "{}", silent.text());
    agent.meta = r#","io.modelcontextprotocol/logLevel":"info""#.into();
    let told = agent.call("chatter", "{}").text();
    let messages: Vec<Value> = told.split_inclusive("\n\n").map(message_in).collect();
    assert_eq!(messages.len(), 2, "{told}");
    assert_eq!((&messages[0]["params"]["data"], &messages[1]["id"]), (&json!("chatter"), &json!(1)));
    assert_eq!(agent.call("announce", "{}").verdict(), 200);
    assert_eq!(next(&mut stream)["method"], "notifications/tools/list_changed", "no log on the stream");
}

#[test]
fn a_lost_connection_cancels_nothing_in_the_older_versions() {
    let stage = Stage::with(Home::new(FREE));
    let agent = stage.at_child();
    // Who hangs up before the request was read has asked for nothing.
    let connection = stage.gateway.begin(&agent.post(call(5, "hang", "{}")));
    eventually("the child to hang", || stage.child.noted("hanging").pop());
    drop(connection);
    let listener = stage.gateway.open(&agent.listen());
    drop(listener);
    assert_eq!(agent.call("echo", "{}").verdict(), 200, "the session goes on");
    assert!(!stage.child.noted("in").iter().any(|note| note.text.contains("cancelled")));
    let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#;
    assert_eq!(agent.send(cancel).status, 202);
    until("a cancellation that was meant to arrive", || {
        stage.child.noted("in").iter().any(|note| note.text.contains("cancelled"))
    });
}

/// A server that gives each session an id and streams of its own, with a priming event and ids.
fn sessions() -> Upstream {
    let given = std::sync::Mutex::new(HashMap::<String, usize>::new());
    Upstream::start(move |hit| match (hit.method.as_str(), hit.rpc_method().as_str()) {
        ("POST", "initialize") => {
            let mut given = given.lock().unwrap();
            let session = format!("theirs-{}", given.len() + 1);
            given.insert(session.clone(), 0);
            let headers = format!("Content-Type: application/json\r\nMcp-Session-Id: {session}\r\n");
            answer("200 OK", &headers, rpc("1", r#"{"protocolVersion":"2025-11-25","capabilities":{}}"#))
        }
        ("GET", _) => {
            let session = hit.header("mcp-session-id").unwrap_or("none").to_owned();
            let from = hit.header("last-event-id").unwrap_or("the start").to_owned();
            events(&format!(
                "id: {session}/0\nretry: 500\ndata:\n\nid: {session}/1\ndata: {{\"from\":\"{from}\"}}\n\n"
            ))
        }
        _ => mcp(hit),
    })
}

#[test]
fn a_broken_stream_is_resumed_by_its_own_session_alone() {
    let web = sessions();
    let home = Home::new(FREE).services(&[web.declare("web")]);
    let keys = ["one", "two"].map(|agent| home.key(agent, "user", "web"));
    let gateway = home.serve();
    let agents = [0, 1].map(|nth: usize| gateway.agent(&keys[nth], "web").connected());
    for (agent, theirs) in agents.iter().zip(["theirs-1", "theirs-2"]) {
        let stream = gateway.send(&agent.listen());
        let expected = |from: &str| {
            format!("id: {theirs}/0\nretry: 500\ndata:\n\nid: {theirs}/1\ndata: {{\"from\":\"{from}\"}}\n\n")
        };
        assert_eq!(stream.text(), expected("the start"), "the priming event comes as it is");
        // Whatever it names: it is asked for within its own session.
        let resumed = gateway.send(&agent.listen().header("Last-Event-ID", "theirs-1/1"));
        assert_eq!(resumed.text(), expected("theirs-1/1"));
    }
    let hits = web.count();
    let mut thief = agents[1].clone();
    thief.session = agents[0].session.clone();
    let refused = gateway.send(&thief.listen().header("Last-Event-ID", "theirs-1/1"));
    assert_eq!(refused.status, 404, "{}", refused.text());
    assert_eq!(web.count(), hits);
}
