//! What a hostile server says that nobody asked for: answers to other ids, requests, forged stream ids, endless pings.
//! At most the client whose request or stream it is can see it; nobody else's session ever does.

use std::sync::Arc;

use serde_json::Value;

use crate::harness::*;

const FREE: &str = r#"
version: 1
roles: { user: { allow: [{ service: child, tools: ["**"] }, { service: web, tools: ["**"] }] } }
limits: { per_key: 100000/1s, per_tool: 100000/1s, housekeeping: 100000/1s, refusals: 100000/1s }
"#;

fn acknowledged(stream: &mut Answer) {
    assert!(stream.event().unwrap().contains("notifications/subscriptions/acknowledged"));
}

/// A child that `forge`s while others listen and call.
fn forged_by_a_child(more: &'static str) {
    let child = ChildServer::new();
    let home = Home::new(FREE).services(&[child.declare_with("child", more)]);
    let keys = ["one", "two"].map(|agent| home.key(agent, "user", "child"));
    let gateway = home.serve();
    let [forges, other] = [0, 1].map(|nth: usize| gateway.modern(&keys[nth], "child"));
    let legacy = gateway.agent(&keys[1], "child").connected();
    let mut listens = other.subscribe("1", r#"{"toolsListChanged":true}"#);
    acknowledged(&mut listens);
    let waits = std::thread::spawn({
        let other = other.clone();
        move || other.call("pair", r#"{"who":"one"}"#)
    });
    until("a call of another agent to wait", || {
        child.noted("in").iter().any(|note| note.text.contains("\"who\""))
    });

    let reply = forges.request("tools/call", r#""name":"forge","arguments":{},"x":1"#);
    assert_eq!(reply.json()["result"]["content"][0]["text"], "said it all", "{}", reply.text());
    assert_eq!(forges.call("echo", r#"{"a":1}"#).json()["result"]["content"][0]["text"], r#"{"a": 1}"#);

    assert_eq!(legacy.call("echo", "{}").verdict(), 200);
    assert_eq!(other.call("pair", r#"{"who":"two"}"#).json()["result"]["content"][0]["text"], "two");
    assert_eq!(waits.join().unwrap().json()["result"]["content"][0]["text"], "one");
    // The first thing that the other agent's stream tells is what is meant for it.
    assert_eq!(other.call("announce", "{}").verdict(), 200);
    let news = message_in(&listens.event().unwrap());
    assert_eq!(news["method"], "notifications/tools/list_changed");
    assert_eq!(news["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
    // Whatever it asked was declined; its pings were answered as long as it read that.
    let answered: Vec<Value> = child
        .noted("in")
        .iter()
        .map(|note| serde_json::from_str::<Value>(&note.text).unwrap())
        .filter(|message| message.get("method").is_none())
        .collect();
    assert!(answered.len() > 2, "{answered:?}");
    for message in answered {
        let id = message["id"].to_string();
        assert_eq!(message.get("result").is_some(), id.starts_with("\"ping-"), "{message}");
    }
}

#[test]
fn a_shared_child_cannot_speak_to_anybody_elses_stream() {
    forged_by_a_child(", share: true");
}

#[test]
fn a_childs_forgeries_end_with_it() {
    forged_by_a_child("");
}

#[test]
fn an_answer_that_nobody_asked_for_reaches_nobody() {
    // Two answers to one request, on a connection that is kept: the second one must not be anybody's.
    let web = Upstream::start(|hit| {
        let id = hit.id().unwrap_or_default();
        let mut steps = json(rpc(&id, r#"{"content":[{"type":"text","text":"asked"}]}"#));
        steps.extend(json(rpc(&id, r#"{"content":[{"type":"text","text":"forged"}]}"#)));
        steps
    });
    let home = Home::new(FREE).services(&[web.declare("web")]);
    let keys = ["one", "two"].map(|agent| home.key(agent, "user", "web"));
    let gateway = home.serve();
    for round in 0..10 {
        for key in &keys {
            let reply = gateway.agent(key, "web").call("echo", "{}");
            assert!(!reply.text().contains("forged"), "{round}: {}", reply.text());
            if reply.verdict() == 200 {
                assert_eq!(reply.json()["result"]["content"][0]["text"], "asked");
            } else {
                assert_eq!(reply.verdict(), 502, "{}", reply.text());
            }
        }
    }
}

/// A server behind a URL that answers with another id, asks on its streams, and names streams that are not there.
fn odd(latch: &Arc<Latch>) -> Upstream {
    let latch = Arc::clone(latch);
    Upstream::start(move |hit| {
        let id = hit.id().unwrap_or_default();
        let forged = concat!(
            "data: {\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"sampling/createMessage\",\"params\":{\"forged\":1}}\n\n",
            "data: {\"jsonrpc\":\"2.0\",\"id\":424242,\"result\":{\"forged\":1}}\n\n",
            "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\",\"params\":{\"_meta\":{\"io.modelcontextprotocol/subscriptionId\":1}}}\n\n",
        );
        match (hit.rpc_method().as_str(), hit.json()["params"]["name"].as_str()) {
            ("subscriptions/listen", _) => vec![
                stream_head(),
                say(&format!(
                    "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{{\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id}}},\"notifications\":{{}}}}}}\n\n"
                )),
                Step::Wait(Arc::clone(&latch)),
                Step::HangUp,
            ],
            (_, Some("forge")) => vec![
                stream_head(),
                say(forged),
                say(&"data: {\"jsonrpc\":\"2.0\",\"id\":\"p\",\"method\":\"ping\"}\n\n".repeat(5_000)),
                say(&format!("data: {}\n\n", rpc(&id, "{}"))),
                Step::HangUp,
            ],
            (_, Some("other_id")) => json(rpc("99", r#"{"content":[],"forged":1}"#)),
            _ => mcp(hit),
        }
    })
}

#[test]
fn what_a_server_says_on_one_stream_stays_on_it() {
    let latch = Latch::new();
    let web = odd(&latch);
    let home = Home::new(FREE).services(&[web.declare("web")]);
    let keys = ["one", "two"].map(|agent| home.key(agent, "user", "web"));
    let gateway = home.serve();
    let [forges, other] = [0, 1].map(|nth: usize| gateway.modern(&keys[nth], "web"));
    let mut listens = other.subscribe("1", r#"{"toolsListChanged":true}"#);
    acknowledged(&mut listens);
    // Its own reader gets the bytes as they came: that stream is between the two.
    let told = forges.call("forge", "{}").text();
    assert_eq!(told.matches("forged").count(), 2, "{}", &told[..told.len().min(2_000)]);
    assert_eq!(told.matches("\"ping\"").count(), 5_000);
    assert!(told.ends_with("data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n"));
    assert_eq!(forges.call("other_id", "{}").text(), rpc("99", r#"{"content":[],"forged":1}"#));
    for agent in [&forges, &other] {
        assert!(!agent.call("echo", "{}").text().contains("forged"));
    }
    latch.release();
    assert_eq!(listens.event(), None, "the other agent's stream heard nothing of it");
}

#[test]
fn a_forged_acknowledgement_opens_nothing() {
    let latch = Latch::new();
    let held = Arc::clone(&latch);
    let acknowledgement = |id: &str| {
        format!(
            "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/subscriptions/acknowledged\",\"params\":{{\"_meta\":{{\"io.modelcontextprotocol/subscriptionId\":{id}}},\"notifications\":{{}}}}}}\n\n"
        )
    };
    let (others, own) = (acknowledgement("2"), acknowledgement("1"));
    let said = [others.clone(), own].concat();
    let web = Upstream::start(move |hit| match hit.rpc_method().as_str() {
        "subscriptions/listen" => {
            vec![stream_head(), say(&said), Step::Wait(Arc::clone(&held)), Step::HangUp]
        }
        _ => mcp(hit),
    });
    let home = Home::new(FREE).services(&[web.declare("web")]);
    let key = home.key("laptop", "user", "web");
    let gateway = home.serve();
    let mut stream = gateway.modern(&key, "web").subscribe("1", r#"{"toolsListChanged":true}"#);
    assert_eq!(stream.event().unwrap(), others, "another stream's is left as it is");
    let own = message_in(&stream.event().unwrap());
    assert_eq!(own["params"]["notifications"]["toolsListChanged"], true);
    latch.release();
    assert_eq!(stream.event(), None);
}
