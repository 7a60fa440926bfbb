//! A child may crash, flood, babble, fork or refuse to end: its own session suffers, nobody else's, and nothing of
//! it is left when it was to end.

use nix::sys::signal::Signal;

use crate::harness::*;

#[test]
fn a_crash_ends_one_session_and_is_told() {
    let stage = Stage::new();
    let (crashing, other) = (stage.at_child(), stage.at_child());
    let reply = crashing.call("crash", "{}");
    assert_eq!(reply.verdict(), 502, "{}", reply.text());
    assert!(!reply.text().contains("about to fall over"), "what it said is for operators: {}", reply.text());
    let outcome = &stage.gateway.recorded(reply.call_id(), 2)[1];
    assert_eq!(outcome["error"]["code"], "upstream-broken");
    let why = outcome["error"]["message"].as_str().unwrap();
    assert!(why.contains("exit status: 3") && why.contains("about to fall over"), "{why}");
    assert_eq!(crashing.call("echo", "{}").verdict(), 404, "its session is gone");
    assert_eq!(other.call("echo", "{}").verdict(), 200, "another session goes on");
    until("a new session to open", || {
        stage.gateway.agent(&stage.key, "child").request("initialize", "{}").verdict() == 200
    });
}

#[test]
fn a_child_that_keeps_dying_is_started_ever_more_rarely() {
    let web = Upstream::mcp();
    let child = ChildServer::that_is("dies-at-once");
    let home = Home::new(POLICY).services(&[web.declare("web"), child.declare("child")]);
    let key = home.key("laptop", "user", "web,child");
    let gateway = home.serve();
    let agent = gateway.agent(&key, "child");
    let mut refused = 0;
    for _ in 0..40 {
        let reply = agent.request("initialize", "{}");
        assert_eq!(reply.verdict(), 502, "{}", reply.text());
        refused += usize::from(reply.message().contains("Nothing was sent."));
    }
    assert!(refused >= 30, "only {refused} of 40 were refused without a start");
    assert!(child.pids().len() <= 10, "{} starts", child.pids().len());
    assert_eq!(gateway.agent(&key, "web").call("echo", "{}").verdict(), 200);
}

#[test]
fn a_flood_on_stderr_does_no_harm() {
    let stage = Stage::new();
    let agent = stage.at_child();
    assert_eq!(agent.told("flood"), "flooded");
    assert_eq!(agent.call("echo", "{}").verdict(), 200);
    assert!(stage.gateway.said().len() < 100_000, "nor does it flood our log");
}

#[test]
fn garbage_between_messages_is_ignored() {
    let stage = Stage::new();
    let agent = stage.at_child();
    assert_eq!(agent.told("garbage"), "after the garbage");
    assert_eq!(agent.call("echo", "{}").verdict(), 200);
}

#[test]
fn a_line_over_the_limit_is_a_clear_failure() {
    let stage = Stage::new();
    let (agent, other) = (stage.at_child(), stage.at_child());
    let large = agent.call("large", "{}");
    assert_eq!(large.verdict(), 200, "3 MiB are under the limit");
    assert!(large.body.len() > 3 * 1024 * 1024);
    let reply = agent.call("huge", "{}");
    assert_eq!(reply.verdict(), 502, "{}", reply.text());
    let outcome = &stage.gateway.recorded(reply.call_id(), 2)[1];
    assert!(outcome["error"]["message"].to_string().contains("4 MiB"), "{outcome}");
    assert_eq!(other.call("echo", "{}").verdict(), 200);
}

#[test]
fn what_a_child_has_started_ends_with_it() {
    let mut stage = Stage::new();
    let (ends, stays) = (stage.at_child(), stage.at_child());
    for agent in [&ends, &stays] {
        assert_eq!(agent.told("fork"), "forked");
    }
    let grandchildren: Vec<i32> =
        stage.child.noted("grandchild").iter().map(|note| note.text.parse().unwrap()).collect();
    assert!(grandchildren.iter().all(|pid| is_running(*pid)));
    assert_eq!(stage.gateway.send(&ends.end()).status, 200);
    until("the grandchild to end with its session", || !is_running(grandchildren[0]));
    assert!(is_running(grandchildren[1]));
    assert!(stage.gateway.stop().success());
    until("the other to end with the gateway", || !is_running(grandchildren[1]));
}

#[test]
fn a_child_that_refuses_to_end_is_killed() {
    let web = Upstream::mcp();
    let child = ChildServer::that_is("stubborn");
    let home = Home::new(POLICY).services(&[web.declare("web"), child.declare("child")]);
    let key = home.key("laptop", "user", "web,child");
    let mut gateway = home.serve();
    let (first, second) =
        (gateway.agent(&key, "child").connected(), gateway.agent(&key, "child").connected());
    let pids = [first.told("pid"), second.told("pid")].map(|pid| pid.parse::<i32>().unwrap());
    assert_eq!(gateway.send(&first.end()).status, 200);
    until("the first to be killed", || !is_running(pids[0]));
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.ended().success());
    assert!(!is_running(pids[1]), "the gateway ended before its child");
}

#[test]
fn a_second_stop_leaves_no_child_behind() {
    let child = ChildServer::that_is("stubborn");
    let home = Home::new(POLICY).services(&[child.declare("child")]);
    let key = home.key("laptop", "user", "child");
    let mut gateway = home.serve();
    let agent = gateway.agent(&key, "child").connected();
    let pid: i32 = agent.told("pid").parse().unwrap();
    gateway.signal(Signal::SIGTERM);
    std::thread::sleep(std::time::Duration::from_millis(100));
    gateway.signal(Signal::SIGTERM);
    gateway.ended();
    until("the child to be gone", || !is_running(pid));
}
