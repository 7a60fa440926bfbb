//! `credentials`: a value goes in from stdin or a prompt that does not show it, and is in no output, file or event.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    process::Stdio,
    time::Duration,
};

use nix::{
    pty::openpty,
    sys::termios::{LocalFlags, tcgetattr},
};

use crate::terminal::{Done, Terminal};

const BILLING: &str = "services:\n  - { name: billing, kind: http, url: 'https://api.example.com', \
                       credentials: [{ name: secret_key, kind: bearer }] }\n";
const VALUE: &str = "sk_live_51Hcanary";

fn with_billing() -> Terminal {
    let terminal = Terminal::with_home();
    terminal.write("services.yaml", BILLING);
    terminal.run(&["services", "apply", "-f", "services.yaml"]).ok();
    terminal
}

fn set(terminal: &Terminal, options: &[&str], value: &str) -> Done {
    terminal.run_with(&[&["credentials", "set", "billing"], options].concat(), value)
}

/// Every file below a folder that holds the bytes.
fn files_with(folder: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if std::fs::read(&path).unwrap().windows(needle.len()).any(|part| part == needle) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_value_is_sealed_and_nowhere_to_be_seen() {
    let terminal = with_billing();
    let done = set(&terminal, &["secret_key", "--kind", "bearer"], &format!("{VALUE}\n")).ok();
    assert_eq!(
        done.stdout,
        "✓ billing secret_key (bearer) sealed, version 1; goes to https://api.example.com:443 only\n"
    );
    assert_eq!(done.stderr, "");
    let again = set(&terminal, &["secret_key", "--json"], VALUE).ok().json();
    assert_eq!(
        (again["version"].as_u64(), again["origin"].as_str()),
        (Some(2), Some("https://api.example.com:443"))
    );
    for command in [
        &["credentials", "list", "billing"][..],
        &["credentials", "list", "billing", "--json"],
        &["services", "show", "billing"],
        &["services", "show", "billing", "--json"],
        &["services", "list", "--json"],
        &["audit", "export"],
        &["audit", "list"],
        &["config", "show"],
        &["vault", "status"],
    ] {
        let done = terminal.run(command).ok();
        assert!(!done.stdout.contains("canary") && !done.stderr.contains("canary"), "{command:?}: {done:?}");
    }
    assert!(!files_with(&terminal.home(), b"credentials.set").is_empty(), "the search finds what is there");
    assert_eq!(files_with(&terminal.home(), VALUE.as_bytes()), Vec::<String>::new());
    let trail = terminal.run(&["audit", "export"]).ok().stdout;
    assert_eq!(trail.matches("\"credentials.set\"").count(), 2);
    assert_eq!(trail.matches("\"sha256\":\"").count(), 2, "each is told by the hash of its ciphertext");
}

#[test]
fn a_list_shows_names_kinds_versions_and_times() {
    let terminal = with_billing();
    let before = terminal.run(&["credentials", "list", "billing"]).ok().stdout;
    assert_eq!(before, "CREDENTIAL  KIND    VERSION  SET (UTC)\nsecret_key  bearer        –  no value yet\n");
    set(&terminal, &["secret_key"], VALUE).ok();
    let list = terminal.run(&["credentials", "list", "billing", "--json"]).ok().json();
    let members: Vec<_> = list[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["name", "kind", "version", "set_at"]);
    assert_eq!((list[0]["name"].as_str(), list[0]["version"].as_u64()), (Some("secret_key"), Some(1)));
    assert!(list[0]["set_at"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn exactly_one_newline_is_dropped() {
    let terminal = with_billing();
    for good in [VALUE.to_owned(), format!("{VALUE}\n"), format!("{VALUE}\r\n")] {
        set(&terminal, &["secret_key"], &good).ok();
    }
    set(&terminal, &["secret_key"], &format!("{VALUE}\n\n"))
        .fails(1, "error: the value has a line break or control character at byte 17; give it on one line");
}

#[test]
fn a_value_that_cannot_do_changes_nothing() {
    let terminal = with_billing();
    for (value, wanted) in [
        ("", "error: the value is empty"),
        ("\n", "error: the value is empty"),
        ("two words", "error: a bearer token has no blanks"),
        ("a\0b", "error: the value has a line break or control character"),
        (&*"x".repeat(64 * 1024 + 1), "error: the value is longer than 65536 bytes"),
    ] {
        let done = set(&terminal, &["secret_key"], value);
        assert!(done.code == 1 && done.stderr.starts_with(wanted) && done.stdout.is_empty(), "{done:?}");
    }
    let list = terminal.run(&["credentials", "list", "billing", "--json"]).ok().json();
    assert!(list[0]["version"].is_null());
}

#[test]
fn what_cannot_be_set_is_told_before_a_value_is_read() {
    let terminal = with_billing();
    let cases: [(&[&str], i32, &str); 9] = [
        (
            &["secretkey"],
            1,
            "error: service `billing` has no credential `secretkey`; did you mean `secret_key`? to add it, say its --kind",
        ),
        (
            &["x", "--kind", "header"],
            1,
            "error: a credential of kind `header` needs `header` (--header); add it: the header's name",
        ),
        (
            &["x", "--kind", "header", "--header", "Host"],
            1,
            "error: the header `host` belongs to the request itself, not to a credential (--header); name another header",
        ),
        (
            &["x", "--kind", "bearer"],
            1,
            "error: credentials `secret_key` and `x` would both be the header `authorization`; leave one out",
        ),
        (
            &["x", "--kind", "query", "--parameter", "k", "--region", "r"],
            1,
            "error: `region` is not for credentials of kind `query` (--region); leave it out",
        ),
        (&["x", "--kind", "env"], 1, "error: kind `env` is for services with a `command`"),
        (&["X", "--kind", "bearer"], 2, "error: `X` is no credential name"),
        (&["x", "--header", "X-Key"], 2, "error: --kind is missing"),
        (&["x", "--kind", "berer"], 2, "error: `berer` is no value of --kind"),
    ];
    for (options, code, wanted) in cases {
        let done = set(&terminal, options, VALUE);
        assert!(done.code == code && done.stderr.starts_with(wanted), "{options:?}: {done:?}");
        assert!(done.stdout.is_empty());
    }
    terminal
        .run_with(&["credentials", "set", "biling", "x"], VALUE)
        .fails(1, "error: there is no service `biling`; did you mean `billing`? all: toolgate services list");
    let argument = set(&terminal, &["secret_key", VALUE], "");
    assert_eq!(argument.code, 2, "a value is never an argument: {argument:?}");
}

#[test]
fn one_that_is_too_short_to_be_masked_says_so() {
    let terminal = with_billing();
    let done = set(&terminal, &["secret_key", "--kind", "bearer"], "hunter2").ok();
    assert_eq!(
        done.stdout,
        "✓ billing secret_key (bearer) sealed, version 1; goes to https://api.example.com:443 only\n\
         ! billing  `secret_key` is too short to be masked in what comes back (under 8 bytes); use a longer value\n"
    );
    let masked = |value| set(&terminal, &["secret_key", "--json"], value).ok().json()["masked"].as_bool();
    assert_eq!((masked("hunter2"), masked("hunter22")), (Some(false), Some(true)));
}

#[test]
fn one_that_nobody_declared_is_added_and_the_file_must_follow() {
    let terminal = with_billing();
    let options = ["app", "--kind", "header", "--header", "X-App", "--format", "App {}"];
    let done = set(&terminal, &options, VALUE).ok();
    assert_eq!(
        done.stdout,
        "✓ billing app (header) sealed, version 1; goes to https://api.example.com:443 only\n\
         ! billing  `app` is declared now; name it in services.yaml too, or the next apply drops it\n"
    );
    let list = terminal.run(&["credentials", "list", "billing", "--json"]).ok().json();
    assert_eq!((list[0]["header"].as_str(), list[0]["format"].as_str()), (Some("x-app"), Some("App {}")));
    let applied = terminal.run(&["services", "apply", "-f", "services.yaml"]).ok().stdout;
    assert!(
        applied.contains("! billing  credential `app` dropped, the file does not name it any more\n"),
        "{applied}"
    );
}

#[test]
fn a_removed_value_is_gone_and_its_service_waits() {
    let terminal = with_billing();
    let remove = || terminal.run(&["credentials", "remove", "billing", "secret_key"]);
    remove().fails(
        1,
        "error: credential `secret_key` of `billing` has no value; all: toolgate credentials list billing",
    );
    set(&terminal, &["secret_key"], VALUE).ok();
    assert_eq!(
        remove().ok().stdout,
        "✓ billing secret_key dropped; billing is not called until it is set again\n"
    );
    let list = terminal.run(&["credentials", "list", "billing", "--json"]).ok().json();
    assert!(list[0]["version"].is_null());
    let again = set(&terminal, &["secret_key", "--json"], VALUE).ok().json();
    assert_eq!(again["version"], 2, "no version is given twice");
}

#[test]
fn without_its_vault_key_nothing_is_set() {
    let terminal = with_billing();
    std::fs::rename(terminal.home().join("vault.key"), terminal.home().join("away")).unwrap();
    let done = set(&terminal, &["secret_key"], VALUE);
    assert!(done.code == 1 && done.stdout.is_empty() && done.stderr.contains("vault.key"), "{done:?}");
    std::fs::rename(terminal.home().join("away"), terminal.home().join("vault.key")).unwrap();
    set(&terminal, &["secret_key"], VALUE).ok();
    terminal.run(&["vault", "rotate"]).ok();
    assert_eq!(set(&terminal, &["secret_key", "--json"], VALUE).ok().json()["version"], 2);
}

#[test]
fn a_terminal_is_asked_and_does_not_show_what_is_typed() {
    let terminal = with_billing();
    let pty = openpty(None, None).unwrap();
    let (mut master, slave) = (File::from(pty.master), pty.slave);
    let mut child = terminal
        .command(&["credentials", "set", "billing", "secret_key"])
        .env("TERM", "xterm")
        .stdin(Stdio::from(slave.try_clone().unwrap()))
        .stdout(Stdio::piped())
        .stderr(Stdio::from(slave.try_clone().unwrap()))
        .spawn()
        .unwrap();
    // What is typed before the prompt has switched the echo off would be shown by the terminal itself.
    let hidden = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        !tcgetattr(&slave).unwrap().local_flags.contains(LocalFlags::ECHO)
            || child.try_wait().unwrap().is_some()
    });
    assert!(hidden, "nobody asked within a minute");
    master.write_all(format!("{VALUE}\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let mut answer = String::new();
    child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("✓ billing secret_key (bearer) sealed, version 1"), "{answer}");
    drop(slave);
    // The end of a terminal whose other side is closed reads as an error.
    let mut shown = Vec::new();
    let _ = master.read_to_end(&mut shown);
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(shown.contains("Value of secret_key (bearer, not shown)"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
}
