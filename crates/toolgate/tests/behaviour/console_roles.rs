//! Who may do what at the console: every route of the API, for every role, for nobody, and for an agent.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Browser, Home, POLICY, Request, Stage, send};

/// What an answer says about who asked: they may not come in, may not do it, or whatever else it says is about the
/// request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    NoSession,
    RoleTooLow,
    LetIn,
}

fn verdict(status: u16, text: &str) -> Verdict {
    match status {
        401 => Verdict::NoSession,
        403 if text.contains("takes the role") => Verdict::RoleTooLow,
        _ => Verdict::LetIn,
    }
}

/// A request to a route, with something in the place of its braces and an empty object for a body.
fn request(method: &str, path: &str) -> Request {
    let path = path
        .replace("{name}", "nothing")
        .replace("{id}", "ap_0000000000")
        .replace("{email}", "x%40example.com");
    let request = Request::new(method, &path.replace("{call}", "c_000000000000"));
    if method == "GET" { request } else { request.header("Content-Type", "application/json").body("{}") }
}

#[test]
fn every_route_is_for_its_role_and_above_and_for_nobody_else() {
    let stage = Stage::new();
    let gateway = &stage.gateway;
    let console = gateway.console();
    let document = send(console, &Request::new("GET", "/api/openapi.json"));
    assert_eq!(document.status, 200);
    let document = document.json();
    assert_eq!(document["openapi"], "3.1.0");

    let ranks = ["viewer", "approver", "owner"];
    let tokens: BTreeMap<&str, String> =
        ranks.iter().map(|role| (*role, gateway.operator_token(&gateway.operator(role, role)))).collect();
    let mut for_anyone = Vec::new();
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        // It does not end.
        if path == "/api/events" {
            continue;
        }
        for (method, operation) in operations.as_object().unwrap() {
            let method = method.to_uppercase();
            let ask = |key: Option<&str>| {
                let request = request(&method, path);
                let reply = send(
                    console,
                    &match key {
                        Some(key) => request.key(key),
                        None => request,
                    },
                );
                verdict(reply.status, &reply.text())
            };
            tried += 1;
            let Some(least) = operation["x-role"].as_str() else {
                for_anyone.push(format!("{method} {path}"));
                continue;
            };
            let least = ranks.iter().position(|role| *role == least).unwrap();
            assert_eq!(ask(None), Verdict::NoSession, "{method} {path}");
            assert_eq!(ask(Some(&stage.key)), Verdict::NoSession, "{method} {path} with an agent's key");
            assert_eq!(ask(Some("opt_00000000_x_y")), Verdict::NoSession, "{method} {path}");
            for (rank, role) in ranks.iter().enumerate() {
                let expected = if rank < least { Verdict::RoleTooLow } else { Verdict::LetIn };
                assert_eq!(ask(Some(&tokens[role])), expected, "{method} {path} as {role}");
            }
        }
    }
    assert!(tried > 35, "{tried}");
    // This list may only shrink.
    assert_eq!(
        for_anyone,
        [
            "POST /api/login",
            "POST /api/refresh",
            "POST /api/logout",
            "POST /api/welcome",
            "GET /api/openapi.json"
        ]
    );
}

#[test]
fn changes_are_recorded_under_the_name_of_who_made_them() {
    let home = Home::new(POLICY);
    let ada = home.operator("ada", "owner");
    let gateway = home.serve();
    let mut browser = Browser::of(&gateway, &ada);
    let made = browser.write("POST", "/api/agents", &json!({ "agent": "robot", "role": "user" }));
    assert_eq!(made.status, 201, "{}", made.text());
    let events = gateway.events();
    let change = events.iter().find(|event| event["action"] == "agents.create").unwrap();
    assert_eq!((&change["operator"], &change["agent"]), (&json!(ada), &json!("robot")), "{change}");
}

#[test]
fn a_viewer_sees_redacted_arguments_and_an_approver_all_that_is_sent() {
    let stage = crate::harness::HeldStage::new(crate::harness::SHORT);
    let id = stage.held_refund(5_000);
    let show = |role: &str| {
        let token = stage.gateway.operator_token(&stage.gateway.operator(role, role));
        let request = Request::new("GET", &format!("/api/approvals/{id}")).key(&token);
        send(stage.gateway.console(), &request).json()
    };
    let (viewer, approver) = (show("viewer"), show("approver"));
    assert_eq!(viewer.get("sends"), None, "{viewer}");
    assert_eq!(viewer["because"], Value::Null);
    assert_eq!(approver["sends"]["method"], "POST", "{approver}");
    assert!(approver["sends"]["body"].to_string().contains("5000"), "{approver}");
    assert_eq!(viewer["digest"], approver["digest"]);
}
