//! Builds a running gateway out of settings and a home, in one place.

mod call_log;
mod desk;
mod issuers;
mod limits;
mod notify;
mod policy_watch;
mod risk;
mod running;
mod secrets;
mod traces;
mod upkeep;

use std::{io::ErrorKind, net::IpAddr, sync::Arc};

use anyhow::{Context as _, anyhow};
use console::{Manner, PolicyStanding};
use domain::{audit::redact, clock::Clock, policy::Policy, system::system_words};
use ingress::{
    CONSOLE_DOORS, DOORS, Desk, Door, Entrance, Finish, Front, Listener, ListenerFault, Members, Names, Tls,
    Waiting,
};
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
    recorder::{DURABLE_WITHIN, Recorder},
    risk::Risk,
    session::SessionTokens,
    tools::Tools,
    upstreams::Upstreams,
};
use store::{Birth, Store, StoreOptions};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    output::Invocation,
    settings::{self, Record, Settings},
};
pub use call_log::CallLog;
pub use issuers::issuers;
pub use limits::server as counting_server;
pub use policy_watch::{PolicyNews, TellPolicy, read_policy};
use running::DRAIN_MAX;
pub use running::Running;

/// One message of a child process (bytes).
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// All bodies that are held in memory at once (bytes).
const BODIES_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// How deep recorded arguments may nest, and how many items a value may have (contract §7).
const RECORDED_DEPTH: usize = 6;
const RECORDED_ITEMS: usize = 40;

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
    // Without somebody who listens this signal ends the process.
    let hang_up = signal(SignalKind::hangup()).context("SIGHUP cannot be listened for")?;
    let sinks = notify::sinks(settings)?;
    let issuers = issuers(&settings.gateway.issuers)?;
    let store = Arc::new(open_store(settings, &*clock).await?);
    store.serve().await?;
    let setup = desk::Setup::of(settings)?;
    let unlocked = secrets::open(&settings.root_key, &store, &*clock).await?;

    let dialler = Dialler::new();
    let model = risk::model(&settings.risk, &dialler, &clock)?;
    let counted = store.has_counted().await?;
    let counters = Arc::new(limits::counters(&settings.counters, *store.install(), counted)?);
    if let Some(server) = counters.shared() {
        limits::connect(server, &settings.counters).await?;
    }
    let (traces, exporter) = traces::start(settings.telemetry.otlp.as_ref(), &dialler, &clock)?.unzip();

    // Bind before anything is started: a taken port must leave nothing behind.
    let gateway_socket = bind("gateway", &settings.gateway.listener)?;
    let console_socket = bind("console", &settings.console.listener)?;
    let (gateway_address, console_address) = (gateway_socket.address()?, console_socket.address()?);
    let sockets = [gateway_socket, console_socket];
    let (drain, draining) = watch::channel(false);
    let (leaving, left) = watch::channel(false);
    let manner = Manner { secure: settings.console.listener.url().starts_with("https://") };
    let to_browsers: Finish = Box::new(move |response| manner.finish(response));
    let entrances = [None, Some(to_browsers)]
        .map(|finish| Entrance::sealed(CallIds::new(vault::random::bytes()), Arc::clone(&clock), finish));
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
        Recorder::start(Arc::clone(&store), Arc::clone(&clock), Some(setup.told(call_log)), DURABLE_WITHIN);
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
    running::system_event(&gateway, "gateway.start").await?;
    upkeep::lose_claims(&store).await?;
    upkeep::lose_executions(&gateway).await?;

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
            leaving: left.clone(),
        }
    };
    let [gateway_entrance, console_entrance] = &entrances;
    gateway_entrance.open(front(&settings.gateway.listener, DOORS, None));
    let (standing, policy_standing) =
        watch::channel(PolicyStanding { loaded_at: clock.now().wall, refused: None });
    let desk = setup.desk(
        settings,
        (invocation, manner),
        &gateway,
        &secrets.vault,
        secrets.access,
        policy_standing,
    )?;
    let welcome = desk.invite(vault::random::bytes()).await?;
    let at_desk = Arc::clone(&desk);
    let answers: Desk =
        Box::new(move |source, head, request| Box::pin(Arc::clone(&at_desk).answer(source, head, request)));
    console_entrance.open(front(&settings.console.listener, CONSOLE_DOORS, Some(answers)));
    let listeners = waiting.unwrap_or_else(listen);
    let mut helpers = vec![
        tokio::spawn(Arc::clone(&freshness).run()),
        tokio::spawn(pushed::run(Arc::clone(&gateway))),
        tokio::spawn(desk.tell_news()),
        tokio::spawn(upkeep::sweep(Arc::clone(&gateway))),
        tokio::spawn(upkeep::give_up_for_the_dead(Arc::clone(&gateway))),
        tokio::spawn(Arc::clone(&gateway.tools).run(Arc::clone(&store), Arc::clone(&clock))),
        tokio::spawn(notifier.run()),
        tokio::spawn(Arc::clone(&gateway.issuers).run()),
        tokio::spawn(upkeep::forget(Arc::clone(&gateway))),
        tokio::spawn(Arc::clone(&gateway.approvals).run()),
        tokio::spawn(upkeep::count_trail(Arc::clone(&gateway))),
        tokio::spawn(policy_watch::run(
            settings.policy_file.clone(),
            hang_up,
            invocation.clone(),
            freshness,
            Arc::clone(&clock),
            standing,
            tell,
        )),
    ];
    let kept = settings.audit.retain;
    helpers.extend(kept.map(|kept| tokio::spawn(upkeep::drop_old_events(Arc::clone(&gateway), kept))));
    if let Some(server) = gateway.counters.shared() {
        helpers.push(tokio::spawn(Arc::clone(server).run()));
        if !counted {
            helpers.push(tokio::spawn(limits::remember(Arc::clone(server), Arc::clone(&store))));
        }
    }
    let dispatcher = tokio::spawn(dispatcher::run(Arc::clone(&gateway)));
    Ok(Running {
        dispatcher,
        gateway_address,
        console_address,
        welcome,
        gateway,
        store,
        vault: secrets.vault,
        leaving,
        shutdown_delay: settings.gateway.shutdown_delay,
        drain,
        listeners,
        helpers,
        recorder_task,
        exporter,
    })
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
    let tls = listener.tls.as_ref().map(|files| Tls::load(&files.cert, &files.key)).transpose().map_err(
        |fault| match fault {
            ListenerFault::BadTls { path, why } => {
                let shown = path.display();
                anyhow!("{why} ({shown}, {which}.tls); give a PEM certificate chain and its key")
            }
            other => anyhow!("{other} ({which}.tls); give a PEM certificate chain and its key"),
        },
    )?;
    Listener::bind(listener.listen, tls).map_err(|fault| match fault {
        ListenerFault::Taken(port) => {
            let variable = format!("TOOLGATE_{}_LISTEN", which.to_uppercase());
            anyhow!("port {port} is taken ({which}.listen); stop the other program, or set {variable}")
        }
        ListenerFault::Refused { address, error } => {
            let next = match error.kind() {
                ErrorKind::PermissionDenied => "choose a port from 1024 on",
                _ => "choose an address of this machine",
            };
            anyhow!("{address} cannot be listened on ({which}.listen, {}); {next}", system_words(&error))
        }
        other => anyhow!("{other} ({which}.listen); choose an address of this machine"),
    })
}
