//! Whether a call may still leave: asked when its intent is durable, when it is about to be sent, and for as long as
//! it waits for a connection. The last check is the one right before its first byte.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use domain::{
    call::{Action, Call},
    clock::{Clock, Now},
    service::Service,
    stop::{Fault, Refusal, Stop},
    world::World,
};

use crate::{arrival::Caller, freshness::Freshness};

/// Waiting took its time, or the whole machine stood still: is the kill switch still off, the key still good, the tool still
/// what people know? `world` is within its lease at this moment.
///
/// # Errors
/// Why it may not leave.
pub(crate) fn may_leave(
    (caller, call, service): (&Caller, &Call, &Service),
    world: &World,
    now: Now,
) -> Result<(), Stop> {
    world.check_kill_switch()?;
    caller.still(world, now).map_err(Refusal::Unauthorized)?;
    if let Action::Tool(tool) = &call.action
        && let Some(held_back) = world.tools.held_back(service, tool)
    {
        return Err(Refusal::ToolHeldBack(held_back).into());
    }
    Ok(())
}

/// What is looked at as long as something has not left.
#[derive(Clone)]
pub(crate) struct Leave {
    freshness: Arc<Freshness>,
    call: Option<Leaving>,
}

#[derive(Clone)]
struct Leaving {
    clock: Arc<dyn Clock>,
    caller: Caller,
    call: Arc<Call>,
    service: Arc<Service>,
}

impl Leave {
    /// That of a call: it ends with the lease, the kill switch, the caller's key and the tool as people know it.
    pub(crate) fn of_call(
        freshness: &Arc<Freshness>,
        clock: &Arc<dyn Clock>,
        (caller, call, service): (&Caller, &Arc<Call>, &Arc<Service>),
    ) -> Self {
        let (clock, caller) = (Arc::clone(clock), caller.clone());
        let (call, service) = (Arc::clone(call), Arc::clone(service));
        let call = Some(Leaving { clock, caller, call, service });
        Self { freshness: Arc::clone(freshness), call }
    }

    /// That of what the gateway says by itself, as to end a session: only the kill switch ends it.
    pub(crate) fn of_us(freshness: &Arc<Freshness>) -> Self {
        Self { freshness: Arc::clone(freshness), call: None }
    }

    /// The same for what is said beside the call.
    pub(crate) fn beside(&self) -> Self {
        Self::of_us(&self.freshness)
    }

    /// Resolves when it may not leave any more, with why. It looks each time that it is polled: polled before the connection,
    /// in one task, it is never behind.
    pub(crate) async fn withdrawn(&self) -> Stop {
        let mut changes = self.freshness.subscribe();
        loop {
            let mut changed = pin!(changes.changed());
            let withdrawn = poll_fn(|context| {
                let changed = changed.as_mut().poll(context);
                match self.look() {
                    Err(stop) => Poll::Ready(Some(stop)),
                    Ok(()) => changed.map(|_| None),
                }
            });
            if let Some(stop) = withdrawn.await {
                return stop;
            }
        }
    }

    fn look(&self) -> Result<(), Stop> {
        let world = self.freshness.current();
        let Some(Leaving { clock, caller, call, service }) = &self.call else {
            return Ok(world.check_kill_switch()?);
        };
        let now = clock.now();
        may_leave((caller, call, service), &world, now)?;
        if self.freshness.is_confirmed(now) { Ok(()) } else { Err(Fault::StaleAuthorization.into()) }
    }
}
