//! An idempotency key is good for one call, however long people take and whatever becomes of it: not even after a lost
//! answer, or a policy that changes meanwhile, is it sent a second time.

use std::sync::Arc;

use domain::approval::Outcome;

use crate::harness::*;

fn keyed(stage: &HeldStage, amount: u32) -> Request {
    stage.refund(amount).header("Idempotency-Key", "one")
}

/// What may have happened is not asked again, not even people.
fn assert_spent(stage: &HeldStage, amount: u32) {
    let reply = stage.gateway.send(&keyed(stage, amount));
    assert_eq!(
        (reply.status, reply.header("x-idempotency-status")),
        (409, Some("unknown")),
        "{}",
        reply.text()
    );
    assert_eq!(stage.pending(), [] as [String; 0]);
}

#[test]
fn a_key_whose_answer_was_lost_on_the_way_passes_nothing_more() {
    let stage = HeldStage::behind(SHORT, |_| vec![Step::HangUp]);
    let id = approval(&stage.gateway.send(&keyed(&stage, 5000)));
    stage.desk.approve(&id);
    stage.reached(&id, "failed");
    let told = stage.gateway.send(&keyed(&stage, 5000));
    assert_eq!((told.status, told.proxy_status()), (502, "upstream-error"), "{}", told.text());
    assert_spent(&stage, 5000);
    // Nor when people are not wanted any more.
    stage.gateway.write("policy.yaml", &HELD_POLICY.replace("args.amount > 1000", "args.amount > 9000"));
    until("the policy to be read", || stage.gateway.said().contains("policy reloaded"));
    assert_spent(&stage, 5000);
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn a_key_whose_gateway_died_passes_nothing_more_unless_people_say_that_nothing_happened() {
    let latch = Latch::new();
    let held = Arc::clone(&latch);
    let mut stage = HeldStage::behind(SHORT, move |_| vec![Step::Wait(Arc::clone(&held)), Step::HangUp]);
    for (amount, outcome) in [(5000, Outcome::Failed), (6000, Outcome::Executed)] {
        let before = stage.api.count();
        // The same key each time: the first call has left it free.
        let id = approval(&stage.gateway.send(&keyed(&stage, amount)));
        stage.desk.approve(&id);
        until("the call to be sent", || stage.api.count() > before);
        stage.gateway.crash_and_restart();
        stage.reached(&id, "unknown");
        stage.desk.resolve(&id, outcome);
        let told = stage.gateway.send(&keyed(&stage, amount));
        assert_eq!((told.status, &told.json()["title"]), (409, &"Answer lost".into()), "{}", told.text());
    }
    latch.release();
    // Its end was told once; whoever repeats it under its key hears what people have found.
    let told = stage.gateway.send(&keyed(&stage, 6000));
    assert_eq!((told.status, &told.json()["title"]), (409, &"Answer lost".into()), "{}", told.text());
    assert!(told.text().contains("An operator has found that it happened."), "{}", told.text());
    assert_eq!(stage.pending(), [] as [String; 0]);
    assert_eq!(stage.api.count(), 2);
}

#[test]
fn a_call_that_waited_for_its_key_meets_what_was_held_under_it() {
    let stage = HeldStage::new(SHORT);
    let (first, second) = std::thread::scope(|scope| {
        // The first call wants people, and is not held yet.
        let lock = Lock::take(&stage.gateway);
        let first = scope.spawn(|| stage.gateway.send(&keyed(&stage, 5000)));
        std::thread::sleep(std::time::Duration::from_millis(200));
        stage.gateway.write("policy.yaml", &HELD_POLICY.replace("args.amount > 1000", "args.amount > 9000"));
        until("the policy to be read", || stage.gateway.said().contains("policy reloaded"));
        // The second one, which is the same, needs nobody.
        let second = scope.spawn(|| stage.gateway.send(&keyed(&stage, 5000).header("Prefer", "wait=30")));
        std::thread::sleep(std::time::Duration::from_millis(200));
        drop(lock);
        (first.join().unwrap(), second.join().unwrap())
    });
    // Whoever was quicker: it is held, or it was sent.
    let said = format!("{} {}", first.text(), second.text());
    assert_eq!(stage.pending().len() + stage.api.count(), 1, "{said}");
}
