//! On MCP a held call is told in a sentence, asked after by a tool of ours, shown in progress, and taken back by its id.
//! None of that reaches an upstream.

use serde_json::{Value, json};

use crate::harness::*;

fn wait_for(agent: &Agent, id: u32, approval: &str) -> Reply {
    agent.send(call(id, "toolgate_wait", &format!(r#"{{"approval":"{approval}"}}"#)))
}

/// How often a tool was called upstream.
fn tool_calls(web: &Upstream) -> usize {
    web.hits().iter().filter(|hit| hit.rpc_method() == "tools/call").count()
}

#[test]
fn a_held_call_tells_the_model_what_to_do_and_the_tool_gets_its_result() {
    let stage = HeldStage::new(SHORT);
    let web = stage.at_web();
    let held = web.call("write_note", r#"{"text":"a"}"#);
    assert_eq!((held.status, held.code(), held.proxy_status()), (200, 428, "held"), "{}", held.text());
    let id = approval(&held);
    let data = &held.json()["error"]["data"];
    assert_eq!(
        held.message(),
        format!(
            "Held (428): rule `writes` wants a person's approval for `write_note` on `web`. Nothing was sent yet. Call \
             the tool toolgate_wait with {{\"approval\":\"{id}\"}} to get the result, or repeat this exact call; it runs \
             once. A changed call needs its own approval. Decision due by {}. Call {}.",
            data["approval"]["expires_at"].as_str().unwrap(),
            held.call_id()
        )
    );
    let early = wait_for(&web, 7, &id);
    assert_eq!((early.code(), &early.json()["id"]), (409, &json!(7)), "{}", early.text());
    let (said, rest) =
        early.message().split_once(" left. ").map(|(said, rest)| (said.to_owned(), rest.to_owned())).unwrap();
    assert!(said.starts_with(&format!("Not decided yet (409): {id} is pending, 23 h 5")), "{said}");
    assert_eq!(
        rest,
        format!(
            "Do other work or call toolgate_wait again; do not send the call in another form. Call {}.",
            early.call_id()
        )
    );
    stage.desk.approve(&id);
    let reply =
        eventually("the result", || Some(wait_for(&web, 9, &id)).filter(|reply| reply.verdict() == 200));
    assert_eq!(reply.proxy_status(), "executed-approved");
    assert_eq!(reply.text(), rpc("9", r#"{"content":[{"type":"text","text":"done"}]}"#));
    assert_eq!(tool_calls(&stage.web), 1, "ours never travels on");
    // Over HTTP it is what came, under the id that was sent.
    let fetched = stage.result(&id);
    assert_eq!(fetched.text(), rpc("1", r#"{"content":[{"type":"text","text":"done"}]}"#));
    assert_ne!(approval(&web.call("write_note", r#"{"text":"a"}"#)), id);
}

#[test]
fn the_same_message_under_another_id_resumes() {
    let stage = HeldStage::new(SHORT);
    let web = stage.at_web();
    let id = approval(&web.send(call(1, "write_note", r#"{"a":1,"b":2}"#)));
    assert_eq!(approval(&web.send(call(2, "write_note", r#"{"b":2,"a":1}"#))), id, "keys have no order");
    assert_ne!(
        approval(&web.send(call(3, "write_note", r#"{"a":1.0,"b":2}"#))),
        id,
        "numbers are their text"
    );
    stage.desk.approve(&id);
    stage.reached(&id, "executed");
    let again = web.send(call(44, "write_note", r#"{"a":1,"b":2}"#));
    assert_eq!((again.verdict(), again.proxy_status()), (200, "executed-approved"), "{}", again.text());
    assert_eq!(again.json()["id"], 44);
    assert_eq!(tool_calls(&stage.web), 1);
}

#[test]
fn the_tool_tells_every_end_apart() {
    let stage = HeldStage::new(SHORT);
    let web = stage.at_web();
    let denied = approval(&web.call("write_note", r#"{"n":1}"#));
    stage.desk.deny(&denied, "wrong folder");
    let reply = wait_for(&web, 1, &denied);
    assert_eq!((reply.code(), reply.proxy_status()), (403, "refused"));
    assert!(
        reply.message().starts_with(&format!(
            "Denied (403): an operator denied {denied}: \"wrong folder\". Nothing was sent. Do not repeat it; tell the user the reason."
        )),
        "{}",
        reply.message()
    );
    let cancelled = approval(&web.call("write_note", r#"{"n":2}"#));
    assert_eq!(stage.send("DELETE", &format!("/v1/approvals/{cancelled}")).status, 200);
    assert_eq!(wait_for(&web, 1, &cancelled).code(), 410);
    // Of an HTTP service, of another agent, of nobody: none of them is one here.
    let elsewhere = stage.held_refund(5000);
    let stranger = stage.other_key("desktop", "user", "web");
    let theirs = approval(&stage.gateway.agent(&stranger, "web").call("write_note", "{}"));
    for nobodys in [elsewhere.as_str(), &theirs, "ap_0000000000", "", "x"] {
        assert_eq!(wait_for(&web, 1, nobodys).code(), 404, "{nobodys}");
    }
    for arguments in ["{}", r#"{"approval":7}"#] {
        let told = web.call("toolgate_wait", arguments);
        assert_eq!(told.code(), 404, "{arguments}");
        let next = "toolgate_wait was called without an approval id. Call toolgate_wait with {\"approval\":\"ap_…\"}";
        assert!(told.message().contains(next), "{}", told.message());
    }
    let outside = stage.other_key("outsider", "user", "api");
    assert_eq!(wait_for(&stage.gateway.agent(&outside, "web"), 1, &denied).code(), 403);
    assert_eq!(wait_for(&stage.gateway.agent("agt_nobody", "web"), 1, &denied).status, 401);
    assert_eq!(stage.web.count(), 0);
}

fn with_progress(id: u32, token: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"write_note","arguments":{{}},"_meta":{{"progressToken":{token}}}}}}}"#
    )
}

fn data(event: &str) -> Value {
    let text: String = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no message: {event}"))
}

#[test]
fn a_client_that_asks_for_progress_is_told_while_it_waits() {
    let stage = HeldStage::new(LONG);
    let web = stage.at_web();
    let mut stream = stage.gateway.open(&web.post(with_progress(5, "\"tok\"")));
    assert_eq!((stream.status, stream.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(stream.header("x-proxy-status"), Some("held"));
    let first = data(&stream.event().unwrap());
    let id = stage.waiting();
    assert_eq!(
        first,
        json!({"jsonrpc":"2.0","method":"notifications/progress","params":{
            "progressToken":"tok","progress":1,"message":format!("waits for approval {id}: pending")}})
    );
    stage.desk.approve(&id);
    let mut progress = 1;
    let last = loop {
        let message = data(&stream.event().expect("an answer comes last"));
        if message["method"] != "notifications/progress" {
            break message;
        }
        let next = message["params"]["progress"].as_i64().unwrap();
        assert!(next > progress && next < 100, "{message}");
        progress = next;
    };
    assert_eq!(last, json!({"jsonrpc":"2.0","id":5,"result":{"content":[{"type":"text","text":"done"}]}}));
    assert_eq!(stream.event(), None);
    assert_eq!(tool_calls(&stage.web), 1);
}

#[test]
fn a_stream_of_progress_ends_in_the_428_too() {
    let stage = HeldStage::new(SHORT);
    let web = stage.at_web();
    let mut stream = stage.gateway.open(&web.post(with_progress(5, "7")));
    assert_eq!(data(&stream.event().unwrap())["params"]["progressToken"], 7);
    let last = data(&stream.event().unwrap());
    assert_eq!((&last["id"], &last["error"]["code"]), (&json!(5), &json!(428)), "{last}");
    assert_eq!(stream.event(), None);
    // Who takes no event stream, or asks for no progress, is answered in JSON.
    let plain = web.post(with_progress(5, "8")).without("accept").header("Accept", "application/json");
    assert_eq!(stage.gateway.send(&plain).code(), 428);
    // One who hangs up takes nothing back.
    drop(stage.gateway.open(&web.post(with_progress(5, "9"))));
    let id = stage.waiting();
    stage.desk.approve(&id);
    stage.reached(&id, "executed");
}

#[test]
fn a_waiting_call_is_taken_back_by_its_id() {
    let stage = HeldStage::new(LONG);
    let web = stage.at_web();
    let cancelled = |agent: &Agent, id: u32| {
        agent.send(format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#
        ))
    };
    let stranger = stage.other_key("desktop", "user", "web");
    let mut stream = stage.gateway.open(&web.post(with_progress(31, "1")));
    assert!(stream.event().unwrap().contains("waits for approval"));
    let id = stage.waiting();
    // Another id and another agent's notification are for the upstream, as ever.
    assert_eq!(cancelled(&web, 32).status, 202);
    assert_eq!(cancelled(&stage.gateway.agent(&stranger, "web"), 31).status, 202);
    assert_eq!(stage.web.count(), 2);
    assert_eq!(stage.state(&id)["status"], "pending");
    assert_eq!(cancelled(&web, 31).status, 202);
    let last = eventually("the answer", || {
        let message = data(&stream.event().expect("an answer comes last"));
        (message["method"] != "notifications/progress").then_some(message)
    });
    assert_eq!((&last["id"], &last["error"]["code"]), (&json!(31), &json!(410)), "{last}");
    let said = last["error"]["message"].as_str().unwrap();
    assert!(said.starts_with(&format!("Cancelled (410): {id} was taken back. Nothing was sent.")), "{said}");
    assert_eq!(stage.web.count(), 2, "ours did not travel on");
    assert_eq!(stage.state(&id)["status"], "cancelled");
}

#[test]
fn the_tool_is_listed_once_and_only_where_calls_can_be_held() {
    let web = Upstream::start(paged);
    let stage = HeldStage::with(Home::new(HELD_POLICY).set(SHORT), web, Upstream::mcp());
    let agent = stage.at_web();
    let first = agent.request("tools/list", "{}");
    assert_eq!(
        first.json()["result"],
        json!({"tools":[{"name":"echo"}],"nextCursor":"2"}),
        "theirs of that name is out of reach"
    );
    let last = agent.request("tools/list", r#"{"cursor":"2"}"#);
    let ours = r#"{"name":"toolgate_wait","description":"Get the result of a call that is held for a person's approval. Waits a short while. Give the approval id from the error. Asking never changes or repeats the call.","inputSchema":{"type":"object","properties":{"approval":{"type":"string"}},"required":["approval"]}}"#;
    assert_eq!(last.text(), rpc("1", &format!(r#"{{"tools":[{{"name":"read_note"}},{ours}] }}"#)));
    let reader = stage.other_key("reader", "reader", "web");
    let list = stage.gateway.agent(&reader, "web").request("tools/list", r#"{"cursor":"2"}"#);
    assert_eq!(list.text(), rpc("1", r#"{"tools":[{"name":"read_note"}] }"#));
}

#[test]
fn the_stated_intent_is_shown_to_people_and_to_nobody_else() {
    let stage = HeldStage::new(SHORT);
    let intent = |id: &str| stage.desk.show(id).held.intent;
    let web = stage.at_web();
    let message = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note","arguments":{},"_meta":{"a":1,"toolgate/intent":"tidy up"}}}"#;
    let by_meta = approval(&web.send(message));
    assert_eq!(intent(&by_meta).as_deref(), Some("tidy up"));
    let by_header =
        approval(&stage.gateway.send(&stage.refund(5000).header("X-Toolgate-Intent", "charged twice")));
    assert_eq!(intent(&by_header).as_deref(), Some("charged twice"));
    let envelope =
        r#"{"service":"api","method":"POST","path":"/v1/refunds","body":{"amount":6000},"intent":"inside"}"#;
    let request = stage.request("POST", "/proxy").body(envelope);
    let both = approval(&stage.gateway.send(&request.clone().header("X-Toolgate-Intent", "outside")));
    assert_eq!(intent(&both).as_deref(), Some("outside"), "the header wins");
    let long = "x".repeat(4 * 1024 + 1);
    assert_eq!(stage.gateway.send(&stage.refund(7000).header("X-Toolgate-Intent", &long)).status, 400);
    assert_eq!(web.send(message.replace("tidy up", &long)).status, 400);
    assert_eq!(web.send(message.replace("\"tidy up\"", "7")).status, 400);
    for id in [&by_meta, &by_header, &both] {
        stage.desk.approve(id);
        stage.reached(id, "executed");
    }
    for hit in stage.api.hits().iter().chain(&stage.web.hits()) {
        let seen = format!("{}{}", hit.head, String::from_utf8_lossy(&hit.body)).to_lowercase();
        assert!(!seen.contains("intent") && !seen.contains("tidy"), "{seen}");
    }
    assert_eq!((stage.api.count(), stage.web.count()), (2, 1));
}
