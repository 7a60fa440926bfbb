//! Gate 50: how risky is it? The weight of its kind, what its rules say, and, where a model is set up, what that says,
//! which can only make the verdict stricter. Without a model nothing is read and nothing is waited for.

use std::{borrow::Cow, num::NonZeroU8, ops::Deref, sync::Arc};

use bytes::Bytes;
use domain::{
    approval::HeldRisk,
    call::Call,
    policy::{RuleName, Verdict, Wants},
    risk::{Assessment, ModelSaid, RiskVerdict, Thresholds, Weight},
    service::Service,
    stop::{Refusal, Stop},
    world::World,
};
use store::Store;
use wire::mcp::Class;

use super::{
    g20_authorize::Authorized,
    g40_idempotency::Unique,
    g70_record::{Draft, Recording},
};
use crate::{
    arguments,
    arrival::Exchange,
    budget::BodyBudget,
    gateway::{Bounds, Gateway},
    idempotency::Claim,
    risk::{Model, Question, Risk},
};

/// A call whose risk is known. Only this gate can make one.
pub struct Assessed {
    call: Unique,
    assessment: Option<Assessment>,
    wants_people: bool,
}

impl Deref for Assessed {
    type Target = Unique;
    fn deref(&self) -> &Unique {
        &self.call
    }
}

impl Assessed {
    /// Whether it wants people's approval.
    pub(crate) fn wants_people(&self) -> bool {
        self.wants_people || self.call.wants.is_some()
    }

    /// The approval that it wants: what the policy asks for, else what its risk alone asks for.
    pub(crate) fn wants(&self) -> Option<Cow<'_, Wants>> {
        match &self.call.wants {
            Some(wants) => Some(Cow::Borrowed(wants)),
            None if self.wants_people => self.assessment.as_ref().map(by_risk).map(Cow::Owned),
            None => None,
        }
    }

    /// How risky it is, for those who decide about it; housekeeping is not assessed.
    pub(crate) fn held_risk(&self) -> Option<HeldRisk> {
        let assessment = self.assessment.as_ref()?;
        Some(HeldRisk { score: assessment.score(), parts: assessment.parts() })
    }

    /// See [`Unique::hold_body`].
    pub(crate) async fn hold_body(&mut self, bodies: &BodyBudget, bounds: &Bounds) -> Result<(), Stop> {
        self.call.hold_body(bodies, bounds).await
    }

    /// See [`Unique::take_claim`].
    pub(crate) fn take_claim(&mut self) -> Option<Claim> {
        self.call.take_claim()
    }

    /// Takes the proof apart; only the last gate has a use for the pieces.
    pub(crate) fn into_inner(self) -> Unique {
        self.call
    }
}

pub(crate) async fn assess_risk(
    mut call: Unique,
    gateway: &Gateway,
    draft: &mut Draft,
) -> Result<Assessed, Stop> {
    let risk = &gateway.risk;
    if call.call.class == Class::Housekeeping {
        return Ok(Assessed { call, assessment: None, wants_people: false });
    }
    let weight = weight_of(&call.call, &call.service, &gateway.freshness.current());
    let mut assessment = Assessment::of(weight, call.rule_risk);
    if let Some(model) = &risk.model
        && could_change(&assessment, &risk.thresholds)
    {
        call.hold_body(&gateway.bodies, &gateway.bounds).await?;
        assessment.model = Told::of(&call, &gateway.recording).ask(model, &gateway.store).await;
    }
    draft.assessed(&assessment);
    let verdict = assessment.decide(&risk.thresholds);
    if let (RiskVerdict::Refuse, Some(refuse_at)) = (verdict, risk.thresholds.refuse_at) {
        return Err(Refusal::TooRisky { score: assessment.score(), refuse_at }.into());
    }
    Ok(Assessed { call, assessment: Some(assessment), wants_people: verdict != RiskVerdict::Pass })
}

/// Refuses what people have approved where it is too risky by now: as it was assessed then, or by what rules and tools
/// say today. No model is asked again.
pub(crate) fn assess_again(
    call: &Authorized,
    held: Option<&HeldRisk>,
    world: &World,
    risk: &Risk,
) -> Result<(), Stop> {
    let today = Assessment::of(weight_of(&call.call, &call.service, world), call.rule_risk).score();
    let score = held.map_or(today, |held| held.score.max(today));
    match risk.thresholds.refuse_at {
        Some(refuse_at) if score >= refuse_at => Err(Refusal::TooRisky { score, refuse_at }.into()),
        _ => Ok(()),
    }
}

fn weight_of(call: &Call, service: &Service, world: &World) -> Weight {
    Weight::of_action(&call.action, &call.method, |tool| world.tools.weight(service, tool))
}

/// What risk makes of a verdict on a call that is not made. No model is asked; one could make it stricter.
pub(crate) fn foretell_risk(
    verdict: Verdict,
    call: &Call,
    service: &Service,
    world: &World,
    risk: &Risk,
) -> Foretold {
    let rule = match &verdict {
        Verdict::Allow { risk, .. } => *risk,
        Verdict::Ask(wants) => wants.risk,
        Verdict::Never(_) | Verdict::Depends => return Foretold::Judged(verdict),
    };
    let assessment = Assessment::of(weight_of(call, service, world), rule);
    match (assessment.decide(&risk.thresholds), verdict) {
        (RiskVerdict::Refuse, _) => Foretold::TooRisky,
        (RiskVerdict::Pass, verdict) | (_, verdict @ Verdict::Ask(_)) => Foretold::Judged(verdict),
        (_, _) => Foretold::Judged(Verdict::Ask(Box::new(by_risk(&assessment)))),
    }
}

/// What would become of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foretold {
    /// What the policy says, with what risk asks for.
    Judged(Verdict),
    /// It would be refused for its risk.
    TooRisky,
}

/// The approval that risk alone wants: of one operator, in the time of the settings. It bears the name of the setting
/// that wants it.
fn by_risk(assessment: &Assessment) -> Wants {
    Wants {
        rule: RuleName::new("risk.approve_at"),
        place: String::new(),
        because: Some(format!("risk {} = {}", assessment.score(), assessment.parts())),
        failure: None,
        quorum: NonZeroU8::MIN,
        decide_within: None,
        execute_within: None,
        risk: assessment.rule,
    }
}

/// Whether anything a model says could matter: not for what is refused as it is, nor for what needs nobody and can
/// never be refused.
fn could_change(assessment: &Assessment, thresholds: &Thresholds) -> bool {
    let needs_nobody = assessment.rule.ignore && thresholds.refuse_at.is_none();
    !needs_nobody && assessment.decide(thresholds) != RiskVerdict::Refuse
}

/// What a model is told of a call. It holds nothing of the call itself, whose body cannot be shared while it is waited.
struct Told {
    service: Arc<Service>,
    intent: Option<String>,
    action: String,
    arguments: Option<String>,
    body_bytes: Option<usize>,
}

impl Told {
    /// Of a call whose body is there.
    fn of(call: &Unique, recording: &Recording) -> Self {
        let (action, body_bytes) = match &call.exchange {
            Exchange::Request(request) => {
                let bytes = request.body.bytes().map(Bytes::len).filter(|bytes| *bytes > 0);
                (call.call.action_text().to_owned(), bytes)
            }
            Exchange::Post(_) | Exchange::Listen | Exchange::End => {
                (format!("{} {}", call.call.method, call.call.action_text()), None)
            }
        };
        Self {
            service: Arc::clone(&call.service),
            intent: call.intent.clone(),
            action,
            arguments: arguments::of(&call.exchange, &call.headers, &recording.values),
            body_bytes,
        }
    }

    async fn ask(self, model: &Model, store: &Store) -> ModelSaid {
        let documentation = match &self.service.documentation {
            // It only helps the model; a store that does not answer stops the call at its record.
            Some(_) => store.documentation(&self.service.name).await.ok().flatten(),
            None => None,
        };
        let question = Question {
            intent: self.intent.as_deref(),
            service: self.service.name.as_str(),
            action: &self.action,
            arguments: self.arguments.as_deref(),
            body_bytes: self.body_bytes,
            documentation: documentation.as_deref(),
        };
        model.ask(&question).await
    }
}
