//! Gate 10: who is asking? Looks the key up by its MAC; the answer never tells why a key was refused.

use std::sync::Arc;

use counters::{Counters, Taken};
use domain::{
    key::KeyMac,
    quota,
    stop::{KeyFault, Refusal, Stop, Unreadable},
    world::World,
};
use vault::Pepper;

use super::{g30_rate_limit::over, g70_record::Draft};
use crate::{
    arrival::{Arrival, Caller, Presented},
    freshness::Freshness,
};

/// A request from a known agent. Only this gate can make one.
pub struct Authenticated {
    caller: Caller,
    arrival: Arrival,
}

impl Authenticated {
    /// Who is asking.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    pub(crate) fn into_parts(self) -> (Caller, Arrival) {
        (self.caller, self.arrival)
    }
}

/// The same question about a call that was held: is its key still good?
pub(crate) fn again(
    arrival: Arrival,
    mac: KeyMac,
    world: &World,
    draft: &mut Draft,
) -> Result<Authenticated, Stop> {
    match world.holder(&mac, arrival.at) {
        Ok((key, agent)) => {
            draft.caller(key.id, agent);
            Ok(Authenticated { caller: Caller { agent: Arc::clone(agent), key: key.id, mac }, arrival })
        }
        Err(fault) => Err(Refusal::Unauthorized(fault).into()),
    }
}

pub(crate) async fn authenticate(
    arrival: Arrival,
    world: &mut Arc<World>,
    freshness: &Freshness,
    pepper: &Pepper,
    counters: &Counters,
    draft: &mut Draft,
) -> Result<Authenticated, Stop> {
    let fault = match &arrival.key {
        Presented::Several => return Err(Refusal::Unreadable(Unreadable::TwoKeys).into()),
        Presented::Missing => KeyFault::Missing,
        Presented::Misshapen => KeyFault::Misshapen,
        Presented::One(key) => {
            let mac = pepper.mac(key);
            if !world.keys.contains_key(&mac) && freshness.catch_up(arrival.at).await {
                // The key may have been made since the last look at the store.
                *world = freshness.current();
            }
            match world.holder(&mac, arrival.at) {
                Ok((key, agent)) => {
                    draft.caller(key.id, agent);
                    let caller = Caller { agent: Arc::clone(agent), key: key.id, mac };
                    return Ok(Authenticated { caller, arrival });
                }
                Err(fault) => fault,
            }
        }
    };
    draft.failed_key(fault);
    Err(refuse(fault, &arrival, world, counters))
}

/// One same refusal for every fault of a key, limited for each source so that guessing costs us little.
fn refuse(fault: KeyFault, arrival: &Arrival, world: &World, counters: &Counters) -> Stop {
    let charges = quota::failed_authentication(arrival.source);
    match counters.take(arrival.at.monotonic, &charges) {
        Taken::Admitted => Refusal::Unauthorized(fault).into(),
        Taken::Over { which, retry_after } => {
            over(&charges, which, retry_after, &world.policy, &arrival.call)
        }
    }
}
