//! Gate 30: is it too often? All limits of a call are charged together, or none.

use std::time::Duration;

use counters::{Counters, Lost, Taken};
use domain::{
    call::Call,
    policy::Policy,
    quota::{self, Charges},
    stop::{Fault, OverLimit, Refusal, Stop},
    world::World,
};

use super::g20_authorize::Authorized;
use crate::{arrival::Caller, budget::BodyBudget, gateway::Bounds};

proof!(
    /// A call within its limits.
    Within of Authorized
);

impl Within {
    /// Reads the body whole (see [`Authorized::hold_body`]).
    pub(crate) async fn hold_body(&mut self, bodies: &BodyBudget, bounds: &Bounds) -> Result<(), Stop> {
        self.0.hold_body(bodies, bounds).await
    }
}

pub(crate) async fn rate_limit(call: Authorized, world: &World, counters: &Counters) -> Result<Within, Stop> {
    let charges = quota::charges(&world.policy, call.caller.key, &call.call);
    match counters.take(call.at.monotonic, &charges).await.map_err(lost)? {
        Taken::Admitted => Ok(Within(call)),
        Taken::Over { which, retry_after } => {
            Err(over(&charges, which, retry_after, &world.policy, &call.call))
        }
    }
}

/// Charges what the gateway answers itself.
pub(crate) async fn charge_housekeeping(
    caller: &Caller,
    call: &Call,
    world: &World,
    now: Duration,
    counters: &Counters,
) -> Result<(), Stop> {
    let charges = quota::charges(&world.policy, caller.key, call);
    match counters.take(now, &charges).await.map_err(lost)? {
        Taken::Admitted => Ok(()),
        Taken::Over { which, retry_after } => Err(over(&charges, which, retry_after, &world.policy, call)),
    }
}

/// Counts a refused call against the caller's `refusals`; when those are spent, says so instead.
///
/// So an agent that keeps asking for what it may not have is slowed down like any other.
pub(crate) async fn charge_refusal(
    stop: Stop,
    caller: &Caller,
    call: &Call,
    world: &World,
    now: Duration,
    counters: &Counters,
) -> Stop {
    let charges = quota::refusal_charge(&world.policy, caller.key);
    match counters.take(now, &charges).await {
        // It is refused anyway: where nobody counts, for its own reason.
        Ok(Taken::Admitted) | Err(Lost) => stop,
        Ok(Taken::Over { which, retry_after }) => over(&charges, which, retry_after, &world.policy, call),
    }
}

/// Who cannot count lets nobody pass.
pub(super) fn lost(_: Lost) -> Stop {
    Fault::CountersUnavailable.into()
}

/// The refusal that names the charge which was over its limit.
pub(super) fn over(
    charges: &Charges,
    which: usize,
    retry_after: Duration,
    policy: &Policy,
    call: &Call,
) -> Stop {
    match charges.list.get(which) {
        Some(charge) => {
            let (name, what) = (charge.name(), charge.what(policy, call));
            Refusal::RateLimited(OverLimit { name, what, quota: charge.quota, retry_after }).into()
        }
        // The counters name a charge that they were given; were it otherwise, the call would not pass either.
        None => Fault::StaleAuthorization.into(),
    }
}
