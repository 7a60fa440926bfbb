//! Gate 70: write the decision down. The intent is durable before the first byte leaves; whatever happens
//! afterwards, the record is closed exactly once, and closing cannot fail.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use domain::{
    agent::Agent,
    approval::Approval,
    audit::{Decision, Effect, Event, Kind, ResultWord, redact},
    call::Call,
    clock::{Clock, Now},
    key::KeyId,
    names::ApprovalId,
    policy::{PolicyHash, Verdict},
    risk::{Assessment, ModelSaid},
    stop::{Fault, Gate, KeyFault, Refusal, Stop},
};
use http::HeaderMap;
use http_body_util::BodyExt;
use store::{Change, Entry, HoldCall};
use wire::mcp::Class;

use super::g60_approve::Approved;
mod owed;

pub(crate) use self::owed::Execution;
use self::owed::Owed;
use crate::{
    arguments,
    arrival::{Exchange, Reply},
    budget::BodyBudget,
    digest,
    flow::{self, BodyHash, Broken, Closing},
    freshness::Freshness,
    gateway::Bounds,
    leave::may_leave,
    recorder::{Recorder, Slot, Unwritten, Written},
    traces::Trace,
};

proof!(
    /// A call whose intent is durable, where the trail keeps one.
    Recorded of Approved
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
    /// Why an approved call is not sent, where its refusal does not say it.
    void: Option<&'static str>,
}

impl Draft {
    pub(crate) fn caller(&mut self, key: KeyId, agent: &Agent) {
        self.event.key_id = Some(key);
        self.event.agent = Some(agent.name.clone());
        self.event.role = Some(agent.role.clone());
    }

    /// What is known of a call that was held.
    pub(crate) fn of_held(&mut self, approval: &Approval) {
        let held = &approval.held;
        let by: Vec<String> = approval.standing().approved_by.iter().map(ToString::to_string).collect();
        self.event.decision = Some(Decision {
            gate: Gate::Approve,
            effect: Effect::Allow,
            rule: Some(held.rule.clone()),
            reason: format!("approved by {}", by.join(", ")).into(),
            risk: held.risk.as_ref().map(|risk| risk.score),
            policy: Some(held.policy.clone()),
        });
        self.event.agent = Some(held.agent.clone());
        self.event.key_id = Some(held.key_id);
        self.event.role = Some(held.role.clone());
        self.event.approval_id = Some(held.id);
    }

    /// The approval that the call belongs to.
    pub(crate) fn of_approval(&mut self, id: &ApprovalId) {
        self.event.approval_id = Some(*id);
    }

    /// What is not as it was when people approved the call.
    pub(crate) fn void(&mut self, what: &'static str) {
        self.void = Some(what);
    }

    pub(crate) fn failed_key(&mut self, fault: KeyFault) {
        self.event.key_id = fault.key_id();
    }

    pub(crate) fn judged(&mut self, verdict: &Verdict, policy: &PolicyHash) {
        let (rule, reason) = match verdict {
            Verdict::Allow { rule, reason, .. } => (rule.clone(), *reason),
            Verdict::Ask(wants) => (Some(wants.rule.clone()), "an approve rule matches"),
            Verdict::Never(_) | Verdict::Depends => return,
        };
        self.event.decision = Some(Decision {
            gate: Gate::Authorize,
            effect: Effect::Allow,
            rule,
            reason: reason.into(),
            risk: None,
            policy: Some(policy.clone()),
        });
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
    /// What the call's end must be written together with, until it is.
    owed: Option<Owed>,
    recorder: Arc<Recorder>,
    clock: Arc<dyn Clock>,
    at: Now,
    class: Class,
    /// Known once the request's body has been sent.
    body_hash: Option<BodyHash>,
    /// Where calls are traced; it ends with the record.
    pub(crate) trace: Option<Trace>,
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
            draft: Draft { event, risk_parts: None, void: None },
            state: State::Open,
            slot: Some(slot),
            owed: None,
            recorder: Arc::clone(recorder),
            clock: Arc::clone(clock),
            at,
            class: call.class,
            body_hash: None,
            trace: None,
        })
    }

    /// Makes the intent durable, and with it the hold of the idempotency key: one is there exactly if the other is.
    /// Afterwards the kill switch and the caller's key are looked at once more, because the disk took its time.
    pub(crate) async fn intent(
        &mut self,
        mut call: Approved,
        freshness: &Freshness,
        recording: &Recording,
    ) -> Result<Recorded, Stop> {
        if self.class == Class::Housekeeping && !recording.everything {
            return Ok(Recorded(call));
        }
        let claim = call.take_claim();
        let mut intent = self.intent_of(&call.exchange, &call.headers, recording);
        intent.digest = match &claim {
            Some(claim) => Some(claim.fingerprint()),
            None => digest::of_exchange(&call.caller.agent.name, &call.call, &call.exchange, &call.headers),
        };
        let change = claim.as_ref().map(|claim| claim.claim(self.at.wall));
        let written = match self.recorder.durable(Entry { change, event: intent }).await {
            Ok(written) => written,
            Err(unwritten) => {
                // A commit that nobody answered for may have taken place: the key is let go of with the last event.
                self.owed = claim.filter(|_| unwritten == Unwritten::Perhaps).map(Owed::Key);
                return Err(unwritten.into());
            }
        };
        if written == Written::ConditionFailed {
            // Another process was quicker: its call is this one.
            return Err(match claim {
                Some(claim) => claim.look(self.clock.now().wall).await.err(),
                None => None,
            }
            .unwrap_or(Refusal::InProgress.into()));
        }
        self.owed = claim.map(Owed::Key);
        self.state = State::Intended;
        self.recorder.under_way.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.now();
        let world = freshness.world(now).await?;
        may_leave((&call.caller, &call.call, &call.service), &world, now)?;
        Ok(Recorded(call))
    }

    /// Claims an approved call: from now on it is this record's to send, and nobody else's ever again. Its event is the
    /// intent.
    pub(crate) async fn claim(&mut self, execution: Execution, mut intent: Event) -> Result<Written, Fault> {
        intent.digest = Some(execution.held().call_digest);
        let change = Some(execution.claim(self.at.wall));
        let written = self.recorder.durable(Entry { change, event: intent }).await?;
        if written == Written::Done {
            self.owed = Some(Owed::Execution(Box::new(execution)));
            self.state = State::Intended;
            self.recorder.under_way.fetch_add(1, Ordering::Relaxed);
        }
        Ok(written)
    }

    /// The intent of a claimed call is durable already. The kill switch and the key are looked at as after any other.
    pub(crate) async fn intended(&self, call: Approved, freshness: &Freshness) -> Result<Recorded, Stop> {
        if self.state != State::Intended {
            return Err(Fault::Internal.into());
        }
        let now = self.clock.now();
        let world = freshness.world(now).await?;
        may_leave((&call.caller, &call.call, &call.service), &world, now)?;
        Ok(Recorded(call))
    }

    /// Makes a call wait for people: the row and the event that tells of it are durable together. It closes the record.
    ///
    /// # Errors
    /// [`Fault::AuditUnavailable`]; [`Fault::HoldUnknown`] when the store did not say whether it is there: it is withdrawn as
    /// soon as that is known.
    pub(crate) async fn hold(&mut self, hold: HoldCall) -> Result<Written, Fault> {
        let held = &hold.held;
        let mut event = self.draft.event.clone();
        event.kind = Kind::Held;
        event.result = Some(ResultWord::Held);
        event.status = Some(428);
        event.approval_id = Some(held.id);
        event.digest = Some(held.call_digest);
        event.args.clone_from(&held.args);
        event.decision = Some(Decision {
            gate: Gate::Approve,
            effect: Effect::Hold,
            rule: Some(held.rule.clone()),
            reason: match &self.draft.risk_parts {
                Some(parts) => format!("wants approval; {parts}").into(),
                None => "wants approval".into(),
            },
            risk: held.risk.as_ref().map(|risk| risk.score),
            policy: Some(held.policy.clone()),
        });
        self.end_trace(&event);
        let id = held.id;
        let change = Some(Change::HoldCall(Box::new(hold)));
        let written = match self.recorder.durable(Entry { change, event }).await {
            Ok(written) => written,
            Err(Unwritten::Not) => return Err(Fault::AuditUnavailable),
            Err(Unwritten::Perhaps) => {
                self.draft.of_approval(&id);
                return Err(Fault::HoldUnknown);
            }
        };
        if written == Written::Done {
            self.slot = None;
            self.state = State::Closed;
        }
        Ok(written)
    }

    /// The event that says what is about to be sent.
    pub(crate) fn intent_of(&self, exchange: &Exchange, headers: &HeaderMap, recording: &Recording) -> Event {
        let mut intent = self.draft.event.clone();
        intent.kind = Kind::Intent;
        intent.args = arguments::of(exchange, headers, &recording.values).map(Into::into);
        intent
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
            // Boxed, here and below: few calls owe something, and each would have to have room for it.
            Ok(reply) if self.owed.is_some() => Box::pin(self.keep(reply, bodies, bounds)).await,
            Ok(reply) if self.state == State::Open => {
                // Housekeeping that is not recorded; its place in the queue is given back.
                self.slot = None;
                self.draft.event.status = Some(reply.head.status.as_u16());
                self.draft.event.result = Some(ResultWord::Forwarded);
                if let Some(trace) = &mut self.trace {
                    trace.ends(&self.draft.event);
                }
                Ok(reply)
            }
            Ok(mut reply) => {
                self.body_hash = reply.body_hash.take();
                self.draft.event.status = Some(reply.head.status.as_u16());
                let body = Closing::new(reply.body, self).boxed_unsync();
                reply.body = body;
                Ok(reply)
            }
            // What no intent is durable for can wait, whatever it owes.
            Err(stop) if self.owed.is_some() && self.state != State::Open => {
                Err(Box::pin(self.give_up(stop)).await)
            }
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
        let Some(owed) = self.owed.take() else { return Err(self.give_up(Fault::Internal.into()).await) };
        self.draft.event.status = Some(head.status.as_u16());
        let event = self.outcome(owed.result(), body.len() as u64, None);
        let end = owed.answered(&head, &body, event.at);
        if self.settle(end.change, end.otherwise, event).await {
            Ok(Reply { head, body: flow::whole(body), body_hash: None, repeat: end.repeat })
        } else {
            Err(Refusal::OutcomeUnknown.into())
        }
    }

    /// Closes the record of a call that stopped after its key, or its approval, was claimed: the key is free again,
    /// unless the call may have happened.
    async fn give_up(mut self, stop: Stop) -> Stop {
        let Some(owed) = self.owed.take() else { return self.turn_away(stop) };
        let event = self.stop_event(&stop);
        let end = owed.stopped(&stop, event.at);
        self.settle(end.change, end.otherwise, event).await;
        stop
    }

    /// Writes the last event together with what became of the call, and waits until that is durable. Where it cannot
    /// be written, it is written with what is safe to say instead; whether all was written.
    async fn settle(&mut self, change: Change, otherwise: Change, event: Event) -> bool {
        self.end_trace(&event);
        let Some(slot) = self.slot.take() else { return false };
        slot.settle(Entry { change: Some(change), event }, otherwise, &self.recorder).await
    }

    /// Closes the record of housekeeping that the gateway has answered in a service's place: with one event where
    /// everything is recorded, else with none.
    pub(crate) fn answered_here(mut self, recording: &Recording) {
        if !recording.everything {
            return self.forget();
        }
        self.draft.event.decision = Some(Decision {
            gate: Gate::Authorize,
            effect: Effect::Allow,
            rule: None,
            reason: "answered by the gateway itself".into(),
            risk: None,
            policy: None,
        });
        let event = self.outcome(ResultWord::Forwarded, 0, None);
        self.queue(event);
    }

    /// Closes the record of what leaves no event; its place in the queue is given back.
    pub(crate) fn forget(mut self) {
        self.slot = None;
    }

    /// Closes the record of a call that is not answered by an upstream.
    pub(crate) fn turn_away(mut self, stop: Stop) -> Stop {
        let event = self.stop_event(&stop);
        let change = self.owed.take().map(|owed| owed.stopped(&stop, event.at).change);
        self.queue_with(change, event);
        stop
    }

    /// The answer has ended well, after so many bytes. Only the first of these calls counts.
    pub(crate) fn finish(&mut self, bytes: u64) {
        self.end(ResultWord::Forwarded, bytes, None);
    }

    /// The answer broke off.
    pub(crate) fn break_off(&mut self, bytes: u64, broken: &Broken) {
        let code = match broken {
            Broken::Withdrawn => "withdrawn",
            Broken::Unconfirmed => "stale-authorization",
            Broken::Stopped => "stopped",
            _ => "upstream-broken",
        };
        self.end(ResultWord::UpstreamError, bytes, Some((code.into(), broken.to_string())));
    }

    /// The client went away before the end.
    pub(crate) fn abandon(&mut self, bytes: u64) {
        let why = "the client hung up before the end of the answer".to_owned();
        self.end(ResultWord::Forwarded, bytes, Some(("client-gone".into(), why)));
    }

    fn end(
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

    /// Queues the last event. What nobody has settled by now belongs to a walk that ended by itself.
    fn queue(&mut self, event: Event) {
        let change = self.owed.take().map(|owed| owed.lost(event.at));
        self.queue_with(change, event);
    }

    fn queue_with(&mut self, change: Option<Change>, event: Event) {
        self.end_trace(&event);
        if let Some(slot) = self.slot.take() {
            slot.send(Entry { change, event });
        }
    }

    fn end_trace(&mut self, event: &Event) {
        if let Some(trace) = &mut self.trace {
            trace.ends(event);
        }
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
        let cause = |refusal: &Refusal| self.draft.void.map_or_else(|| refusal.cause(), Into::into);
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
                            format!("{}; {parts}", cause(refusal)).into()
                        }
                        _ => cause(refusal),
                    },
                    risk: match refusal {
                        Refusal::TooRisky { score, .. } => Some(*score),
                        _ => None,
                    },
                    policy: None,
                });
                event.error = Some((refusal.code().into(), cause(refusal).into_owned()));
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
                event.decision = Some(Decision {
                    gate: Gate::Approve,
                    effect: Effect::Hold,
                    rule: Some(ticket.rule.clone()),
                    reason: "an identical call waits already".into(),
                    risk: None,
                    policy: None,
                });
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
            self.end(ResultWord::Fault, 0, Some(("cut".into(), "the call ended without an answer".into())));
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
