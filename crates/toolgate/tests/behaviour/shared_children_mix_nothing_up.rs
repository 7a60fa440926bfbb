//! With `share: true` all agents use one child. Their request ids and progress tokens collide, and still everybody
//! gets their own answers and nothing of the others'.

use crate::harness::*;

struct Shared {
    gateway: Gateway,
    child: ChildServer,
    keys: [String; 2],
}

fn shared() -> Shared {
    shared_on(Home::new(POLICY))
}

/// A home where nobody waits long for a child that hangs.
fn impatient() -> Home {
    Home::new(POLICY).set("gateway.upstream_timeout=6s")
}

fn shared_on(home: Home) -> Shared {
    let child = ChildServer::new();
    let home = home.services(&[child.declare_with("child", ", share: true")]);
    let keys = ["one", "two"].map(|agent| home.key(agent, "user", "child"));
    Shared { gateway: home.serve(), child, keys }
}

impl Shared {
    fn agents(&self) -> [Agent; 2] {
        [0, 1].map(|nth: usize| self.gateway.agent(&self.keys[nth], "child").connected())
    }
}

#[test]
fn two_agents_share_one_child() {
    let shared = shared();
    let [one, two] = shared.agents();
    assert_eq!(one.told("pid"), two.told("pid"));
    assert_eq!(shared.child.pids().len(), 1);
}

#[test]
fn colliding_ids_and_progress_tokens_are_told_apart() {
    let shared = shared();
    let pair = |agent: &Agent, who: &str| {
        let params =
            format!(r#"{{"name":"pair","arguments":{{"who":"{who}"}},"_meta":{{"progressToken":"t"}}}}"#);
        agent.send(format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#))
    };
    let [one, two] = shared.agents();
    let waiting = std::thread::spawn(move || pair(&one, "one"));
    until("the first to wait", || {
        shared.child.noted("in").iter().any(|note| note.text.contains("\"who\":\"one\""))
    });
    let replies = [("two", pair(&two, "two"), "0"), ("one", waiting.join().unwrap(), "1")];
    for (who, reply, progress) in replies {
        let messages: Vec<serde_json::Value> = reply
            .text()
            .lines()
            .filter_map(|line| line.strip_prefix("data: "))
            .map(|data| serde_json::from_str(data).unwrap())
            .collect();
        assert_eq!(messages.len(), 2, "{who}: {}", reply.text());
        assert_eq!(messages[0]["params"]["progressToken"], "t");
        assert_eq!(messages[0]["params"]["progress"].to_string(), progress);
        assert_eq!(messages[1]["id"], 7);
        assert_eq!(messages[1]["result"]["content"][0]["text"], who);
    }
    let lines: Vec<_> =
        shared.child.noted("in").into_iter().filter(|note| note.text.contains("pair")).collect();
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].clone();
    assert_ne!(id(&lines[0].text), id(&lines[1].text), "the child can tell them apart");
}

#[test]
fn a_cancellation_reaches_the_child_with_its_own_id_and_only_from_whom_it_belongs_to() {
    for shared in [Some(shared_on(impatient())), None] {
        let stage = shared.is_none().then(|| Stage::with(impatient()));
        let (child, agents) = match (&shared, &stage) {
            (Some(shared), _) => (&shared.child, shared.agents()),
            (_, Some(stage)) => (&stage.child, [stage.at_child(), stage.at_child()]),
            _ => unreachable!(),
        };
        let [one, two] = agents;
        let asking = one.clone();
        let calling = std::thread::spawn(move || asking.call("hang", "{}"));
        let hanging = eventually("the child to hang", || child.noted("hanging").pop()).text;

        let cancel =
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"reason":"r"}}"#;
        let cancelled = || {
            child.noted("in").into_iter().filter(|note| note.text.contains("cancelled")).collect::<Vec<_>>()
        };
        assert_eq!(two.send(cancel).status, 202);
        assert_eq!(two.call("echo", "{}").verdict(), 200);
        assert!(cancelled().is_empty(), "another's request is not theirs to cancel");
        assert_eq!(one.send(cancel).status, 202);
        let note = eventually("the cancellation to arrive", || cancelled().pop());
        assert!(note.text.contains(&format!("\"requestId\":{hanging},\"reason\":\"r\"")), "{}", note.text);
        // A child answers nothing to what was cancelled, so the call ends with its time.
        assert_eq!(calling.join().unwrap().verdict(), 504);
    }
}

#[test]
fn one_agent_leaving_does_not_end_the_others_child() {
    let shared = shared();
    let [one, two] = shared.agents();
    let pid = two.told("pid");
    assert_eq!(shared.gateway.send(&one.end()).status, 200);
    assert_eq!(two.told("pid"), pid);
}

#[test]
fn what_names_no_request_reaches_nobody() {
    let shared = shared();
    let [one, _] = shared.agents();
    let reply = shared.gateway.send(&one.listen());
    assert_eq!(reply.status, 405, "there is nothing to listen to: {}", reply.text());
}

#[test]
fn what_a_shared_child_asks_is_declined() {
    let shared = shared();
    let [one, two] = shared.agents();
    assert_eq!(one.send(r#"{"jsonrpc":"2.0","id":"question-1","result":{"forged":1}}"#).status, 202);
    let reply = two.call("ask", "{}");
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
    assert!(!reply.text().contains("forged"), "nobody answers for another");
}
