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
