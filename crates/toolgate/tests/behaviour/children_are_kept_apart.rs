//! Two agents never share a child, unless the service says so: each session of the older protocol has a child of
//! its own, and in the newest one each key has. A child sees nothing of our environment.

use std::collections::BTreeSet;

use crate::harness::*;

#[test]
fn each_session_has_a_child_of_its_own() {
    let stage = Stage::new();
    let other = stage.gateway.key("other", "user", "child");
    until("the new key to be noticed", || stage.gateway.agent(&other, "child").listen_status() != 401);
    let agents = [stage.at_child(), stage.at_child(), stage.gateway.agent(&other, "child").connected()];
    let pids: BTreeSet<String> = agents.iter().map(|agent| agent.told("pid")).collect();
    assert_eq!(pids.len(), 3, "{pids:?}");
    for agent in &agents {
        assert_eq!(agent.told("pid"), agent.told("pid"), "and keeps it");
    }
    let sessions: BTreeSet<_> = agents.iter().map(|agent| agent.session.clone().unwrap()).collect();
    assert_eq!(sessions.len(), 3);
    assert!(sessions.iter().all(|session| session.bytes().all(|byte| (0x21..=0x7e).contains(&byte))));
}

#[test]
fn each_key_has_a_child_of_its_own_in_the_newest_protocol() {
    let stage = Stage::new();
    let [second, other] = [("laptop", "user"), ("other", "user")].map(|(agent, role)| {
        let key = stage.gateway.key(agent, role, "web,child");
        until("the new key to be noticed", || stage.gateway.agent(&key, "child").listen_status() != 401);
        key
    });
    let pid = |key: &str| {
        let reply = stage.gateway.send(&modern_call("pid").key(key));
        assert_eq!(reply.verdict(), 200, "{}", reply.text());
        reply.json()["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    };
    let pids: BTreeSet<String> = [&stage.key, &second, &other].into_iter().map(|key| pid(key)).collect();
    assert_eq!(pids.len(), 3, "{pids:?}");
    assert_eq!(pid(&other), pid(&other));
}

fn modern_call(tool: &str) -> Request {
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{}},"_meta":{meta}}}}}"#
    );
    Request::post("/mcp/child", body)
        .header("MCP-Protocol-Version", "2026-07-28")
        .header("Mcp-Method", "tools/call")
        .header("Mcp-Name", tool)
}

#[test]
fn a_child_sees_nothing_of_our_environment() {
    let web = Upstream::mcp();
    let child = ChildServer::new();
    let declared = child.declare_with("child", ", env: { MODE: plain, EMPTY: \"\" }");
    let home = Home::new(POLICY).services(&[web.declare("web"), declared]);
    let key = home.key("laptop", "user", "web,child");
    let gateway = home.serve();
    let told = gateway.agent(&key, "child").connected().told("environ");
    let environment: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&told).unwrap();
    let names: BTreeSet<&str> =
        environment.keys().map(String::as_str).filter(|name| *name != "LC_CTYPE").collect();
    assert_eq!(names, BTreeSet::from(["EMPTY", "HOME", "LANG", "MODE", "PATH"]));
    assert_eq!(environment["MODE"], "plain");
    assert!(!told.contains("kept from children"));
}

#[test]
fn a_session_that_ends_takes_its_child_along() {
    let stage = Stage::new();
    let (ends, stays) = (stage.at_child(), stage.at_child());
    let ended: i32 = ends.told("pid").parse().unwrap();
    let reply = stage.gateway.send(&ends.end());
    assert_eq!(reply.status, 200, "{}", reply.text());
    until("the child to end", || !is_running(ended));
    assert_eq!(ends.call("echo", "{}").verdict(), 404, "the session is gone");
    assert_eq!(stays.call("echo", "{}").verdict(), 200, "another session goes on");
}

#[test]
fn a_request_without_a_session_starts_nothing() {
    let stage = Stage::new();
    let reply = stage.gateway.agent(&stage.key, "child").call("read_note", "{}");
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("initialize"), "{}", reply.text());
    assert!(stage.child.pids().is_empty(), "a child was started");
}

#[test]
fn a_service_has_no_more_children_than_it_may() {
    let web = Upstream::mcp();
    let child = ChildServer::new();
    let home =
        Home::new(POLICY).services(&[web.declare("web"), child.declare_with("child", ", processes: 2")]);
    let key = home.key("laptop", "user", "web,child");
    let gateway = home.serve();
    let agent = || gateway.agent(&key, "child");
    let (first, second) = (agent().connected(), agent().connected());
    let reply = agent().request("initialize", "{}");
    assert_eq!(reply.verdict(), 503, "{}", reply.text());
    assert_eq!(reply.json()["error"]["data"]["type"], "urn:toolgate:upstream-busy");
    assert_eq!(reply.header("retry-after"), Some("10"));
    assert_eq!(child.pids().len(), 2);
    for agent in [&first, &second] {
        assert_eq!(agent.call("echo", "{}").verdict(), 200, "those that run go on");
    }
    assert_eq!(gateway.send(&first.end()).status, 200);
    assert_eq!(agent().connected().call("echo", "{}").verdict(), 200, "a place that is free again is used");
}

#[test]
fn a_child_with_nothing_to_do_is_stopped() {
    let web = Upstream::mcp();
    let child = ChildServer::new();
    let home = Home::new(POLICY).services(&[web.declare("web"), child.declare_with("child", ", idle: 4s")]);
    let key = home.key("laptop", "user", "web,child");
    let gateway = home.serve();
    let agent = gateway.agent(&key, "child").connected();
    let pids = child.pids();
    until("the idle child to end", || !pids.iter().any(|pid| is_running(*pid)));
    assert_eq!(agent.call("echo", "{}").verdict(), 404, "its session has ended");
    assert_eq!(gateway.agent(&key, "child").connected().call("echo", "{}").verdict(), 200);
}

#[test]
fn what_a_child_asks_reaches_the_client_of_its_session_and_the_answer_comes_back() {
    let stage = Stage::new();
    let (asks, other) = (stage.at_child(), stage.at_child());
    let others = stage.gateway.open(&other.listen());
    let mut answer = stage.gateway.open(&asks.post(call(5, "ask", "{}")));
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let question = answer.event().unwrap();
    assert!(question.contains("sampling/createMessage") && question.contains("\"question-1\""), "{question}");
    let reply = r#"{"jsonrpc":"2.0","id":"question-1","result":{"said":1.0}}"#;
    assert_eq!(other.send(reply).status, 202, "an answer of another session goes to its own child");
    assert_eq!(asks.send(reply).status, 202);
    let last = answer.event().unwrap();
    assert!(last.contains("said") && last.contains("\"id\": 5"), "{last}");
    assert_eq!(answer.event(), None);
    assert_eq!(stage.gateway.send(&other.end()).status, 200);
    assert_eq!(others.whole().text(), "", "nothing of it reached the other session");
}

impl Agent {
    /// What a request to listen is answered with: it starts no child.
    fn listen_status(&self) -> u16 {
        send(self.address(), &self.listen()).status
    }
}
