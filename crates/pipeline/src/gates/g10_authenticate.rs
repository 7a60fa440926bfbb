//! Gate 10: who is asking? Looks the key up by its MAC, or has the access token proven; the answer never tells why
//! either was refused.

use std::{net::IpAddr, sync::Arc};

use counters::{Counters, Taken};
use domain::{
    approval::Held,
    call::Call,
    clock::Now,
    foreign::escape_foreign,
    key::Proof,
    oauth::{AccessToken, Resource, TokenFault},
    quota,
    stop::{Fault, KeyFault, Refusal, Stop, Unreadable},
    world::World,
};
use vault::Pepper;

use super::{g30_rate_limit::over, g70_record::Draft};
use crate::{
    arrival::{Arrival, Caller, Presented},
    freshness::Freshness,
    issuers::{Issuers, Unvouched, Vouched},
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

/// The same question about a call that was held: is its key still good, or its token's issuer still configured on the
/// same terms? A token that has expired meanwhile was good when the call was made; people take longer than that.
pub(crate) fn again(
    arrival: Arrival,
    proof: &Proof,
    held: &Held,
    world: &World,
    issuers: &Issuers,
    draft: &mut Draft,
) -> Result<Authenticated, Stop> {
    let known = match proof {
        Proof::Key(mac) => world.holder(mac, arrival.at).map(|(key, agent)| (key.id, agent)),
        Proof::Token { issuer, .. } if !issuers.has(issuer) => Err(KeyFault::Token(TokenFault::IssuerGone)),
        Proof::Token { .. } => {
            let agent = world.active(&held.agent).ok_or(KeyFault::AgentDisabled(held.key_id));
            agent.map(|agent| (held.key_id, agent))
        }
    };
    let (key, agent) = known.map_err(Refusal::Unauthorized)?;
    draft.caller(key, agent);
    Ok(Authenticated { caller: Caller { agent: Arc::clone(agent), key, proof: *proof }, arrival })
}

pub(crate) async fn authenticate(
    arrival: Arrival,
    world: &mut Arc<World>,
    freshness: &Freshness,
    pepper: &Pepper,
    issuers: &Issuers,
    counters: &Counters,
    draft: &mut Draft,
) -> Result<Authenticated, Stop> {
    let stop = match &arrival.key {
        Presented::Several => return Err(Refusal::Unreadable(Unreadable::TwoKeys).into()),
        Presented::Missing => unauthorized(KeyFault::Missing),
        Presented::Misshapen => unauthorized(KeyFault::Misshapen),
        Presented::One(key) => {
            let mac = pepper.mac(key);
            if !world.keys.contains_key(&mac) {
                // The key may have been made since the last look at the store.
                *world = freshness.catch_up(arrival.at).await;
            }
            match world.holder(&mac, arrival.at) {
                Ok((key, agent)) => {
                    draft.caller(key.id, agent);
                    let caller = Caller { agent: Arc::clone(agent), key: key.id, proof: Proof::Key(mac) };
                    return Ok(Authenticated { caller, arrival });
                }
                Err(fault) => unauthorized(fault),
            }
        }
        // Where no issuer is configured it is a text like any other.
        Presented::Token(..) if issuers.is_empty() => unauthorized(KeyFault::Misshapen),
        Presented::Token(token, resource) => {
            let known = vouched(token, resource, arrival.at, world, freshness, pepper, issuers).await;
            if let Ok((caller, _)) = &known {
                draft.caller(caller.key, &caller.agent);
            }
            match known {
                Ok((caller, None)) => return Ok(Authenticated { caller, arrival }),
                Ok((_, Some(scope))) => Refusal::InsufficientScope(scope).into(),
                Err(stop) => stop,
            }
        }
    };
    if let Stop::Refused(Refusal::Unauthorized(fault)) = &stop {
        draft.failed_key(*fault);
    }
    let (source, at, call) = (arrival.source, arrival.at, Arc::clone(&arrival.call));
    Err(charged(stop, source, at, &call, world, counters).await)
}

fn unauthorized(fault: KeyFault) -> Stop {
    Refusal::Unauthorized(fault).into()
}

/// Who comes with an access token, and the scope that it lacks. The agent must be there: a token makes none.
async fn vouched(
    token: &AccessToken,
    resource: &Resource,
    at: Now,
    world: &mut Arc<World>,
    freshness: &Freshness,
    pepper: &Pepper,
    issuers: &Issuers,
) -> Result<(Caller, Option<String>), Stop> {
    let vouched = match issuers.examine(token, resource, at).await {
        Ok(vouched) => vouched,
        Err(Unvouched::Refused(fault)) => return Err(unauthorized(KeyFault::Token(fault))),
        // Nobody can say whether it is good: the client should come back with it.
        Err(Unvouched::Unavailable) => return Err(Fault::StaleAuthorization.into()),
    };
    // The issuer's keys may have been waited for.
    *world = freshness.world(issuers.now()).await?;
    let key = vouched.key(pepper);
    let Vouched { grant, issuer, proof, lacks, is_new } = vouched;
    if !world.agents.contains_key(&grant.agent) {
        // The agent may have been made since the last look at the store.
        *world = freshness.catch_up(at).await;
    }
    let agent = world.active(&grant.agent).ok_or_else(|| {
        let is_known = world.agents.contains_key(&grant.agent);
        unauthorized(if is_known {
            KeyFault::AgentDisabled(key)
        } else {
            KeyFault::Token(TokenFault::NoAgent)
        })
    })?;
    if is_new {
        let subject = escape_foreign(&grant.subject);
        tracing::info!(
            "subject `{subject}` of {issuer} has a new token; it is key {key} of agent {}",
            agent.name
        );
    }
    Ok((Caller { agent: Arc::clone(agent), key, proof }, lacks))
}

/// Limits for each source how often it may fail, so that guessing costs us little.
async fn charged(
    stop: Stop,
    source: IpAddr,
    at: Now,
    call: &Call,
    world: &World,
    counters: &Counters,
) -> Stop {
    let charges = quota::failed_authentication(source);
    match counters.take(at.monotonic, &charges).await {
        Ok(Taken::Admitted) => stop,
        Err(lost) => super::g30_rate_limit::lost(lost),
        Ok(Taken::Over { which, retry_after }) => over(&charges, which, retry_after, &world.policy, call),
    }
}
