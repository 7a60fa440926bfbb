//! An agent may ask what would become of a call: it is told what the real one would be, and nothing happens.

use serde_json::{Value, json};

use crate::harness::*;

fn explained(stage: &HeldStage, question: &str) -> Value {
    let reply = stage.gateway.send(&stage.request("POST", "/v1/explain").body(question));
    assert_eq!(reply.status, 200, "{question}: {}", reply.text());
    reply.json()
}

#[test]
fn each_effect_is_told_with_its_rule_and_nothing_happens() {
    let stage = HeldStage::new(SHORT);
    let refund = |amount: u32| {
        format!(r#"{{"service":"api","method":"POST","path":"/v1/refunds","body":{{"amount":{amount}}}}}"#)
    };
    for (question, effect, rule, reason) in [
        (refund(500), "allow", json!("roles.user.allow[1]"), "an allow rule matches"),
        (refund(5000), "hold", json!("big refunds"), "wants a person's approval"),
        (
            r#"{"service":"api","method":"POST","path":"/v1/refunds"}"#.into(),
            "hold",
            json!("big refunds"),
            "wants a person's approval: its condition has no answer for this call, which counts as a match",
        ),
        (
            r#"{"service":"api","method":"PATCH","path":"/v1/risky"}"#.into(),
            "hold",
            json!("risk.approve_at"),
            "wants a person's approval",
        ),
        (
            r#"{"service":"api","method":"DELETE","path":"/v1/x"}"#.into(),
            "deny",
            json!("no deletes"),
            "a deny binds every role",
        ),
        (
            r#"{"service":"api","method":"PUT","path":"/v1/x"}"#.into(),
            "deny",
            Value::Null,
            "silence means no",
        ),
        (
            r#"{"service":"web","tool":"echo"}"#.into(),
            "allow",
            json!("roles.user.allow[0]"),
            "an allow rule matches",
        ),
        (
            r#"{"service":"web","tool":"write_note","args":{"a":1}}"#.into(),
            "hold",
            json!("writes"),
            "wants a person's approval",
        ),
        (
            r#"{"service":"web","tool":"delete_note","args":{}}"#.into(),
            "deny",
            json!("no deletes"),
            "a deny binds every role",
        ),
        (r#"{"service":"nowhere","tool":"x"}"#.into(), "deny", Value::Null, "not in scope"),
    ] {
        let told = explained(&stage, &question);
        assert_eq!((&told["effect"], &told["rule"]), (&json!(effect), &rule), "{question}: {told}");
        assert_eq!(told["reason"], reason, "{question}");
        assert!(told["next"].as_str().unwrap().ends_with('.'), "{told}");
        assert!(!told.to_string().contains("1000") && !told.to_string().contains("5000"), "{told}");
    }
    assert_eq!((stage.api.count(), stage.web.count()), (0, 0));
    assert!(stage.pending().is_empty());
    assert!(
        stage.gateway.events().iter().all(|event| event["kind"] == "operator" || event["kind"] == "system")
    );
}

#[test]
fn a_question_is_read_as_strictly_as_a_call() {
    let stage = HeldStage::new(SHORT);
    let ask =
        |question: &str| stage.gateway.send(&stage.request("POST", "/v1/explain").body(question)).status;
    for bad in [
        "",
        "[]",
        r#"{"service":"web"}"#,
        r#"{"tool":"x"}"#,
        r#"{"service":"web","tool":7}"#,
        r#"{"service":"web","tool":"x","args":[1]}"#,
        r#"{"service":"web","tool":"x","method":"GET"}"#,
        r#"{"service":"web","tool":"x","tool":"y"}"#,
        r#"{"service":"api","method":"GET","path":"/v1/%2e%2e/x"}"#,
        r#"{"service":"api","method":"GET","path":"/v1/x","more":1}"#,
    ] {
        assert_eq!(ask(bad), 400, "{bad}");
    }
    for (question, words) in [
        (
            r#"{"service":"web","method":"GET","path":"/v1/x"}"#,
            ("Service `web` is not reached here. Nothing was sent.", "Use /mcp/web instead."),
        ),
        (
            r#"{"service":"api","tool":"x"}"#,
            ("Service `api` is not reached here. Nothing was sent.", "Use /http/api/… instead."),
        ),
    ] {
        let told = stage.gateway.send(&stage.request("POST", "/v1/explain").body(question)).json();
        assert_eq!((told["detail"].as_str(), told["next"].as_str()), (Some(words.0), Some(words.1)));
        assert_eq!(ask(question), 404, "the wrong door");
    }
    assert_eq!(stage.gateway.send(&Request::new("POST", "/v1/explain").body("{}")).status, 401);
    let reply = stage.send("GET", "/v1/explain");
    assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")));
}
