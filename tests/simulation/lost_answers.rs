//! A commit whose answer is lost, at each of the moments that matter, and a line that stays down for a while: told step by
//! step, where the seeds come by luck.

use std::{rc::Rc, sync::Arc, time::Duration};

use tempfile::TempDir;

use crate::{
    actors::{ask, decide},
    birth::{Common, memory_folder},
    chance::Chance,
    common,
    gateway::Process,
    history::{Fact, History, Told},
    ledger::Ledger,
    plan::{Kind, Op},
    server::{Climate, Cut, Server, Way},
    upstream::Bank,
};

/// How long the gateway waits for what it writes, where it is impatient.
const IMPATIENT: Duration = Duration::from_millis(200);
const PATIENT: Duration = Duration::from_secs(15);
/// More steps of a millisecond than anything here takes.
const STEPS_MAX: u64 = 1_000;

/// One gateway, one agent, one person; nothing goes wrong but what is said.
struct Scene {
    process: Process,
    now: Duration,
    ledger: Arc<Ledger>,
    history: History,
    common: Arc<Common>,
    op: Op,
    _folder: TempDir,
}

impl Scene {
    fn new(kind: Kind, keyed: bool, patience: Duration) -> Self {
        let common = common();
        let folder = memory_folder();
        let path = common.copy(&folder);
        let (ledger, history) = (Ledger::open(&path), History::default());
        let bank = Bank::new(history.clone(), Arc::clone(&ledger), Chance::new(3, 2));
        let climate = Climate { latency_ms: 0, lost_one_in: 0 };
        let way = Way::new(Rc::new(Server::default()), climate, Chance::new(1, 1));
        let outside = (&bank, patience);
        let process = Process::start(&common, &path, way, outside, &mut Chance::new(1, 3), Duration::ZERO);
        let op = Op { number: 0, agent: 0, kind, keyed, other: None };
        Self { process, now: Duration::ZERO, ledger, history, common, op, _folder: folder }
    }

    fn ask(&self, nth: usize) {
        let (gateway, clock) = (Arc::clone(&self.process.gateway), Arc::clone(&self.process.clock));
        let key = self.common.keys[0].clone();
        self.process.spawn(ask(gateway, clock, self.history.clone(), key, self.op, nth));
    }

    fn approve(&self) {
        let (gateway, clock) = (Arc::clone(&self.process.gateway), Arc::clone(&self.process.clock));
        let token = self.common.tokens[0].clone();
        self.process.spawn(decide(gateway, clock, self.history.clone(), token, self.op, (0, true)));
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.process.run_until(self.now);
    }

    fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        for _ in 0..STEPS_MAX {
            if is(self) {
                return;
            }
            self.pass(1);
        }
        panic!("waited for {what}:\n{}", self.history);
    }

    /// The answer to the next commit is lost, and then everything, for so long.
    fn lose_the_next_answer(&mut self, ms: u64) {
        self.process.way.cut.set(Some(Cut::Answer));
        self.pass(ms);
        let cut = self.process.way.cut.replace(None);
        assert_eq!(cut, Some(Cut::All { noticed: true }), "there was a commit");
    }

    fn told(&self, nth: usize) -> Option<Told> {
        self.history.facts().into_iter().find_map(|(_, fact)| match fact {
            Fact::Told { nth: told, told: what, .. } if told == nth => Some(what),
            _ => None,
        })
    }

    fn reached(&self) -> usize {
        let facts = self.history.facts();
        facts.iter().filter(|(_, fact)| matches!(fact, Fact::Reached { .. })).count()
    }

    /// The statuses of held calls, in the order in which they were made.
    fn statuses(&self) -> Vec<String> {
        self.ledger.held_calls().into_iter().map(|held| held.status).collect()
    }

    /// The kinds of events about calls, in their order.
    fn kinds(&self) -> Vec<String> {
        let trail = self.ledger.trail().into_iter().filter(|entry| entry.fields["call_id"].is_string());
        trail.map(|entry| entry.fields["kind"].as_str().unwrap().to_owned()).collect()
    }
}

fn refused(code: &'static str) -> Option<Told> {
    Some(Told::Refused { status: 503, code })
}

#[test]
fn an_outcome_is_in_the_trail_once() {
    let mut scene = Scene::new(Kind::Small, false, PATIENT);
    scene.ask(0);
    scene.until("the bank to be asked", |scene| scene.reached() == 1);
    scene.lose_the_next_answer(600);
    scene.pass(600);
    assert!(matches!(scene.told(0), Some(Told::Answer { status: 200, .. })), "{}", scene.history);
    assert_eq!(scene.kinds(), ["intent", "outcome"]);
}

#[test]
fn a_call_goes_on_when_its_intent_is_found() {
    let mut scene = Scene::new(Kind::Small, true, PATIENT);
    scene.ask(0);
    scene.lose_the_next_answer(400);
    assert_eq!((scene.told(0), scene.reached()), (None, 0), "nobody knows yet");
    scene.until("the bank to be asked", |scene| scene.reached() == 1);
    scene.pass(600);
    assert!(matches!(scene.told(0), Some(Told::Answer { status: 200, .. })), "{}", scene.history);
    assert_eq!(scene.kinds(), ["intent", "outcome"]);
}

#[test]
fn while_nobody_knows_calls_are_refused_at_once_and_pass_again_without_a_restart() {
    let mut scene = Scene::new(Kind::Small, false, PATIENT);
    scene.ask(0);
    scene.process.way.cut.set(Some(Cut::Answer));
    scene.pass(300);
    scene.ask(1);
    scene.pass(1);
    assert_eq!((scene.told(0), scene.told(1)), (None, refused("audit-unavailable")), "{}", scene.history);
    assert_eq!(scene.reached(), 0);
    scene.process.way.cut.set(None);
    scene.until("the first to be told", |scene| scene.told(0).is_some());
    scene.ask(2);
    scene.pass(600);
    for nth in [0, 2] {
        assert!(matches!(scene.told(nth), Some(Told::Answer { status: 200, .. })), "{}", scene.history);
    }
    assert_eq!(scene.reached(), 2);
    let mut kinds = scene.kinds();
    kinds.sort_unstable();
    assert_eq!(kinds, ["intent", "intent", "outcome", "outcome", "refusal"]);
}

#[test]
fn an_idempotency_key_is_free_again_when_its_call_was_refused() {
    let mut scene = Scene::new(Kind::Small, true, IMPATIENT);
    scene.ask(0);
    scene.lose_the_next_answer(700);
    assert_eq!(scene.told(0), refused("audit-unavailable"));
    scene.until("the key to be free", |scene| scene.ledger.idempotency_keys().is_empty());
    scene.pass(300);
    assert_eq!(scene.kinds(), ["intent", "refusal"]);
    scene.ask(1);
    scene.pass(600);
    assert!(matches!(scene.told(1), Some(Told::Answer { status: 200, .. })), "{}", scene.history);
    assert_eq!(scene.reached(), 1);
}

#[test]
fn a_call_is_told_that_it_is_held_when_its_hold_is_found() {
    let mut scene = Scene::new(Kind::Big, false, PATIENT);
    scene.ask(0);
    scene.lose_the_next_answer(400);
    assert_eq!(scene.told(0), None, "nobody knows yet");
    scene.until("the agent to be told", |scene| scene.told(0).is_some());
    assert_eq!((scene.told(0), scene.statuses()), (Some(Told::Held), vec!["pending".to_owned()]));
    assert_eq!(scene.kinds(), ["held"]);
}

#[test]
fn a_hold_that_its_agent_could_not_be_told_of_is_withdrawn() {
    let mut scene = Scene::new(Kind::Big, false, IMPATIENT);
    scene.ask(0);
    scene.lose_the_next_answer(700);
    assert_eq!((scene.told(0), scene.statuses()), (refused("hold-unknown"), vec!["pending".to_owned()]));
    scene.until("it to be withdrawn", |scene| scene.statuses() == ["cancelled"]);
    scene.pass(300);
    assert_eq!(scene.kinds(), ["held", "refusal", "decision"]);
    // Nobody can say yes to it any more, and the agent can ask anew at once.
    scene.approve();
    scene.ask(1);
    scene.pass(300);
    assert_eq!(
        (scene.told(1), scene.statuses()),
        (Some(Told::Held), ["cancelled", "pending"].map(str::to_owned).to_vec())
    );
    assert_eq!(scene.reached(), 0);
}

#[test]
fn an_approved_call_that_may_be_claimed_is_ended_and_never_sent() {
    let mut scene = Scene::new(Kind::Big, false, IMPATIENT);
    scene.ask(0);
    scene.until("the call to be held", |scene| scene.told(0).is_some());
    scene.approve();
    scene.until("it to be approved", |scene| scene.statuses() == ["approved"]);
    scene.lose_the_next_answer(700);
    assert_eq!(scene.statuses(), ["executing"]);
    scene.until("it to be ended", |scene| scene.statuses() == ["failed"]);
    scene.pass(1_200);
    assert_eq!((scene.statuses(), scene.reached()), (vec!["failed".to_owned()], 0));
    assert_eq!(scene.kinds(), ["held", "decision", "intent", "outcome"]);
    scene.ask(1);
    scene.pass(300);
    assert_eq!(scene.told(1), refused("audit-unavailable"));
}

#[test]
fn an_approved_call_is_sent_when_its_claim_is_found() {
    let mut scene = Scene::new(Kind::Big, false, PATIENT);
    scene.ask(0);
    scene.until("the call to be held", |scene| scene.told(0).is_some());
    scene.approve();
    scene.until("it to be approved", |scene| scene.statuses() == ["approved"]);
    scene.lose_the_next_answer(300);
    scene.pass(900);
    assert_eq!((scene.statuses(), scene.reached()), (vec!["executed".to_owned()], 1));
    assert_eq!(scene.kinds(), ["held", "decision", "intent", "outcome"]);
}

#[test]
fn who_decides_is_told_that_it_counted() {
    let mut scene = Scene::new(Kind::Huge, false, PATIENT);
    scene.ask(0);
    scene.until("the call to be held", |scene| scene.told(0).is_some());
    scene.approve();
    scene.lose_the_next_answer(700);
    scene.pass(600);
    let counted = Fact::Decided { op: 0, person: 0, approve: true, counted: Some(true) };
    assert!(scene.history.facts().iter().any(|(_, fact)| *fact == counted), "{}", scene.history);
    assert_eq!(scene.kinds(), ["held", "decision"]);
}
