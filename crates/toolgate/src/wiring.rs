//! Builds a running gateway out of settings and a home, in one place, and takes it apart again.

mod call_log;
mod desk;
mod issuers;
mod limits;
mod notify;
mod policy_watch;
mod risk;
mod secrets;
mod traces;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use admin::Admin;
use anyhow::{Context as _, anyhow};
use console::PolicyStanding;
use domain::{
    audit::{Event, Kind, redact},
    clock::Clock,
    policy::Policy,
};
use ingress::{
    CONSOLE_DOORS, DOORS, Desk, Door, Entrance, Front, Listener, ListenerFault, Members, Names, Tls, Waiting,
};
use jiff::Timestamp;
use pipeline::{
    Gateway,
    approvals::{Approvals, Terms},
    budget::BodyBudget,
    clock::SystemClock,
    credentials::Credentials,
    dial::Dialler,
    dispatcher,
    freshness::Freshness,
    gates::g70_record::Recording,
    gateway::{Bounds, CallIds},
    idempotency::IdempotencyKeys,
    issuers::Issuers,
    notify::Notifier,
    pushed,
    recorder::Recorder,
    risk::Risk,
    session::SessionTokens,
    tools::Tools,
    upstreams::Upstreams,
};
use store::{Birth, Store, StoreOptions};
use tokio::{sync::watch, task::JoinHandle};
use vault::Vault;

use crate::{
    output::Invocation,
    settings::{self, Record, Settings},
};
pub use call_log::CallLog;
pub use issuers::issuers;
pub use limits::server as counting_server;
pub use policy_watch::{PolicyNews, TellPolicy, read_policy};

/// One message of a child process (bytes).
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// All bodies that are held in memory at once (bytes).
const BODIES_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How deep recorded arguments may nest, and how many items a value may have (contract §7).
const RECORDED_DEPTH: usize = 6;
const RECORDED_ITEMS: usize = 40;
/// How often idle children and removed services are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// How often idempotency keys whose time has passed are looked for, and the pause between two groups of them.
const FORGET_EVERY: Duration = Duration::from_secs(60);
const FORGET_PAUSE: Duration = Duration::from_millis(50);
/// How often the trail is counted for the overview.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// How long requests under way are waited for when the gateway stops.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// How long the last spans may take to reach their collector.
const SPANS_MAX: Duration = Duration::from_secs(3);
/// How long children may take to end.
const CHILDREN_MAX: Duration = Duration::from_secs(7);

/// A gateway that runs in this process.
pub struct Running {
    /// Where agents knock; the real port where 0 was asked for.
    pub gateway_address: SocketAddr,
    /// Where people look.
    pub console_address: SocketAddr,
    /// The token of the link for the first operator, where there is none.
    pub welcome: Option<String>,
    /// Everything a walk uses.
    pub gateway: Arc<Gateway>,
    /// What survives restarts.
    pub store: Arc<Store>,
    /// What seals and opens.
    pub vault: Arc<Vault>,
    drain: watch::Sender<bool>,
    listeners: Vec<JoinHandle<usize>>,
    helpers: Vec<JoinHandle<()>>,
    dispatcher: JoinHandle<()>,
    recorder_task: JoinHandle<()>,
    exporter: Option<JoinHandle<()>>,
}

/// How a stop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections whose requests did not end in time.
    pub cut_off: usize,
    /// Held calls that wait for a decision; none as well when the store did not say.
    pub pending: u64,
}

/// Starts a gateway: store, vault, listeners, in this order, so that nothing is let in before it can be judged.
///
/// Without a root key the listeners answer 503 `sealed`, and this waits until the key file is there.
///
/// # Errors
/// One sentence with what to do next.
pub async fn start(
    settings: &Settings,
    invocation: &Invocation,
    mut policy: Policy,
    call_log: Option<CallLog>,
    tell: TellPolicy,
) -> anyhow::Result<Running> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let sinks = notify::sinks(settings)?;
    let issuers = issuers(&settings.gateway.issuers)?;
    let store = Arc::new(open_store(settings, &*clock).await?);
    store.serve().await?;
    let setup = desk::Setup::of(settings)?;
    let unlocked = secrets::open(&settings.root_key, &store, &*clock).await?;

    let dialler = Dialler::new();
    let model = risk::model(&settings.risk, &dialler, &clock)?;
    let counters = Arc::new(limits::counters(&settings.counters, *store.install())?);
    if let Some(server) = counters.shared() {
        // One that is away now may come back; until then it is as if it had gone later.
        let _ = server.connect().await;
    }
    let (traces, exporter) = traces::start(settings.telemetry.otlp.as_ref(), &dialler, &clock)?.unzip();

    // Bind before anything is started: a taken port must leave nothing behind.
    let gateway_socket = bind("gateway", &settings.gateway.listener)?;
    let console_socket = bind("console", &settings.console.listener)?;
    let (gateway_address, console_address) = (gateway_socket.address()?, console_socket.address()?);
    let sockets = [gateway_socket, console_socket];
    let (drain, draining) = watch::channel(false);
    let entrances =
        [(); 2].map(|()| Entrance::sealed(CallIds::new(vault::random::bytes()), Arc::clone(&clock)));
    let listen = |sockets: [Listener; 2]| -> Vec<JoinHandle<usize>> {
        let served = sockets.into_iter().zip(&entrances);
        served
            .map(|(socket, entrance)| {
                tokio::spawn(socket.serve(Arc::clone(entrance), draining.clone(), DRAIN_MAX))
            })
            .collect()
    };
    let (secrets, waiting) = match unlocked {
        Ok(secrets) => (secrets, Err(sockets)),
        Err(why) => {
            let listeners = listen(sockets);
            let scheme = if settings.gateway.listener.tls.is_some() { "https" } else { "http" };
            tracing::error!("the vault is sealed, {scheme}://{gateway_address} answers 503: {why}");
            let secrets = secrets::wait(&settings.root_key, &store, &*clock).await;
            // It may have been edited meanwhile; one that cannot be read is told by the watch when it changes.
            if let Ok((fresh, _)) = read_policy(&settings.policy_file, invocation) {
                policy = fresh;
            }
            (secrets, Ok(listeners))
        }
    };

    let credentials =
        Credentials::new(Arc::clone(&secrets.vault), Arc::clone(&store), Arc::clone(&clock), dialler.clone());
    let freshness =
        Freshness::load(Arc::clone(&store), Arc::clone(&clock), Arc::new(policy), Arc::clone(&secrets.vault))
            .await?;
    let outbound = dialler.clone();
    let (recorder, recorder_task) =
        Recorder::start(Arc::clone(&store), Arc::clone(&clock), Some(setup.told(call_log)));
    let bounds = Bounds {
        body_bytes_max: settings.gateway.body_limit,
        upstream_timeout: settings.gateway.upstream_timeout,
    };
    let terms = Terms {
        hold: settings.gateway.hold,
        decide_within: settings.approvals.decide_within,
        execute_within: settings.approvals.execute_within,
        keep_result: settings.approvals.keep_result,
        pending_max: settings.approvals.max_pending_per_agent,
    };
    let risk = Risk { thresholds: settings.risk.thresholds, model };
    let (ledger, keys) = (Arc::clone(&store), Arc::clone(&secrets.vault));
    let approvals =
        Approvals::load(ledger, keys, Arc::clone(&clock), Arc::clone(&recorder), terms, bounds).await?;
    let reached = settings::Listener { listen: gateway_address, ..settings.gateway.listener.clone() }.url();
    let issuers = Issuers::new(issuers, &reached, &outbound, Arc::clone(&clock))
        .map_err(|error| anyhow!("{error} (gateway.issuers); give a PEM certificate"))?;
    let gateway = Arc::new(Gateway {
        issuers: Arc::new(issuers),
        stopping: draining.clone(),
        ids: CallIds::new(vault::random::bytes()),
        pepper: secrets.pepper,
        store: Arc::clone(&store),
        counters,
        approvals,
        lists: Arc::default(),
        risk,
        upstreams: Upstreams::new(dialler, Arc::clone(&clock), LINE_BYTES_MAX),
        timings: Arc::default(),
        traces,
        tools: Tools::new(&freshness),
        sessions: SessionTokens::new(secrets.sessions),
        idempotency: IdempotencyKeys::new(Arc::clone(&store), Arc::clone(&secrets.vault)),
        credentials,
        bodies: BodyBudget::new(BODIES_BYTES_MAX),
        bounds,
        recording: Recording {
            everything: settings.audit.record == Record::Everything,
            values: redact::Limits {
                bytes: usize::try_from(settings.audit.value_limit).unwrap_or(usize::MAX),
                depth: RECORDED_DEPTH,
                items: RECORDED_ITEMS,
            },
        },
        clock: Arc::clone(&clock),
        freshness: Arc::clone(&freshness),
        recorder: Arc::clone(&recorder),
    });
    system_event(&gateway, "gateway.start").await?;
    lose_claims(&store).await?;
    lose_executions(&gateway).await?;

    let console = settings::Listener { listen: console_address, ..settings.console.listener.clone() }.url();
    let notifier = Notifier::new(
        sinks,
        Arc::clone(&store),
        Arc::clone(&recorder),
        Arc::clone(&clock),
        &outbound,
        vault::random::bytes,
        console,
    )
    .await?;

    let front = |listener: &settings::Listener, doors: &'static [Door], desk: Option<Desk>| {
        let origins: &[String] = &settings.gateway.allowed_origins;
        let proxies = settings.gateway.trusted_proxies.clone();
        Front {
            gateway: Arc::clone(&gateway),
            names: Names::of(
                listener.listen.ip(),
                listener.public_url.as_deref(),
                &listener.allowed_hosts,
                origins,
            ),
            key_in_query: settings.gateway.key_in_query,
            trusts_proxy: Box::new(move |address: IpAddr| {
                proxies.iter().any(|range| range.contains(address))
            }),
            doors,
            desk,
            waiting: Waiting::default(),
            members: Members::default(),
        }
    };
    let [gateway_entrance, console_entrance] = &entrances;
    gateway_entrance.open(front(&settings.gateway.listener, DOORS, None));
    let (standing, policy_standing) =
        watch::channel(PolicyStanding { loaded_at: clock.now().wall, refused: None });
    let desk = setup.desk(settings, &gateway, &secrets.vault, secrets.access, policy_standing);
    let welcome = desk.invite(vault::random::bytes()).await?;
    let at_desk = Arc::clone(&desk);
    let answers: Desk =
        Box::new(move |source, request| Box::pin(Arc::clone(&at_desk).answer(source, request)));
    console_entrance.open(front(&settings.console.listener, CONSOLE_DOORS, Some(answers)));
    let listeners = waiting.unwrap_or_else(listen);
    let mut helpers = vec![
        tokio::spawn(Arc::clone(&freshness).run()),
        tokio::spawn(pushed::run(Arc::clone(&gateway))),
        tokio::spawn(desk.tell_news()),
        tokio::spawn(sweep(Arc::clone(&gateway))),
        tokio::spawn(Arc::clone(&gateway.tools).run(Arc::clone(&store), Arc::clone(&clock))),
        tokio::spawn(notifier.run()),
        tokio::spawn(Arc::clone(&gateway.issuers).run()),
        tokio::spawn(forget(Arc::clone(&gateway))),
        tokio::spawn(Arc::clone(&gateway.approvals).run()),
        tokio::spawn(count_trail(Arc::clone(&gateway))),
        tokio::spawn(policy_watch::run(
            settings.policy_file.clone(),
            invocation.clone(),
            freshness,
            Arc::clone(&clock),
            standing,
            tell,
        )),
    ];
    helpers.extend(gateway.counters.shared().map(|server| tokio::spawn(Arc::clone(server).run())));
    let dispatcher = tokio::spawn(dispatcher::run(Arc::clone(&gateway)));
    Ok(Running {
        dispatcher,
        gateway_address,
        console_address,
        welcome,
        gateway,
        store,
        vault: secrets.vault,
        drain,
        listeners,
        helpers,
        recorder_task,
        exporter,
    })
}

impl Running {
    /// Stops: no new connections, requests under way finish within 30 s, children end, the trail is written out.
    ///
    /// # Errors
    /// When the last event could not be written.
    pub async fn stop(self) -> anyhow::Result<Stopped> {
        let Self { gateway, store, drain, listeners, helpers, dispatcher, recorder_task, exporter, .. } =
            self;
        drain.send_replace(true);
        let mut cut_off = 0;
        for listener in listeners {
            cut_off += listener.await.unwrap_or(0);
        }
        // What is being sent is sent to its end.
        if tokio::time::timeout(DRAIN_MAX, dispatcher).await.is_err() {
            tracing::error!(
                "approved calls were still being sent when the gateway stopped; they become unknown"
            );
        }
        for helper in helpers {
            helper.abort();
            // Aborted on purpose.
            let _ = helper.await;
        }
        if let Err(error) = gateway.tools.save(&store, gateway.clock.now().wall).await {
            tracing::warn!("what is known of tools could not be kept: {error}");
        }
        gateway.upstreams.stop(CHILDREN_MAX).await;
        gateway.credentials.settle().await;
        system_event(&gateway, "gateway.stop").await?;
        // Walks that outlived their connection hold the gateway until they are recorded.
        drop(gateway);
        if tokio::time::timeout(DRAIN_MAX, recorder_task).await.is_err() {
            tracing::error!(
                "calls were still under way when the gateway stopped; the trail shows them as intents"
            );
        }
        // The last spans; a collector that does not answer has had its time.
        if let Some(exporter) = exporter {
            let _ = tokio::time::timeout(SPANS_MAX, exporter).await;
        }
        let pending = store.count_waiting().await.unwrap_or_default();
        if let Some(store) = Arc::into_inner(store) {
            store.close().await;
        }
        Ok(Stopped { cut_off, pending })
    }
}

/// Opens the home's store; makes it when the home has none yet.
///
/// # Errors
/// Whatever the store says, in one sentence.
pub async fn open_store(settings: &Settings, clock: &dyn Clock) -> anyhow::Result<Store> {
    let sync = match settings.audit.sync {
        settings::Sync::Flush => store::Sync::Flush,
        settings::Sync::Os => store::Sync::Os,
    };
    let birth = Birth { install: vault::random::bytes(), now: clock.now().wall };
    Ok(Store::open(&StoreOptions { place: settings.store.clone(), sync, create: Some(birth) }).await?)
}

fn bind(which: &str, listener: &settings::Listener) -> anyhow::Result<Listener> {
    let tls = listener
        .tls
        .as_ref()
        .map(|files| Tls::load(&files.cert, &files.key))
        .transpose()
        .map_err(|fault| anyhow!("{fault} ({which}.tls); give a PEM certificate chain and its key"))?;
    Listener::bind(listener.listen, tls).map_err(|fault| match fault {
        ListenerFault::Taken(port) => {
            let variable = format!("TOOLGATE_{}_LISTEN", which.to_uppercase());
            anyhow!("port {port} is taken ({which}.listen); stop the other program, or set {variable}")
        }
        other => anyhow!("{other} ({which}.listen); choose an address of this machine"),
    })
}

async fn system_event(gateway: &Gateway, action: &str) -> anyhow::Result<()> {
    let mut event = Event::new(gateway.clock.now().wall, Kind::System);
    event.action = Some(action.into());
    let written = gateway.recorder.durable(event).await;
    written
        .map(|_| ())
        .map_err(|_| anyhow!("the trail cannot be written"))
        .with_context(|| "the trail cannot be written (store.url); check the store: toolgate doctor")
}

/// What is nobody's in the store was under way when its gateway ended.
async fn lose_claims(store: &Store) -> anyhow::Result<()> {
    let lost = store.lose_claims().await?;
    if lost > 0 {
        tracing::warn!(
            "{lost} calls with idempotency keys were under way when the gateway ended; their outcome is unknown"
        );
    }
    Ok(())
}

/// Nor does anybody send on what was being sent when its gateway ended.
async fn lose_executions(gateway: &Gateway) -> anyhow::Result<()> {
    let lost = dispatcher::lose_executions(gateway).await?;
    if lost > 0 {
        tracing::warn!(
            "{lost} approved calls were being sent when the gateway ended; their outcome is unknown: \
             toolgate approvals list --status unknown"
        );
    }
    Ok(())
}

/// Counts what the trail tells, for the overview, so that nobody who looks at it has to wait.
async fn count_trail(gateway: Arc<Gateway>) {
    let (admin, clock) = (Admin::new(Arc::clone(&gateway.store)), &gateway.clock);
    let mut tick = tokio::time::interval(COUNT_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut more = Ok(true);
        while let Ok(true) = more {
            more = admin.count_trail(clock.now().wall).await;
            // Calls go first.
            tokio::time::sleep(FORGET_PAUSE).await;
        }
        if let Err(error) = more {
            tracing::warn!("the trail could not be counted: {error}");
        }
        if let Err(error) = admin.forget_figures(clock.now().wall).await {
            tracing::warn!("old figures could not be forgotten: {error}");
        }
    }
}

/// Forgets idempotency keys, logins and held calls whose time has passed, a few at a time.
async fn forget(gateway: Arc<Gateway>) {
    let (store, clock) = (&gateway.store, &gateway.clock);
    let admin = Admin::new(Arc::clone(store));
    let mut tick = tokio::time::interval(FORGET_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut more = Ok(true);
        while let Ok(true) = more {
            more = store.forget_keys(clock.now().wall).await;
            // Calls go first.
            tokio::time::sleep(FORGET_PAUSE).await;
        }
        if let Err(error) = more {
            tracing::warn!("old idempotency keys could not be forgotten: {error}");
        }
        if let Err(error) = admin.forget_sessions(clock.now().wall).await {
            tracing::warn!("old logins could not be forgotten: {error}");
        }
        let kept = gateway.approvals.terms.keep_result;
        let mut more = Ok(true);
        while let Ok(true) = more {
            let before = clock.now().wall.checked_sub(kept).unwrap_or(Timestamp::MIN);
            more = store.forget_approvals(before).await;
            tokio::time::sleep(FORGET_PAUSE).await;
        }
        if let Err(error) = more {
            tracing::warn!("old held calls could not be forgotten: {error}");
        }
    }
}

/// Another gateway of this store has died: nobody sends on what it was sending.
async fn give_up_for_the_dead(gateway: &Gateway) -> anyhow::Result<()> {
    if gateway.store.disown_the_dead().await? {
        lose_claims(&gateway.store).await?;
        lose_executions(gateway).await?;
    }
    Ok(())
}

async fn sweep(gateway: Arc<Gateway>) {
    let mut tick = tokio::time::interval(SWEEP_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(error) = give_up_for_the_dead(&gateway).await {
            tracing::warn!("what gateways left that do not live any more could not be looked up: {error}");
        }
        let world = gateway.freshness.current();
        gateway.upstreams.sweep(&world.services).await;
        gateway.credentials.sweep(&world);
    }
}
