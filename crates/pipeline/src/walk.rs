//! One call, from arrival to answer. Start here.

use std::sync::Arc;

use domain::{
    call::Call,
    clock::Now,
    policy::{Refused, Rights, Verdict},
    stop::{Fault, Stop},
    world::World,
};

use crate::{
    arrival::{Arrival, Caller, Reply},
    dispatcher::Resumed,
    gates::{
        g10_authenticate::{again, authenticate},
        g20_authorize::{authorize, check_door, judge_whole},
        g30_rate_limit::{charge_housekeeping, charge_refusal, rate_limit},
        g40_idempotency::idempotency,
        g50_assess_risk::{Foretold, assess_again, assess_risk, foretell_risk},
        g60_approve::{approve, decided},
        g70_record::{Execution, Record},
        g80_inject_credential::inject_credential,
        g90_forward::forward,
    },
    gateway::Gateway,
    recorder::Written,
};

/// Walks a call through every gate, in order, and answers it.
///
/// Each gate takes what the gate before it returned, so none can be skipped or swapped. Whatever happens, the
/// record is closed. Run it so that it outlives the connection: a client that hangs up must not cut it between the
/// intent and the outcome.
///
/// # Errors
/// The [`Stop`] that ended the walk: a refusal, or a fault. Nothing was forwarded unless it says so.
pub async fn walk(arrival: Arrival, gateway: &Gateway) -> Result<Reply, Stop> {
    let at = arrival.at;
    let mut record = Record::open(&arrival.call, at, &gateway.recorder, &gateway.clock)?;
    record.trace = gateway.begin_trace(&arrival);
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
            &gateway.issuers,
            &gateway.counters,
            &mut record.draft,
        )
        .await?;
        caller = Some(call.caller().clone());
        let call = authorize(call, &mut world, gateway, &mut record.draft).await?;
        let call = rate_limit(call, &world, &gateway.counters).await?;
        let call = idempotency(call, gateway, &mut record.draft).await?;
        let call = assess_risk(call, gateway, &mut record.draft).await?;
        let call = approve(call, &world, gateway, &mut record).await?;
        let call = record.intent(call, &gateway.freshness, &gateway.recording).await?;
        let call = inject_credential(call, &gateway.freshness, &gateway.credentials).await?;
        let sent = gateway.clock.now().monotonic;
        gateway.timings.gates.observe(sent.saturating_sub(at.monotonic));
        let reply = forward(call, gateway, record.trace.as_mut()).await;
        gateway.timings.upstream.observe(gateway.clock.now().monotonic.saturating_sub(sent));
        reply
    }
    .await;

    let answer = match (answer, &caller) {
        (Err(refused @ Stop::Refused(_)), Some(caller)) => {
            Err(charge_refusal(refused, caller, &call, &world, at.monotonic, &gateway.counters).await)
        }
        (answer, _) => answer,
    };
    record.close(answer, &gateway.bodies, &gateway.bounds).await
}

/// Walks what was held and approved: the same gates, but for those that were passed before people were asked. It is
/// claimed first, so that nobody else ever sends it; what is wrong with it afterwards ends it for good.
///
/// # Errors
/// A [`Fault`] before it is known to be claimed: it stays approved, or is ended when it turns out to be claimed all the same.
pub(crate) async fn resume(resumed: Resumed, gateway: &Gateway) -> Result<(), Fault> {
    let Resumed { arrival, proof, destination, approvers, approval, asked } = resumed;
    let (at, approval_id) = (arrival.at, approval.held.id);
    let mut world = gateway.freshness.world(at).await?;
    let mut record = Record::open(&arrival.call, at, &gateway.recorder, &gateway.clock)?;
    record.trace = gateway.begin_trace(&arrival);
    record.draft.of_held(&approval);
    let execution = Execution {
        approval: approval.clone(),
        asked,
        approvals: Arc::clone(&gateway.approvals),
        keys: Arc::clone(&gateway.idempotency),
    };
    let intent = match &arrival.exchange {
        Ok(exchange) => record.intent_of(exchange, &arrival.headers, &gateway.recording),
        Err(_) => return Err(Fault::Internal),
    };
    match record.claim(execution, intent).await {
        Ok(Written::Done) => {}
        // Somebody else was quicker, or it had ended before.
        Ok(Written::ConditionFailed) => {
            record.forget();
            return Ok(());
        }
        Err(fault) => {
            record.forget();
            return Err(fault);
        }
    }
    gateway.approvals.tell();

    let answer = async {
        let call = again(arrival, &proof, &approval.held, &world, &gateway.issuers, &mut record.draft)?;
        let call = authorize(call, &mut world, gateway, &mut record.draft).await?;
        assess_again(&call, approval.held.risk.as_ref(), &world, &gateway.risk)?;
        let call = decided(call, &approval, &destination, approvers, &world, &mut record.draft)?;
        // The gateway may have stood still for so long that others took it for dead.
        gateway.approvals.is_still_ours(&approval_id).await?;
        let call = record.intended(call, &gateway.freshness).await?;
        let call = inject_credential(call, &gateway.freshness, &gateway.credentials).await?;
        forward(call, gateway, record.trace.as_mut()).await
    }
    .await;
    // Whoever waits reads it from the row.
    if let Err(stop) = record.close(answer, &gateway.bodies, &gateway.bounds).await {
        tracing::info!("the approved call {approval_id} failed: {stop:?}");
    }
    gateway.approvals.tell();
    Ok(())
}

/// Says who asks for something that the gateway answers itself, such as the list of services, and what the world is
/// like for them. It is charged as housekeeping; only a refusal is recorded.
///
/// # Errors
/// The [`Stop`]: no good key, too many requests, or nothing can be confirmed.
pub async fn inquire(arrival: Arrival, gateway: &Gateway) -> Result<(Caller, Arc<World>), Stop> {
    let mut record = Record::open(&arrival.call, arrival.at, &gateway.recorder, &gateway.clock)?;
    match admit(arrival, gateway, &mut record, |_, _| Ok(())).await {
        Ok((caller, _, world)) => {
            record.forget();
            Ok((caller, world))
        }
        Err(stop) => Err(record.turn_away(stop)),
    }
}

/// Says who asks a service for something that the gateway answers in the service's place, such as the list of tools that
/// are made of an HTTP API. It passes the kill switch and the scope, is charged and recorded like any housekeeping; that the
/// service is what it is taken for is the door's to say, and what is `wrong` with the request: only somebody who may reach
/// the service is told.
///
/// # Errors
/// The [`Stop`]: as for [`inquire`], the kill switch is on, or the service is out of reach; else what is `wrong`.
pub async fn attend(
    arrival: Arrival,
    wrong: Option<Stop>,
    gateway: &Gateway,
) -> Result<(Caller, Arc<World>), Stop> {
    let (at, call) = (arrival.at, Arc::clone(&arrival.call));
    let mut record = Record::open(&call, at, &gateway.recorder, &gateway.clock)?;
    let mut known = None;
    let attended = admit(arrival, gateway, &mut record, |caller, world| {
        known = Some((caller.clone(), Arc::clone(world)));
        world.check_kill_switch()?;
        Rights::of(world, &caller.agent, &call.service)
            .map_err(|refused| refused.into_refusal(&caller.agent.role))?;
        wrong.map_or(Ok(()), Err)
    })
    .await;
    match (attended, known) {
        (Ok((caller, _, world)), _) => {
            record.answered_here(&gateway.recording);
            Ok((caller, world))
        }
        (Err(refused @ Stop::Refused(_)), Some((caller, world))) => {
            let refused =
                charge_refusal(refused, &caller, &call, &world, at.monotonic, &gateway.counters).await;
            Err(record.turn_away(refused))
        }
        (Err(stop), _) => Err(record.turn_away(stop)),
    }
}

/// Says what would become of a call that is not made: `asked`, as the arrival holds it. Nothing is forwarded or held;
/// it is charged as [`inquire`] charges. What it says of conditions is true of this moment.
///
/// # Errors
/// The [`Stop`]: as for [`inquire`], the kill switch is on, or the call could not be read or has come to the wrong door.
pub async fn foretell(arrival: Arrival, asked: &Call, gateway: &Gateway) -> Result<Foretold, Stop> {
    let mut record = Record::open(&arrival.call, arrival.at, &gateway.recorder, &gateway.clock)?;
    let told = async {
        let (caller, arrival, world) = admit(arrival, gateway, &mut record, |_, _| Ok(())).await?;
        world.check_kill_switch()?;
        let exchange = arrival.exchange?;
        let verdict = judge_whole(&world, &caller, asked, &exchange, &arrival.headers, arrival.at.wall);
        // Whoever may not know that the service exists is not told where it is.
        match world.services.get(asked.service.as_str()) {
            Some(service) if verdict != Verdict::Never(Refused::NotInScope) => {
                check_door(service, &exchange)?;
                Ok(foretell_risk(verdict, asked, service, &world, &gateway.risk))
            }
            _ => Ok(Foretold::Judged(verdict)),
        }
    }
    .await;
    match told {
        Ok(foretold) => {
            record.forget();
            Ok(foretold)
        }
        Err(stop) => Err(record.turn_away(stop)),
    }
}

/// Who asks for what the gateway answers itself, if they may, charged for it.
async fn admit(
    arrival: Arrival,
    gateway: &Gateway,
    record: &mut Record,
    may: impl FnOnce(&Caller, &Arc<World>) -> Result<(), Stop>,
) -> Result<(Caller, Arrival, Arc<World>), Stop> {
    let at = arrival.at;
    let mut world = gateway.freshness.world(at).await?;
    let call = Arc::clone(&arrival.call);
    let known = authenticate(
        arrival,
        &mut world,
        &gateway.freshness,
        &gateway.pepper,
        &gateway.issuers,
        &gateway.counters,
        &mut record.draft,
    )
    .await?;
    let (caller, arrival) = known.into_parts();
    may(&caller, &world)?;
    charge_housekeeping(&caller, &call, &world, at.monotonic, &gateway.counters).await?;
    Ok((caller, arrival, world))
}

/// Records what a known caller was refused that the gateway answers itself, charges it, and hands the stop back.
pub async fn refuse(caller: &Caller, call: &Call, at: Now, stop: Stop, gateway: &Gateway) -> Stop {
    let world = gateway.freshness.current();
    let stop = charge_refusal(stop, caller, call, &world, at.monotonic, &gateway.counters).await;
    match Record::open(call, at, &gateway.recorder, &gateway.clock) {
        Ok(mut record) => {
            record.draft.caller(caller.key, &caller.agent);
            record.turn_away(stop)
        }
        Err(fault) => fault.into(),
    }
}

/// Records a request that is refused before any gate needs to see it, and hands the refusal back.
pub fn turn_away(call: &Call, at: Now, stop: Stop, gateway: &Gateway) -> Stop {
    match Record::open(call, at, &gateway.recorder, &gateway.clock) {
        Ok(record) => record.turn_away(stop),
        Err(fault) => fault.into(),
    }
}
