//! Settings: what an install may choose, read once at start (contract §1). Later sources win: defaults,
//! `toolgate.yaml`, `.env`, the environment, `--set`. An unknown or wrong setting is an error, never skipped.

mod entries;
mod file;
mod issuers;
mod kind;
mod notify;
mod reference;
mod risk;
mod server;
mod sources;
mod table;
mod variables;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use domain::{operator::SessionTerms, service::UpstreamUrl};
pub use issuers::Issuer;
pub use kind::{AddressRange, duration};
pub use notify::NotifySink;
pub use reference::schema;
pub use risk::{Risk, RiskModel};
pub use server::Counters;
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

/// Where the vault's root key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKeySource {
    /// A file of 32 bytes.
    File(PathBuf),
    /// The environment variable of this name: 64 hex digits or base64.
    Variable(String),
    /// A passphrase in the environment variable of this name.
    Passphrase(String),
}

impl RootKeySource {
    fn build(choices: &Choices, file: PathBuf) -> Result<Self, Faults> {
        let [key, passphrase] =
            ["vault.key_env", "vault.passphrase_env"].map(|path| choices.text(path).map(str::to_owned));
        let chosen = [
            ("vault.key_file", choices.is_chosen("vault.key_file")),
            ("vault.key_env", key.is_some()),
            ("vault.passphrase_env", passphrase.is_some()),
        ];
        let chosen: Vec<&str> = chosen.into_iter().filter(|(_, is)| *is).map(|(path, _)| path).collect();
        if chosen.len() > 1 {
            return Err(Faults::One(format!(
                "the vault has one key, and {} are set; keep one of them",
                chosen.join(" and ")
            )));
        }
        Ok(match (key, passphrase) {
            (Some(name), _) => Self::Variable(name),
            (None, Some(name)) => Self::Passphrase(name),
            (None, None) => Self::File(file),
        })
    }

    /// The source in few words.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Variable(name) => format!("key in ${name}"),
            Self::Passphrase(name) => format!("passphrase in ${name}"),
        }
    }
}

/// A listener's address and how it is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address and port.
    pub listen: SocketAddr,
    /// How others reach it, without a slash at the end; `None`: by the address itself.
    pub public_url: Option<String>,
    /// Certificate and key, when it speaks TLS itself.
    pub tls: Option<TlsFiles>,
    /// Plain HTTP on an address that others can reach, said out loud.
    pub insecure: bool,
    /// Host names it answers to, besides its address and its public URL.
    pub allowed_hosts: Vec<String>,
}

/// PEM files of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
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

impl Listener {
    fn build(choices: &Choices, area: &str, path: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Self, Faults> {
        let (cert, key) = (path(&format!("{area}.tls.cert")), path(&format!("{area}.tls.key")));
        let tls = match (cert, key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) => return Err(half(area, "cert", "key")),
            (None, Some(_)) => return Err(half(area, "key", "cert")),
        };
        let listener = Self {
            listen: choices.address(&format!("{area}.listen")),
            public_url: choices.text(&format!("{area}.public_url")).map(str::to_owned),
            tls,
            insecure: choices.is_true(&format!("{area}.insecure")),
            allowed_hosts: choices.list(&format!("{area}.allowed_hosts")),
        };
        if !listener.listen.ip().is_loopback() && listener.tls.is_none() && !listener.insecure {
            return Err(Faults::One(format!(
                "{} is reachable from other machines without TLS ({area}.listen); set {area}.tls.cert and \
                 {area}.tls.key, or say {area}.insecure: true when a proxy in front speaks TLS",
                listener.listen
            )));
        }
        Ok(listener)
    }

    /// How others reach this listener.
    #[must_use]
    pub fn url(&self) -> String {
        if let Some(url) = &self.public_url {
            return url.clone();
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.listen)
    }
}

fn half(area: &str, given: &str, missing: &str) -> Faults {
    Faults::One(format!("TLS needs both files ({area}.tls.{given}); set {area}.tls.{missing} too"))
}

#[cfg(test)]
mod tests {
    use super::{kind::Kind, table::SETTINGS, *};

    fn build(set: &[&str]) -> Result<Settings, Faults> {
        let set: Vec<String> = set.iter().map(|&text| text.to_owned()).collect();
        let choices = Sources { set: &set, ..Sources::default() }.choose()?;
        Settings::build(&choices, Path::new("/home"))
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let settings = build(&[]).unwrap();
        assert_eq!(settings.gateway.listener.listen, "127.0.0.1:8484".parse().unwrap());
        assert_eq!(settings.console.listener.listen, "127.0.0.1:8485".parse().unwrap());
        assert_eq!(settings.gateway.body_limit, 10_000_000);
        assert_eq!(settings.gateway.upstream_timeout, Duration::from_secs(30));
        assert!(!settings.gateway.key_in_query && !settings.gateway.listener.insecure);
        assert_eq!(settings.policy_file, Path::new("/home/policy.yaml"));
        assert_eq!(settings.root_key, RootKeySource::File("/home/vault.key".into()));
        assert_eq!(settings.store, Place::File("/home/toolgate.db".into()));
        assert_eq!(settings.audit, Audit { sync: Sync::Flush, record: Record::Calls, value_limit: 4_000 });
        assert_eq!(settings.telemetry, Telemetry { log: LogForm::Text, level: Level::Info, otlp: None });
        assert_eq!(settings.gateway.listener.url(), "http://127.0.0.1:8484");
    }

    #[test]
    fn every_setting_changes_something() {
        let default = build(&[]).unwrap();
        for setting in SETTINGS {
            let path = setting.path;
            let other = match setting.kind {
                Kind::Address => "127.0.0.1:9".to_owned(),
                Kind::Url => "https://gate.example.com".to_owned(),
                Kind::Path | Kind::Variable | Kind::Name => "other".to_owned(),
                Kind::Endpoint => "https://api.example.com/v1".to_owned(),
                Kind::Risk => "0.9".to_owned(),
                Kind::Truth => "true".to_owned(),
                Kind::Size => "7KB".to_owned(),
                Kind::Duration => "7s".to_owned(),
                Kind::Count => "7".to_owned(),
                Kind::Hosts => "gate.example.com".to_owned(),
                Kind::Origins => "https://app.example.com".to_owned(),
                Kind::Ranges => "10.0.0.0/8".to_owned(),
                Kind::Sinks => "[{url: https://hooks.example.com/a, format: slack}]".to_owned(),
                Kind::Issuers => "[{issuer: https://login.example.com, agent_claim: sub}]".to_owned(),
                Kind::OneOf(words) => {
                    words.iter().find(|word| **word != setting.default).unwrap().to_string()
                }
                Kind::Server(_, schemes) => format!("{}://127.0.0.1", schemes[0]),
                Kind::Store => "postgres://ada@localhost/toolgate".to_owned(),
            };
            let set = format!("{path}={other}");
            // Certificate and key come together.
            let pair = match path.rsplit_once('.') {
                Some((area, "cert")) => Some(format!("{area}.key=k")),
                Some((area, "key")) if area.ends_with("tls") => Some(format!("{area}.cert=c")),
                _ => None,
            };
            let set: Vec<&str> = std::iter::once(set.as_str()).chain(pair.as_deref()).collect();
            if let Some(of_model) = path.strip_prefix("risk.model.") {
                // Only a model that is there can differ from another.
                let model = ["risk.model.url=https://a.example", "risk.model.name=small"];
                let changed = build(&[&model[..], &set].concat()).unwrap().risk.model.unwrap();
                assert_ne!(changed, build(&model).unwrap().risk.model.unwrap(), "{of_model}");
                continue;
            }
            if path == "counters.nodes" {
                // Only who shares has others to share with.
                let sharing = "counters.on_loss=share";
                assert_ne!(build(&[sharing, set[0]]).unwrap(), build(&[sharing]).unwrap());
                continue;
            }
            assert_ne!(build(&set).unwrap(), default, "{path}");
        }
    }

    #[test]
    fn issuers_need_a_url_that_their_tokens_can_be_for() {
        let issuers = "gateway.issuers=[{issuer: https://login.example.com, agent_claim: sub, ca: own.pem}]";
        let anywhere = ["gateway.listen=0.0.0.0:9000", "gateway.insecure=true", issuers];
        let Faults::One(message) = build(&anywhere).unwrap_err() else { panic!("one sentence") };
        assert!(message.ends_with("; set gateway.public_url"), "{message}");
        let named = [&anywhere[..], &["gateway.public_url=https://gate.example.com"]].concat();
        let settings = build(&named).unwrap();
        assert_eq!(settings.gateway.issuers[0].ca.as_deref(), Some(Path::new("/home/own.pem")));
        assert!(build(&[issuers]).is_ok());
    }

    #[test]
    fn an_address_that_others_reach_needs_tls_or_a_word() {
        for area in ["gateway", "console"] {
            let open = format!("{area}.listen=0.0.0.0:9000");
            let Faults::One(message) = build(&[&open]).unwrap_err() else { panic!("one sentence") };
            assert!(message.contains(&format!("{area}.insecure: true")), "{message}");
            assert!(build(&[&open, &format!("{area}.insecure=true")]).is_ok());
            let files = [format!("{area}.tls.cert=c.pem"), format!("{area}.tls.key=k.pem")];
            let settings = build(&[&open, &files[0], &files[1]]).unwrap();
            let listener =
                if area == "gateway" { settings.gateway.listener } else { settings.console.listener };
            assert_eq!(listener.tls.unwrap().cert, Path::new("/home/c.pem"));
            assert!(build(&[&files[0]]).is_err(), "a certificate without its key");
        }
    }

    #[test]
    fn the_vault_has_one_key() {
        let key = build(&["vault.key_env=A"]).unwrap().root_key;
        assert_eq!(key, RootKeySource::Variable("A".to_owned()));
        let passphrase = build(&["vault.passphrase_env=A"]).unwrap().root_key;
        assert_eq!(passphrase, RootKeySource::Passphrase("A".to_owned()));
        for two in [
            ["vault.key_env=A", "vault.passphrase_env=B"],
            ["vault.key_env=A", "vault.key_file=vault.key"],
            ["vault.key_file=x", "vault.passphrase_env=B"],
        ] {
            let Faults::One(message) = build(&two).unwrap_err() else { panic!("one sentence") };
            assert!(message.starts_with("the vault has one key, and vault."), "{message}");
        }
    }

    #[test]
    fn an_access_token_lives_a_day_at_most() {
        let terms = build(&[]).unwrap().console.session;
        assert_eq!(terms.access, Duration::from_secs(900));
        assert_eq!((terms.refresh, terms.idle), (Duration::from_secs(604_800), Duration::from_secs(1_800)));
        assert!(build(&["console.session.access=25h"]).is_err());
    }

    #[test]
    fn two_listeners_need_two_ports() {
        assert!(build(&["console.listen=127.0.0.1:8484"]).is_err());
        assert!(build(&["console.listen=127.0.0.1:0", "gateway.listen=127.0.0.1:0"]).is_ok());
    }
}
