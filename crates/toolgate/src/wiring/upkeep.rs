//! What a running gateway does besides serving calls: counts the trail, forgets old rows, sweeps idle children, and
//! gives up what dead gateways left.

use std::{sync::Arc, time::Duration};

use admin::{Admin, AdminError};
use jiff::Timestamp;
use pipeline::{Gateway, dispatcher};
use store::Store;
use tokio::time::{Interval, MissedTickBehavior};

/// How often idle children and removed services are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often gateways that died are looked for. It also has a connection made anew that broke while nobody wrote.
const LOOK_FOR_THE_DEAD_EVERY: Duration = Duration::from_secs(1);
/// How often rows whose time has passed are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How often the trail is counted for the overview.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// The pause between two groups of rows: calls go first.
const PAUSE: Duration = Duration::from_millis(50);

/// Counts what the trail tells, for the overview, so that nobody who looks at it has to wait.
pub(super) async fn count_trail(gateway: Arc<Gateway>) {
    let (admin, clock) = (Admin::new(Arc::clone(&gateway.store)), &gateway.clock);
    let mut tick = every(COUNT_EVERY);
    loop {
        tick.tick().await;
        if let Err(error) = in_groups(|| admin.count_trail(clock.now().wall)).await {
            tracing::warn!("the trail could not be counted: {error}");
        }
        if let Err(error) = admin.forget_figures(clock.now().wall).await {
            tracing::warn!("old figures could not be forgotten: {error}");
        }
    }
}

/// Forgets idempotency keys, logins and held calls whose time has passed.
pub(super) async fn forget(gateway: Arc<Gateway>) {
    let (store, clock) = (&gateway.store, &gateway.clock);
    let admin = Admin::new(Arc::clone(store));
    let kept = gateway.approvals.terms.keep_result;
    let mut tick = every(FORGET_EVERY);
    loop {
        tick.tick().await;
        if let Err(error) = in_groups(|| store.forget_keys(clock.now().wall)).await {
            tracing::warn!("old idempotency keys could not be forgotten: {error}");
        }
        if let Err(error) = admin.forget_sessions(clock.now().wall).await {
            tracing::warn!("old logins could not be forgotten: {error}");
        }
        let ended_before = || clock.now().wall.checked_sub(kept).unwrap_or(Timestamp::MIN);
        if let Err(error) = in_groups(|| store.forget_approvals(ended_before())).await {
            tracing::warn!("old held calls could not be forgotten: {error}");
        }
    }
}

/// Drops events that are older than they are kept.
pub(super) async fn drop_old_events(gateway: Arc<Gateway>, kept: Duration) {
    let (admin, clock) = (Admin::new(Arc::clone(&gateway.store)), &gateway.clock);
    let mut tick = every(FORGET_EVERY.min(kept / 2));
    loop {
        tick.tick().await;
        let dropped = async {
            if admin.has_old_events(clock.now().wall, kept).await? {
                in_groups(|| admin.drop_old_events(clock.now().wall, kept)).await?;
            }
            Ok::<_, AdminError>(())
        };
        if let Err(error) = dropped.await {
            tracing::warn!("old events could not be dropped (audit.retain): {error}");
        }
    }
}

/// Where another gateway of this store has died, nobody sends on what it was sending.
pub(super) async fn give_up_for_the_dead(gateway: Arc<Gateway>) {
    let mut tick = every(LOOK_FOR_THE_DEAD_EVERY);
    let mut failing = false;
    loop {
        tick.tick().await;
        let looked = async {
            if gateway.store.disown_the_dead().await? {
                lose_claims(&gateway.store).await?;
                lose_executions(&gateway).await?;
            }
            anyhow::Ok(())
        };
        match looked.await {
            Ok(()) => failing = false,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!("what dead gateways left could not be looked up: {error}");
                }
            }
        }
    }
}

/// Ends idle children and forgets connections and opened credentials of services that are gone.
pub(super) async fn sweep(gateway: Arc<Gateway>) {
    let mut tick = every(SWEEP_EVERY);
    loop {
        tick.tick().await;
        let world = gateway.freshness.current();
        gateway.upstreams.sweep(&world.services).await;
        gateway.credentials.sweep(&world);
    }
}

/// What is nobody's in the store was under way when its gateway ended.
pub(super) async fn lose_claims(store: &Store) -> anyhow::Result<()> {
    let lost = store.lose_claims().await?;
    if lost > 0 {
        tracing::warn!(
            "{lost} calls with idempotency keys were under way when the gateway ended; their outcome is unknown"
        );
    }
    Ok(())
}

/// Nor does anybody send on what was being sent when its gateway ended.
pub(super) async fn lose_executions(gateway: &Gateway) -> anyhow::Result<()> {
    let lost = dispatcher::lose_executions(gateway).await?;
    if lost > 0 {
        tracing::warn!(
            "{lost} approved calls were being sent when the gateway ended; their outcome is unknown: \
             toolgate approvals list --status unknown"
        );
    }
    Ok(())
}

/// A tick that is not made up for when it comes late.
fn every(period: Duration) -> Interval {
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// Does one group of rows after the other, as long as there are more.
async fn in_groups<E, F>(mut group: impl FnMut() -> F) -> Result<(), E>
where
    F: Future<Output = Result<bool, E>>,
{
    while group().await? {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
