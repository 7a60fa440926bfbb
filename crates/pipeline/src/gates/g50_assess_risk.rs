//! Gate 50: how risky is it? The weight of its kind and what its rules say; where a model is set up, what that says too,
//! which can only make things stricter. Without a model nothing is read and nothing is waited for.

use std::ops::Deref;

use domain::{
    call::Action,
    risk::{Assessment, ModelSaid, RiskScore, RiskVerdict, Thresholds, Weight},
    stop::{Refusal, Stop},
};
use store::Store;
use wire::mcp::Class;

use super::{
    g40_idempotency::Unique,
    g70_record::{Draft, Recording},
};
use crate::{
    arguments,
    arrival::Exchange,
    budget::BodyBudget,
    gateway::Bounds,
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
    /// How risky it is; housekeeping is not assessed.
    pub(crate) fn assessment(&self) -> Option<&Assessment> {
        self.assessment.as_ref()
    }

    /// Whether its risk alone wants people's approval.
    pub(crate) fn wants_people(&self) -> bool {
        self.wants_people
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
    risk: &Risk,
    store: &Store,
    bodies: &BodyBudget,
    bounds: &Bounds,
    recording: &Recording,
    draft: &mut Draft,
) -> Result<Assessed, Stop> {
    if call.call.class == Class::Housekeeping {
        return Ok(Assessed { call, assessment: None, wants_people: false });
    }
    let weight = match &call.call.action {
        Action::Request(_) => Weight::of_method(&call.call.method),
        Action::Tool(name) => risk.hints.weight(&call.service, name),
        _ => Weight::Read,
    };
    let mut assessment = Assessment::of(weight, call.rule_risk);
    if let Some(model) = &risk.model
        && could_change(&assessment, &risk.thresholds)
    {
        call.hold_body(bodies, bounds).await?;
        assessment.model = ask(model, &call, store, recording).await;
    }
    draft.assessed(&assessment);
    let verdict = assessment.decide(&risk.thresholds);
    if let (RiskVerdict::Refuse, Some(refuse_at)) = (verdict, risk.thresholds.refuse_at) {
        return Err(Refusal::TooRisky { score: assessment.score(), refuse_at }.into());
    }
    let assessed =
        Assessed { call, assessment: Some(assessment), wants_people: verdict != RiskVerdict::Pass };
    refuse_until_gate_60(assessed)
}

/// Gate 60 replaces this: it holds what risk wants people for. Nothing of that kind passes before it is there.
fn refuse_until_gate_60(call: Assessed) -> Result<Assessed, Stop> {
    match call.assessment() {
        Some(assessment) if call.wants_people() => {
            let refuse_at = RiskScore::default();
            Err(Refusal::TooRisky { score: assessment.score(), refuse_at }.into())
        }
        _ => Ok(call),
    }
}

/// Whether anything a model says could matter: not for what is refused as it is, nor for what needs nobody and can
/// never be refused.
fn could_change(assessment: &Assessment, thresholds: &Thresholds) -> bool {
    let needs_nobody = assessment.rule.ignore && thresholds.refuse_at.is_none();
    !needs_nobody && assessment.decide(thresholds) != RiskVerdict::Refuse
}

/// Asks the model about a call whose body is there.
async fn ask(model: &Model, call: &Unique, store: &Store, recording: &Recording) -> ModelSaid {
    let arguments = arguments::of(&call.exchange, &call.headers, &recording.values);
    let (action, body_bytes) = match &call.exchange {
        Exchange::Request(request) => {
            let bytes = request.body.bytes().map(bytes::Bytes::len).filter(|bytes| *bytes > 0);
            (call.call.action_text().to_owned(), bytes)
        }
        Exchange::Post(_) | Exchange::Listen | Exchange::End => {
            (format!("{} {}", call.call.method, call.call.action_text()), None)
        }
    };
    let documentation = match &call.service.documentation {
        // It only helps the model; a store that does not answer stops the call at its record.
        Some(_) => store.documentation(&call.service.name).await.ok().flatten(),
        None => None,
    };
    let question = Question {
        intent: call.intent.as_deref(),
        service: call.service.name.as_str(),
        action: &action,
        arguments: arguments.as_deref(),
        body_bytes,
        documentation: documentation.as_deref(),
    };
    model.ask(&question).await
}
