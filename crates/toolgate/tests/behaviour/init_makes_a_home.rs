//! `init` makes a home that works, and never takes anything away from one that is there.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::terminal::Terminal;

#[test]
fn a_new_home_is_told_line_by_line() {
    let terminal = Terminal::new();
    let done = terminal
        .run_with(&["init", "--email", "ada@example.com", "--password-stdin"], "correct horse battery\n");
    assert_eq!(
        done.ok().stdout,
        "✓ toolgate.yaml   settings, all at their defaults\n\
         ✓ policy.yaml     starter: `user`, `readonly` may read from `files`; deletes denied; else no\n\
         ✓ toolgate.db     store\n\
         ✓ vault.key       keep a copy elsewhere: without it no stored credential can be opened again\n\
         ✓ operator        ada@example.com (owner)\n\
         Home ~/.local/share/toolgate is ready. Next: toolgate services apply -f examples/files/services.yaml\n"
    );
    let check = terminal.run(&["policy", "check", "--strict"]).ok().stdout;
    assert!(check.starts_with("✓ policy.yaml ") && check.ends_with(", no warnings\n"), "{check}");
}

#[test]
fn only_the_owner_can_read_a_home() {
    let terminal = Terminal::with_home();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&terminal.home()), 0o700);
    for file in ["vault.key", "toolgate.db", "policy.yaml", "toolgate.yaml"] {
        assert_eq!(mode(&terminal.home().join(file)), 0o600, "{file}");
    }
}

#[test]
fn a_second_init_leaves_everything_as_it_is() {
    let terminal = Terminal::with_home();
    let policy = terminal.home().join("policy.yaml");
    fs::write(&policy, "version: 1\n").unwrap();
    let key = fs::read(terminal.home().join("vault.key")).unwrap();
    let done = terminal.run(&["init"]).ok();
    assert_eq!(
        done.stdout,
        "= toolgate.yaml   exists, left as it is\n\
         = policy.yaml     exists, left as it is\n\
         = toolgate.db     exists, left as it is\n\
         = vault.key       exists, left as it is\n\
         ! operator        none; later: toolgate operators create E --role owner\n\
         Home ~/.local/share/toolgate is ready. Next: toolgate services apply -f examples/files/services.yaml\n"
    );
    assert_eq!(fs::read_to_string(&policy).unwrap(), "version: 1\n");
    assert_eq!(fs::read(terminal.home().join("vault.key")).unwrap(), key);
}

#[test]
fn a_store_whose_key_is_lost_gets_no_other_key() {
    let terminal = Terminal::with_home();
    fs::remove_file(terminal.home().join("vault.key")).unwrap();
    terminal.run(&["init"]).fails(
        1,
        "error: this home has a store, and its vault key is gone (~/.local/share/toolgate/vault.key); \
         bring back the copy of it",
    );
    assert!(!terminal.home().join("vault.key").exists());
}

#[test]
fn a_short_password_makes_no_operator() {
    let terminal = Terminal::new();
    let init = ["init", "--email", "ada@example.com", "--password-stdin"];
    terminal.run_with(&init, "too short\n").fails(1, "error: the password has 9 characters; use 12 or more");
    assert!(!terminal.home().join("toolgate.yaml").exists(), "nothing is made before it is known for whom");
    let later = terminal.run_with(&init, "correct horse battery").ok().stdout;
    assert!(later.contains("✓ operator        ada@example.com (owner)"), "{later}");
}

#[test]
fn a_password_is_never_an_argument_and_needs_no_terminal_to_fail_clearly() {
    let terminal = Terminal::with_home();
    terminal
        .run(&["operators", "create", "ada@example.com", "--role", "owner"])
        .fails(1, "error: there is no terminal to ask for the password; pipe it in with --password-stdin");
    let create = ["operators", "create", "ada@example.com", "--role", "owner", "--password-stdin"];
    let made = terminal.run_with(&create, "correct horse battery\n").ok();
    assert_eq!(made.stdout, "✓ operator  ada@example.com (owner)\n");
    terminal
        .run_with(&create, "correct horse battery\n")
        .fails(1, "error: there is an operator `ada@example.com` already, and nothing was changed; for another password: \
                toolgate operators reset ada@example.com");
}

#[test]
fn without_a_home_every_command_says_how_to_make_one() {
    let terminal = Terminal::new();
    for command in [&["keys", "list"][..], &["audit", "list"], &["services", "list"], &["connect", "curl"]] {
        terminal
            .run(command)
            .fails(1, "error: there is no home (~/.local/share/toolgate); make one: toolgate init");
    }
}
