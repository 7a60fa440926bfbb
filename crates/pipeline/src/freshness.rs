//! Keeps the world fresh: polls the store's revision, reloads what changed, and refuses to serve a snapshot that the
//! store has not confirmed within the lease. Open streams are told, too.

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
/// How long strangers wait for each other's looks at the store.
const CATCH_UP_EVERY: Duration = Duration::from_millis(20);
/// How long a call may wait for a confirmation of its own.
const RENEWAL_MAX: Duration = Duration::from_millis(250);
/// Who wakes up so much later than he meant to was stopped himself, or had no processor.
const OVERSLEPT: Duration = Duration::from_millis(50);

/// What the store knows of services' tools.
type Stored = HashMap<ServiceName, Arc<ServiceTools>>;

/// What is read beside the world, and only by who renews it.
#[derive(Default)]
struct Beside {
    tools: Stored,
    /// Whether the vault lacks the root key of a term of the store's key ring. It may be brought at any time.
    lacks_key: bool,
}

/// The current world and the means to renew it.
pub struct Freshness {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    world: ArcSwap<World>,
    vault: Arc<Vault>,
    /// One renewal at a time; the others wait for its result.
    renewing: Mutex<Beside>,
    /// Whose turn it is to look for strangers.
    catching_up: Mutex<()>,
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
        let mut beside = Beside::default();
        let mut world = read_world(&store, clock.now(), policy, &vault, &mut beside).await?;
        let unsaved = Unsaved::default();
        world.tools = Arc::new(unsaved.over(&beside.tools, &world.services));
        let world = ArcSwap::from_pointee(world);
        let changes = watch::Sender::new(0);
        Ok(Arc::new(Self {
            store,
            clock,
            world,
            vault,
            renewing: Mutex::new(beside),
            catching_up: Mutex::default(),
            unsaved,
            changes,
        }))
    }

    /// The world as the store had it at `at` or later, for who asks for something that is not known yet: what was made
    /// before the request is found. The snapshot as it is where the store does not say in time.
    ///
    /// One look serves all who came before it, and there is one in 20 ms at most: strangers cannot keep the store busy.
    pub async fn catch_up(&self, at: Now) -> Arc<World> {
        let looked = async {
            let _turn = self.catching_up.lock().await;
            if self.world.load().confirmed_at > at.monotonic {
                return;
            }
            tokio::time::sleep(CATCH_UP_EVERY.saturating_sub(self.age())).await;
            // Who fails is told by the poll.
            let _ = self.renew().await;
        };
        let _ = tokio::time::timeout(RENEWAL_MAX, Box::pin(looked)).await;
        self.current()
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
        // Rare, and boxed because every walk would have to have room for it.
        match tokio::time::timeout(RENEWAL_MAX, Box::pin(self.renew())).await {
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

    /// Whether the store has confirmed the snapshot within the lease: what is open may go on.
    pub(crate) fn is_confirmed(&self, now: Now) -> bool {
        self.world.load().is_fresh(now, LEASE)
    }

    /// Polls, and watches the lease, for ever. Run it as a task of its own.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.poll(), self.watch_lease());
    }

    /// Has open streams look again when the lease ends: nobody else wakes them while the store is away.
    async fn watch_lease(&self) {
        loop {
            let left = LEASE.checked_sub(self.age());
            if let Some(left) = left {
                // Fresh means up to the lease's last moment.
                tokio::time::sleep(left + Duration::from_millis(1)).await;
                continue;
            }
            // A process that stood still has had no time to ask; the store may be well.
            let late = self.age() > LEASE + OVERSLEPT;
            if late && matches!(tokio::time::timeout(RENEWAL_MAX, self.renew()).await, Ok(Ok(()))) {
                continue;
            }
            self.changes.send_modify(|count| *count += 1);
            while self.age() > LEASE {
                tokio::time::sleep(POLL_EVERY).await;
            }
        }
    }

    /// How long ago the store was asked for what is known.
    fn age(&self) -> Duration {
        self.clock.now().monotonic.saturating_sub(self.world.load().confirmed_at)
    }

    async fn poll(&self) {
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
        let mut beside = self.renewing.lock().await;
        // The time of asking counts, not the time of the answer: the lease must never be too long.
        let now = self.clock.now();
        let revision = self.store.revision().await?;
        let known = self.world.load();
        if revision == known.revision {
            self.world.rcu(|world| World { confirmed_at: now.monotonic, ..copy(world) });
            if beside.lacks_key {
                beside.lacks_key = !self.finds_key().await;
            }
            return Ok(());
        }
        let fresh = read_world(&self.store, now, Arc::clone(&known.policy), &self.vault, &mut beside).await?;
        match (&known.kill, &fresh.kill) {
            (None, Some(kill)) => tracing::warn!("kill switch on, by {}: nothing is forwarded", kill.by),
            (Some(_), None) => tracing::warn!("kill switch off: calls are forwarded again"),
            _ => {}
        }
        // The policy may have been replaced meanwhile; the store's part is ours.
        self.world.rcu(|world| {
            let tools = Arc::new(self.unsaved.over(&beside.tools, &fresh.services));
            World { policy: Arc::clone(&world.policy), tools, ..copy(&fresh) }
        });
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Whether the root key that the vault lacked has been brought meanwhile.
    async fn finds_key(&self) -> bool {
        let Ok(terms) = self.store.keyring().await else { return false };
        let ring: Vec<_> = terms.into_iter().map(|term| term.key).collect();
        let found = self.vault.adopt(&ring).is_ok();
        if found {
            tracing::info!("the vault's new root key is here: all its values open again");
        }
        found
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
    beside: &mut Beside,
) -> Result<World, StoreError> {
    let snapshot = store.snapshot().await?;
    read_tools(store, &snapshot.tool_revisions, &mut beside.tools).await?;
    beside.lacks_key = vault.adopt(&snapshot.keyring).is_err();
    if beside.lacks_key {
        // What is known goes on opening; revocations must not wait for a key.
        tracing::error!(
            "the vault has a term under another root key, whose values do not open here; put that key in the place of the old \
             one, or in its variable, and then restart"
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
