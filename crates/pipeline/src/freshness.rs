//! Keeps the world fresh: polls the store's revision, reloads what changed, and refuses to serve a snapshot
//! that the store has not confirmed within the lease.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use domain::{
    clock::{Clock, Now},
    names::ServiceName,
    policy::Policy,
    service::Service,
    stop::Fault,
    tools::{ServiceTools, Sighting, place_of},
    world::{Revision, World},
};
use store::{Store, StoreError};
use tokio::sync::{Mutex, watch};
use vault::Vault;

use crate::tools::Unsaved;

/// How often the store is asked whether anything changed.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// How long a snapshot may be used without being confirmed.
const LEASE: Duration = Duration::from_millis(1_000);
/// How old a snapshot must be before a stranger may have it renewed.
const CATCH_UP_EVERY: Duration = Duration::from_millis(20);
/// How long a call may wait for a confirmation of its own.
const RENEWAL_MAX: Duration = Duration::from_millis(250);

/// What the store knows of services' tools.
type Stored = HashMap<ServiceName, Arc<ServiceTools>>;

/// The current world and the means to renew it.
pub struct Freshness {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    world: ArcSwap<World>,
    vault: Arc<Vault>,
    /// What the store knows of tools. One renewal at a time; the others wait for its result.
    renewing: Mutex<Stored>,
    /// What it does not know yet.
    unsaved: Unsaved,
    changes: watch::Sender<u64>,
}

impl Freshness {
    /// Loads the first snapshot. `vault` takes over what other processes do to its key ring.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn load(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        policy: Arc<Policy>,
        vault: Arc<Vault>,
    ) -> Result<Arc<Self>, StoreError> {
        let mut stored = Stored::new();
        let mut world = read_world(&store, clock.now(), policy, &vault, &mut stored).await?;
        let unsaved = Unsaved::default();
        world.tools = Arc::new(unsaved.over(&stored, &world.services));
        let world = ArcSwap::from_pointee(world);
        let changes = watch::Sender::new(0);
        Ok(Arc::new(Self { store, clock, world, vault, renewing: Mutex::new(stored), unsaved, changes }))
    }

    /// Looks at the store out of turn, for somebody who is not known yet; whether that was done.
    ///
    /// At most once in 20 ms, so that strangers cannot keep the store busy.
    pub async fn catch_up(&self, now: Now) -> bool {
        if self.world.load().is_fresh(now, CATCH_UP_EVERY) {
            return false;
        }
        matches!(tokio::time::timeout(RENEWAL_MAX, self.renew()).await, Ok(Ok(())))
    }

    /// The snapshot as it is, confirmed or not: for what must not wait.
    #[must_use]
    pub fn current(&self) -> Arc<World> {
        self.world.load_full()
    }

    /// A snapshot within its lease; a stale one is renewed first.
    ///
    /// # Errors
    /// [`Fault::StaleAuthorization`] when the store does not confirm in time.
    pub async fn world(&self, now: Now) -> Result<Arc<World>, Fault> {
        let world = self.world.load_full();
        if world.is_fresh(now, LEASE) {
            return Ok(world);
        }
        match tokio::time::timeout(RENEWAL_MAX, self.renew()).await {
            Ok(Ok(())) => Ok(self.world.load_full()),
            Ok(Err(_)) | Err(_) => Err(Fault::StaleAuthorization),
        }
    }

    /// Puts another policy in force.
    pub fn set_policy(&self, policy: Arc<Policy>) {
        self.world.rcu(|world| World { policy: Arc::clone(&policy), ..copy(world) });
        self.changes.send_modify(|count| *count += 1);
    }

    /// Takes over what a list says, at once and for this node. It moves no change: whoever waits for those has it from
    /// the store, a moment later. What is known with this list; `None`: the service is elsewhere by now.
    pub(crate) fn sight(&self, service: &Service, sighting: &Sighting) -> Option<Arc<ServiceTools>> {
        let name = &service.name;
        let place = place_of(&service.upstream);
        // A list may come late: what another upstream has said must not take the place of this one's.
        if !self.is_at(name, place) {
            return None;
        }
        let known = || self.current().tools.service(name.as_str()).cloned();
        Some(self.unsaved.sight(service, sighting, known, |tools| {
            self.world.rcu(|world| {
                let mut fresh = copy(world);
                if is_at(world, name, place) {
                    fresh.tools = Arc::new(world.tools.with(name, Arc::clone(&tools)));
                }
                fresh
            });
        }))
    }

    /// Whether the service is there, and where it was.
    pub(crate) fn is_at(&self, name: &ServiceName, place: [u8; 32]) -> bool {
        is_at(&self.current(), name, place)
    }

    /// What was learned and is not in the store yet.
    pub(crate) fn unsaved(&self) -> &Unsaved {
        &self.unsaved
    }

    /// Resolves each time the world changes (not when it is merely confirmed).
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Resolves when the kill switch is on.
    pub(crate) async fn stopped(&self) {
        let mut changes = self.subscribe();
        while self.current().kill.is_none() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Polls for ever. Run it as a task of its own.
    pub async fn run(self: Arc<Self>) {
        let mut tick = tokio::time::interval(POLL_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tick.tick().await;
            match self.renew().await {
                Ok(()) => failing = false,
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!("keys and services cannot be confirmed, calls are refused: {error}");
                }
                Err(_) => {}
            }
        }
    }

    /// Takes over changes of this moment, without waiting for the next poll.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        self.renew().await
    }

    /// Asks the store for its revision; reloads when it moved.
    async fn renew(&self) -> Result<(), StoreError> {
        let mut stored = self.renewing.lock().await;
        // The time of asking counts, not the time of the answer: the lease must never be too long.
        let now = self.clock.now();
        let revision = self.store.revision().await?;
        let known = self.world.load();
        if revision == known.revision {
            self.world.rcu(|world| World { confirmed_at: now.monotonic, ..copy(world) });
            return Ok(());
        }
        let fresh = read_world(&self.store, now, Arc::clone(&known.policy), &self.vault, &mut stored).await?;
        match (&known.kill, &fresh.kill) {
            (None, Some(kill)) => tracing::warn!("kill switch on, by {}: nothing is forwarded", kill.by),
            (Some(_), None) => tracing::warn!("kill switch off: calls are forwarded again"),
            _ => {}
        }
        // The policy may have been replaced meanwhile; the store's part is ours.
        self.world.rcu(|world| {
            let tools = Arc::new(self.unsaved.over(&stored, &fresh.services));
            World { policy: Arc::clone(&world.policy), tools, ..copy(&fresh) }
        });
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}

fn is_at(world: &World, name: &ServiceName, place: [u8; 32]) -> bool {
    world.services.get(name).is_some_and(|service| place_of(&service.upstream) == place)
}

fn copy(world: &World) -> World {
    World {
        revision: world.revision,
        confirmed_at: world.confirmed_at,
        policy: Arc::clone(&world.policy),
        services: Arc::clone(&world.services),
        credentials: Arc::clone(&world.credentials),
        tools: Arc::clone(&world.tools),
        agents: Arc::clone(&world.agents),
        keys: Arc::clone(&world.keys),
        kill: world.kill.clone(),
    }
}

async fn read_world(
    store: &Store,
    now: Now,
    policy: Arc<Policy>,
    vault: &Vault,
    stored: &mut Stored,
) -> Result<World, StoreError> {
    let snapshot = store.snapshot().await?;
    read_tools(store, &snapshot.tool_revisions, stored).await?;
    if vault.adopt(&snapshot.keyring).is_err() {
        // What is known goes on opening; revocations must not wait for a key.
        tracing::error!(
            "the vault has a term under another root key, whose values do not open here; restart with that key"
        );
    }
    let services: HashMap<_, _> =
        snapshot.services.into_iter().map(|service| (service.name.clone(), Arc::new(service))).collect();
    let agents: HashMap<_, _> =
        snapshot.agents.into_iter().map(|agent| (agent.name.clone(), Arc::new(agent))).collect();
    let keys: HashMap<_, _> = snapshot.keys.into_iter().map(|key| (key.mac, key)).collect();
    let revision: Revision = snapshot.revision;
    Ok(World {
        revision,
        confirmed_at: now.monotonic,
        policy,
        services: Arc::new(services),
        credentials: Arc::new(snapshot.credentials),
        tools: Arc::default(),
        agents: Arc::new(agents),
        keys: Arc::new(keys),
        kill: snapshot.kill,
    })
}

/// Reads again what has changed of services' tools. What is newer than the snapshot is found anew at the next look.
async fn read_tools(
    store: &Store,
    revisions: &[(ServiceName, i64)],
    stored: &mut Stored,
) -> Result<(), StoreError> {
    stored.retain(|name, _| revisions.iter().any(|(known, _)| known == name));
    for (name, revision) in revisions {
        if stored.get(name).is_none_or(|tools| tools.revision != *revision) {
            match store.tools(name).await? {
                Some(tools) => stored.insert(name.clone(), Arc::new(tools)),
                None => stored.remove(name),
            };
        }
    }
    Ok(())
}
