//! Rounds of questions within one call (2026-07-28): what an upstream asks, what the client answers, and the state that
//! it hands around are theirs. They count for which call this is, and a state of ours does not exist.

use crate::harness::*;

/// A state that looks like anything, ours included.
const STATES: [&str; 4] =
    [r#""v1.opaque\u002e \/""#, r#""ap_0000000000""#, r#""eyJhbGciOiJub25lIn0.e30.""#, "\"\""];

fn asking(hit: &Hit) -> Vec<Step> {
    let id = hit.id().unwrap_or_default();
    let body = String::from_utf8(hit.body.clone()).unwrap();
    match body.contains("inputResponses") {
        true => json(rpc(&id, r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#)),
        false => json(rpc(
            &id,
            &format!(
                r#"{{"resultType":"input_required" ,"inputRequests":{{"a":{{"method":"elicitation/create","params":{{"x":1.0}}}}}},"requestState":{}}}"#,
                STATES[0]
            ),
        )),
    }
}

#[test]
fn questions_answers_and_state_pass_byte_for_byte() {
    let stage = Stage::behind(Home::new(POLICY), Upstream::start(asking));
    let agent = stage.gateway.modern(&stage.key, "web");
    let asked = agent.call("echo", "{}");
    assert_eq!(
        asked.text(),
        rpc(
            "1",
            &format!(
                r#"{{"resultType":"input_required" ,"inputRequests":{{"a":{{"method":"elicitation/create","params":{{"x":1.0}}}}}},"requestState":{}}}"#,
                STATES[0]
            )
        )
    );
    // A forged one is for the upstream to find out.
    for (state, method) in STATES.iter().zip(["tools/call", "tools/call", "prompts/get", "resources/read"]) {
        let what = match method {
            "tools/call" => r#""name":"echo","arguments":{}"#,
            "prompts/get" => r#""name":"hello""#,
            _ => r#""uri":"file:///public/a""#,
        };
        let members = format!(
            r#"{what},"inputResponses":{{"a":{{ "action":"accept","content":{{"n":1E5}}}}}} ,"requestState":{state}"#
        );
        let reply = agent.request(method, &members);
        assert_eq!(reply.verdict(), 200, "{}", reply.text());
        let body = String::from_utf8(stage.web.last().body).unwrap();
        assert!(body.contains(&members), "{body}");
    }
}

#[test]
fn a_held_round_is_a_call_of_its_own() {
    let stage = HeldStage::with(Home::new(HELD_POLICY).set(SHORT), Upstream::start(asking), Upstream::mcp());
    let agent = stage.gateway.modern(&stage.key, "web");
    let held = |responses: &str, state: &str| {
        approval(&agent.request(
            "tools/call",
            &format!(
                r#""name":"write_note","arguments":{{}},"inputResponses":{responses},"requestState":{state}"#
            ),
        ))
    };
    let first = approval(&agent.call("write_note", "{}"));
    let answered = held(r#"{"a":{"action":"accept"}}"#, STATES[0]);
    assert_ne!(answered, first, "answers make another call");
    assert_ne!(held(r#"{"a":{"action":"decline"}}"#, STATES[0]), answered);
    assert_ne!(held(r#"{"a":{"action":"accept"}}"#, STATES[1]), answered, "the state counts too");
    assert_eq!(held(r#"{"a":{ "action" : "accept"}}"#, STATES[0]), answered, "its spelling does not");
    stage.desk.approve(&answered);
    stage.reached(&answered, "executed");
    let result = stage.result(&answered);
    assert!(result.text().contains("done"), "{}", result.text());
    // Approved without answers, it is asked for them: that answer is the call's, and the next round is held by itself.
    stage.desk.approve(&first);
    stage.reached(&first, "executed");
    assert!(stage.result(&first).text().contains("input_required"));
    assert_eq!(stage.web.count(), 2);
}
