//! One call, from arrival to answer. Start here.

use std::sync::Arc;

use domain::{call::Call, clock::Now, stop::Stop, world::World};

use crate::{
    arrival::{Arrival, Caller, Reply},
    gates::{
        g10_authenticate::authenticate,
        g20_authorize::authorize,
        g30_rate_limit::{charge_housekeeping, charge_refusal, rate_limit},
        g40_idempotency::idempotency,
        g50_assess_risk::assess_risk,
        g70_record::Record,
        g80_inject_credential::inject_credential,
        g90_forward::forward,
    },
    gateway::Gateway,
};

/// Walks a call through every gate, in order, and answers it.
///
/// Each gate takes what the gate before it returned, so none can be skipped or swapped. Whatever happens, the
/// record is closed. Run it on a task of its own: a client that hangs up must not cut it between the intent
/// and the outcome.
///
/// # Errors
/// The [`Stop`] that ended the walk: a refusal, or a fault. Nothing was forwarded unless it says so.
pub async fn walk(arrival: Arrival, gateway: &Gateway) -> Result<Reply, Stop> {
    let at = arrival.at;
    let mut record = Record::open(&arrival.call, at, &gateway.recorder, &gateway.clock)?;
    let mut world = match gateway.freshness.world(at).await {
        Ok(world) => world,
        Err(fault) => return Err(record.turn_away(fault.into())),
    };

    let call = Arc::clone(&arrival.call);
    let mut caller = None;
    let answer = async {
        let call = authenticate(
            arrival,
            &mut world,
            &gateway.freshness,
            &gateway.pepper,
            &gateway.counters,
            &mut record.draft,
        )
        .await?;
        caller = Some(call.caller().clone());
        let call =
            authorize(call, &world, &gateway.sessions, &gateway.bodies, &gateway.bounds, &mut record.draft)
                .await?;
        let call = rate_limit(call, &world, &gateway.counters)?;
        let call = idempotency(call, &gateway.idempotency, &gateway.bodies, &gateway.bounds, &*gateway.clock)
            .await?;
        let call = assess_risk(
            call,
            &gateway.risk,
            &gateway.store,
            &gateway.bodies,
            &gateway.bounds,
            &gateway.recording,
            &mut record.draft,
        )
        .await?;
        let call = record.intent(call, &gateway.freshness, &gateway.recording).await?;
        let call = inject_credential(call, &gateway.freshness, &gateway.credentials).await?;
        forward(call, gateway).await
    }
    .await;

    let answer = match (answer, &caller) {
        (Err(refused @ Stop::Refused(_)), Some(caller)) => {
            Err(charge_refusal(refused, caller, &call, &world, at.monotonic, &gateway.counters))
        }
        (answer, _) => answer,
    };
    record.close(answer, &gateway.bodies, &gateway.bounds).await
}

/// Says who asks for something that the gateway answers itself, such as the list of services, and what the world is
/// like for them. It is charged as housekeeping; only a refusal is recorded.
///
/// # Errors
/// The [`Stop`]: no good key, too many requests, or nothing can be confirmed.
pub async fn inquire(arrival: Arrival, gateway: &Gateway) -> Result<(Caller, Arc<World>), Stop> {
    let at = arrival.at;
    let mut record = Record::open(&arrival.call, at, &gateway.recorder, &gateway.clock)?;
    let mut world = match gateway.freshness.world(at).await {
        Ok(world) => world,
        Err(fault) => return Err(record.turn_away(fault.into())),
    };
    let call = Arc::clone(&arrival.call);
    let known = authenticate(
        arrival,
        &mut world,
        &gateway.freshness,
        &gateway.pepper,
        &gateway.counters,
        &mut record.draft,
    )
    .await;
    let within = known.and_then(|known| {
        let caller = known.caller().clone();
        charge_housekeeping(&caller, &call, &world, at.monotonic, &gateway.counters).map(|()| caller)
    });
    match within {
        Ok(caller) => {
            record.forget();
            Ok((caller, world))
        }
        Err(stop) => Err(record.turn_away(stop)),
    }
}

/// Records a request that is refused before any gate needs to see it, and hands the refusal back.
pub fn turn_away(call: &Call, at: Now, stop: Stop, gateway: &Gateway) -> Stop {
    match Record::open(call, at, &gateway.recorder, &gateway.clock) {
        Ok(record) => record.turn_away(stop),
        Err(fault) => fault.into(),
    }
}
