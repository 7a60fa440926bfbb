//! Receivers of notifications are told in order and at least once, signed, whatever stands in the way; and nothing
//! that stands in their way is in the way of a call.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;

use crate::{harness::*, terminal::Terminal};

const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A receiver that answers 503 so many times, and takes everything from then on.
fn receiver(failures: usize) -> Upstream {
    let left = AtomicUsize::new(failures);
    Upstream::start(move |_| {
        let fails = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        answer(if fails { "503 Service Unavailable" } else { "204 No Content" }, "", "")
    })
}

/// The setting for one receiver.
fn notify(receiver: &Upstream, more: &str) -> String {
    format!("notify=[{{url: http://{}/hook-token, secret_env: NOTIFY_SECRET{more}}}]", receiver.address)
}

fn home(setting: &str) -> Home {
    Home::new(POLICY).set(setting).variable("NOTIFY_SECRET", SECRET)
}

/// The example of docs/notifications.md, run on a notification that arrived.
fn is_ours(hit: &Hit, secret: &str, body: &[u8]) -> bool {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/notifications.md"));
    let page = page.unwrap();
    let (_, example) = page.split_once("    import base64").unwrap();
    let example: String =
        example.lines().map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or(line))).collect();
    let program = format!(
        "import base64{example}\nimport json, sys\nsecret, headers, body = json.load(sys.stdin)\n\
         print(is_ours(secret, headers, body.encode()))\n"
    );
    let headers: serde_json::Map<String, serde_json::Value> =
        ["webhook-id", "webhook-timestamp", "webhook-signature"]
            .into_iter()
            .map(|name| (name.to_owned(), hit.header(name).unwrap().into()))
            .collect();
    let mut python = Command::new("python3");
    let mut python =
        python.args(["-c", &program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = json!([secret, headers, std::str::from_utf8(body).unwrap()]).to_string();
    std::io::Write::write_all(&mut python.stdin.take().unwrap(), input.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    match std::str::from_utf8(&output.stdout).unwrap().trim() {
        "True" => true,
        "False" => false,
        other => panic!("{other}"),
    }
}

fn types(receiver: &Upstream) -> Vec<String> {
    receiver.hits().iter().map(|hit| hit.json()["type"].as_str().unwrap_or_default().to_owned()).collect()
}

/// `laptop` may write notes once people said yes.
const ASKING: &str = r#"
version: 1
roles:
  user:
    approve:
      - { name: careful notes, service: api, requests: ["POST /v1/notes"] }
limits:
  per_key: 100000/1s
  per_tool: 100000/1s
"#;

#[test]
fn a_held_call_is_told_and_what_became_of_it() {
    let receiver = receiver(0);
    let home = Home::new(ASKING)
        .set(&notify(&receiver, ", on: [held, decided]"))
        .set("gateway.hold=100ms")
        .set("approvals.decide_within=2s")
        .variable("NOTIFY_SECRET", SECRET);
    let stage = ApiStage::with(home, "", |_| json("{}"));
    let reply = stage.post("/http/api/v1/notes", r#"{"text":"private-words"}"#);
    assert_eq!((reply.status, reply.proxy_status()), (428, "held"), "{}", reply.text());
    let id = eventually("the trail to tell", || {
        let held = stage.gateway.events().into_iter().find(|event| event["kind"] == "held")?;
        Some(held["approval_id"].as_str()?.to_owned())
    });

    until("both to be told", || receiver.count() >= 2);
    assert_eq!(types(&receiver), ["approval.held", "approval.decided"]);
    let [held, decided] = &receiver.hits()[..] else { panic!("two were told") };
    let told = &held.json()["approval"];
    let url = format!("http://{}/approvals/{id}", stage.gateway.console());
    for (member, value) in [
        ("id", json!(id)),
        ("agent", json!("laptop")),
        ("service", json!("api")),
        ("action", json!("POST /v1/notes")),
        ("rule", json!("careful notes")),
        ("quorum", json!(1)),
        ("status", json!("pending")),
        ("url", json!(url)),
    ] {
        assert_eq!(told[member], value, "{member}");
    }
    let told = &decided.json()["approval"];
    assert_eq!((&told["id"], &told["status"]), (&json!(id), &json!("expired")));
    assert_eq!((&told["decided_by"], &told["reason"]), (&json!(null), &json!("nobody decided in time")));
    for hit in [held, decided] {
        assert!(is_ours(hit, SECRET, &hit.body));
        assert!(!String::from_utf8_lossy(&hit.body).contains("private-words"));
    }
    assert_eq!(stage.api.count(), 0, "nobody said yes");
}

#[test]
fn what_fails_is_tried_again_signed_anew_and_under_the_same_id() {
    let receiver = receiver(2);
    let gateway = home(&notify(&receiver, "")).serve();
    gateway.ok(&["kill", "on", "--reason", "laptop stolen"]);
    gateway.ok(&["kill", "off"]);
    until("both to be taken", || receiver.count() >= 4);
    assert_eq!(types(&receiver), ["kill.on", "kill.on", "kill.on", "kill.off"]);
    let hits = receiver.hits();
    let ids: Vec<&str> = hits.iter().map(|hit| hit.header("webhook-id").unwrap()).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3], "{ids:?}");
    let hit = &hits[3];
    assert_eq!((hit.method.as_str(), hit.target()), ("POST", "/hook-token"));
    assert_eq!(hit.header("content-type"), Some("application/json"));
    assert_eq!((&hit.json()["id"], &hit.json()["kill"]["reason"]), (&json!(ids[3]), &json!("laptop stolen")));
    assert!(hit.json()["kill"]["by"].as_str().unwrap().starts_with("os:"));

    assert!(is_ours(hit, SECRET, &hit.body), "as the documents say how to check");
    assert!(!is_ours(hit, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &hit.body), "another secret");
    assert!(!is_ours(hit, SECRET, &[&hit.body[..], b" "].concat()), "another body");

    until("the log to tell", || gateway.said().contains("it answered 503; it is tried again for 24 h"));
    let said = gateway.said();
    assert!(!said.contains("hook-token") && !said.contains("C2FVsBQI"), "a secret is in the log: {said}");
}

#[test]
fn a_crash_and_a_change_while_nothing_runs_lose_no_notification() {
    let receiver = receiver(1);
    let mut gateway = home(&notify(&receiver, "")).serve();
    gateway.ok(&["kill", "on", "--reason", "first"]);
    until("the first attempt", || receiver.count() >= 1);
    gateway.signal(nix::sys::signal::Signal::SIGKILL);
    gateway.ended();
    gateway.ok(&["kill", "off"]);
    gateway.restart();
    // Between being taken and being noted there may be a crash: then it comes twice, and is known by its id.
    let told = || {
        let mut hits: Vec<(String, String)> = receiver
            .hits()
            .iter()
            .map(|hit| (hit.header("webhook-id").unwrap().to_owned(), hit.json()["type"].to_string()))
            .collect();
        hits.dedup();
        hits.into_iter().map(|(_, word)| word).collect::<Vec<_>>()
    };
    until("both to be told", || told() == ["\"kill.on\"", "\"kill.off\""]);
}

#[test]
fn a_receiver_that_hangs_holds_up_no_call() {
    let latch = Latch::new();
    let held = Arc::clone(&latch);
    let receiver = Upstream::start(move |_| vec![Step::Wait(Arc::clone(&held)), Step::HangUp]);
    let stage = Stage::with(home(&notify(&receiver, "")));
    stage.gateway.ok(&["kill", "on", "--reason", "a test"]);
    stage.gateway.ok(&["kill", "off"]);
    until("the receiver to be told", || receiver.count() >= 1);
    let agent = stage.at_web();
    until("calls to pass again", || agent.call("read_note", "{}").verdict() == 200);
    for _ in 0..50 {
        assert_eq!(agent.call("read_note", "{}").verdict(), 200);
    }
    latch.release();
}

#[test]
fn a_receiver_hears_only_what_it_asked_for() {
    let (kills, calls) = (receiver(0), receiver(0));
    let setting = format!(
        "notify=[{{\"url\": \"http://{}/hook-token\", \"format\": \"slack\", \"on\": [\"killed\"]}}, \
         {{\"url\": \"http://{}/\", \"format\": \"slack\", \"on\": [\"held\", \"decided\"]}}]",
        kills.address, calls.address
    );
    let gateway = Home::new(POLICY).set(&setting).serve();
    gateway.ok(&["kill", "on", "--reason", "<!channel> `rm`"]);
    until("one to be told", || kills.count() >= 1);
    let hit = kills.last();
    assert_eq!(hit.header("webhook-signature"), None);
    let text = hit.json()["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("Kill switch on: nothing is forwarded · by `os:"), "{text}");
    assert!(text.ends_with("reason `&lt;!channel&gt; \\u{60}rm\\u{60}`"), "{text}");
    assert!(hit.json()["blocks"].as_array().is_some_and(|blocks| !blocks.is_empty()));
    assert_eq!(calls.count(), 0);
}

#[test]
fn a_start_without_the_secret_is_refused() {
    let receiver = receiver(0);
    let ran = Home::new(POLICY).set(&notify(&receiver, "")).try_serve();
    assert_eq!(ran.code, 1);
    let sentence = "error: $NOTIFY_SECRET is not set (notify[0].secret_env); \
                    set it to the secret that signs notifications\n";
    assert!(ran.stderr.ends_with(sentence), "{}", ran.stderr);
}

#[test]
fn the_path_of_a_receiver_is_masked_and_faults_have_their_place() {
    let terminal = Terminal::with_home();
    let file = terminal.home().join("toolgate.yaml");
    let url = "https://hooks.slack.com/services/T0/B0/hook-token";
    std::fs::write(&file, format!("notify:\n  - url: {url}\n    format: slack\n    on: [killed]\n")).unwrap();
    for command in [&["config", "show"][..], &["config", "show", "--json"]] {
        let shown = terminal.run(command).ok().stdout;
        assert!(shown.contains("https://hooks.slack.com/…, format: slack, on: [killed]"), "{shown}");
        assert!(!shown.contains("hook-token"), "{shown}");
    }
    std::fs::write(&file, format!("notify:\n  - url: {url}\n    fromat: slack\n")).unwrap();
    terminal.run(&["config", "show"]).fails(
        1,
        "~/.local/share/toolgate/toolgate.yaml:3:5: error: unknown key `fromat`; did you mean `format`?\n   \
         3 |     fromat: slack\n     |     ^^^^^^",
    );
    std::fs::write(&file, format!("notify:\n  - url: {url}\n")).unwrap();
    let told = terminal.run(&["config", "show"]);
    assert!(told.stderr.contains("this receiver has no `secret_env`"), "{told:?}");
    assert!(!told.stderr.contains("hook-token"), "{told:?}");
}
