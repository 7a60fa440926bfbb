//! Rules with conditions: what is false does not match, and what has no answer counts against the caller.

use wire::{Limits, json};

use super::*;
use crate::policy::{Unusable, fixture::NOON};

const CONDITIONAL: &str = r#"version: 1
roles:
  user:
    allow:
      - { service: billing, tools: [refund], when: args.amount <= 1000 }
      - { name: euros, service: billing, tools: [refund], when: args.currency == "EUR" }
      - { service: billing, tools: ["read_*", pay] }
      - { service: billing, resources: ["note://**"], when: agent.name == "tester" }
      - { service: billing, requests: ["POST /v1/refunds"], when: args.amount < 10 }
      - { service: billing, requests: ["GET /v1/**"], when: 'query.page != "0"' }
    deny:
      - { service: billing, tools: [pay], when: args.to == "mallory" }
deny:
  - { name: nights, service: "*", tools: [read_night], when: now.getHours() < 6 }
"#;

fn verdict_of(action: &Action, args: Result<&str, Unusable>) -> Verdict {
    let world = world(CONDITIONAL, &["billing"]);
    let agent = agent("user", &["billing"]);
    let args = args.map(|text| json::read(text.as_bytes(), &Limits::of_bytes(text.len())).unwrap());
    let facts = Facts::new(&agent, "billing", "tools/call", action, NOON.parse().unwrap()).with_args(args);
    judge(&world, &agent, "billing", action, Args::Known(&facts))
}

fn open(action: &Action) -> Verdict {
    judge(&world(CONDITIONAL, &["billing"]), &agent("user", &["billing"]), "billing", action, Args::Unknown)
}

/// The rule that allows, or the rule and whether it failed.
fn told(tool_name: &str, args: &str) -> Result<String, String> {
    match verdict_of(&tool(tool_name), Ok(args)) {
        Verdict::Allow { rule, .. } => Ok(rule.unwrap().to_string()),
        Verdict::Never(refused) => Err(refused.reason().into_owned()),
        Verdict::Ask(wants) => Ok(format!("asks: {}", wants.rule)),
        Verdict::Depends => panic!("everything is known"),
    }
}

#[test]
fn where_a_condition_is_false_another_allow_must_match() {
    assert_eq!(told("refund", r#"{"amount":500}"#).unwrap(), "roles.user.allow[0]");
    assert_eq!(told("refund", r#"{"amount":5000,"currency":"EUR"}"#).unwrap(), "euros");
    assert_eq!(
        told("refund", r#"{"amount":5000,"currency":"USD"}"#).unwrap_err(),
        "the condition of rule `roles.user.allow[0]` is false"
    );
}

#[test]
fn an_error_counts_against_the_caller() {
    // An allow does not apply, though another one may.
    let no_answer = "the condition of rule `roles.user.allow[0]` has no answer for this call";
    assert_eq!(told("refund", "{}").unwrap_err(), no_answer);
    assert_eq!(told("refund", r#"{"amount":"5"}"#).unwrap_err(), no_answer);
    assert_eq!(told("refund", r#"{"currency":"EUR"}"#).unwrap(), "euros");
    // A deny does.
    assert_eq!(told("pay", r#"{"to":"ada"}"#).unwrap(), "roles.user.allow[2]");
    assert_eq!(told("pay", r#"{"to":"mallory"}"#).unwrap_err(), "a deny rule matches");
    let counts =
        "the condition of rule `roles.user.deny[0]` has no answer for this call, which counts as a match";
    assert_eq!(told("pay", "{}").unwrap_err(), counts);
    assert_eq!(told("read_night", "{}").unwrap(), "roles.user.allow[2]", "it is noon");
    for why in [Unusable::Missing, Unusable::Type, Unusable::Compressed, Unusable::Unreadable] {
        assert!(matches!(
            verdict_of(&tool("pay"), Err(why)),
            Verdict::Never(Refused::Denied { failure: Some(_), .. })
        ));
        assert!(matches!(
            verdict_of(&tool("refund"), Err(why)),
            Verdict::Never(Refused::Unmet { failure: Some(_), .. })
        ));
        assert!(
            matches!(verdict_of(&tool("read_it"), Err(why)), Verdict::Allow { .. }),
            "no condition, no question"
        );
    }
}

#[test]
fn without_arguments_the_judge_says_what_may_be() {
    for (action, depends) in [
        (tool("refund"), true),
        (tool("pay"), true),
        (tool("read_night"), true),
        (tool("read_it"), false),
        (resource("note://1"), true),
    ] {
        assert_eq!(open(&action) == Verdict::Depends, depends, "{action:?}");
        assert_ne!(open(&action), Verdict::Never(Refused::Silence));
    }
    assert_eq!(open(&tool("write")), Verdict::Never(Refused::Silence));
    let world = world(CONDITIONAL, &["billing"]);
    let shown = |kind, name| may_list(&world, &agent("user", &["billing"]), "billing", kind, name);
    assert!(
        shown(ListKind::Tools, "refund") && shown(ListKind::Tools, "pay") && !shown(ListKind::Tools, "write")
    );
    assert!(shown(ListKind::Resources, "note://1") && shown(ListKind::ResourceTemplates, "note://{id}"));
}

#[test]
fn a_body_is_needed_only_where_a_condition_reads_it() {
    let world = world(CONDITIONAL, &["billing"]);
    let agent = agent("user", &["billing"]);
    let rights = Rights::of(&world, &agent, "billing").unwrap();
    let request = |text: &str| Action::Request(text.to_owned());
    assert!(rights.needs_args(&request("POST /v1/refunds")) && rights.needs_args(&tool("refund")));
    assert!(!rights.needs_args(&request("GET /v1/x")) && !rights.needs_args(&request("PUT /v1/refunds")));
    assert!(!rights.needs_args(&tool("read_night")) && !rights.needs_args(&Action::Service));
}
