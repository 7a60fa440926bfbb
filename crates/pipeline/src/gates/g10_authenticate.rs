//! Gate 10: who is asking? Looks the key up by its MAC; the answer never tells why a key was refused.

use std::{net::IpAddr, sync::Arc};

use counters::{Counters, Taken};
use domain::{
    call::Call,
    clock::Now,
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
    let (source, at, call) = (arrival.source, arrival.at, Arc::clone(&arrival.call));
    Err(refuse(fault, source, at, &call, world, counters).await)
}

/// One same refusal for every fault of a key, limited for each source so that guessing costs us little.
async fn refuse(
    fault: KeyFault,
    source: IpAddr,
    at: Now,
    call: &Call,
    world: &World,
    counters: &Counters,
) -> Stop {
    let charges = quota::failed_authentication(source);
    match counters.take(at.monotonic, &charges).await {
        Ok(Taken::Admitted) => Refusal::Unauthorized(fault).into(),
        Err(lost) => super::g30_rate_limit::lost(lost),
        Ok(Taken::Over { which, retry_after }) => over(&charges, which, retry_after, &world.policy, call),
    }
}
