//! What is told of decisions: the rule, the part of its condition, limits and risk.

use wire::{Limits, json};

use super::*;
use crate::policy::fixture::{NOON, agent, world};
use crate::risk::RiskScore;

const POLICY: &str = r#"version: 1
roles:
  user:
    allow:
      - { service: files, tools: ["read_*", "list_*"] }
      - { name: notes, service: notes, tools: ["*"], resources: ["file:///**"] }
deny:
  - { name: no deletes, service: "*", tools: ["delete_*"] }
limits:
  overrides:
    - { service: notes, tools: ["search_*", "find_*"], limit: 5/1m }
"#;

fn told(service: &str, action: Action) -> String {
    let world = world(POLICY, &["files", "notes", "other"]);
    let agent = agent("user", &["files", "notes"]);
    let facts = Facts::new(&agent, service, "tools/call", &action, NOON.parse().unwrap());
    let explanation =
        explain(&world, &agent, service, (&action, "tools/call"), &facts, &KnownRisk::default());
    let limits: Vec<_> = explanation.limits.iter().map(ToString::to_string).collect();
    let rule =
        explanation.rule.map_or("none".into(), |(name, line)| format!("{name}:{}", line.unwrap_or_default()));
    format!("{} | {rule} | {} | {}", explanation.effect.as_str(), explanation.reason, limits.join(", "))
}

fn tool(name: &str) -> Action {
    Action::Tool(name.to_owned())
}

#[test]
fn an_allowed_call_names_its_rule_and_limits() {
    assert_eq!(
        told("files", tool("read_text_file")),
        "allow | roles.user.allow[0]:5 | `read_*` matches; no deny or approve rule does | 60/1m per key, 20/1m per tool"
    );
    assert_eq!(
        told("notes", tool("find_all")),
        "allow | notes:6 | `*` matches; no deny or approve rule does | 60/1m per key, 5/1m for `search_*`, `find_*` on notes"
    );
    assert_eq!(
        told("files", Action::Service),
        "allow | none | open to every role on the services in its scope; lists show only what is allowed | \
         600/1m housekeeping per key"
    );
}

#[test]
fn a_condition_is_told_with_the_values_that_it_saw() {
    let policy = r#"version: 1
roles:
  user:
    allow:
      - { service: billing, tools: [refund], when: args.amount <= 1000 }
      - { service: billing, tools: [refund, pay], when: args.amount <= 10 && args.vip }
deny:
  - { name: strangers, service: "*", tools: [pay], when: 'args.to != "ada"' }
"#;
    let told = |tool_name: &str, args: &str| {
        let (world, agent) = (world(policy, &["billing"]), agent("user", &["billing"]));
        let action = tool(tool_name);
        let args = json::read(args.as_bytes(), &Limits::of_bytes(args.len())).unwrap();
        let facts =
            Facts::new(&agent, "billing", "tools/call", &action, NOON.parse().unwrap()).with_args(Ok(args));
        let told = explain(&world, &agent, "billing", (&action, "tools/call"), &facts, &KnownRisk::default());
        let rule = told.rule.map_or("none".into(), |(name, _)| name.to_string());
        format!("{} | {rule} | {}", told.effect.as_str(), told.reason)
    };
    for (tool_name, args, expected) in [
        (
            "refund",
            r#"{"amount":500}"#,
            "allow | roles.user.allow[0] | `refund` matches and `args.amount <= 1000` is true, args.amount = 500; \
             no deny or approve rule does",
        ),
        (
            "refund",
            r#"{"amount":5000}"#,
            "deny | none | silence means no: `refund` of roles.user.allow[0] matches, but `args.amount <= 1000` is \
             false, args.amount = 5000; `refund` of roles.user.allow[1] matches, but `args.amount <= 10` is false, \
             args.amount = 5000",
        ),
        (
            "pay",
            r#"{"to":"eve"}"#,
            "deny | strangers | `pay` matches and `args.to != \"ada\"` is true, args.to = \"eve\"; this deny binds \
             every role and beats every allow",
        ),
        (
            "pay",
            "{}",
            "deny | strangers | `pay` matches and `args.to != \"ada\"` has no answer: `args.to` is missing, which \
             counts against the caller; this deny binds every role and beats every allow",
        ),
        (
            "pay",
            r#"{"to":"ada"}"#,
            "deny | none | silence means no: `pay` of roles.user.allow[1] matches, but `args.amount <= 10` has no \
             answer: `args.amount` is missing; `args.vip` is missing",
        ),
    ] {
        assert_eq!(told(tool_name, args), expected);
    }
}

#[test]
fn a_held_call_says_whom_it_needs_and_why() {
    let policy = r#"version: 1
roles:
  user:
    allow:
      - { service: billing, tools: ["pay*"] }
    approve:
      - name: big refunds
        service: billing
        tools: [refund]
        when: args.amount > 1000
        approvals: 2
approve:
  - { service: "*", tools: ["pay_*"] }
"#;
    let told = |tool_name: &str, args: &str| {
        let (world, agent) = (world(policy, &["billing"]), agent("user", &["billing"]));
        let action = tool(tool_name);
        let args = json::read(args.as_bytes(), &Limits::of_bytes(args.len())).unwrap();
        let facts =
            Facts::new(&agent, "billing", "tools/call", &action, NOON.parse().unwrap()).with_args(Ok(args));
        let told = explain(&world, &agent, "billing", (&action, "tools/call"), &facts, &KnownRisk::default());
        let limits = told.limits.len();
        let rule =
            told.rule.map_or("none".into(), |(name, line)| format!("{name}:{}", line.unwrap_or_default()));
        format!("{} | {rule} | {} | {limits}", told.effect.as_str(), told.reason)
    };
    for (tool_name, args, expected) in [
        (
            "refund",
            r#"{"amount":5000}"#,
            "hold | big refunds:7 | needs 2 operators: `args.amount > 1000` is true, args.amount = 5000 | 2",
        ),
        (
            "refund",
            "{}",
            "hold | big refunds:7 | needs 2 operators: `args.amount > 1000` has no answer: `args.amount` is missing, \
             which counts against the caller | 2",
        ),
        (
            "refund",
            r#"{"amount":500}"#,
            "deny | none | silence means no: `refund` of big refunds matches, but `args.amount > 1000` is false, \
             args.amount = 500 | 0",
        ),
        ("pay_all", "{}", "hold | approve[0]:13 | needs 1 operator: `pay_*` matches | 2"),
        ("pay", "{}", "allow | roles.user.allow[0]:5 | `pay*` matches; no deny or approve rule does | 2"),
        (
            "sell",
            "{}",
            "deny | none | silence means no: role `user` has 2 rules for billing, and `pay*`, `refund` do not match | 0",
        ),
    ] {
        assert_eq!(told(tool_name, args), expected);
    }
}

#[test]
fn a_refused_call_says_what_is_missing() {
    for (service, action, reason) in [
        (
            "files",
            tool("write_file"),
            "silence means no: role `user` has 1 rule for files, and `read_*`, `list_*` do not match",
        ),
        (
            "files",
            Action::Prompt("x".into()),
            "silence means no: role `user` has 1 rule for files, and it names no prompts",
        ),
        (
            "notes",
            Action::Resource("http://x".into()),
            "silence means no: role `user` has 1 rule for notes, and `file:///**` does not match",
        ),
        (
            "notes",
            Action::Resource("file:///a/../b".into()),
            "the URI has `.` or `..` in its path, so what is matched may not be what is read",
        ),
        ("other", tool("x"), "`other` is not in the scope of `tester`, which reaches files, notes"),
        ("nowhere", tool("x"), "there is no service `nowhere`; all: toolgate services list"),
        (
            "files",
            Action::Unknown,
            "no supported version of MCP has this method, and `files` does not say `unknown_methods: pass`",
        ),
    ] {
        assert_eq!(told(service, action), format!("deny | none | {reason} | "));
    }
    assert_eq!(
        told("notes", tool("delete_note")),
        "deny | no deletes:8 | `delete_*` matches; this deny binds every role and beats every allow | "
    );
}

#[test]
fn risk_has_its_say_about_what_is_allowed() {
    let policy = r#"
version: 1
roles:
  user:
    allow:
      - { service: notes, tools: [plain] }
      - { service: notes, tools: [heavy], risk: 0.6 }
      - { service: notes, tools: [ignored], risk: ignore }
      - { service: notes, tools: [worst], risk: 0.95 }
    approve:
      - { name: asked, service: notes, tools: [asked] }
"#;
    let score = |thousandths| Some(RiskScore::from_thousandths(thousandths));
    let told = |tool_name: &str, approve_at, has_model| {
        let (world, agent) = (world(policy, &["notes"]), agent("user", &["notes"]));
        let action = tool(tool_name);
        let facts = Facts::new(&agent, "notes", "tools/call", &action, NOON.parse().unwrap());
        let thresholds = Thresholds { approve_at, refuse_at: score(900) };
        let known = KnownRisk { thresholds, has_model };
        let told = explain(&world, &agent, "notes", (&action, "tools/call"), &facts, &known);
        format!("{} | {}", told.effect.as_str(), told.reason)
    };
    for (tool_name, approve_at, has_model, expected) in [
        (
            "plain",
            score(500),
            false,
            "allow | `plain` matches; no deny or approve rule does; risk 0.30 stays under approve_at 0.50",
        ),
        (
            "plain",
            score(500),
            true,
            "allow | `plain` matches; no deny or approve rule does; risk 0.30 stays under approve_at 0.50, unless the model raises it",
        ),
        ("plain", None, false, "allow | `plain` matches; no deny or approve rule does"),
        (
            "plain",
            score(300),
            false,
            "hold | needs 1 operator: it is allowed, and its risk 0.30 = tool 0.30 reaches approve_at 0.30",
        ),
        (
            "heavy",
            score(500),
            false,
            "hold | needs 1 operator: it is allowed, and its risk 0.60 = rule 0.60 reaches approve_at 0.50",
        ),
        (
            "ignored",
            score(100),
            false,
            "allow | `ignored` matches; no deny or approve rule does; `risk: ignore` lets it pass however risky it is",
        ),
        ("worst", None, false, "deny | its risk 0.95 = rule 0.95 reaches refuse_at 0.90"),
        ("asked", score(500), false, "hold | needs 1 operator: `asked` matches"),
    ] {
        assert_eq!(told(tool_name, approve_at, has_model), expected);
    }
}
