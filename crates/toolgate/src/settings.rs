//! Settings: what an install may choose, read once at start (contract §1). Later sources win: defaults,
//! `toolgate.yaml`, `.env`, the environment, `--set`. An unknown or wrong setting is an error, never skipped.

mod entries;
mod file;
mod issuers;
mod kind;
mod listener;
mod notify;
mod reference;
mod risk;
mod root_key;
mod server;
mod sources;
mod table;
mod variables;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use domain::{operator::SessionTerms, service::UpstreamUrl};
pub use issuers::Issuer;
pub use kind::{AddressRange, duration};
pub use listener::Listener;
pub use notify::NotifySink;
pub use reference::schema;
pub use risk::{Risk, RiskModel};
pub use root_key::RootKeySource;
pub use server::{Counters, ServerFiles};
pub use sources::{Choices, Faults, Sources};
use store::Place;
pub use variables::dotenv_variable;

/// Everything an install has chosen, with defaults filled in and paths made absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where agents knock.
    pub gateway: Gateway,
    /// Where people look.
    pub console: Console,
    /// Where agents, services and the trail are kept.
    pub store: Place,
    /// Where limits are counted.
    pub counters: Counters,
    /// Files about the store's server.
    pub store_files: ServerFiles,
    /// Files about the server that counts.
    pub counters_files: ServerFiles,
    /// The policy.
    pub policy_file: PathBuf,
    /// Held calls.
    pub approvals: Approvals,
    /// Where the vault's root key comes from.
    pub root_key: RootKeySource,
    /// How risk is assessed, and what follows from it.
    pub risk: Risk,
    /// The trail.
    pub audit: Audit,
    /// Who is told of held calls, decisions and the kill switch.
    pub notify: Vec<NotifySink>,
    /// What the process says about itself.
    pub telemetry: Telemetry,
}

/// The gateway listener and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Where it listens.
    pub listener: Listener,
    /// The largest body of a request, and of an answer that may not stream (bytes).
    pub body_limit: u64,
    /// How long an upstream may take to answer.
    pub upstream_timeout: Duration,
    /// How long a connection waits while people decide.
    pub hold: Duration,
    /// How long requests are still taken once the process is told to end.
    pub shutdown_delay: Duration,
    /// Whether `?api_key=` is read.
    pub key_in_query: bool,
    /// Origins of web pages that may call, besides the gateway's own.
    pub allowed_origins: Vec<String>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<AddressRange>,
    /// Whose access tokens are taken for agents.
    pub issuers: Vec<Issuer>,
}

/// The console listener and its logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Console {
    /// Where it listens.
    pub listener: Listener,
    /// How long logins last.
    pub session: SessionTerms,
    /// The environment variable with the token that `/metrics` wants; `None`: it wants an operator.
    pub metrics_token_env: Option<String>,
}

/// How long people and gateways have for a held call, and how many may wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approvals {
    /// To decide.
    pub decide_within: Duration,
    /// To execute what is approved.
    pub execute_within: Duration,
    /// After its end, call and answer are kept for so long.
    pub keep_result: Duration,
    /// Calls of one agent that may wait.
    pub max_pending_per_agent: u32,
}

/// How the trail is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// What a record survives.
    pub sync: Sync,
    /// What is recorded.
    pub record: Record,
    /// How long events are kept; `None`: for ever.
    pub retain: Option<Duration>,
    /// The most that is kept of a call's arguments (bytes).
    pub value_limit: u64,
}

/// What a durable record survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Power loss.
    Flush,
    /// The death of the process, not of the machine.
    Os,
}

/// What the trail records of lists and housekeeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// They are recorded when refused.
    Calls,
    /// They are recorded always.
    Everything,
}

/// What the process says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// The form of log lines on stderr.
    pub log: LogForm,
    /// How much is said.
    pub level: Level,
    /// The base URL of the collector that gets a trace of each call (OTLP over HTTP).
    pub otlp: Option<UpstreamUrl>,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How much the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Faults only.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And one line a call.
    Info,
    /// And what helps to find a fault: causes of errors, too.
    Debug,
}

impl Settings {
    /// Makes settings of what the sources chose. Relative paths start at `home`.
    ///
    /// # Errors
    /// One sentence when settings do not fit together.
    pub fn build(choices: &Choices, home: &Path) -> Result<Self, Faults> {
        let path = |setting: &str| choices.text(setting).map(|text| home.join(text));
        let needed = |setting: &str| path(setting).unwrap_or_else(|| home.to_owned());
        let settings = Self {
            gateway: Gateway {
                listener: Listener::build(choices, "gateway", &path)?,
                body_limit: choices.number("gateway.body_limit"),
                upstream_timeout: choices.duration("gateway.upstream_timeout"),
                hold: choices.duration("gateway.hold"),
                shutdown_delay: choices.duration("gateway.shutdown_delay"),
                key_in_query: choices.is_true("gateway.key_in_query"),
                allowed_origins: choices.list("gateway.allowed_origins"),
                trusted_proxies: choices
                    .list("gateway.trusted_proxies")
                    .iter()
                    .filter_map(|range| AddressRange::parse(range))
                    .collect(),
                issuers: {
                    let issuers = choices.issuers("gateway.issuers").into_iter();
                    issuers.map(|issuer| issuer.in_home(home)).collect()
                },
            },
            console: Console {
                listener: Listener::build(choices, "console", &path)?,
                session: session(choices)?,
                metrics_token_env: choices.text("console.metrics_token_env").map(str::to_owned),
            },
            store: match choices.store("store.url") {
                Some(url) => Place::Server(url.clone()),
                None => Place::File(home.join("toolgate.db")),
            },
            counters: Counters::build(choices),
            store_files: ServerFiles::build("store", &path),
            counters_files: ServerFiles::build("counters", &path),
            policy_file: needed("policy.path"),
            approvals: Approvals {
                decide_within: choices.duration("approvals.decide_within"),
                execute_within: choices.duration("approvals.execute_within"),
                keep_result: choices.duration("approvals.keep_result"),
                max_pending_per_agent: u32::try_from(choices.number("approvals.max_pending_per_agent"))
                    .unwrap_or(u32::MAX),
            },
            root_key: RootKeySource::build(choices, needed("vault.key_file"))?,
            risk: Risk::build(choices)?,
            audit: Audit {
                sync: match choices.text("audit.sync") {
                    Some("os") => Sync::Os,
                    _ => Sync::Flush,
                },
                record: match choices.text("audit.record") {
                    Some("everything") => Record::Everything,
                    _ => Record::Calls,
                },
                retain: Some(choices.duration("audit.retain")).filter(|kept| !kept.is_zero()),
                value_limit: choices.number("audit.value_limit"),
            },
            notify: choices.sinks("notify"),
            telemetry: Telemetry {
                log: match choices.text("telemetry.log") {
                    Some("json") => LogForm::Json,
                    _ => LogForm::Text,
                },
                level: match choices.text("telemetry.level") {
                    Some("error") => Level::Error,
                    Some("warn") => Level::Warn,
                    Some("debug") => Level::Debug,
                    _ => Level::Info,
                },
                otlp: choices
                    .text("telemetry.otlp")
                    .map(UpstreamUrl::parse)
                    .transpose()
                    .map_err(|bad| Faults::One(format!("{bad} (telemetry.otlp)")))?,
            },
        };
        let gateway = &settings.gateway;
        let is_named =
            gateway.listener.public_url.is_some() || !gateway.listener.listen.ip().is_unspecified();
        if !gateway.issuers.is_empty() && !is_named {
            return Err(Faults::One(format!(
                "access tokens are for a URL, and {} is none that agents use (gateway.issuers); \
                 set gateway.public_url",
                gateway.listener.listen
            )));
        }
        let listen = settings.console.listener.listen;
        if settings.gateway.listener.listen == listen && listen.port() != 0 {
            return Err(Faults::One(format!(
                "gateway and console cannot both listen on {listen} (gateway.listen, console.listen); \
                 give one of them another port"
            )));
        }
        Ok(settings)
    }
}

/// An access token's key signs for a day.
fn session(choices: &Choices) -> Result<SessionTerms, Faults> {
    const ACCESS_MAX: Duration = Duration::from_secs(86_400);
    let [access, refresh, idle] =
        ["access", "refresh", "idle"].map(|name| choices.duration(&format!("console.session.{name}")));
    if access > ACCESS_MAX {
        return Err(Faults::One(
            "an access token lives a day at most (console.session.access); say 15m".to_owned(),
        ));
    }
    Ok(SessionTerms { access, refresh, idle })
}

#[cfg(test)]
mod tests;
