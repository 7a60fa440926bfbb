//! Keys: printed once, alone on stdout; afterwards only what is public is ever seen.

use serde_json::json;

use crate::terminal::Terminal;

fn with_service() -> Terminal {
    let terminal = Terminal::with_home();
    terminal.write("services.yaml", "services:\n  - { name: files, kind: mcp, command: [sh] }\n");
    terminal.run(&["services", "apply", "-f", "services.yaml"]).ok();
    terminal
}

#[test]
fn the_key_is_alone_on_stdout() {
    let terminal = with_service();
    let done = terminal.run(&["keys", "create", "laptop", "--role", "user", "--scope", "files"]).ok();
    let key = done.stdout.trim_end();
    assert_eq!((key.len(), done.stdout.lines().count()), (63, 1), "{done:?}");
    let id = &key[4..12];
    assert_eq!(
        done.stderr,
        format!(
            "agent  laptop (new), role user, scope files\n\
             key    {id}, never expires; stop it within a second: toolgate keys revoke {id}\n\
             ! shown this once, only a hash is kept; give it to the agent as TOOLGATE_KEY\n"
        )
    );
}

#[test]
fn quiet_drops_the_talk_and_keeps_the_warning() {
    let terminal = with_service();
    let create = ["--quiet", "keys", "create", "laptop", "--role", "user", "--scope", "files"];
    let done = terminal.run(&create).ok();
    assert_eq!(done.stderr, "! shown this once, only a hash is kept; give it to the agent as TOOLGATE_KEY\n");
    assert_eq!(done.stdout.trim_end().len(), 63);
}

#[test]
fn json_has_the_promised_members_and_nothing_besides() {
    let terminal = with_service();
    let create = ["keys", "create", "laptop", "--role", "user", "--scope", "files", "--json"];
    let done = terminal.run(&create).ok();
    assert_eq!(done.stderr, "");
    let made = done.json();
    let members: Vec<_> = made.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["agent", "key_id", "key", "role", "scope", "expires_at"]);
    assert_eq!((&made["scope"], &made["expires_at"]), (&json!(["files"]), &json!(null)));
}

#[test]
fn what_is_secret_is_never_seen_again() {
    let terminal = with_service();
    let key = terminal.run(&["keys", "create", "laptop", "--scope", "files"]).ok().stdout;
    let secret = &key.trim_end()[13..56];
    let id = &key[4..12];
    for command in [
        &["keys", "list"][..],
        &["keys", "list", "--json"],
        &["agents", "show", "laptop"],
        &["agents", "list", "--json"],
        &["audit", "list", "--json"],
        &["audit", "export"],
        &["audit", "export", "--format", "csv"],
    ] {
        let shown = terminal.run(command).ok().stdout;
        assert!(!shown.contains(secret), "{command:?}");
    }
    assert!(terminal.run(&["keys", "list"]).stdout.contains(id));
    for file in std::fs::read_dir(terminal.home()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[test]
fn a_new_agent_without_role_and_scope_gets_little_and_is_warned() {
    let terminal = with_service();
    let done = terminal.run(&["keys", "create", "ci"]).ok();
    assert!(done.stderr.starts_with("agent  ci (new), role readonly, scope –\n"), "{}", done.stderr);
    assert!(
        done.stderr
            .contains("! its scope is empty, it reaches no service; to change it: toolgate agents update ci")
    );
}

#[test]
fn another_role_or_scope_for_an_agent_is_an_error_that_names_the_command() {
    let terminal = with_service();
    terminal.run(&["keys", "create", "laptop", "--role", "user", "--scope", "files"]).ok();
    terminal.run(&["keys", "create", "laptop", "--role", "admin"]).fails(
        1,
        "error: agent `laptop` has role `user`, not `admin`; to change it: toolgate agents update laptop --role admin",
    );
    terminal.run(&["keys", "create", "other", "--scope", "fils"]).fails(
        1,
        "error: there is no service `fils` (--scope); did you mean `files`? all: toolgate services list",
    );
    terminal.run(&["keys", "create", "laptop"]).ok();
}

#[test]
fn a_unique_start_of_an_id_revokes_a_key_and_says_when_it_was_revoked_before() {
    let terminal = with_service();
    let key = terminal.run(&["keys", "create", "laptop", "--scope", "files"]).ok().stdout;
    let id = &key[4..12];
    let done = terminal.run(&["keys", "revoke", &id[..5]]).ok();
    assert_eq!(
        done.stdout,
        format!("✓ {id} of laptop revoked; a running gateway stops it within a second\n")
    );
    let again = terminal.run(&["keys", "revoke", id]).ok();
    assert!(again.stdout.starts_with(&format!("= {id} of laptop was revoked 2")), "{again:?}");
    assert_eq!(terminal.run(&["keys", "list", "--json"]).json()[0]["state"], "revoked");
    terminal
        .run(&["keys", "revoke", "zzzzzzzz"])
        .fails(1, "error: there is no key `zzzzzzzz`; all: toolgate keys list");
}

#[test]
fn who_changed_what_is_in_the_trail() {
    let terminal = with_service();
    terminal.run(&["keys", "create", "laptop", "--scope", "files"]).ok();
    terminal.run(&["agents", "disable", "laptop"]).ok();
    let list = terminal.run(&["audit", "list", "--json"]).ok().stdout;
    let events: Vec<serde_json::Value> =
        list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<_> = events.iter().map(|event| event["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["services.create", "agents.create", "keys.create", "agents.disable"]);
    assert!(events.iter().all(|event| event["operator"].as_str().unwrap().starts_with("os:")));
    let verified = terminal.run(&["audit", "verify"]).ok().stdout;
    assert!(verified.starts_with("✓ 4 events in 1 chain, every hash and link holds ("), "{verified}");
}

#[test]
fn a_home_that_others_can_read_makes_no_keys() {
    use std::os::unix::fs::PermissionsExt as _;
    let terminal = with_service();
    let file = terminal.home().join("vault.key");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let done = terminal.run(&["keys", "create", "laptop"]);
    assert!(done.stderr.starts_with("error: others can read vault.key (mode 0644); chmod 600 "), "{done:?}");
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
}

#[test]
fn a_role_that_the_policy_does_not_define_is_told() {
    let terminal = with_service();
    let done = terminal.run(&["keys", "create", "laptop", "--role", "usr", "--scope", "files"]).ok();
    let warning = "! the policy defines no role `usr`, so it has no rights; did you mean `user`?\n";
    assert!(done.stderr.contains(warning), "{done:?}");
    let done = terminal.run(&["agents", "update", "laptop", "--role", "user"]).ok();
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("~ laptop  role usr → user\n", ""));
}
