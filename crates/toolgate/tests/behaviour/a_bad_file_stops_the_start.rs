//! A gateway does not start on files that it cannot trust or read. It says in one sentence what is wrong, where,
//! and what to do next; nothing listens, and no file is changed.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
};

use crate::harness::*;

/// `serve` must fail with exactly these words on stderr.
fn refuses(home: &Home, sentence: &str) {
    let ran = home.try_serve();
    assert_eq!((ran.code, &*ran.stdout), (1, ""), "{}", ran.stderr);
    let shown = home.path().display().to_string();
    assert_eq!(ran.stderr.replace(&shown, "~").trim_end(), sentence);
}

/// `serve` must fail and show this line of a file.
fn shows(home: &Home, start: &str) {
    let ran = home.try_serve();
    assert_eq!((ran.code, &*ran.stdout), (1, ""), "{}", ran.stderr);
    let first = ran.stderr.lines().next().unwrap_or_default();
    let shown = home.path().display().to_string();
    assert!(first.replace(&shown, "~").starts_with(start), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

fn home() -> Home {
    Home::new(POLICY)
}

fn replace_by_folder(home: &Home, name: &str) {
    fs::remove_file(home.path().join(name)).unwrap();
    fs::create_dir(home.path().join(name)).unwrap();
}

fn set_mode(home: &Home, name: &str, mode: u32) {
    fs::set_permissions(home.path().join(name), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn without_a_policy() {
    let home = home();
    fs::remove_file(home.path().join("policy.yaml")).unwrap();
    let ran = home.try_serve();
    assert_eq!(ran.code, 1);
    let expected = format!("error: there is no policy ({}/policy.yaml); `", home.path().display());
    let said = ran.stderr.replace("~/", &format!("{}/", home.path().display()));
    assert!(said.starts_with(&expected) && said.trim_end().ends_with("` writes a starter"), "{}", ran.stderr);
    assert!(said.matches("--home").count() <= 1, "the command runs as printed: {}", ran.stderr);
}

#[test]
fn on_a_policy_that_is_none() {
    for (text, start) in [
        ("", "~/policy.yaml: error: the file is empty"),
        ("# only a comment\n", "~/policy.yaml:"),
        ("[]", "~/policy.yaml:1:1: error: "),
        ("version: 1\nroles:\n\tuser: {}\n", "~/policy.yaml:3:2: error: a tab"),
        ("version: 1\nversion: 1\n", "~/policy.yaml:2:1: error: "),
        (
            "version: 1\nroles: {user: {allow: [{service: web, tool: [a]}]}}\n",
            "~/policy.yaml:2:39: error: unknown key `tool`",
        ),
        ("\u{0}\u{1}\u{2}", "~/policy.yaml:1:1: error: "),
        ("version: 1\nroles: {user: {allow: [&a [*a]]}}\n", "~/policy.yaml:2:"),
    ] {
        let home = home();
        home.write("policy.yaml", text);
        shows(&home, start);
    }
}

#[test]
fn on_a_file_of_the_wrong_type_or_size() {
    for (name, word) in [("policy.yaml", "a file"), ("toolgate.yaml", "a file")] {
        let folder = home();
        replace_by_folder(&folder, name);
        shows(&folder, &format!("error: {word} cannot be read (~/{name}); is it a file?"));
        let binary = home();
        fs::write(binary.path().join(name), b"\xff\xfe\x00v\x00e\x00r").unwrap();
        shows(&binary, &format!("error: {word} is not UTF-8 text (~/{name})"));
        let large = home();
        fs::write(large.path().join(name), vec![b'#'; 2 << 20]).unwrap();
        shows(&large, &format!("error: {word} is larger than 1 MiB (~/{name})"));
    }
}

#[test]
fn on_settings_that_do_not_fit() {
    for (text, start) in [
        (
            "gateway: { listne: 127.0.0.1:0 }\n",
            "~/toolgate.yaml:1:12: error: unknown key `listne`; did you mean `listen`?",
        ),
        ("gateway:\n  body_limit: many\n", "~/toolgate.yaml:2:15: error: "),
        ("gateway: []\n", "~/toolgate.yaml:1:10: error: "),
        ("gateway:\n  listen: 0.0.0.0:0\n  listen: 127.0.0.1:0\n", "~/toolgate.yaml:3:3: error: "),
    ] {
        let home = home();
        home.write("toolgate.yaml", text);
        shows(&home, start);
    }
}

#[test]
fn on_a_listener_that_others_reach_in_the_clear() {
    let home = Home::new(POLICY).set("gateway.listen=0.0.0.0:0");
    let ran = home.try_serve();
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("insecure: true") && ran.stderr.contains("tls"), "{}", ran.stderr);
}

#[test]
fn empty_settings_are_the_defaults() {
    let home = home();
    home.write("toolgate.yaml", "");
    drop(home.serve());
    let home = Home::new(POLICY);
    fs::remove_file(home.path().join("toolgate.yaml")).unwrap();
    drop(home.serve());
}

#[test]
fn on_a_vault_key_that_others_can_read() {
    for mode in [0o644, 0o640, 0o660, 0o602] {
        let home = home();
        set_mode(&home, "vault.key", mode);
        let sentence = format!("error: others can read vault.key (mode {mode:04o}); chmod 600 ~/vault.key");
        let ran = home.try_serve();
        assert_eq!(ran.code, 1);
        let said = ran.stderr.replace(&home.path().display().to_string(), "~");
        assert!(said.starts_with(&sentence), "{said}");
        assert_eq!(home.run(&["keys", "create", "laptop"]).code, 1, "nor is a key made with it");
    }
}

#[test]
fn on_a_vault_key_that_is_none() {
    let home = home();
    for length in [0, 31, 33] {
        fs::write(home.path().join("vault.key"), vec![7; length]).unwrap();
        refuses(
            &home,
            "error: vault.key is not a key of 32 bytes (~/vault.key); bring it back from its copy",
        );
    }
    replace_by_folder(&home, "vault.key");
    set_mode(&home, "vault.key", 0o700);
    shows(&home, "error: ");
}

#[test]
fn on_another_homes_vault_key() {
    let (one, two) = (home(), home());
    fs::copy(two.path().join("vault.key"), one.path().join("vault.key")).unwrap();
    shows(&one, "error: ");
}

#[test]
fn on_a_store_that_is_none() {
    let home = Home::on_file(POLICY);
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(home.path().join(format!("toolgate.db{end}")));
    }
    let bytes = b"this is no database, but it is long enough to be looked at".repeat(100);
    fs::write(home.path().join("toolgate.db"), &bytes).unwrap();
    shows(&home, "error: ");
    assert_eq!(fs::read(home.path().join("toolgate.db")).unwrap(), bytes, "it stays as it is");
}

#[test]
fn on_a_policy_or_settings_that_others_can_write() {
    for name in ["policy.yaml", "toolgate.yaml"] {
        let home = home();
        set_mode(&home, name, 0o666);
        shows(&home, &format!("error: others can write {name} (mode 0666); chmod 644 ~/{name}"));
    }
}

#[test]
fn on_a_file_that_this_user_may_not_read() {
    let home = home();
    for name in ["policy.yaml", "toolgate.yaml"] {
        // As root, another user must be asked to fail; nobody else can be made to fail by root's own files.
        let nobody = 65_534;
        let is_root = nix::unistd::geteuid().is_root();
        if is_root {
            for file in fs::read_dir(home.path()).unwrap() {
                chown(file.unwrap().path(), Some(nobody), Some(nobody)).unwrap();
            }
            chown(home.path(), Some(nobody), Some(nobody)).unwrap();
            chown(home.path().join(name), Some(0), Some(0)).unwrap();
        }
        set_mode(&home, name, if is_root { 0o600 } else { 0o000 });
        let ran = home.try_serve_as(is_root.then_some(nobody));
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        let said = ran.stderr.replace(&home.path().display().to_string(), "~");
        assert!(
            said.starts_with(&format!("error: a file cannot be read (~/{name}); check its owner and mode")),
            "{said}"
        );
        set_mode(&home, name, 0o644);
        if is_root {
            chown(home.path().join(name), Some(nobody), Some(nobody)).unwrap();
        }
    }
}

#[test]
fn on_a_store_that_another_gateway_serves() {
    let gateway = Home::on_file(POLICY).serve();
    let ran = gateway.try_serve();
    let file = gateway.path().join("toolgate.db");
    let expected = format!(
        "error: a gateway runs on this store already ({}); stop it, or give each a store on Postgres (store.url)\n",
        file.display()
    );
    let said = ran.stderr.replace("(~/", &format!("({}/", gateway.path().display()));
    assert_eq!((ran.code, ran.stdout.as_str(), said.as_str()), (1, "", expected.as_str()));
    // Commands work beside it.
    gateway.ok(&["agents", "list"]);
}

#[test]
fn on_a_port_that_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for listener in ["gateway", "console"] {
        let home = Home::new(POLICY).set(&format!("{listener}.listen=127.0.0.1:{port}"));
        let variable = format!("TOOLGATE_{}_LISTEN", listener.to_uppercase());
        refuses(
            &home,
            &format!(
                "error: port {port} is taken ({listener}.listen); stop the other program, or set {variable}"
            ),
        );
        assert!(home.events().is_empty(), "a start that failed left something behind");
    }
}
