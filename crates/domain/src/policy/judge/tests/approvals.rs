//! Rules that want people: what they grant, what they ask for together, and who may come to wait.

use std::time::Duration;

use wire::{Limits, json};

use super::*;
use crate::{policy::fixture::NOON, risk::RiskScore, service::Upstream};

const POLICY: &str = r#"version: 1
roles:
  admin: { allow: ["*"] }
  user:
    allow:
      - { service: billing, tools: ["read_*", pay, refund], resources: ["note://**"] }
    approve:
      - name: big refunds
        service: billing
        tools: [refund]
        when: args.amount > 1000
        approvals: 2
        decide_within: 2h
      - { name: transfers, service: billing, tools: ["transfer_*"], resources: ["vault://**"] }
  readonly: {}
approve:
  - { name: payments, service: "*", tools: [pay, "transfer_*"], decide_within: 1h, execute_within: 5m, risk: 0.6 }
  - { name: secrets, service: billing, resources: ["note://secret/**", "vault://gold/**"], approvals: 3 }
  - { name: exports, service: billing, tools: [export] }
deny:
  - { service: billing, tools: [transfer_all] }
"#;

fn ask(policy: &str, role: &str, action: &Action, args: &str) -> Verdict {
    let (world, agent) = (world(policy, &["billing"]), agent(role, &["billing"]));
    let args = json::read(args.as_bytes(), &Limits::of_bytes(args.len())).unwrap();
    let facts =
        Facts::new(&agent, "billing", "tools/call", action, NOON.parse().unwrap()).with_args(Ok(args));
    judge(&world, &agent, "billing", action, Args::Known(&facts))
}

/// What is wanted, on one line.
fn told(role: &str, action: &Action, args: &str) -> String {
    match ask(POLICY, role, action, args) {
        Verdict::Ask(wants) => {
            let because = wants.because.unwrap_or_default();
            format!("{} by {} at {} {because}", wants.rule, wants.quorum, wants.place).trim_end().to_owned()
        }
        Verdict::Allow { rule, .. } => format!("allow {}", rule.unwrap()),
        Verdict::Never(refused) => refused.reason().into_owned(),
        Verdict::Depends => panic!("everything is known"),
    }
}

#[test]
fn an_approve_of_a_role_grants_after_approval() {
    assert_eq!(told("user", &tool("transfer_one"), "{}"), "transfers by 1 at policy.yaml:14");
    assert_eq!(told("user", &tool("transfer_all"), "{}"), "a deny binds every role");
    assert_eq!(told("readonly", &tool("transfer_one"), "{}"), "silence means no");
}

#[test]
fn where_its_condition_is_false_an_allow_must_match() {
    let refund = tool("refund");
    assert_eq!(
        told("user", &refund, r#"{"amount":5000}"#),
        "big refunds by 2 at policy.yaml:8 args.amount > 1000, args.amount = 5000"
    );
    assert_eq!(told("user", &refund, r#"{"amount":500}"#), "allow roles.user.allow[0]");
    let without_allow = POLICY.replace("pay, refund]", "pay]");
    let Verdict::Never(refused) = ask(&without_allow, "user", &refund, r#"{"amount":500}"#) else {
        panic!("nothing allows it")
    };
    assert_eq!(refused.reason(), "the condition of rule `big refunds` is false");
}

#[test]
fn a_condition_without_an_answer_asks() {
    let Verdict::Ask(wants) = ask(POLICY, "user", &tool("refund"), "{}") else {
        panic!("it counts against the caller")
    };
    assert_eq!(wants.failure.as_ref().map(ToString::to_string).as_deref(), Some("`args.amount` is missing"));
    assert_eq!(
        wants.because.as_deref(),
        Some("`args.amount > 1000` has no answer: `args.amount` is missing")
    );
    let Verdict::Ask(wants) = ask(POLICY, "user", &tool("refund"), r#"{"amount":5000}"#) else {
        panic!("it asks")
    };
    assert_eq!(wants.failure, None);
}

#[test]
fn an_approve_for_every_role_grants_nothing_and_binds_admin() {
    assert_eq!(told("admin", &tool("pay"), "{}"), "payments by 1 at policy.yaml:17");
    assert_eq!(told("user", &tool("pay"), "{}"), "payments by 1 at policy.yaml:17");
    assert_eq!(told("readonly", &tool("pay"), "{}"), "silence means no");
    assert_eq!(told("user", &tool("export"), "{}"), "silence means no");
    assert_eq!(told("admin", &tool("export"), "{}"), "exports by 1 at policy.yaml:19");
}

#[test]
fn of_several_rules_the_strictest_of_each_counts() {
    let Verdict::Ask(wants) = ask(POLICY, "user", &tool("transfer_one"), "{}") else { panic!("it asks") };
    // Of the same number of operators, the first in the file is named.
    assert_eq!((wants.rule.as_str(), wants.quorum.get()), ("transfers", 1));
    assert_eq!(wants.decide_within, Some(Duration::from_secs(3_600)));
    assert_eq!(wants.execute_within, Some(Duration::from_secs(300)));
    assert_eq!(wants.risk.floor, Some(RiskScore::from_thousandths(600)));
    let both = POLICY.replace("tools: [pay,", "tools: [refund, pay,");
    let Verdict::Ask(wants) = ask(&both, "user", &tool("refund"), r#"{"amount":5000}"#) else {
        panic!("it asks")
    };
    assert_eq!((wants.rule.as_str(), wants.quorum.get()), ("big refunds", 2));
    assert_eq!(wants.decide_within, Some(Duration::from_secs(3_600)), "the shorter one");
}

#[test]
fn of_several_resources_any_can_ask_for_all() {
    let all = |uris: &[&str]| Action::Resources(uris.iter().map(|uri| (*uri).to_owned()).collect());
    assert_eq!(told("user", &all(&["note://a", "note://b"]), "{}"), "allow roles.user.allow[0]");
    let secrets = "secrets by 3 at policy.yaml:18";
    for uris in [
        &["note://a", "note://secret/b"][..],
        &["note://secret/b", "note://a"],
        &["vault://a", "note://secret/b"],
        &["vault://gold/b", "vault://a", "note://a"],
    ] {
        assert_eq!(told("user", &all(uris), "{}"), secrets, "{uris:?}");
        let (world, agent) = (world(POLICY, &["billing"]), agent("user", &["billing"]));
        let open = judge(&world, &agent, "billing", &all(uris), Args::Unknown);
        assert_eq!(open, ask(POLICY, "user", &all(uris), "{}"), "nothing depends on arguments: {uris:?}");
    }
    assert_eq!(told("user", &all(&["note://a", "vault://a"]), "{}"), "transfers by 1 at policy.yaml:14");
    assert_eq!(told("user", &all(&["vault://a", "file:///a"]), "{}"), "silence means no");
    assert_eq!(
        told("admin", &Action::Resource("note://%73ecret/b".into()), "{}"),
        secrets,
        "another spelling"
    );
}

#[test]
fn lists_show_what_may_be_asked_for() {
    let world = world(POLICY, &["billing"]);
    let shown = |role, kind, name| may_list(&world, &agent(role, &["billing"]), "billing", kind, name);
    for (role, name, expected) in [
        ("user", "refund", true),
        ("user", "transfer_one", true),
        ("user", "transfer_all", false),
        ("user", "export", false),
        ("admin", "export", true),
        ("readonly", "pay", false),
    ] {
        assert_eq!(shown(role, ListKind::Tools, name), expected, "{role} {name}");
    }
    assert!(shown("user", ListKind::Resources, "vault://a"));
    assert!(shown("user", ListKind::ResourceTemplates, "vault://{id}"));
    assert!(!shown("user", ListKind::ResourceTemplates, "other://{id}"));
    assert!(!shown("readonly", ListKind::ResourceTemplates, "vault://{id}"));
}

#[test]
fn what_rules_say_about_risk_does_not_depend_on_their_order() {
    let risk = |rules: &[&str], args: &str| {
        let mut seen = Vec::new();
        for order in [rules.to_vec(), rules.iter().rev().copied().collect()] {
            let rules: Vec<_> = order.iter().map(|rule| format!("{{ service: billing, {rule} }}")).collect();
            let text = format!("version: 1\nroles: {{ user: {{ allow: [{}] }} }}\n", rules.join(", "));
            let Verdict::Allow { risk, .. } = ask(&text, "user", &tool("pay"), args) else {
                panic!("{text}")
            };
            seen.push((risk.floor.map(RiskScore::thousandths), risk.read, risk.ignore));
        }
        assert_eq!(seen[0], seen[1], "{rules:?}");
        seen[0]
    };
    assert_eq!(risk(&["tools: [pay]"], "{}"), (None, false, false));
    assert_eq!(risk(&["tools: [pay], read: true"], "{}"), (None, true, false));
    assert_eq!(risk(&["tools: [pay], risk: ignore"], "{}"), (None, false, true));
    assert_eq!(risk(&["tools: [pay], risk: 0.8, read: true"], "{}"), (Some(800), true, false));
    // The highest floor; `read` and `ignore` only where all say it.
    assert_eq!(
        risk(&["tools: [pay], risk: 0.8", "tools: [\"*\"], risk: 0.3"], "{}"),
        (Some(800), false, false)
    );
    assert_eq!(risk(&["tools: [pay], read: true", "tools: [\"*\"]"], "{}"), (None, false, false));
    assert_eq!(risk(&["tools: [pay], risk: ignore", "tools: [\"*\"]"], "{}"), (None, false, false));
    assert_eq!(
        risk(&["tools: [pay], risk: ignore", "tools: [\"*\"], risk: 0"], "{}"),
        (Some(0), false, false)
    );
    // A floor under a condition counts, unless the condition is false.
    let floor = ["tools: [pay]", "tools: [pay], risk: 0.9, when: args.amount > 10"];
    assert_eq!(risk(&floor, r#"{"amount":5}"#), (None, false, false));
    assert_eq!(risk(&floor, r#"{"amount":50}"#), (Some(900), false, false));
    assert_eq!(risk(&floor, "{}"), (Some(900), false, false));
    let read = ["tools: [pay], read: true", "tools: [pay], when: args.amount > 10"];
    assert_eq!(risk(&read, r#"{"amount":50}"#), (None, true, false), "the first allows it anyway");
}

#[test]
fn ignored_risk_takes_nothing_from_an_approve() {
    let policy = r#"version: 1
roles: { user: { allow: [{ service: billing, tools: [pay], risk: ignore }] } }
approve: [{ service: billing, tools: [pay] }]
"#;
    let Verdict::Ask(wants) = ask(policy, "user", &tool("pay"), "{}") else { panic!("it asks") };
    assert!(!wants.risk.ignore);
}

#[test]
fn an_agent_is_told_how_to_wait_only_where_it_may_come_to_wait() {
    let at = |thousandths| Some(RiskScore::from_thousandths(thousandths));
    let may = |rules: &str, approve_at, has_model| {
        let world = world(&format!("version: 1\n{rules}\n"), &["billing"]);
        let agent = agent("user", &["billing"]);
        Rights::of(&world, &agent, "billing").unwrap().may_hold(approve_at, has_model)
    };
    let user = |rule: &str| format!("roles: {{ user: {{ {rule} }} }}");
    let reads = user("allow: [{ service: billing, tools: [read] }]");
    assert!(!may(&reads, None, true) && !may(&reads, at(500), false));
    assert!(may(&reads, at(500), true), "a model can say any risk");
    assert!(may(&reads, at(300), false), "a tool weighs 0.30");
    let ignored = user("allow: [{ service: billing, tools: [read], risk: ignore }]");
    assert!(!may(&ignored, at(0), true));
    let floor = user("allow: [{ service: billing, tools: [read], risk: 0.5 }]");
    assert!(may(&floor, at(500), false) && !may(&floor, at(501), false));
    assert!(may(&user("approve: [{ service: billing, tools: [a] }]"), None, false));
    assert!(!may(&user("approve: [{ service: other, tools: [a] }]"), None, false));
    let for_all = "approve: [{ service: \"*\", tools: [read] }]";
    assert!(may(&format!("{reads}\n{for_all}"), None, false));
    assert!(!may(for_all, None, false), "it grants nothing");
    assert!(!may("deny: []", at(0), true), "nothing is allowed");
}

#[test]
fn requests_weigh_what_their_methods_weigh() {
    let may = |request: &str, thousandths| {
        let text = format!(
            "version: 1\nroles: {{ user: {{ allow: [{{ service: api, requests: [{request:?}] }}] }} }}\n"
        );
        let mut world = world(&text, &["api"]);
        let services = std::sync::Arc::make_mut(&mut world.services);
        let api = std::sync::Arc::make_mut(services.get_mut("api").unwrap());
        let Upstream::Http(http) = api.upstream.clone() else { panic!("the fixture's services are MCP") };
        api.upstream = Upstream::Api(crate::service::ApiUpstream {
            http,
            stream: false,
            idempotency_header: None,
            odd_paths: crate::service::OddPaths::Refuse,
        });
        let agent = agent("user", &["api"]);
        Rights::of(&world, &agent, "api")
            .unwrap()
            .may_hold(Some(RiskScore::from_thousandths(thousandths)), false)
    };
    for (request, weight) in [
        ("GET /x", 100),
        ("POST /x", 300),
        ("PATCH /x", 400),
        ("PUT /x", 500),
        ("DELETE /x", 700),
        ("* /x", 700),
        ("HEAD /x", 50),
        ("PURGE /x", 200),
    ] {
        assert!(may(request, weight) && !may(request, weight + 1), "{request}");
    }
}

#[test]
fn an_agent_is_shown_how_to_make_a_request_only_where_it_may_make_one() {
    let may = |rules: &str| {
        let world = world(&format!("version: 1\n{rules}\n"), &["billing"]);
        let agent = agent("user", &["billing"]);
        Rights::of(&world, &agent, "billing").unwrap().may_request()
    };
    let user = |rule: &str| format!("roles: {{ user: {{ {rule} }} }}");
    let gets = user("allow: [{ service: billing, requests: [\"GET /v1/**\"] }]");
    assert!(may(&gets));
    assert!(may(&user("allow: [{ service: billing, requests: [\"GET /v1/**\"], when: query.a == '1' }]")));
    assert!(may(&user("approve: [{ service: billing, requests: [\"GET /v1/**\"] }]")), "after approval");
    assert!(!may(&user("allow: [{ service: billing, tools: [\"*\"] }]")), "a tool is no request");
    assert!(!may(&user("allow: [{ service: other, requests: [\"GET /**\"] }]")));
    assert!(!may("approve: [{ service: billing, requests: [\"GET /v1/**\"] }]"), "it grants nothing");
    for (deny, left) in [
        ("GET /**", false),
        ("* /v1/**", false),
        ("GET /v1/x", true),
        ("POST /**", true),
        ("GET /v1/*", true),
    ] {
        let denied = format!("{gets}\ndeny: [{{ service: \"*\", requests: [\"{deny}\"] }}]");
        assert_eq!(may(&denied), left, "{deny}");
    }
    let conditional =
        format!("{gets}\ndeny: [{{ service: billing, requests: [\"GET /**\"], when: query.a == '1' }}]");
    assert!(may(&conditional), "not all of them are denied");
}
