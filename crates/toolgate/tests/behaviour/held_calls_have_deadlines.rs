//! A held call ends, whoever forgets it: undecided in time it expires, and so does an approved one that no gateway
//! sends. The kill switch stops what is held without ending it. An agent may have so many calls waiting, no more.

use std::time::Duration;

use domain::approval::{Approval, Status};
use jiff::Timestamp;
use nix::sys::signal::Signal;

use crate::harness::*;

/// Several looks of a dispatcher. That a test waits longer cannot make it fail.
const SEVERAL_LOOKS: Duration = Duration::from_millis(1_200);

fn stage(home: Home) -> (CountedStage, Desk) {
    let stage = CountedStage::with(home);
    let desk = Desk::of(&stage.gateway);
    (stage, desk)
}

fn kill(stage: &mut CountedStage) {
    stage.gateway.signal(Signal::SIGKILL);
    stage.gateway.ended();
}

fn pass(deadline: Timestamp) {
    until("the deadline to pass", || now() > deadline);
}

/// The agent is told 410 once; then the same call is a new one, which waits.
fn assert_told_of_its_expiry(stage: &CountedStage, desk: &Desk, call: &Counted, held: &Approval) {
    let reply = stage.send(call);
    assert_eq!(reply.verdict(), 410, "{}", reply.text());
    assert!(reply.text().contains("urn:toolgate:approval-expired"), "{}", reply.text());
    assert!(reply.text().contains("Nothing was sent."), "{}", reply.text());
    let (_connection, new) = stage.hold(call, desk, true);
    assert_ne!(new.held.id, held.held.id);
    assert_eq!(stage.hits(call.n), 0);
    let events = stage.gateway.events();
    let mut of_it = events.iter().filter(|event| event["approval_id"] == held.held.id.as_str());
    assert!(of_it.any(|event| {
        let reason = event["decision"]["reason"].as_str().unwrap_or_default();
        event["kind"] == "decision" && event["decision"]["effect"] == "deny" && reason.contains("in time")
    }));
}

#[test]
fn what_nobody_decides_expires_and_who_waits_is_told() {
    let (stage, desk) = stage(Home::new(COUNTED_POLICY));
    let reply = stage.send(&Counted::new(1, Way::Http).to("/v1/hurried"));
    assert_eq!(reply.verdict(), 410, "{}", reply.text());
    let ended = desk.all().remove(0);
    assert_eq!((ended.status, ended.decisions.len()), (Status::Expired, 0));
    assert!(desk.try_approve(&ended.held.id, &ended.held.approval_digest).is_err(), "too late");
    assert_eq!((desk.show(ended.held.id.as_str()).status, stage.hits(1)), (Status::Expired, 0));
}

#[test]
fn what_nobody_decides_expires_while_no_gateway_is_there() {
    let (mut stage, desk) = stage(Home::new(COUNTED_POLICY).set("gateway.hold=1s"));
    let call = Counted::new(1, Way::Http).to("/v1/hurried");
    let (_connection, held) = stage.hold(&call, &desk, false);
    kill(&mut stage);
    pass(held.held.decide_by);
    let told = desk.try_approve(&held.held.id, &held.held.approval_digest).unwrap_err().to_string();
    assert!(told.contains("in time"), "{told}");
    stage.gateway.restart();
    desk.sees(&held.held.id, Status::Expired);
    assert_told_of_its_expiry(&stage, &desk, &call, &held);
}

#[test]
fn what_no_gateway_sends_in_time_expires() {
    let (mut stage, desk) = stage(Home::new(COUNTED_POLICY).set("gateway.hold=1s"));
    let call = Counted::new(1, Way::Http).to("/v1/fleeting");
    let (_connection, held) = stage.hold(&call, &desk, false);
    kill(&mut stage);
    let approved = desk.approve(held.held.id.as_str());
    pass(approved.execute_by.unwrap());
    stage.gateway.restart();
    desk.sees(&held.held.id, Status::Expired);
    assert_told_of_its_expiry(&stage, &desk, &call, &held);
}

#[test]
fn the_kill_switch_stops_what_is_held_and_ends_nothing() {
    let (mut stage, desk) = stage(Home::new(COUNTED_POLICY));
    let (undecided, approved) = (Counted::new(1, Way::Http), Counted::new(2, Way::Mcp));
    let (_one, first) = stage.hold(&undecided, &desk, true);
    let (_two, second) = stage.hold(&approved, &desk, true);
    stage.gateway.ok(&["kill", "on", "--reason", "a bad day"]);
    // People may go on deciding.
    desk.approve(second.held.id.as_str());
    for restarts in [true, false] {
        std::thread::sleep(SEVERAL_LOOKS);
        assert_eq!(desk.show(first.held.id.as_str()).status, Status::Pending);
        assert_eq!(desk.show(second.held.id.as_str()).status, Status::Approved);
        assert_eq!(stage.numbers(), [] as [u64; 0]);
        let reply = stage.send(&undecided);
        assert_eq!(reply.verdict(), 503, "{}", reply.text());
        if restarts {
            stage.gateway.crash_and_restart();
        }
    }
    stage.gateway.ok(&["kill", "off"]);
    desk.sees(&second.held.id, Status::Executed);
    desk.approve(first.held.id.as_str());
    desk.sees(&first.held.id, Status::Executed);
    for call in [&undecided, &approved] {
        assert_eq!(stage.hits(call.n), 1);
        let reply = eventually("the switch to be off", || {
            Some(stage.send(call)).filter(|reply| reply.verdict() != 503)
        });
        assert!(call.is_answered_by(&reply), "{}", reply.text());
        assert_eq!((reply.proxy_status(), stage.hits(call.n)), ("executed-approved", 1));
    }
}

#[test]
fn an_agent_may_have_so_many_calls_waiting() {
    let home = Home::new(COUNTED_POLICY).set("approvals.max_pending_per_agent=3").set("gateway.hold=1s");
    let (mut stage, desk) = stage(home);
    let other = stage.other_key("tablet", "api");
    let calls: Vec<Counted> = (1..=4).map(|n| Counted::new(n, Way::Http)).collect();
    let held: Vec<Approval> = calls[..3].iter().map(|call| stage.hold(call, &desk, false).1).collect();
    for restarts in [true, false] {
        let reply = stage.send(&calls[3]);
        assert_eq!((reply.verdict(), reply.header("retry-after").is_some()), (429, true), "{}", reply.text());
        // One more of the same is no more.
        assert_eq!(stage.send(&calls[0]).verdict(), 428);
        if restarts {
            stage.gateway.crash_and_restart();
        }
    }
    assert_eq!(desk.all().len(), 3);
    assert_eq!(stage.gateway.send(&calls[3].request(&other)).verdict(), 428, "another agent has room");
    desk.deny(held[0].held.id.as_str(), "not this one");
    assert_eq!(stage.send(&calls[3]).verdict(), 428);
    let reply = stage.send(&calls[0]);
    assert_eq!(reply.verdict(), 403);
    assert!(reply.text().contains("not this one"), "{}", reply.text());
    assert_eq!(stage.numbers(), [] as [u64; 0]);
}

/// As if the wall clock had said something else when the call was sent.
fn sent_at(stage: &CountedStage, held: &Approval, days: i64) {
    let microseconds = days * 24 * 3_600 * 1_000_000;
    let id = held.held.id;
    let later = format!("UPDATE approvals SET claimed_at = claimed_at + {microseconds} WHERE id = '{id}'");
    stage.gateway.edit(&[later]);
}

#[test]
fn a_clock_that_was_set_back_leaves_nothing_executing_for_ever() {
    let (mut stage, desk) = stage(Home::new(COUNTED_POLICY));
    let call = Counted::new(1, Way::Http).that(Does::KeepsSilent);
    let (_connection, held) = stage.hold(&call, &desk, false);
    desk.approve(held.held.id.as_str());
    until("the upstream to hear of it", || stage.hits(1) == 1);
    kill(&mut stage);
    sent_at(&stage, &held, 1);
    stage.gateway.restart();
    desk.sees(&held.held.id, Status::Unknown);
    assert_eq!(stage.hits(1), 1);
}

#[test]
fn a_clock_that_was_set_forward_loses_no_answer() {
    let (stage, desk) = stage(Home::new(COUNTED_POLICY));
    let call = Counted::new(1, Way::Http).that(Does::Hesitates);
    let (_connection, held) = stage.hold(&call, &desk, true);
    desk.approve(held.held.id.as_str());
    until("the upstream to hear of it", || stage.hits(1) == 1);
    sent_at(&stage, &held, -1);
    std::thread::sleep(SEVERAL_LOOKS);
    assert_eq!(desk.show(held.held.id.as_str()).status, Status::Executing);
    stage.release(1);
    desk.sees(&held.held.id, Status::Executed);
}
