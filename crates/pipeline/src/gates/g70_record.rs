//! Gate 70: write the decision down. The intent is durable before the first byte leaves; whatever happens
//! afterwards, the record is closed exactly once, and closing cannot fail.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use domain::{
    agent::Agent,
    audit::{Decision, Effect, Event, Kind, ResultWord, redact},
    call::Call,
    clock::{Clock, Now},
    key::KeyId,
    policy::{PolicyHash, Verdict},
    risk::{Assessment, ModelSaid},
    stop::{Fault, Gate, KeyFault, Refusal, Stop},
};
use http_body_util::BodyExt;
use store::{Entry, Settled};
use wire::mcp::Class;

use super::g50_assess_risk::Assessed;
use crate::{
    arguments,
    arrival::{Repeat, Reply},
    budget::BodyBudget,
    digest,
    flow::{self, BodyHash, Broken, Closing},
    freshness::Freshness,
    gateway::Bounds,
    idempotency::{Claim, Kept},
    recorder::{Recorder, Slot, Written},
};

proof!(
    /// A call whose intent is durable, where the trail keeps one.
    Recorded of Assessed
);

/// What the trail is told of a call, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct Recording {
    /// Record lists and housekeeping too, not only when they are refused.
    pub everything: bool,
    /// Bounds of the arguments that are kept.
    pub values: redact::Limits,
}

/// The facts about a call, collected as they are learned, so that a refusal is recorded as fully as a success.
pub struct Draft {
    event: Event,
    /// What the call's risk is made of, where a model was asked.
    risk_parts: Option<Box<str>>,
}

impl Draft {
    pub(crate) fn caller(&mut self, key: KeyId, agent: &Agent) {
        self.event.key_id = Some(key);
        self.event.agent = Some(agent.name.clone());
        self.event.role = Some(agent.role.clone());
    }

    pub(crate) fn failed_key(&mut self, fault: KeyFault) {
        self.event.key_id = fault.key_id();
    }

    pub(crate) fn judged(&mut self, verdict: &Verdict, policy: &PolicyHash) {
        if let Verdict::Allow { rule, reason, .. } = verdict {
            self.event.decision = Some(Decision {
                gate: Gate::Authorize,
                effect: Effect::Allow,
                rule: rule.clone(),
                reason: (*reason).into(),
                risk: None,
                policy: Some(policy.clone()),
            });
        }
    }

    /// How risky the call is. What a model said is told in words: which one, how it was asked, its number.
    pub(crate) fn assessed(&mut self, assessment: &Assessment) {
        let asked = assessment.model != ModelSaid::NotAsked;
        let parts =
            asked.then(|| format!("risk {} = {}", assessment.score(), assessment.recorded_parts()).into());
        self.risk_parts = parts;
        if let Some(decision) = &mut self.event.decision {
            decision.risk = Some(assessment.score());
            if let Some(parts) = &self.risk_parts {
                decision.reason = format!("{}; {parts}", decision.reason).into();
            }
        }
    }
}

/// One call's record, open until the answer has ended.
pub struct Record {
    /// What is known so far.
    pub draft: Draft,
    state: State,
    slot: Option<Slot>,
    /// The idempotency key that the call was made under, until that is settled.
    claim: Option<Claim>,
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
    at: Now,
    class: Class,
    /// Known once the request's body has been sent.
    body_hash: Option<BodyHash>,
}

/// How far the record has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is written yet.
    Open,
    /// The intent is durable: an outcome is owed.
    Intended,
    /// The last event is made.
    Closed,
}

impl Record {
    /// Opens a record and reserves its place in the queue, so that closing it cannot fail.
    pub(crate) fn open(
        call: &Call,
        at: Now,
        recorder: &Arc<Recorder>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Fault> {
        let slot = Recorder::reserve(recorder)?;
        let mut event = Event::new(at.wall, Kind::Refusal);
        event.call_id = Some(call.id);
        event.service = (!call.service.is_empty()).then(|| bounded(&call.service));
        event.method = Some(call.method.clone());
        event.action = Some(bounded(call.action_text()));
        Ok(Self {
            draft: Draft { event, risk_parts: None },
            state: State::Open,
            slot: Some(slot),
            claim: None,
            recorder: Arc::clone(recorder),
            clock: Arc::clone(clock),
            at,
            class: call.class,
            body_hash: None,
        })
    }

    /// Makes the intent durable, and with it the hold of the idempotency key: one is there exactly if the other is.
    /// Afterwards the kill switch and the caller's key are looked at once more, because the disk took its time.
    pub(crate) async fn intent(
        &mut self,
        mut call: Assessed,
        freshness: &Freshness,
        recording: &Recording,
    ) -> Result<Recorded, Stop> {
        if self.class == Class::Housekeeping && !recording.everything {
            return Ok(Recorded(call));
        }
        let mut intent = self.draft.event.clone();
        intent.kind = Kind::Intent;
        intent.args = arguments::of(&call.exchange, &call.headers, &recording.values).map(Into::into);
        self.claim = call.take_claim();
        intent.digest = match &self.claim {
            Some(claim) => Some(claim.fingerprint()),
            None => digest::of_exchange(&call.caller.agent.name, &call.call, &call.exchange, &call.headers),
        };
        let change = self.claim.as_ref().map(|claim| claim.claim(self.at.wall));
        if self.recorder.durable(Entry { change, event: intent }).await? == Written::ConditionFailed {
            // Another process was quicker: its call is this one.
            return Err(match self.claim.take() {
                Some(claim) => claim.look(self.clock.now().wall).await.err(),
                None => None,
            }
            .unwrap_or(Refusal::InProgress.into()));
        }
        self.state = State::Intended;
        self.recorder.under_way.fetch_add(1, Ordering::Relaxed);
        let world = freshness.current();
        world.check_kill_switch()?;
        world.holder(&call.caller.mac, self.clock.now()).map_err(Refusal::Unauthorized)?;
        Ok(Recorded(call))
    }

    /// Closes the record: at once when the walk stopped, else when the answer's body has ended. The answer to a call
    /// with an idempotency key is collected and kept first.
    pub(crate) async fn close(
        mut self,
        answer: Result<Reply, Stop>,
        bodies: &BodyBudget,
        bounds: &Bounds,
    ) -> Result<Reply, Stop> {
        match answer {
            Ok(reply) if self.claim.is_some() => self.keep(reply, bodies, bounds).await,
            Ok(reply) if self.state == State::Open => {
                // Housekeeping that is not recorded; its place in the queue is given back.
                self.slot = None;
                Ok(reply)
            }
            Ok(mut reply) => {
                self.body_hash = reply.body_hash.take();
                self.draft.event.status = Some(reply.head.status.as_u16());
                let body = Closing::new(reply.body, self).boxed_unsync();
                reply.body = body;
                Ok(reply)
            }
            Err(stop) if self.claim.is_some() => Err(self.give_up(stop).await),
            Err(stop) => Err(self.turn_away(stop)),
        }
    }

    /// Collects the answer and keeps it with the outcome. It is handed out when both are durable: an answer that is
    /// not there for a repeated call has never been there.
    async fn keep(mut self, reply: Reply, bodies: &BodyBudget, bounds: &Bounds) -> Result<Reply, Stop> {
        let Reply { head, body, .. } = reply;
        let body = match bodies.collect(body, bounds.body_bytes_max, bounds.upstream_timeout).await {
            Ok(held) => Bytes::from(held),
            Err(fault) => return Err(self.give_up(fault.into()).await),
        };
        let (settled, repeat) = match self.claim.as_ref().map(|claim| (claim, claim.keep(&head, &body))) {
            Some((claim, Kept::Answer(answer))) => {
                (Settled::Answered(claim.seal(&answer)), Some(Repeat::Stored))
            }
            Some((_, Kept::Refused)) => (Settled::NotSent, None),
            Some((_, Kept::Nothing)) | None => (Settled::Unknown, Some(Repeat::Unknown)),
        };
        self.draft.event.status = Some(head.status.as_u16());
        let event = self.outcome(ResultWord::Forwarded, body.len() as u64, None);
        if self.settle_durably(event, settled).await {
            Ok(Reply { head, body: flow::whole(body), body_hash: None, repeat })
        } else {
            Err(Refusal::OutcomeUnknown.into())
        }
    }

    /// Closes the record of a call that stopped after its key was claimed: the key is free again, unless the call
    /// may have happened.
    async fn give_up(mut self, stop: Stop) -> Stop {
        let settled = if stop.may_have_happened() { Settled::Unknown } else { Settled::NotSent };
        let event = self.stop_event(&stop);
        self.settle_durably(event, settled).await;
        stop
    }

    /// Writes the last event together with what became of the key, and waits until that is durable. Where it cannot
    /// be written, the event is queued without the answer; whether all was written.
    async fn settle_durably(&mut self, event: Event, settled: Settled) -> bool {
        let Some(claim) = &self.claim else { return false };
        let later = if settled == Settled::NotSent { Settled::NotSent } else { Settled::Unknown };
        let entry = Entry { change: Some(claim.settle(settled)), event: event.clone() };
        let written = self.recorder.durable(entry).await == Ok(Written::Done);
        match self.slot.take() {
            Some(slot) if !written => slot.send(Entry { change: Some(claim.settle(later)), event }),
            _ => {}
        }
        self.claim = None;
        written
    }

    /// Closes the record of what leaves no event; its place in the queue is given back.
    pub(crate) fn forget(mut self) {
        self.slot = None;
    }

    /// Closes the record of a call that is not answered by an upstream.
    pub(crate) fn turn_away(mut self, stop: Stop) -> Stop {
        let event = self.stop_event(&stop);
        self.queue(event);
        stop
    }

    /// The answer has ended well, after so many bytes. Only the first of these calls counts.
    pub(crate) fn finish(&mut self, bytes: u64) {
        self.settle(ResultWord::Forwarded, bytes, None);
    }

    /// The answer broke off.
    pub(crate) fn break_off(&mut self, bytes: u64, broken: &Broken) {
        let code = match broken {
            Broken::Withdrawn => "withdrawn",
            Broken::Stopped => "stopped",
            _ => "upstream-broken",
        };
        self.settle(ResultWord::UpstreamError, bytes, Some((code.into(), broken.to_string())));
    }

    /// The client went away before the end.
    pub(crate) fn abandon(&mut self, bytes: u64) {
        let why = "the client hung up before the end of the answer".to_owned();
        self.settle(ResultWord::Forwarded, bytes, Some(("client-gone".into(), why)));
    }

    fn settle(
        &mut self,
        result: ResultWord,
        bytes: u64,
        error: Option<(std::borrow::Cow<'static, str>, String)>,
    ) {
        if self.slot.is_some() {
            let event = self.outcome(result, bytes, error);
            self.queue(event);
        }
    }

    /// Queues the last event. A key that nobody has settled by now belongs to a walk that ended by itself.
    fn queue(&mut self, event: Event) {
        let change = self.claim.as_ref().map(|claim| claim.settle(Settled::Unknown));
        if let Some(slot) = self.slot.take() {
            slot.send(Entry { change, event });
        }
        self.claim = None;
    }

    fn outcome(
        &mut self,
        result: ResultWord,
        bytes: u64,
        error: Option<(std::borrow::Cow<'static, str>, String)>,
    ) -> Event {
        let mut event = self.closing_event();
        event.kind = Kind::Outcome;
        event.result = Some(result);
        event.bytes = Some(bytes);
        event.error = error;
        event
    }

    fn stop_event(&mut self, stop: &Stop) -> Event {
        let intended = self.state == State::Intended;
        let mut event = self.closing_event();
        event.kind = if intended { Kind::Outcome } else { Kind::Refusal };
        match stop {
            Stop::Refused(refusal) => {
                event.result = Some(ResultWord::Refused);
                event.status = Some(refusal.status());
                event.decision = Some(Decision {
                    gate: refusal.gate(),
                    effect: Effect::Deny,
                    rule: match refusal {
                        Refusal::Forbidden { rule, .. } => rule.clone(),
                        _ => None,
                    },
                    reason: match (refusal, self.draft.risk_parts.take()) {
                        (Refusal::TooRisky { .. }, Some(parts)) => {
                            format!("{}; {parts}", refusal.cause()).into()
                        }
                        _ => refusal.cause(),
                    },
                    risk: match refusal {
                        Refusal::TooRisky { score, .. } => Some(*score),
                        _ => None,
                    },
                    policy: None,
                });
                event.error = Some((refusal.code().into(), refusal.cause().into_owned()));
            }
            Stop::Replayed(answer) => {
                event.kind = Kind::Outcome;
                event.result = Some(ResultWord::Replayed);
                event.status = Some(answer.status);
            }
            Stop::Held(ticket) => {
                event.kind = Kind::Held;
                event.result = Some(ResultWord::Held);
                event.status = Some(428);
                event.approval_id = Some(ticket.id);
            }
            Stop::Executed(answer) => {
                event.kind = Kind::Outcome;
                event.result = Some(ResultWord::ExecutedApproved);
                event.status = Some(answer.status);
            }
            Stop::Fault(fault) => {
                let upstream = fault.gate() == Gate::Forward;
                event.result = Some(if upstream { ResultWord::UpstreamError } else { ResultWord::Fault });
                event.status = Some(fault.status());
                event.error = Some((fault.code().into(), fault.cause()));
            }
        }
        event
    }

    /// The event that closes the record, without what only the intent tells.
    fn closing_event(&mut self) -> Event {
        if self.state == State::Intended {
            self.recorder.under_way.fetch_sub(1, Ordering::Relaxed);
        }
        let blank = Event::new(self.at.wall, Kind::Outcome);
        let mut event = std::mem::replace(&mut self.draft.event, blank);
        let now = self.clock.now();
        event.at = now.wall;
        event.body_sha256 = self.body_hash.as_ref().and_then(|hash| hash.get().copied());
        let latency = now.monotonic.saturating_sub(self.at.monotonic);
        event.latency_us = Some(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        if self.state == State::Intended {
            event.decision = None;
        }
        self.state = State::Closed;
        event
    }
}

impl Drop for Record {
    /// A walk that panicked, or a body that was dropped, still leaves its event.
    fn drop(&mut self) {
        if self.state == State::Intended {
            self.settle(
                ResultWord::Fault,
                0,
                Some(("cut".into(), "the call ended without an answer".into())),
            );
        }
    }
}

/// A name as the trail keeps it: at most 256 characters of what the request said.
fn bounded(text: &str) -> Arc<str> {
    const CHARACTERS_MAX: usize = 256;
    match text.char_indices().nth(CHARACTERS_MAX) {
        None => text.into(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
    }
}
