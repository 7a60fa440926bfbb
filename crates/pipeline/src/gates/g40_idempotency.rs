//! Gate 40: was this call made before? If an identical call is held, or its agent was never told how it ended, the
//! call joins that approval. A call whose idempotency key is known ends here, with the first call's answer or with the
//! reason why there is none. Two calls must never pass under one key.

use std::ops::Deref;

use domain::{
    idempotency::{IdempotencyKey, Repeatable},
    names::AgentName,
    stop::{Refusal, Stop},
};
use wire::mcp::Class;

use super::{g30_rate_limit::Within, g70_record::Draft};
use crate::{
    approvals::Approvals,
    budget::BodyBudget,
    credentials::needs_whole_body,
    digest,
    gateway::{Bounds, Gateway},
    idempotency::{Asked, Claim},
};

/// A call that is not known to have been made before. Only this gate can make one.
pub struct Unique {
    call: Within,
    claim: Option<Claim>,
}

impl Deref for Unique {
    type Target = Within;
    fn deref(&self) -> &Within {
        &self.call
    }
}

impl Unique {
    /// The key's claim, for gate 70 to write down.
    pub(crate) fn take_claim(&mut self) -> Option<Claim> {
        self.claim.take()
    }

    /// Reads the body whole (see [`Authorized::hold_body`](super::g20_authorize::Authorized::hold_body)).
    pub(crate) async fn hold_body(&mut self, bodies: &BodyBudget, bounds: &Bounds) -> Result<(), Stop> {
        self.call.hold_body(bodies, bounds).await
    }

    /// Takes the proof apart; only the last gate has a use for the pieces.
    pub(crate) fn into_inner(self) -> Within {
        self.call
    }
}

/// Without a key, and without anything held of its agent, it costs one look at memory. A body that a signature will
/// cover is read whole here too, before the intent, so that the trail can hold its digest.
pub(crate) async fn idempotency(
    mut call: Within,
    gateway: &Gateway,
    draft: &mut Draft,
) -> Result<Unique, Stop> {
    let approvals = &gateway.approvals;
    // Whatever the policy says by now: who asks again gets the answer to what was held.
    let has_live = call.call.class == Class::Call && approvals.has_live(&call.caller.agent.name);
    if has_live || call.repeatable.is_some() || needs_whole_body(&call.service) {
        call.hold_body(&gateway.bodies, &gateway.bounds).await?;
    }
    if !has_live && call.repeatable.is_none() {
        return Ok(Unique { call, claim: None });
    }
    let agent = &call.caller.agent.name;
    let Some(fingerprint) = digest::of_exchange(agent, &call.call, &call.exchange, &call.headers) else {
        // Only sessions have no digest, and those are housekeeping.
        return Err(Refusal::MethodNotAllowed.into());
    };
    let key = call.repeatable.as_ref().map(|repeatable| &repeatable.key);
    if has_live {
        meet(approvals, agent, &fingerprint, key, draft).await?;
    }
    let Some(Repeatable { key, wait }) = call.repeatable.clone() else {
        return Ok(Unique { call, claim: None });
    };
    let asked = Asked::of(&call.exchange);
    let claim = gateway.idempotency.reserve(agent, &key, fingerprint, call.call.id, asked, wait).await?;
    // Who had the key until now may have been held, and not by the policy that judged this one. What memory knows may
    // be a moment old; the row is asked, as that of the key is.
    meet(approvals, agent, &fingerprint, Some(&key), draft).await?;
    claim.look(gateway.clock.now().wall).await?;
    Ok(Unique { call, claim: Some(claim) })
}

/// Ends with the answer of the approval that the call meets, where it meets one.
async fn meet(
    approvals: &Approvals,
    agent: &AgentName,
    digest: &[u8; 32],
    key: Option<&IdempotencyKey>,
    draft: &mut Draft,
) -> Result<(), Stop> {
    // Boxed, as the answer: few calls come here, and each would have to have room for it.
    match Box::pin(approvals.met_by(agent, digest, key)).await? {
        None => Ok(()),
        Some(approval) => {
            draft.of_approval(&approval.held.id);
            Err(Box::pin(approvals.answer(&approval)).await)
        }
    }
}
