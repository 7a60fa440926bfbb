//! What is said about policy files that people really write.

use super::*;

fn said(text: &str) -> String {
    match parse("policy.yaml", text) {
        Ok((_, warnings)) => yaml::render_all(&warnings),
        Err(problems) => yaml::render_all(&problems),
    }
}

/// The message of the only problem that a rule for `user` has.
fn about_rule(rule: &str) -> String {
    let problems =
        parse("p", format!("version: 1\nroles:\n  user:\n    allow:\n      - {rule}\n")).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems[0].message.clone()
}

fn about_file(text: impl AsRef<[u8]>) -> String {
    parse("p", text).unwrap_err().remove(0).message
}

#[test]
fn all_problems_are_shown_at_once_in_the_order_of_the_file() {
    let text = r#"# what people may do
version: 1
roles:
  user:
    allow:
      - { service: files, tool: ["read_*", "list_*"] }
      - { service: billing, requests: ["GET v1/**"] }
      - { service: files, tools: ["read_*"], when: arg.x > 1 }
  readonly:
    allow:
      - { service: files, tools: ["delete_file"] }
    approval: []
deny:
  - { service: files, tools: ["delete_*"] }
limits:
  per_key: 60
"#;
    insta::assert_snapshot!(said(text), @r#"
    policy.yaml:6:27: error: unknown key `tool`; did you mean `tools`?
       6 |       - { service: files, tool: ["read_*", "list_*"] }
         |                           ^^^^
    policy.yaml:7:40: error: `GET v1/**` is not `METHOD /path`; write `GET /v1/**`
       7 |       - { service: billing, requests: ["GET v1/**"] }
         |                                        ^^^^^^^^^^^
    policy.yaml:8:52: error: `when` uses the unknown name `arg`; known: args, query, call, agent, now
       8 |       - { service: files, tools: ["read_*"], when: arg.x > 1 }
         |                                                    ^^^
    policy.yaml:11:9: warning: never matches: `deny` on line 14 covers it; remove it, or narrow the deny
      11 |       - { service: files, tools: ["delete_file"] }
         |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    policy.yaml:12:5: error: unknown key `approval`; did you mean `approve`?
      12 |     approval: []
         |     ^^^^^^^^
    policy.yaml:16:12: error: `60` is no limit; write N/T such as `60/1m`: N from 1 to 1000000, T from 1s to 366d in s, m, h or d
      16 |   per_key: 60
         |            ^^
    "#);
}

#[test]
fn a_good_file_has_no_problems_and_is_counted() {
    let text = r#"
version: 1
roles:
  admin: { allow: ["*"] }
  user:
    allow:
      - { name: reading, service: files, tools: ["read_*"], resources: ["file:///**"], read: true }
      - { service: billing, requests: ["GET /v1/**", "* /v1/refunds"], risk: 0.35 }
    approve:
      - { service: billing, requests: ["POST /v1/payouts"], approvals: 2, decide_within: 2h, execute_within: 90s }
    deny:
      - { service: "*", prompts: ["**"] }
  auditor: {}
approve:
  - { service: "*", requests: ["POST /**"], when: args.amount > 1000, risk: 0.8 }
deny:
  - { service: "*", tools: ["delete_*"] }
limits:
  per_key: 30/1m
  overrides:
    - { service: files, tools: ["search_*"], limit: 5/1m }
"#;
    let (policy, warnings) = parse("policy.yaml", text).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(
        policy.summary(),
        crate::policy::Summary { roles: 4, rules: 7, denies: 2, approves: 2, limits: 2 }
    );
    let roles: Vec<_> = policy.roles().into_iter().map(RoleName::as_str).collect();
    assert_eq!(roles, ["admin", "auditor", "readonly", "user"]);
    assert!(policy.grants_anything_on("files") && !policy.grants_anything_on("notes"));
    assert_eq!(policy.limits().per_key.to_string(), "30/1m");
    assert_eq!(policy.limits().per_tool.to_string(), "20/1m");
}

#[test]
fn the_hash_is_of_the_files_bytes() {
    let (policy, _) = parse("policy.yaml", "version: 1\n").unwrap();
    // printf 'version: 1\n' | sha256sum
    assert_eq!(policy.hash().as_str(), "09bfcc6a14b83e2192b8673677725c84883ee9cd0c70e45c9ec09daa8f2b2847");
    assert_eq!(policy.hash().short(), "09bfcc6a…");
}

#[test]
fn the_wildcard_for_everything_is_for_admin_alone() {
    for (text, message) in [
        ("roles: { user: { allow: [\"*\"] } }", "`*` for everything stands only in `roles.admin.allow`"),
        ("roles: { admin: { allow: [\"*\", { service: a, tools: [b] }] } }", "`*` already allows everything"),
        ("roles: { admin: { deny: [\"*\"] } }", "a deny names what it forbids"),
        ("deny: [\"*\"]", "a deny names what it forbids"),
        ("approve: [\"*\"]", "an approve names what needs people"),
        ("roles: { admin: { approve: [\"*\"] } }", "an approve names what needs people"),
        ("roles: { user: { allow: [{ service: \"*\", tools: [a] }] } }", "outside `admin`, `service: \"*\"`"),
    ] {
        let message_seen = about_file(format!("version: 1\n{text}\n"));
        assert!(message_seen.starts_with(message), "{text}: {message_seen}");
    }
    for text in [
        "roles: { admin: { allow: [{ service: \"*\", tools: [a] }] } }",
        "roles: { user: { deny: [{ service: \"*\", tools: [a] }] } }",
        "roles: { user: { approve: [{ service: \"*\", tools: [a] }] } }",
    ] {
        assert!(parse("p", format!("version: 1\n{text}\n")).is_ok(), "{text}");
    }
}

#[test]
fn a_rule_says_what_it_is_about() {
    for (rule, message) in [
        ("{ tools: [a] }", "`service` is missing; name the service that this is about"),
        ("{ service: files }", "it matches nothing; add `tools`, `resources`, `prompts` or `requests`"),
        ("{ service: files, tools: [] }", "`tools` is empty; name at least one, or leave it out"),
        (
            "{ service: files, tools: read_* }",
            "`tools` must be a list, written in `[…]` or as lines that begin with `-`, not a text",
        ),
        ("{ service: files, tools: [[a]] }", "a pattern must be a text such as `read_*`, not a list"),
        ("{ service: files, tools: [\"\"] }", "a pattern is empty; write a text such as `read_*`"),
        (
            "{ service: Files, tools: [a] }",
            "`Files` is no service name; use 1 to 40 of a-z, 0-9 and -, starting with a letter or digit",
        ),
        ("{ service: files, tools: [a], read: yes }", "`read` must be true or false, not a text"),
        ("{ service: files, tool: [a] }", "unknown key `tool`; did you mean `tools`?"),
        ("{ services: files, tools: [a] }", "unknown key `services`; did you mean `service`?"),
        (
            "{ service: files, tools: [a], risk: 1.5 }",
            "`1.5` is no risk; write a number from 0 to 1 with at most three decimals, or `ignore`",
        ),
        (
            "{ service: files, tools: [a], risk: [1] }",
            "`risk` must be a number from 0 to 1, or `ignore`, not a list",
        ),
        (
            "{ service: files, tools: [a], approvals: 2 }",
            "`approvals` goes with approve, not with allow; remove it",
        ),
        (
            "{ service: files, tools: [a], when: x }",
            "`when` uses the unknown name `x`; known: args, query, call, agent, now",
        ),
        (
            "{ service: files, tools: [a], when: }",
            "`when` must be a text such as `args.amount > 1000`, not nothing",
        ),
        (
            "{ service: files, tools: [a], when: [x] }",
            "`when` must be a text such as `args.amount > 1000`, not a list",
        ),
        (
            "{ service: files, tools: [a], when: 5 }",
            "`when` must be true or false, this is a number; compare it with something",
        ),
        ("{ service: files, requests: [\"get /x\"] }", "`get /x` is not `METHOD /path`; write `GET /x`"),
        (
            "read_file",
            "a rule must be a mapping such as `{ service: files, tools: [\"read_*\"] }`, not a text",
        ),
    ] {
        assert_eq!(about_rule(rule), message, "{rule}");
    }
}

#[test]
fn a_name_is_given_once() {
    let rule = "{ name: one, service: files, tools: [a] }";
    let text = format!("version: 1\nroles:\n  user:\n    allow:\n      - {rule}\n      - {rule}\n");
    assert_eq!(about_file(text), "another rule is called `one`, on line 5");
}

#[test]
fn what_is_no_policy_gets_one_clear_sentence() {
    assert_eq!(about_file(b"version: 1\n# \xff\n"), "not a text in UTF-8, from byte 13 on");
    assert!(about_file("").contains("empty"));
    assert!(about_file("# only words\n").contains("empty"));
    assert_eq!(
        about_file("[1]"),
        "a policy must be a mapping with the keys version, roles, approve, deny, limits, not a list"
    );
    assert_eq!(about_file("roles: {}"), "`version: 1` is missing");
    assert_eq!(about_file("version: 2"), "`version` must be 1");
    assert_eq!(about_file("version: \"1\""), "`version` must be 1");
    assert_eq!(
        about_file("version: 1\nroles: []"),
        "`roles` must be a mapping from role names to rules, not a list"
    );
    assert_eq!(
        about_file("version: 1\nroles:\n  user:\n"),
        "role `user` must be a mapping with the keys allow, approve, deny, not nothing"
    );
    assert!(about_file("version: 1\nroles: { Root: {} }").starts_with("`Root` is no role name"));
    assert!(about_file("version: 1\nversion: 1\n").contains("version"));
    for text in [
        "version: 1\nroles: &a {}\n",
        "version: 1\ndeny:\n\t- x\n",
        "version: 1\n---\nversion: 1\n",
        "a: [",
        "\u{0}",
    ] {
        assert!(parse("p", text).is_err(), "{text:?}");
    }
}

#[test]
fn limits_are_read_strictly() {
    for (limits, message) in [
        ("per_key: 0/1m", "`0/1m` is no limit"),
        ("per_kye: 1/1m", "unknown key `per_kye`; did you mean `per_key`?"),
        ("per_key: 60", "`60` is no limit"),
        ("per_key: [60/1m]", "a limit must be a text such as `60/1m`, not a list"),
        ("overrides: [{ service: a, tools: [b] }]", "`limit` is missing"),
        ("overrides: [{ servce: a, tools: [b], limit: 1/1m }]", "unknown key `servce`; did"),
        ("overrides: [{ service: a, limit: 1/1m }]", "it matches nothing"),
        ("overrides: [{ tools: [b], limit: 1/1m }]", "`service` is missing"),
    ] {
        let seen = about_file(format!("version: 1\nlimits: {{ {limits} }}\n"));
        assert!(seen.starts_with(message), "{limits}: {seen}");
    }
}

#[test]
fn an_allow_that_a_deny_covers_is_a_warning() {
    let text = r#"version: 1
roles:
  user:
    allow:
      - { service: files, tools: ["delete_file"] }
      - { service: files, tools: ["delete_file", "read_*"] }
      - { service: notes, tools: ["purge_*", "delete_x"] }
      - { service: other, tools: ["purge_all"] }
  readonly:
    allow:
      - { service: files, tools: ["list"] }
    deny:
      - { service: files, prompts: ["list"] }
deny:
  - { service: "*", tools: ["delete_*"] }
  - { service: notes, tools: ["purge_*"] }
"#;
    insta::assert_snapshot!(said(text), @r#"
    policy.yaml:5:9: warning: never matches: `deny` on line 15 covers it; remove it, or narrow the deny
       5 |       - { service: files, tools: ["delete_file"] }
         |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    policy.yaml:7:9: warning: never matches: `deny` on lines 15 and 16 cover it; remove it, or narrow them
       7 |       - { service: notes, tools: ["purge_*", "delete_x"] }
         |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn what_does_not_go_with_a_rule_is_an_error_where_it_stands() {
    let text = r#"version: 1
roles:
  user:
    allow:
      - { service: files, tools: [a], approvals: 2, execute_within: 5m }
      - { service: files, tools: [b], risk: 0.8005, read: 1 }
    approve:
      - { service: files, tools: [c], read: true, risk: ignore }
      - { service: files, tools: [d], approvals: 0, decide_within: 5 }
      - { service: files, tools: [e], approvals: 256, execute_within: 400d, risk: "0.5" }
      - { service: files, tools: [f], aprovals: 2, risk: }
deny:
  - { service: files, tools: [g], risk: 0.8 }
  - { service: files, tools: [h], read: true, decide_within: 1h }
"#;
    insta::assert_snapshot!(said(text), @r#"
    policy.yaml:5:39: error: `approvals` goes with approve, not with allow; remove it
       5 |       - { service: files, tools: [a], approvals: 2, execute_within: 5m }
         |                                       ^^^^^^^^^
    policy.yaml:5:53: error: `execute_within` goes with approve, not with allow; remove it
       5 |       - { service: files, tools: [a], approvals: 2, execute_within: 5m }
         |                                                     ^^^^^^^^^^^^^^
    policy.yaml:6:45: error: `0.8005` is no risk; write a number from 0 to 1 with at most three decimals, or `ignore`
       6 |       - { service: files, tools: [b], risk: 0.8005, read: 1 }
         |                                             ^^^^^^
    policy.yaml:6:59: error: `read` must be true or false, not a number
       6 |       - { service: files, tools: [b], risk: 0.8005, read: 1 }
         |                                                           ^
    policy.yaml:8:39: error: `read` goes with allow, not with approve; remove it
       8 |       - { service: files, tools: [c], read: true, risk: ignore }
         |                                       ^^^^
    policy.yaml:9:50: error: `approvals` is how many operators must approve; write a number from 1 to 255
       9 |       - { service: files, tools: [d], approvals: 0, decide_within: 5 }
         |                                                  ^
    policy.yaml:9:68: error: `decide_within` is a time from 1s to 366d; write for example `15m`
       9 |       - { service: files, tools: [d], approvals: 0, decide_within: 5 }
         |                                                                    ^
    policy.yaml:10:50: error: `approvals` is how many operators must approve; write a number from 1 to 255
      10 |       - { service: files, tools: [e], approvals: 256, execute_within: 400d, risk: "0.5" }
         |                                                  ^^^
    policy.yaml:10:71: error: `execute_within` is a time from 1s to 366d; write for example `15m`
      10 |       - { service: files, tools: [e], approvals: 256, execute_within: 400d, risk: "0.5" }
         |                                                                       ^^^^
    policy.yaml:10:83: error: `risk` must be a number from 0 to 1, or `ignore`, not a text
      10 |       - { service: files, tools: [e], approvals: 256, execute_within: 400d, risk: "0.5" }
         |                                                                                   ^^^^^
    policy.yaml:11:39: error: unknown key `aprovals`; did you mean `approvals`?
      11 |       - { service: files, tools: [f], aprovals: 2, risk: }
         |                                       ^^^^^^^^
    policy.yaml:11:56: error: `risk` must be a number from 0 to 1, or `ignore`, not nothing
      11 |       - { service: files, tools: [f], aprovals: 2, risk: }
         |                                                        ^
    policy.yaml:13:35: error: `risk` goes with allow and approve, not with deny; remove it
      13 |   - { service: files, tools: [g], risk: 0.8 }
         |                                   ^^^^
    policy.yaml:14:35: error: `read` goes with allow, not with deny; remove it
      14 |   - { service: files, tools: [h], read: true, decide_within: 1h }
         |                                   ^^^^
    policy.yaml:14:47: error: `decide_within` goes with approve, not with deny; remove it
      14 |   - { service: files, tools: [h], read: true, decide_within: 1h }
         |                                               ^^^^^^^^^^^^^
    "#);
}

#[test]
fn an_approve_that_never_asks_is_a_warning() {
    let text = r#"version: 1
roles:
  admin: { allow: ["*"] }
  user:
    approve:
      - { service: files, tools: [delete_file], approvals: 2 }
deny:
  - { service: files, tools: ["delete_*"] }
approve:
  - { service: notes, tools: ["delete_*"] }
"#;
    insta::assert_snapshot!(said(text), @r#"
    policy.yaml:6:9: warning: never matches: `deny` on line 8 covers it; remove it, or narrow the deny
       6 |       - { service: files, tools: [delete_file], approvals: 2 }
         |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
    let text = r#"version: 1
roles:
  user:
    allow:
      - { service: files, tools: ["read_*"], when: args.small }
    approve:
      - { service: notes, tools: ["*_note"] }
approve:
  - { service: files, tools: ["write_*"] }
  - { service: files, tools: ["*_all"] }
  - { service: "*", tools: ["note_*"] }
  - { service: notes, tools: ["a_*"] }
  - { service: other, tools: ["read_x"] }
"#;
    insta::assert_snapshot!(said(text), @r#"
    policy.yaml:9:5: warning: never asks: no role is granted what it matches; allow that to a role, or write the approve there
       9 |   - { service: files, tools: ["write_*"] }
         |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    policy.yaml:13:5: warning: never asks: no role is granted what it matches; allow that to a role, or write the approve there
      13 |   - { service: other, tools: ["read_x"] }
         |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-z:\\-{}\\[\\], \"*&!|>%#\n\t0-9]{0,80}") {
        let _ = parse("p", &text);
        let _ = parse("p", format!("version: 1\nroles:\n  user:\n    allow:\n      - {text}\n"));
    }
}

#[test]
fn a_fault_in_a_condition_is_shown_where_it_stands() {
    let text = r#"version: 1
deny:
  - { service: "*", tools: [a], when: "size(args.a) > 1 && agnt.name == 'x'" }
  - service: "*"
    tools: [b]
    when: |
      args.a == "ü" &&
        args.b.startWith("c")
  - service: "*"
    tools: [c]
    when: >
      args.a == 1 &&
      call.tol == "x"
  - { service: "*", tools: [d], when: 'args.a == ''x'' && args.b = 1' }
  - { service: "*", tools: [e], when: "args.a == \"x\" && 1" }
  - { service: "*", tools: [f], when: args.a > }
"#;
    insta::assert_snapshot!(said(text), @r#"
    policy.yaml:3:60: error: `when` uses the unknown name `agnt`; known: args, query, call, agent, now
       3 |   - { service: "*", tools: [a], when: "size(args.a) > 1 && agnt.name == 'x'" }
         |                                                            ^^^^
    policy.yaml:8:16: error: `when` uses the unknown function `startWith`; did you mean `startsWith`?
       8 |         args.b.startWith("c")
         |                ^^^^^^^^^
    policy.yaml:13:7: error: `call` has no field `tol`; did you mean `tool`?
      13 |       call.tol == "x"
         |       ^^^^^^^^
    policy.yaml:14:39: error: `=` is not understood here; did you mean `==`?
      14 |   - { service: "*", tools: [d], when: 'args.a == ''x'' && args.b = 1' }
         |                                       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    policy.yaml:15:59: error: this must be true or false, but is a number
      15 |   - { service: "*", tools: [e], when: "args.a == \"x\" && 1" }
         |                                                           ^
    policy.yaml:16:47: error: `when` cannot be read: found the end, wanted a value
      16 |   - { service: "*", tools: [f], when: args.a > }
         |                                               ^
    "#);
}

#[test]
fn a_deny_with_a_condition_covers_nothing() {
    let text = r#"version: 1
roles:
  user:
    allow:
      - { service: files, tools: [delete_file] }
      - { service: files, tools: [purge], when: args.dry_run }
deny:
  - { service: files, tools: ["delete_*"], when: args.path.startsWith("/srv/") }
  - { service: files, tools: ["purge"] }
"#;
    insta::assert_snapshot!(said(text), @r#"
    policy.yaml:6:9: warning: never matches: `deny` on line 9 covers it; remove it, or narrow the deny
       6 |       - { service: files, tools: [purge], when: args.dry_run }
         |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    "#);
}
