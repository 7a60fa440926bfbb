//! A gateway as a process: a runtime of its own with a clock of its own, the real walk and everything that runs beside it.
//! It is polled only while the run grants it time; killed, it is dropped where it stands.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use counters::{Counters, Memory};
use domain::{
    audit::redact,
    clock::{Clock, Now},
    risk::Thresholds,
};
use jiff::{SignedDuration, Timestamp};
use pipeline::{
    Gateway,
    approvals::{Approvals, Terms},
    budget::BodyBudget,
    credentials::Credentials,
    dial::Dialler,
    dispatcher,
    freshness::Freshness,
    gates::g70_record::Recording,
    gateway::{Bounds, CallIds},
    idempotency::IdempotencyKeys,
    issuers::Issuers,
    pushed,
    recorder::Recorder,
    risk::Risk,
    session::SessionTokens,
    tools::Tools,
    upstreams::Upstreams,
};
use store::{Place, Store, StoreOptions, Sync, in_weather};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
    time::Instant,
};

use crate::{birth::Common, chance::Chance, server::Way, upstream::Bank};

/// Where every agent calls from.
pub const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a gateway sees of the time.
pub struct SimulatedClock {
    /// When the process began, in the time of the run.
    began: Duration,
    /// The first moment of the run.
    epoch: Timestamp,
    started: OnceLock<Instant>,
    /// How far its wall clock is off (seconds).
    skew: AtomicI64,
}

impl SimulatedClock {
    /// The time of the run.
    pub fn time(&self) -> Duration {
        self.began + self.started.get_or_init(Instant::now).elapsed()
    }

    /// Its wall clock is off by so many seconds from now on.
    pub fn skew(&self, seconds: i64) {
        self.skew.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Now {
        let time = self.time();
        let skew = SignedDuration::from_secs(self.skew.load(Ordering::Relaxed));
        Now { wall: self.epoch + time + skew, monotonic: time - self.began }
    }
}

/// A gateway that runs.
pub struct Process {
    /// `None` once it was killed.
    runtime: Option<Runtime>,
    pub gateway: Arc<Gateway>,
    pub clock: Arc<SimulatedClock>,
    pub way: Rc<Way>,
    /// Never told to stop: it is killed.
    _stopping: watch::Sender<bool>,
}

impl Process {
    /// Starts it, at this time of the run.
    pub fn start(
        common: &Common,
        path: &Path,
        way: Rc<Way>,
        (bank, patience): (&Bank, Duration),
        chance: &mut Chance,
        now: Duration,
    ) -> Self {
        let runtime = runtime();
        let (began, epoch, started, skew) = (now, common.start, OnceLock::new(), AtomicI64::new(0));
        let clock = Arc::new(SimulatedClock { began, epoch, started, skew });
        let (_stopping, stop) = watch::channel(false);
        way.calm.set(true);
        let ids = CallIds::new(chance.bytes());
        let made = make(common, path, Arc::clone(&clock), (bank, patience), ids, stop);
        let gateway = in_weather(Rc::clone(&way) as _, || runtime.block_on(made));
        way.calm.set(false);
        Self { runtime: Some(runtime), gateway, clock, way, _stopping }
    }

    /// Lets it run until this time of the run.
    pub fn run_until(&self, time: Duration) {
        let Some(runtime) = &self.runtime else { return };
        in_weather(Rc::clone(&self.way) as _, || {
            runtime.block_on(async {
                let left = time.saturating_sub(self.clock.time());
                tokio::time::sleep(left).await;
            });
        });
    }

    /// Lets the time pass without it: it was stopped, and goes on now.
    pub fn sleep_through(&self, time: Duration) {
        let Some(runtime) = &self.runtime else { return };
        in_weather(Rc::clone(&self.way) as _, || {
            runtime.block_on(async { tokio::time::advance(time.saturating_sub(self.clock.time())).await });
        });
    }

    /// Runs something beside everything else that it does.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            drop(runtime.spawn(task));
        }
    }
}

impl Drop for Process {
    /// Kills it: nothing that it was doing goes on.
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let handle = runtime.handle().clone();
        // Whoever looks at the clock while he is dropped still finds it.
        let _inside = handle.enter();
        drop(runtime);
    }
}

/// A runtime whose time stands still until nothing is left to do. How many tasks are polled between two looks at what
/// other threads say must not matter: the database's do not always answer equally fast.
pub fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).event_interval(u32::MAX).global_queue_interval(u32::MAX);
    builder.build().unwrap()
}

/// What `toolgate serve` puts together, without its listeners, console, notifications and files.
async fn make(
    common: &Common,
    path: &Path,
    clock: Arc<SimulatedClock>,
    (bank, patience): (&Bank, Duration),
    ids: CallIds,
    stopping: watch::Receiver<bool>,
) -> Arc<Gateway> {
    clock.time();
    let dialler = Dialler::leading(bank.lead(&clock));
    let clock: Arc<dyn Clock> = clock;
    let options = StoreOptions { place: Place::File(path.into()), sync: Sync::Os, create: None };
    let store = Arc::new(Store::open(&options).await.unwrap());
    store.serve().await.unwrap();
    let vault = Arc::new(admin::open_vault(&store, &common.root, clock.now().wall).await.unwrap());
    let pepper = admin::open_pepper(&store, &vault).await.unwrap();
    let sessions = admin::open_session_sealer(&store, &vault).await.unwrap();
    let credentials =
        Credentials::new(Arc::clone(&vault), Arc::clone(&store), Arc::clone(&clock), dialler.clone());
    let policy = Arc::clone(&common.policy);
    let freshness = Freshness::load(Arc::clone(&store), Arc::clone(&clock), policy, Arc::clone(&vault));
    let freshness = freshness.await.unwrap();
    let (recorder, _) = Recorder::start(Arc::clone(&store), Arc::clone(&clock), None, patience);
    let bounds = Bounds { body_bytes_max: 64 * 1024, upstream_timeout: Duration::from_secs(1) };
    let terms = Terms {
        hold: Duration::ZERO,
        decide_within: Duration::from_millis(1_500),
        execute_within: Duration::from_secs(1),
        keep_result: Duration::from_secs(24 * 60 * 60),
        pending_max: 20,
    };
    let (ledger, keys) = (Arc::clone(&store), Arc::clone(&vault));
    let approvals = Approvals::load(ledger, keys, Arc::clone(&clock), Arc::clone(&recorder), terms, bounds);
    let approvals = approvals.await.unwrap();
    let issuers = Issuers::new(Vec::new(), "http://127.0.0.1:8484", &dialler, Arc::clone(&clock)).unwrap();
    let gateway = Arc::new(Gateway {
        issuers: Arc::new(issuers),
        stopping,
        ids,
        pepper,
        store: Arc::clone(&store),
        counters: Arc::new(Counters::Memory(Memory::new(1_024))),
        approvals,
        lists: Arc::default(),
        risk: Risk { thresholds: Thresholds { approve_at: None, refuse_at: None }, model: None },
        upstreams: Upstreams::new(dialler, Arc::clone(&clock), 64 * 1024),
        timings: Arc::default(),
        traces: None,
        tools: Tools::new(&freshness),
        sessions: SessionTokens::new(sessions),
        idempotency: IdempotencyKeys::new(Arc::clone(&store), vault),
        credentials,
        bodies: BodyBudget::new(1024 * 1024),
        bounds,
        recording: Recording {
            everything: false,
            values: redact::Limits { bytes: 1_024, depth: 6, items: 40 },
        },
        clock,
        freshness: Arc::clone(&freshness),
        recorder,
    });
    store.lose_claims().await.unwrap();
    dispatcher::lose_executions(&gateway).await.unwrap();
    tokio::spawn(freshness.run());
    tokio::spawn(pushed::run(Arc::clone(&gateway)));
    tokio::spawn(Arc::clone(&gateway.approvals).run());
    tokio::spawn(dispatcher::run(Arc::clone(&gateway)));
    tokio::spawn(give_up_for_the_dead(Arc::clone(&gateway)));
    gateway
}

/// As `toolgate serve` does it.
async fn give_up_for_the_dead(gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if matches!(gateway.store.disown_the_dead().await, Ok(true)) {
            // What could not be given up now is found again at the next look.
            let _ = gateway.store.lose_claims().await;
            let _ = dispatcher::lose_executions(&gateway).await;
        }
    }
}
