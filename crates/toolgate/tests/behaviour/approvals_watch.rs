//! The live inbox: a call is read to its end before a key decides on it, what others do is seen, and the terminal is
//! given back however it ends.

use serde_json::{Value, json};

use crate::{
    approvals_cli::{as_operator, digest, held, note, show, stage, token},
    harness::ApiStage,
    screen::Screen,
};

/// Signs in at the screen.
fn watch(stage: &ApiStage, name: &str, columns: u16, rows: u16) -> Screen {
    let mut command = stage.gateway.command(&["approvals", "watch"]);
    command.env("TOOLGATE_OPERATOR_TOKEN", token(&stage.gateway, name)).env("TERM", "xterm");
    Screen::start(command, columns, rows)
}

#[test]
fn the_screen_shows_a_call_to_its_end_before_its_keys_decide() {
    let stage = stage();
    let body =
        format!("{{\"text\":[{}]}}", vec!["\"0123456789012345678901234567890123456789\""; 40].join(","));
    let id = held(&stage, "/v1/notes", &body);
    let mut screen = watch(&stage, "ada", 100, 20);
    screen.wait_for("approvals · ada@example.com (owner) · 1 waiting · live");
    screen.wait_for(&format!("> {id}"));
    screen.wait_for("-- lines 1 to ");
    screen.press("a");
    screen.wait_for("read it to its end first: space scrolls");
    screen.press("y");
    screen.wait_for("a approve");
    assert_eq!(show(&stage, &id)["status"], "pending");
    for _ in 0..6 {
        screen.press(" ");
    }
    screen.wait_for("digest      ");
    screen.press("a");
    screen.wait_for("Approve exactly this, digest ");
    screen.press("y");
    screen.wait_for("nothing waits for a decision");
    screen.wait_for("ago by ada@example.com: approved, executed once: 200 in ");
    assert_eq!(stage.api.count(), 1);
    screen.press("q");
    assert_eq!(screen.end(), (0, true), "the terminal is as it was");
}

#[test]
fn the_screen_denies_with_a_reason_and_follows_what_others_do() {
    let stage = stage();
    let first = note(&stage, "one");
    let mut screen = watch(&stage, "ada", 100, 40);
    screen.wait_for(&format!("> {first}"));
    let second = note(&stage, "two");
    screen.wait_for(&format!("  {second}"));
    screen.wait_for("2 waiting");
    let deny = [
        "approvals",
        "deny",
        &first,
        "--reason",
        "wrong\u{202e} folder",
        "--digest",
        &digest(&stage, &first),
    ];
    assert_eq!(as_operator(&stage, "grace", &deny).code, 0);
    screen.wait_for("ago by grace@example.com: denied, \"wrong\\u{202e} folder\"");
    screen.wait_for(&format!("> {second}"));
    screen.wait_for("{ \"text\": \"two\" }");
    screen.press("d");
    screen.wait_for("Reason (the agent is told");
    screen.press("not now\r");
    screen.wait_for("Deny exactly this, digest ");
    screen.press("y");
    screen.wait_for("ago by ada@example.com: denied, \"not now\"");
    assert_eq!(show(&stage, &second)["reason"], "not now");
    screen.press("\u{3}");
    assert_eq!(screen.end(), (0, true), "Ctrl-C gives the terminal back");
    assert_eq!(stage.api.count(), 0);
}

#[test]
fn a_signal_gives_the_terminal_back_and_a_viewer_only_watches() {
    use nix::sys::signal::Signal;
    let stage = stage();
    let id = note(&stage, "one");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut screen = watch(&stage, "vera", 80, 30);
        screen.wait_for(&format!("> {id}"));
        screen.wait_for("digest      ");
        assert!(screen.full);
        screen.press("a");
        screen.wait_for("vera@example.com is a viewer and may not decide");
        screen.signal(signal);
        assert_eq!(screen.end(), (0, true));
    }
    assert_eq!(show(&stage, &id)["status"], "pending");
}

#[test]
fn without_a_terminal_watch_prints_a_line_a_change() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;
    let stage = stage();
    let first = note(&stage, "one");
    let start = |arguments: &[&str]| {
        let mut command = stage.gateway.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        (process, lines)
    };
    let (mut plain, lines) = start(&["approvals", "watch"]);
    let (mut machine, objects) = start(&["approvals", "watch", "--json"]);
    let patience = std::time::Duration::from_secs(60);
    let object = || serde_json::from_str::<Value>(&objects.recv_timeout(patience).unwrap()).unwrap();
    let line = lines.recv_timeout(patience).unwrap();
    assert!(line.ends_with(&format!("{first} pending laptop api POST /v1/notes 0.30 notes")), "{line}");
    assert_eq!((&object()["id"], stage.api.count()), (&json!(first), 0));
    let deny = ["approvals", "deny", &first, "--reason", "no\n", "--digest", &digest(&stage, &first)];
    assert_eq!(as_operator(&stage, "grace", &deny).code, 0);
    let line = lines.recv_timeout(patience).unwrap();
    assert!(line.contains(&format!("{first} denied laptop api POST /v1/notes decided ")), "{line}");
    assert!(line.ends_with(" ago by grace@example.com: denied, \"no\""), "{line}");
    let denied = object();
    assert_eq!((&denied["status"], &denied["reason"]), (&json!("denied"), &json!("no")));
    let second = note(&stage, "two");
    assert!(lines.recv_timeout(patience).unwrap().contains(&second));
    assert_eq!(object()["id"], second.as_str());
    for process in [&mut plain, &mut machine] {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(process.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(process.wait().unwrap().success());
    }
}
