//! `connect`: prints what a client reads, merges it with a backup, and names ways around the gateway.

use std::fs;

use serde_json::{Value, json};

use crate::terminal::Terminal;

fn with_agent() -> Terminal {
    let terminal = Terminal::with_home();
    terminal.write(
        "services.yaml",
        "services:\n  - { name: files, kind: mcp, command: [npx, -y, '@modelcontextprotocol/server-filesystem', /srv] }\n  \
         - { name: other, kind: mcp, command: [sh] }\n",
    );
    terminal.run(&["services", "apply", "-f", "services.yaml"]).ok();
    terminal.run(&["keys", "create", "laptop", "--role", "user", "--scope", "files"]).ok();
    terminal
}

#[test]
fn only_the_services_in_scope_are_printed_and_the_talk_stays_off_stdout() {
    let done = with_agent().run(&["connect", "claude-code"]).ok();
    assert_eq!(
        done.stdout,
        "{ \"mcpServers\": { \"files\": { \"type\": \"http\", \"url\": \"http://127.0.0.1:8484/mcp/files\",\n    \
             \"headers\": { \"Authorization\": \"Bearer ${TOOLGATE_KEY}\" } } } }\n"
    );
    assert_eq!(
        done.stderr,
        "Belongs in .mcp.json; the client fills in ${TOOLGATE_KEY}. Merge it, keeping a backup: --write\n"
    );
}

#[test]
fn one_entry_stands_for_all_services_where_that_is_asked_for() {
    let done = with_agent().run(&["connect", "cursor", "--one"]).ok();
    assert_eq!(
        done.stdout,
        "{ \"mcpServers\": { \"toolgate\": { \"url\": \"http://127.0.0.1:8484/mcp\",\n    \
             \"headers\": { \"Authorization\": \"Bearer ${env:TOOLGATE_KEY}\" } } } }\n"
    );
    let done = with_agent().run(&["connect", "env", "--one"]).ok();
    assert!(done.stdout.ends_with("# toolgate: $TOOLGATE_URL/mcp\n"), "{}", done.stdout);
}

#[test]
fn write_merges_keeps_a_backup_and_names_the_way_around() {
    let terminal = with_agent();
    let before = r#"{"mcpServers":{"filesystem":{"command":"npx","args":["-y","@modelcontextprotocol/server-filesystem","/"]}}}"#;
    terminal.write(".mcp.json", before);
    let done = terminal.run(&["connect", "claude-code", "--write"]).ok();
    assert!(done.stdout.starts_with("✓ .mcp.json  merged, backup .mcp.json."), "{done:?}");
    assert_eq!(
        done.stderr,
        "! .mcp.json also starts `filesystem` directly, a way around Toolgate; remove that entry\n"
    );
    let after: Value =
        serde_json::from_str(&fs::read_to_string(terminal.work().join(".mcp.json")).unwrap()).unwrap();
    assert_eq!(after["mcpServers"]["filesystem"]["command"], "npx");
    assert_eq!(after["mcpServers"]["files"]["url"], "http://127.0.0.1:8484/mcp/files");
    let backups: Vec<_> = fs::read_dir(terminal.work())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bak"))
        .collect();
    assert_eq!(backups.len(), 1);
    assert_eq!(fs::read_to_string(&backups[0]).unwrap(), before);
    let again = terminal.run(&["connect", "claude-code", "--write"]).ok();
    assert!(again.stdout.starts_with("= .mcp.json  says so already"), "{again:?}");
}

#[test]
fn each_client_has_its_own_file() {
    let terminal = with_agent();
    for (client, file) in [
        ("cursor", "work/.cursor/mcp.json"),
        ("vscode", "work/.vscode/mcp.json"),
        ("codex", ".codex/config.toml"),
        ("claude-desktop", ".config/Claude/claude_desktop_config.json"),
    ] {
        let done = terminal.run(&["connect", client, "--write"]).ok();
        let text = fs::read_to_string(terminal.work().parent().unwrap().join(file)).unwrap();
        assert!(text.contains("files") && !text.contains("agt_q"), "{client}: {done:?}");
    }
    let code = fs::read_to_string(terminal.work().join(".vscode/mcp.json")).unwrap();
    let code: Value = serde_json::from_str(&code).unwrap();
    assert_eq!(code["inputs"][0]["password"], json!(true));
}

#[test]
fn with_several_agents_one_must_be_named() {
    let terminal = with_agent();
    terminal.run(&["keys", "create", "ci", "--scope", "other"]).ok();
    terminal
        .run(&["connect", "curl"])
        .fails(1, "error: there are several agents (--agent); name one of ci, laptop");
    let done = terminal.run(&["connect", "curl", "--agent", "ci"]).ok();
    assert!(done.stdout.starts_with("curl -sS http://127.0.0.1:8484/mcp/other \\\n"), "{done:?}");
}

#[test]
fn the_key_in_the_environment_says_who_it_is() {
    let mut terminal = with_agent();
    let key = terminal.run(&["keys", "create", "ci", "--scope", "other"]).ok().stdout;
    terminal.set("TOOLGATE_KEY", key.trim_end());
    let done = terminal.run(&["connect", "env"]).ok();
    assert!(done.stdout.contains("# other: $TOOLGATE_URL/mcp/other\n"), "{done:?}");
    assert!(!done.stdout.contains(key.trim_end()), "no key is ever printed");
}
