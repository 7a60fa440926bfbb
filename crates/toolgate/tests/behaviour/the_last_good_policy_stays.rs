//! A changed policy is in force as soon as it was read, by edit or by SIGHUP. One that cannot be read changes
//! nothing: the last good one stays.

use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::harness::*;

const STRICTER: (&str, &str) = ("tools: [\"read_*\", echo]", "tools: [echo]");

fn stricter() -> String {
    POLICY.replace(STRICTER.0, STRICTER.1)
}

#[test]
fn an_edited_policy_is_taken_up() {
    let stage = Stage::new();
    let agent = stage.at_web();
    assert_eq!(agent.call("read_note", "{}").verdict(), 200);
    stage.gateway.write("policy.yaml", &stricter());
    until("the edit to be noticed", || agent.call("read_note", "{}").verdict() == 403);
    assert_eq!(agent.call("echo", "{}").verdict(), 200);
    assert!(!agent.request("tools/list", "{}").text().contains("read_note"), "the lists follow");
    stage.gateway.write("policy.yaml", POLICY);
    until("the edit to be noticed", || agent.call("read_note", "{}").verdict() == 200);
}

#[test]
fn a_policy_that_takes_the_place_of_another_is_taken_up() {
    let stage = Stage::new();
    stage.gateway.write("new.yaml", &stricter());
    std::fs::rename(stage.gateway.path().join("new.yaml"), stage.gateway.path().join("policy.yaml")).unwrap();
    until("the new file to be noticed", || stage.at_web().call("read_note", "{}").verdict() == 403);
}

#[test]
fn sighup_reads_the_policy_again() {
    let stage = Stage::new();
    stage.gateway.write("policy.yaml", &stricter());
    stage.gateway.signal(Signal::SIGHUP);
    until("the reload to be told", || stage.gateway.said().contains("policy reloaded"));
    assert_eq!(stage.at_web().call("read_note", "{}").verdict(), 403);
}

#[test]
fn a_json_log_holds_nothing_but_json() {
    let home = Home::new(POLICY);
    let log = home.path().join("serve.log");
    let mut serve = Command::new(env!("CARGO_BIN_EXE_toolgate"));
    serve.args(["serve", "--set", "telemetry.log=json", "--home"]).arg(home.path()).env_clear();
    serve.args(["--set", "gateway.listen=127.0.0.1:0", "--set", "console.listen=127.0.0.1:0"]);
    serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let mut serve = serve.spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();

    until("the start", || said().contains("\"ready\""));
    home.write("policy.yaml", "version: 2\n");
    until("the fault to be told", || said().contains("policy NOT reloaded"));
    home.write("policy.yaml", &stricter());
    until("the reload to be told", || said().contains("policy reloaded"));
    kill(Pid::from_raw(i32::try_from(serve.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(eventually("the gateway to end", || serve.try_wait().unwrap()).success(), "{}", said());

    assert!(said().contains("stopped: 0 finished, 0 unknown"), "{}", said());
    for line in said().lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object()), "{line}");
    }
}

#[test]
fn a_broken_policy_changes_nothing() {
    let stage = Stage::new();
    let agent = stage.at_web();
    for (nth, broken) in [
        "",
        "version: 1\nroles:\n  user:\n    allow: [\"*\"\n",
        "version: 2\n",
        "roles: {}\nversion: 1\nroles: {}\n",
        "version: 1\nroles:\n  user:\n    allow:\n      - { service: web, tool: [echo] }\n",
        "\u{0}",
        &POLICY.replace("allow: [\"*\"]", "allow: \"*\""),
        &POLICY.replace("per_key: 100000/1s", "per_key: 1"),
    ]
    .into_iter()
    .enumerate()
    {
        stage.gateway.write("policy.yaml", broken);
        stage.gateway.signal(Signal::SIGHUP);
        until("the fault to be told", || stage.gateway.said().matches("policy NOT reloaded").count() > nth);
        assert_eq!(agent.call("read_note", "{}").verdict(), 200, "{broken}");
        assert_eq!(agent.call("delete_note", "{}").verdict(), 403, "{broken}");
        assert_eq!(agent.call("write_note", "{}").verdict(), 403, "{broken}");
    }
    std::fs::remove_file(stage.gateway.path().join("policy.yaml")).unwrap();
    stage.gateway.signal(Signal::SIGHUP);
    until("the fault to be told", || stage.gateway.said().contains("there is no policy"));
    assert_eq!(agent.call("read_note", "{}").verdict(), 200);

    stage.gateway.write("policy.yaml", &stricter());
    until("the mended policy to be noticed", || agent.call("read_note", "{}").verdict() == 403);
    let reloads = stage.gateway.events().iter().filter(|event| event["action"] == "policy.load").count();
    assert!(reloads <= 2, "what was not loaded is not in the trail as loaded");
}

#[test]
fn no_call_is_judged_by_half_a_policy() {
    let stage = Stage::new();
    let half = &POLICY[..POLICY.len() / 2];
    let calling = AtomicBool::new(true);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0.. {
                if !calling.load(Ordering::SeqCst) {
                    return;
                }
                stage.gateway.write("policy.yaml", if turn % 2 == 0 { half } else { POLICY });
                stage.gateway.signal(Signal::SIGHUP);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let agent = stage.at_web();
        let verdicts: Vec<_> = (0..200)
            .map(|_| (agent.call("read_note", "{}").verdict(), agent.call("delete_note", "{}").verdict()))
            .collect();
        calling.store(false, Ordering::SeqCst);
        assert!(verdicts.iter().all(|verdicts| *verdicts == (200, 403)), "{verdicts:?}");
    });
    until("the halves to have been looked at", || stage.gateway.said().contains("policy NOT reloaded"));
}
