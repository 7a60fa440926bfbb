//! `policy check` shows every fault at its place; `policy explain` says what would happen, and why.

use crate::terminal::Terminal;

const WRONG: &str = "\
version: 1
roles:
  user:
    allow:
      - { service: files, tool: [\"read_*\"] }
      - { service: files, tools: [\"delete_file\"] }
deny:
  - { service: \"*\", tools: [\"delete_*\"] }
";

#[test]
fn faults_are_shown_with_their_lines_and_counted() {
    let terminal = Terminal::with_home();
    terminal.write("policy.yaml", WRONG);
    let done = terminal.run(&["policy", "check", "policy.yaml"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    let lines: Vec<_> = done.stderr.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "policy.yaml:5:27: error: unknown key `tool`; did you mean `tools`?",
            "   5 |       - { service: files, tool: [\"read_*\"] }",
            "     |                           ^^^^",
        ]
    );
    assert!(done.stderr.contains("policy.yaml:6:9: warning: never matches: "), "{}", done.stderr);
    let last = lines.last().unwrap();
    assert!(last.ends_with("; nothing was loaded, a running gateway keeps its last good policy"), "{last}");
}

#[test]
fn strict_fails_on_warnings() {
    let terminal = Terminal::with_home();
    terminal.write("policy.yaml", &WRONG.replace("tool:", "tools:"));
    let check = ["policy", "check", "policy.yaml"];
    let done = terminal.run(&check).ok();
    assert!(done.stdout.starts_with("✓ policy.yaml ") && done.stdout.ends_with(", 1 warning\n"), "{done:?}");
    let strict = terminal.run(&["policy", "check", "policy.yaml", "--strict"]);
    assert_eq!(strict.code, 1);
    assert!(strict.stdout.starts_with("✗ policy.yaml "), "{strict:?}");
}

#[test]
fn a_rule_for_a_service_that_is_not_there_is_a_warning_once_there_are_services() {
    let terminal = Terminal::with_home();
    terminal.write("policy.yaml", &WRONG.replace("tool:", "tools:").replace("delete_file", "write_file"));
    let check = ["policy", "check", "policy.yaml"];
    assert!(terminal.run(&check).ok().stdout.ends_with(", no warnings\n"));
    terminal.write("services.yaml", "services:\n  - { name: notes, kind: mcp, command: [sh] }\n");
    terminal.run(&["services", "apply", "-f", "services.yaml"]).ok();
    let done = terminal.run(&check).ok();
    assert!(done.stderr.contains("warning: never matches: there is no service `files`"), "{done:?}");
}

#[test]
fn explain_says_what_would_happen_and_exits_0() {
    let terminal = Terminal::with_home();
    terminal.write("services.yaml", "services:\n  - { name: files, kind: mcp, command: [sh] }\n");
    terminal.run(&["services", "apply", "-f", "services.yaml"]).ok();
    terminal.run(&["keys", "create", "laptop", "--role", "user", "--scope", "files"]).ok();
    let explain = |tool: &str| {
        let question = ["policy", "explain", "--agent", "laptop", "--service", "files", "--tool", tool];
        terminal.run(&question).ok().stdout
    };
    let allowed = explain("read_text_file");
    assert!(allowed.starts_with("ALLOW   laptop (user) · files · read_text_file\nrule    "), "{allowed}");
    assert!(allowed.contains("\nlimits  60/1m per key, 20/1m per tool\n"), "{allowed}");
    let silent = explain("write_file");
    assert!(
        silent.starts_with(
            "DENY    laptop (user) · files · write_file\nrule    none\nreason  silence means no"
        ),
        "{silent}"
    );
    let denied = explain("delete_file");
    assert!(denied.starts_with("DENY    "), "{denied}");
    let json = [
        "policy",
        "explain",
        "--agent",
        "laptop",
        "--service",
        "files",
        "--tool",
        "read_text_file",
        "--json",
    ];
    let json = terminal.run(&json).ok().json();
    let members: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["effect", "rule", "reason", "limits"]);
    assert_eq!(json["effect"], "allow");
}

#[test]
fn explain_knows_agents_by_name() {
    let terminal = Terminal::with_home();
    terminal.run(&["keys", "create", "laptop"]).ok();
    terminal
        .run(&["policy", "explain", "--agent", "laptp", "--service", "files", "--tool", "x"])
        .fails(1, "error: there is no agent `laptp` (--agent); did you mean `laptop`?");
}

const CONDITIONS: &str = "\
version: 1
roles:
  user:
    allow:
      - { name: small, service: billing, requests: [\"POST /v1/refunds\"], when: args.amount <= 1000 }
      - { service: files, tools: [\"read_*\"], when: args.path.startsWith(\"/srv/\") }
";

#[test]
fn explain_shows_which_part_of_a_condition_decided() {
    let terminal = Terminal::with_home();
    terminal
        .write("services.yaml", "services:\n  - { name: billing, kind: http, url: \"https://api.test\" }\n");
    terminal.run(&["services", "apply", "-f", "services.yaml"]).ok();
    terminal.run(&["keys", "create", "laptop", "--role", "user", "--scope", "billing"]).ok();
    std::fs::write(terminal.home().join("policy.yaml"), CONDITIONS).unwrap();
    let explain = |body: &[&str]| {
        let question = ["policy", "explain", "--agent", "laptop", "--service", "billing"];
        terminal.run(&[&question[..], &["--request", "POST /v1/refunds?dry=1"], body].concat())
    };
    let allowed = explain(&["--body", "{\"amount\":500}"]).ok().stdout;
    let reason = "reason  `POST /v1/refunds` matches and `args.amount <= 1000` is true, args.amount = 500; no deny or approve rule does; risk 0.30 stays under approve_at 0.50\n";
    assert!(allowed.starts_with("ALLOW   laptop (user) · billing · POST /v1/refunds\n"), "{allowed}");
    assert!(allowed.contains(reason), "{allowed}");
    let denied = explain(&["--body", "{\"amount\":5000}"]).ok().stdout;
    assert!(denied.contains("but `args.amount <= 1000` is false, args.amount = 5000\n"), "{denied}");
    let none = explain(&[]).ok().stdout;
    assert!(none.contains("has no answer: `args` cannot be used: the call has none\n"), "{none}");
    let twice = explain(&["--body", "{\"amount\":5,\"amount\":5000}"]);
    assert!(twice.code == 2 && twice.stderr.contains("duplicate"), "{twice:?}");
}

#[test]
fn a_table_of_cases_is_tested_without_a_home() {
    let terminal = Terminal::new();
    terminal.write("policy.yaml", CONDITIONS);
    let cases = "cases:
  - { role: user, service: billing, request: POST /v1/refunds, body: { amount: 500 }, expect: allow, rule: small }
  - { role: user, service: billing, request: POST /v1/refunds, body: { amount: 5000 }, expect: deny }
  - { role: user, service: files, tool: read_file, args: { path: /etc/passwd }, expect: deny }
";
    terminal.write("cases.yaml", cases);
    let test = ["policy", "test", "cases.yaml", "--policy", "policy.yaml"];
    assert_eq!(terminal.run(&test).ok().stdout, "✓ cases.yaml: 3 cases, all as expected\n");
    terminal.write("cases.yaml", &cases.replace("expect: deny", "expect: allow"));
    let failed = terminal.run(&test);
    assert_eq!(failed.code, 1);
    assert_eq!(
        failed.stdout,
        "✗ cases.yaml:3  somebody (user) · billing · POST /v1/refunds
    - allow
    + deny: silence means no: `POST /v1/refunds` of small matches, but `args.amount <= 1000` is false, args.amount = 5000
✗ cases.yaml:4  somebody (user) · files · read_file
    - allow
    + deny: silence means no: `read_*` of roles.user.allow[1] matches, but `args.path.startsWith(\"/srv/\")` is false, args.path = \"/etc/passwd\"
✗ cases.yaml: 3 cases, 2 not as expected
"
    );
    let json = terminal.run(&[&test[..], &["--json"]].concat());
    assert_eq!((json.code, &json.json()["ok"], &json.json()["cases"]), (1, &false.into(), &3.into()));
    assert_eq!(json.json()["failed"][0]["got"], serde_json::json!({ "effect": "deny", "rule": null }));
    terminal.write("cases.yaml", "cases:\n  - { role: user, service: files, tol: a, expect: allow }\n");
    let wrong = terminal.run(&test);
    assert!(
        wrong.code == 1 && wrong.stderr.starts_with("cases.yaml:2:35: error: unknown key `tol`"),
        "{wrong:?}"
    );
}

#[test]
fn the_examples_of_policies_pass_their_own_tests() {
    for example in ["conditions", "approvals"] {
        let folder = format!("{}/../../examples/{example}", env!("CARGO_MANIFEST_DIR"));
        let (cases, policy) = (format!("{folder}/cases.yaml"), format!("{folder}/policy.yaml"));
        let terminal = Terminal::new();
        let tested = terminal.run(&["policy", "test", &cases, "--policy", &policy]);
        assert_eq!(tested.code, 0, "{tested:?}");
        let checked = terminal.run(&["policy", "check", &policy, "--strict"]).ok();
        assert!(checked.stdout.ends_with(", no warnings\n"), "{checked:?}");
    }
}

#[test]
fn explain_says_who_must_approve_and_why() {
    let terminal = Terminal::with_home();
    terminal
        .write("services.yaml", "services:\n  - { name: billing, kind: http, url: \"https://api.test\" }\n");
    terminal.run(&["services", "apply", "-f", "services.yaml"]).ok();
    terminal.run(&["keys", "create", "laptop", "--role", "user", "--scope", "billing"]).ok();
    let policy = include_str!("../../../../examples/approvals/policy.yaml");
    // By day and by night alike.
    let policy = policy.replace("now.getHours() < 7 || now.getHours() >= 19", "now.getHours() > 24");
    std::fs::write(terminal.home().join("policy.yaml"), &policy).unwrap();
    let line = 1 + policy.lines().position(|line| line.ends_with("name: big refunds")).unwrap();
    let question = ["policy", "explain", "--agent", "laptop", "--service", "billing"];
    let explain = |more: &[&str]| terminal.run(&[&question[..], more].concat()).ok();
    let refund = ["--request", "POST /v1/refunds", "--body", "{\"amount\":5000}"];
    assert_eq!(
        explain(&refund).stdout,
        format!(
            "HOLD    laptop (user) · billing · POST /v1/refunds
rule    big refunds, policy.yaml:{line}
reason  needs 2 operators: `args.amount > 1000` is true, args.amount = 5000
limits  60/1m per key, 20/1m per tool
"
        )
    );
    let json = explain(&[&refund[..], &["--json"]].concat()).json();
    assert_eq!((&json["effect"], &json["rule"]), (&"hold".into(), &"big refunds".into()));
    assert_eq!(json["reason"], "needs 2 operators: `args.amount > 1000` is true, args.amount = 5000");
    let payout = explain(&["--request", "POST /v1/payouts"]).stdout;
    assert!(payout.contains("\nreason  needs 1 operator: `POST /v1/payouts` matches\n"), "{payout}");
    let small = explain(&["--request", "POST /v1/refunds", "--body", "{\"amount\":5}"]).stdout;
    assert!(small.starts_with("ALLOW   ") && small.contains("; no deny or approve rule does"), "{small}");
}

#[test]
fn a_table_can_expect_that_a_call_is_held() {
    let terminal = Terminal::new();
    terminal.write(
        "policy.yaml",
        "version: 1\nroles: { user: { approve: [{ name: pay, service: a, tools: [pay], approvals: 2 }] } }\n",
    );
    let cases = "cases:
  - { role: user, service: a, tool: pay, expect: hold, rule: pay }
";
    terminal.write("cases.yaml", cases);
    let test = ["policy", "test", "cases.yaml", "--policy", "policy.yaml"];
    assert_eq!(terminal.run(&test).ok().stdout, "✓ cases.yaml: 1 case, all as expected\n");
    terminal.write("cases.yaml", &cases.replace("expect: hold, rule: pay", "expect: allow"));
    let failed = terminal.run(&test);
    assert_eq!(failed.code, 1);
    assert_eq!(
        failed.stdout,
        "✗ cases.yaml:2  somebody (user) · a · pay
    - allow
    + hold by pay: needs 2 operators: `pay` matches
✗ cases.yaml: 1 case, 1 not as expected
"
    );
}
