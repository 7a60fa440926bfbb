//! `toolgate serve`: runs both listeners until it is told to stop, and says what it is doing.

use std::time::Duration;

use anyhow::Context as _;
use counters::OnLoss;
use domain::{
    agent::AgentState,
    clock::Agreement,
    policy::Policy,
    service::{Service, Upstream},
    yaml::Problem,
};
use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use store::Place;

use super::{Context, Verdict, ends::Ends, kill::in_words, servers};
use crate::{
    logging,
    output::{
        Mark, Output,
        figures::{age, count, count_of},
    },
    settings::{self, LogForm, RootKeySource, Settings, Sync},
    wiring::{self, CallLog, PolicyNews, Running},
};

/// Runs the gateway.
///
/// # Errors
/// One sentence when it cannot start, or could not write its last event.
pub fn run(context: &Context) -> anyhow::Result<Verdict> {
    let settings = context.settings()?;
    logging::start(&settings.telemetry);
    if let Place::File(_) = settings.store {
        context.check_writable()?;
    }
    let (policy, warnings) = wiring::read_policy(&settings.policy_file, &context.invocation)?;
    if let Err(error) = allow_many_connections() {
        tracing::warn!("the number of open files could not be raised: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the machine gives no event loop; check its limits (ulimit -n)")?;
    let verdict = runtime.block_on(serve(context, &settings, policy, &warnings));
    runtime.shutdown_timeout(Duration::from_secs(1));
    verdict
}

/// Every connection is an open file, to agents and to upstreams, and many systems allow 1,024 until one asks for more.
/// Children inherit it, so it is not more than the listeners can use.
fn allow_many_connections() -> Result<(), Errno> {
    const FILES_MAX: u64 = 65_536;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(FILES_MAX)), hard)
}

async fn serve(
    context: &Context,
    settings: &Settings,
    policy: Policy,
    warnings: &[Problem],
) -> anyhow::Result<Verdict> {
    let started = context.now().monotonic;
    let mut ends = Ends::listen()?;
    let policy_line = policy_line(&policy, warnings, context);
    let log = CallLog::start(settings.telemetry.log)?;
    let voice = Voice { output: context.output, form: settings.telemetry.log };
    let tell = Box::new(move |news| match news {
        PolicyNews::Reloaded(line) => voice.say(&line),
        PolicyNews::NotReloaded(line) => voice.warn(&line),
    });
    let log =
        (settings.telemetry.level >= crate::settings::Level::Info && !context.output.quiet()).then_some(log);
    let running = tokio::select! {
        running = wiring::start(settings, &context.invocation, policy, log, tell) => running?,
        // Only a start without a root key takes so long that somebody ends it.
        () = ends.next() => {
            voice.say("stopped before the vault was open");
            return Ok(Verdict::Done);
        }
    };
    let took = context.now().monotonic.saturating_sub(started);
    let dangers = dangers(context, settings, &running).await;
    match settings.telemetry.log {
        LogForm::Text => introduce(context, settings, &running, &policy_line, &dangers, took).await?,
        LogForm::Json => {
            for danger in &dangers {
                tracing::warn!("safety: {danger}");
            }
            tracing::info!(
                version = env!("CARGO_PKG_VERSION"),
                home = %context.home.path().display(),
                gateway = %running.gateway_address,
                console = %running.console_address,
                welcome = welcome_url(settings, &running),
                policy = policy_line,
                "ready"
            );
        }
    }
    ends.next().await;
    stop(voice, running, ends).await
}

/// What `serve` says once it runs: a line of its own, or an event of the JSON log, which nothing else may stand in.
#[derive(Clone, Copy)]
struct Voice {
    output: Output,
    form: LogForm,
}

impl Voice {
    fn say(self, line: &str) {
        match self.form {
            LogForm::Text => self.output.talk(line),
            LogForm::Json => tracing::info!("{line}"),
        }
    }

    fn warn(self, line: &str) {
        match self.form {
            LogForm::Text => self.output.talk(line),
            LogForm::Json => tracing::warn!("{line}"),
        }
    }
}

/// The facts that somebody who starts a gateway wants to see, one a line.
async fn introduce(
    context: &Context,
    settings: &Settings,
    running: &Running,
    policy_line: &str,
    dangers: &[String],
    took: Duration,
) -> anyhow::Result<()> {
    let output = &context.output;
    let world = running.gateway.freshness.current();
    let active = world.agents.values().filter(|agent| agent.state == AgentState::Active).count();
    let now = context.now();
    let keys = world.keys.keys().filter(|mac| world.holder(mac, now).is_ok()).count();
    let operators = running.store.operators().await?.len();
    let scheme = |tls: bool| if tls { "https" } else { "http" };

    output.talk(format!(
        "toolgate {} · home {}",
        env!("CARGO_PKG_VERSION"),
        context.invocation.path(context.home.path())
    ));
    output.talk(format!(
        "gateway   {}://{}   agents: {active} active, {}",
        scheme(settings.gateway.listener.tls.is_some()),
        running.gateway_address,
        count_of(keys, "key")
    ));
    output.talk(format!(
        "console   {}://{}   operators: {operators}",
        scheme(settings.console.listener.tls.is_some()),
        running.console_address
    ));
    if let Some(url) = welcome_url(settings, running) {
        output.talk(format!("welcome   {url}   makes the first owner; good once, for an hour"));
    }
    output.talk(format!("policy    {policy_line}"));
    let mut services: Vec<&Service> = world.services.values().map(AsRef::as_ref).collect();
    services.sort_by(|one, other| one.name.cmp(&other.name));
    output.talk(format!("services  {}", services_line(&services, context)));
    let sync = match settings.audit.sync {
        Sync::Flush => "flush (survives power loss)",
        Sync::Os => "os (survives the process, not the machine)",
    };
    let counters = match &settings.counters.url {
        None => "in memory".to_owned(),
        Some(url) => format!("at {url}"),
    };
    let kind = settings.store.kind();
    output.talk(format!("store     {kind}, audit.sync {sync} · counters {counters} · vault open"));
    if dangers.is_empty() {
        output.talk("safety    nothing to report");
    }
    for danger in dangers {
        output.complain(format!("{} safety  {danger}", output.stderr.mark(Mark::Look)));
    }
    output.talk(format!("ready in {} ms, Ctrl-C drains and stops", took.as_millis()));
    Ok(())
}

/// Where the first owner is made, while there is no operator.
fn welcome_url(settings: &Settings, running: &Running) -> Option<String> {
    let token = running.welcome.as_ref()?;
    let listener =
        settings::Listener { listen: running.console_address, ..settings.console.listener.clone() };
    Some(format!("{}/welcome?token={token}", listener.url()))
}

fn policy_line(policy: &Policy, warnings: &[Problem], context: &Context) -> String {
    let (summary, limits) = (policy.summary(), policy.limits());
    let mut line = format!(
        "{} · {}, {} ({} deny, {} approve) · {} per key, {} per tool",
        policy.hash().short(),
        count_of(summary.roles, "role"),
        count_of(summary.rules, "rule"),
        summary.denies,
        summary.approves,
        limits.per_key,
        limits.per_tool
    );
    if !warnings.is_empty() {
        let check = context.invocation.command("policy check");
        line.push_str(&format!(" · {}: {check}", count_of(warnings.len(), "warning")));
    }
    line
}

fn services_line(services: &[&Service], context: &Context) -> String {
    if services.is_empty() {
        return format!("none yet: {}", context.invocation.command("services apply -f services.yaml"));
    }
    let one = |service: &&Service| match service.upstream {
        Upstream::Stdio(_) => format!("{} (stdio, starts on first call)", service.name),
        Upstream::Http(_) | Upstream::Api(_) => format!("{} (http)", service.name),
    };
    services.iter().map(one).collect::<Vec<_>>().join(" · ")
}

/// What makes this install weaker than it could be, each with what to do.
async fn dangers(context: &Context, settings: &Settings, running: &Running) -> Vec<String> {
    let mut dangers = Vec::new();
    if let Some(kill) = &running.gateway.freshness.current().kill {
        let off = context.invocation.command("kill off");
        dangers.push(format!("kill switch {}; nothing is forwarded until: {off}", in_words(kill)));
    }
    if let Some(user) = context.home.login_owner() {
        dangers.push(format!(
            "agents running as `{user}` can read this home; use another user: docs/operations.md"
        ));
    }
    if settings.gateway.listener.insecure || settings.console.listener.insecure {
        dangers.push(
            "`insecure: true`: keys and passwords travel in the clear unless a proxy in front speaks TLS"
                .into(),
        );
    }
    dangers.extend(servers::open_ways(settings));
    dangers.extend(clocks(context, running).await);
    if settings.gateway.key_in_query {
        dangers.push(
            "`key_in_query`: keys in addresses end up in the logs of others; use the Authorization header"
                .into(),
        );
    }
    if let RootKeySource::Variable(name) | RootKeySource::Passphrase(name) = &settings.root_key {
        dangers.push(format!(
            "the vault's key stays in this process's environment (${name}), where root can read it; a key file does not"
        ));
    }
    if settings.audit.sync == Sync::Os {
        dangers.push("`audit.sync: os`: the last records can be lost when the machine loses power".into());
    }
    if let OnLoss::Share { nodes } = settings.counters.on_loss {
        dangers.push(match nodes {
            1 => "`on_loss: share` with `counters.nodes: 1`: without its server every gateway grants whole limits; say how many there are".to_owned(),
            _ => format!("`on_loss: share`: without their server, limits hold only for up to {nodes} gateways (`counters.nodes`)"),
        });
    }
    dangers
}

/// What there is to say of the servers' clocks. Whoever starts a gateway does not wait for servers that do not answer.
async fn clocks(context: &Context, running: &Running) -> Option<String> {
    let store = running.store.clock(&context.clock).await.ok().flatten();
    let counters = match running.gateway.counters.shared() {
        Some(server) => server.clock(&context.clock).await,
        None => None,
    };
    let store = store.map(|apart| (running.store.place().kind(), apart));
    let known: Vec<_> =
        store.into_iter().chain(counters.map(|apart| ("the server that counts", apart))).collect();
    let (agreement, words) = servers::clocks(&known)?;
    (agreement != Agreement::Agree).then_some(words)
}

/// Leaves, where that takes its time, and drains; another signal ends the first at once, and the second.
async fn stop(voice: Voice, running: Running, mut ends: Ends) -> anyhow::Result<Verdict> {
    let delay = running.shutdown_delay();
    if !delay.is_zero() {
        voice.say(&format!(
            "stopping: /readyz says 503, requests are taken for {} more; Ctrl-C again drains now",
            age(delay)
        ));
        tokio::select! {
            () = running.leave() => {}
            () = ends.next() => {}
        }
    }
    let recorder = std::sync::Arc::clone(&running.gateway.recorder);
    let before = recorder.under_way();
    if before > 0 {
        voice.say(&format!(
            "draining: {} in flight, at most 30 s; Ctrl-C again stops now and leaves them `unknown`",
            count_of(before, "call")
        ));
    }
    // The recorder must be let go of before it can end.
    let weak = std::sync::Arc::downgrade(&recorder);
    drop(recorder);
    let stopped = tokio::select! {
        stopped = running.stop() => Some(stopped?),
        () = ends.next() => None,
    };
    let left = match stopped {
        Some(_) => weak.upgrade().map_or(0, |recorder| recorder.under_way()),
        None => before,
    };
    let stays = match stopped.map_or(0, |stopped| stopped.pending) {
        0 => String::new(),
        1 => "; 1 approval stays pending".to_owned(),
        pending => format!("; {} approvals stay pending", count(pending)),
    };
    voice.say(&format!("stopped: {} finished, {left} unknown{stays}", before.saturating_sub(left)));
    Ok(Verdict::Done)
}
