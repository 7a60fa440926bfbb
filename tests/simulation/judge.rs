//! Whether a run kept the promises. The judge knows what the world outside saw and what is in the store's tables; of the
//! gateways' code it uses nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    history::{Fact, Told},
    ledger::{Entry, op_of},
    plan::{Kind, Op},
    run::Outcome,
};

/// A revoked key, or the kill switch, may take so long to be known everywhere (contract §2).
const NOTICE_MAX: Duration = Duration::from_millis(1_000);

/// What was broken; nothing: nothing.
pub fn judge(outcome: &Outcome) -> Vec<String> {
    let mut judge =
        Judge { outcome, facts: outcome.history.facts(), trail: outcome.ledger.trail(), broken: Vec::new() };
    judge.the_chain_holds();
    judge.nothing_leaves_without_an_intent();
    judge.nothing_is_sent_twice();
    judge.what_needs_people_has_them();
    judge.revocations_are_known_in_time();
    judge.what_is_told_is_true();
    judge.who_is_refused_is_not_held();
    judge.people_are_told_what_counted();
    judge.nothing_is_lost_silently();
    judge.broken
}

struct Judge<'o> {
    outcome: &'o Outcome,
    facts: Vec<(Duration, Fact)>,
    trail: Vec<Entry>,
    broken: Vec<String>,
}

impl Judge<'_> {
    fn must(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(otherwise());
        }
    }

    fn the_chain_holds(&mut self) {
        let mut before = "0".repeat(64);
        for (place, entry) in self.trail.clone().iter().enumerate() {
            let hash: [u8; 32] = Sha256::digest(entry.record.as_bytes()).into();
            let prev = text(&entry.fields, "prev").to_owned();
            let holds = entry.seq == place as i64 + 1 && entry.hash == hash && prev == before;
            self.must(holds, || format!("the chain breaks at event {}", entry.seq));
            before = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        }
    }

    fn nothing_leaves_without_an_intent(&mut self) {
        let mut reached: BTreeMap<usize, u64> = BTreeMap::new();
        for (at, fact) in self.facts.clone() {
            if let Fact::Reached { op, intents, .. } = fact {
                let times = reached.entry(op).or_default();
                *times += 1;
                let times = *times;
                self.must(intents >= times, || {
                    format!("call {op} reached the bank {times} times at {at:?}, with {intents} intents")
                });
            }
        }
    }

    fn nothing_is_sent_twice(&mut self) {
        for op in self.outcome.plan.ops.clone() {
            let times = self.times_reached(op.number);
            self.must(!op.keyed || times <= 1, || {
                format!("call {} was sent {times} times under one idempotency key", op.number)
            });
            if op.kind == Kind::Small && !op.keyed {
                let may = self.attempts_that_may_have_happened(op.number);
                self.must(times <= may, || {
                    format!("call {} was sent {times} times, and {may} attempts may have been", op.number)
                });
            }
        }
        let mut of_approval: BTreeMap<String, u32> = BTreeMap::new();
        let mut of_call: BTreeMap<String, u32> = BTreeMap::new();
        for intent in self.events("intent") {
            *of_call.entry(text(&intent.fields, "call_id").to_owned()).or_default() += 1;
            if let Some(id) = intent.fields["approval_id"].as_str() {
                *of_approval.entry(id.to_owned()).or_default() += 1;
            }
        }
        for (what, times) in of_approval.into_iter().chain(of_call) {
            self.must(times == 1, || format!("{what} has {times} intents"));
        }
    }

    /// A call that needs people is sent for an approval, after as many people as its rule wants said yes, and nobody no.
    fn what_needs_people_has_them(&mut self) {
        for intent in self.events("intent") {
            let op = self.op_of(&intent);
            let Some(quorum) = quorum(op.kind) else { continue };
            let (mut yes, mut no) = (BTreeSet::new(), false);
            let id = intent.fields["approval_id"].as_str().unwrap_or("none");
            for decision in self.events("decision") {
                if decision.seq < intent.seq && text(&decision.fields, "approval_id") == id {
                    match (text(&decision.fields["decision"], "effect"), decision.fields["operator"].as_str())
                    {
                        ("allow" | "hold", Some(person)) => drop(yes.insert(person.to_owned())),
                        _ => no = true,
                    }
                }
            }
            self.must(yes.len() >= quorum && !no, || {
                format!("call {} was sent with {} of {quorum} approvals, denied: {no}", op.number, yes.len())
            });
        }
    }

    fn revocations_are_known_in_time(&mut self) {
        let mut revoked = BTreeMap::new();
        let mut stopped = None;
        for (at, fact) in self.facts.clone() {
            match fact {
                Fact::Revoked { agent } => drop(revoked.entry(agent).or_insert(at)),
                Fact::Stopped => stopped = Some(at),
                Fact::Lifted => stopped = None,
                Fact::Reached { op, .. } => {
                    let agent = self.outcome.plan.ops[op].agent;
                    let since = revoked.get(&agent).into_iter().chain(&stopped).min();
                    self.must(since.is_none_or(|since| at <= *since + NOTICE_MAX), || {
                        format!("call {op} reached the bank at {at:?}, stopped since {since:?}")
                    });
                }
                _ => {}
            }
        }
    }

    /// An answer is the bank's, and of this call; under one key it is always the same, and of one request.
    fn what_is_told_is_true(&mut self) {
        let mut known = BTreeSet::new();
        let mut of_key: BTreeMap<usize, BTreeSet<(Option<u64>, bool)>> = BTreeMap::new();
        for (at, fact) in self.facts.clone() {
            match fact {
                Fact::Reached { op, serial, .. } => drop(known.insert((op, serial))),
                Fact::Told { op, nth, told: Told::Answer { serial, status, .. }, .. } => {
                    let is_true = serial.is_some_and(|serial| known.contains(&(op, serial)));
                    self.must(is_true, || format!("call {op} was answered {status} {serial:?} at {at:?}"));
                    let known_op = self.outcome.plan.ops[op];
                    if known_op.keyed {
                        of_key.entry(op).or_default().insert((serial, known_op.is_other(nth)));
                    }
                }
                _ => {}
            }
        }
        for (op, answers) in of_key {
            self.must(answers.len() == 1, || format!("the key of call {op} answered {answers:?}"));
        }
    }

    /// A call is held only where its agent was told so, or that it may be, or nothing at all. Such a one was withdrawn, unless
    /// people were quicker, or its gateway was killed.
    fn who_is_refused_is_not_held(&mut self) {
        let mut told = BTreeMap::new();
        for (_, fact) in self.facts.clone() {
            if let Fact::Told { call, told: what, .. } = fact {
                told.insert(call.to_string(), what);
            }
        }
        for held in self.outcome.ledger.held_calls() {
            let may = match told.get(&held.call) {
                None | Some(Told::Held | Told::Refused { code: "hold-unknown", .. }) => true,
                Some(Told::Answer { .. } | Told::Refused { .. } | Told::Broken) => false,
            };
            self.must(may, || format!("call {} is held, its agent was told {:?}", held.op, told[&held.call]));
        }
    }

    /// Who decides is told truly whether it counted, where anybody knows; the trail tells it once.
    fn people_are_told_what_counted(&mut self) {
        let mut all: BTreeMap<(usize, usize, bool), [usize; 3]> = BTreeMap::new();
        for (_, fact) in self.facts.clone() {
            let (which, place) = match fact {
                Fact::Deciding { op, person, approve } => ((op, person, approve), 0),
                Fact::Decided { op, person, approve, counted: Some(true) } => ((op, person, approve), 1),
                Fact::Decided { op, person, approve, counted: Some(false) } => ((op, person, approve), 2),
                _ => continue,
            };
            all.entry(which).or_default()[place] += 1;
        }
        let mut once = BTreeSet::new();
        let mut written: BTreeMap<(usize, usize, bool), usize> = BTreeMap::new();
        for decision in self.events("decision") {
            let Some(person) = decision.fields["operator"].as_str() else { continue };
            let person = person.trim_start_matches("person-").split('@').next().unwrap().parse().unwrap();
            let approve = text(&decision.fields["decision"], "effect") != "deny";
            *written.entry((self.op_of(&decision).number, person, approve)).or_default() += 1;
            let what = (text(&decision.fields, "approval_id").to_owned(), person, approve);
            self.must(once.insert(what.clone()), || format!("{what:?} is decided twice"));
        }
        for (which, [decided, counted, not]) in all {
            let times = written.get(&which).copied().unwrap_or(0);
            let is_true = (counted..=decided - not).contains(&times);
            self.must(is_true, || {
                format!(
                    "{which:?}: decided {decided} times, {counted} told yes, {not} no, {times} in the trail"
                )
            });
        }
    }

    /// At the end every call that was begun is closed, or known to be unknown.
    fn nothing_is_lost_silently(&mut self) {
        // What is said of a hold that nobody answered for may come after people have approved it, and is no end of that.
        let closing = |entry: &Entry| {
            matches!(text(&entry.fields, "kind"), "outcome" | "refusal" | "decision")
                && text(&entry.fields["error"], "code") != "hold-unknown"
        };
        let killed = !self.outcome.plan.settles
            || self.facts.iter().any(|(at, fact)| {
                *at < self.outcome.plan.busy && matches!(fact, Fact::Done { what: "killed", .. })
            });
        for held in self.outcome.ledger.held_calls() {
            let word = match held.status.as_str() {
                "executed" | "failed" | "unknown" => "outcome",
                "denied" | "expired" | "cancelled" => "decision",
                "pending" if self.outcome.plan.skewed => continue,
                other => {
                    self.must(false, || format!("call {} is still {other} at the end", held.op));
                    continue;
                }
            };
            let told = self.events(word).iter().any(|entry| text(&entry.fields, "approval_id") == held.id);
            self.must(told, || format!("the trail does not tell that call {} is {}", held.op, held.status));
            let times = self.times_reached(held.op);
            self.must(held.status != "executed" || times > 0, || {
                format!("call {} is executed and was never sent", held.op)
            });
            let excused = killed || self.trail_says_it_was_not_sent(&held.id);
            self.must(held.status != "unknown" || times > 0 || excused, || {
                format!("call {} is unknown, and its gateway knew that it was never sent", held.op)
            });
        }
        for (key, state) in self.outcome.ledger.idempotency_keys() {
            self.must(state != "in_progress", || format!("{key} is in progress at the end"));
        }
        for intent in self.events("intent") {
            let call = text(&intent.fields, "call_id").to_owned();
            let ends: Vec<Entry> = self
                .trail
                .iter()
                .filter(|entry| closing(entry))
                .filter(|entry| {
                    text(&entry.fields, "call_id") == call
                        && entry.seq > intent.seq
                        && text(&entry.fields, "kind") != "decision"
                })
                .cloned()
                .collect();
            let is_held = intent.fields["approval_id"].is_string();
            let op = self.op_of(&intent).number;
            self.must(!ends.is_empty() || (killed && !is_held), || {
                format!("call {op} ({call}) has no outcome")
            });
            let known =
                ends.iter().filter(|end| text(&end.fields["error"], "code") != "outcome-unknown").count();
            self.must(known <= 1, || format!("call {op} ({call}) has {known} outcomes"));
        }
    }

    fn events(&self, kind: &str) -> Vec<Entry> {
        self.trail.iter().filter(|entry| text(&entry.fields, "kind") == kind).cloned().collect()
    }

    fn trail_says_it_was_not_sent(&self, approval: &str) -> bool {
        let says = |entry: &Entry| {
            text(&entry.fields, "approval_id") == approval
                && text(&entry.fields["error"], "code") == "audit-unavailable"
        };
        self.events("outcome").iter().any(says)
    }

    fn op_of(&self, entry: &Entry) -> Op {
        self.outcome.plan.ops[op_of(text(&entry.fields, "action")).unwrap()]
    }

    fn times_reached(&self, number: usize) -> u64 {
        let reached = |fact: &Fact| matches!(fact, Fact::Reached { op, .. } if *op == number);
        self.facts.iter().filter(|(_, fact)| reached(fact)).count() as u64
    }

    /// How often a call was asked for without being told that nothing was sent (contract §5).
    fn attempts_that_may_have_happened(&self, number: usize) -> u64 {
        let asked =
            self.facts.iter().filter(|(_, fact)| matches!(fact, Fact::Asked { op, .. } if *op == number));
        let not_sent = self.facts.iter().filter(|(_, fact)| match fact {
            Fact::Told { op, told: Told::Refused { status, .. }, .. } => {
                *op == number && matches!(status, 400..=499 | 503)
            }
            _ => false,
        });
        (asked.count() - not_sent.count()) as u64
    }
}

fn quorum(kind: Kind) -> Option<usize> {
    match kind {
        Kind::Small => None,
        Kind::Big => Some(1),
        Kind::Huge => Some(2),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}
