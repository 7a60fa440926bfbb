//! The one table of settings: path, form, default and meaning. Reading, environment names, `config show`,
//! `config schema` and docs/configuration.md are all made from it.

use super::kind::Kind;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its path in `toolgate.yaml`: `gateway.listen`.
    pub path: &'static str,
    /// What a value looks like.
    pub kind: Kind,
    /// Its default as it is written in the file; `none` when it has no value.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
}

impl Setting {
    /// The environment variable that sets it: `gateway.listen` → `TOOLGATE_GATEWAY_LISTEN`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("TOOLGATE_{}", self.path.replace('.', "_").to_ascii_uppercase())
    }
}

const fn setting(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Setting {
    Setting { path, kind, default, doc }
}

/// Every setting, in the order people read them.
pub const SETTINGS: &[Setting] = &[
    setting(
        "gateway.listen",
        Kind::Address,
        "127.0.0.1:8484",
        "Where agents connect. Another address than loopback needs `tls` or `insecure: true`.",
    ),
    setting(
        "gateway.public_url",
        Kind::Url,
        "none",
        "How agents reach the gateway when that is not its address: scheme, host and port.",
    ),
    setting(
        "gateway.tls.cert",
        Kind::Path,
        "none",
        "Certificate chain (PEM) when the gateway speaks TLS itself.",
    ),
    setting("gateway.tls.key", Kind::Path, "none", "Private key (PEM) of that certificate."),
    setting(
        "gateway.insecure",
        Kind::Truth,
        "false",
        "Plain HTTP on an address that other machines reach: a proxy in front must speak TLS.",
    ),
    setting(
        "gateway.body_limit",
        Kind::Size,
        "10MB",
        "The largest body of a request (413 over it), and of an answer that may not stream (502).",
    ),
    setting(
        "gateway.upstream_timeout",
        Kind::Duration,
        "30s",
        "How long an upstream may take to answer before the call ends with 504.",
    ),
    setting(
        "gateway.hold",
        Kind::Duration,
        "25s",
        "How long a connection waits while people decide about its call, before it is answered 428.",
    ),
    setting(
        "gateway.shutdown_delay",
        Kind::Delay,
        "none",
        "How long requests are still taken after SIGTERM, while `/readyz` says 503: as long as balancers need to see it.",
    ),
    setting(
        "gateway.key_in_query",
        Kind::Truth,
        "false",
        "Also takes the agent's key from `?api_key=`, which ends up in logs of proxies and browsers.",
    ),
    setting(
        "gateway.allowed_hosts",
        Kind::Hosts,
        "[]",
        "Host names that requests may name, besides the listener's address and its public URL.",
    ),
    setting(
        "gateway.allowed_origins",
        Kind::Origins,
        "[]",
        "Origins of web pages that may call the gateway, besides its own.",
    ),
    setting(
        "gateway.trusted_proxies",
        Kind::Ranges,
        "[]",
        "Addresses or ranges of proxies whose `X-Forwarded-For` names the source of a request.",
    ),
    setting(
        "gateway.issuers",
        Kind::Issuers,
        "[]",
        "Issuers whose access tokens (JWT) stand for agents, beside keys: docs/operations.md.",
    ),
    setting(
        "console.listen",
        Kind::Address,
        "127.0.0.1:8485",
        "Where operators connect. Another address than loopback needs `tls` or `insecure: true`.",
    ),
    setting(
        "console.public_url",
        Kind::Url,
        "none",
        "How operators reach the console when that is not its address: scheme, host and port.",
    ),
    setting(
        "console.tls.cert",
        Kind::Path,
        "none",
        "Certificate chain (PEM) when the console speaks TLS itself.",
    ),
    setting("console.tls.key", Kind::Path, "none", "Private key (PEM) of that certificate."),
    setting(
        "console.insecure",
        Kind::Truth,
        "false",
        "Plain HTTP on an address that other machines reach: a proxy in front must speak TLS.",
    ),
    setting(
        "console.allowed_hosts",
        Kind::Hosts,
        "[]",
        "Host names that requests may name, besides the listener's address and its public URL.",
    ),
    setting(
        "console.session.access",
        Kind::Duration,
        "15m",
        "How long an access token of a login is good; it is renewed with the refresh token. A day at most.",
    ),
    setting(
        "console.session.refresh",
        Kind::Duration,
        "7d",
        "How long a login lasts at most, however much it is used.",
    ),
    setting("console.session.idle", Kind::Duration, "30m", "How long a login lasts that is not used."),
    setting(
        "console.metrics_token_env",
        Kind::Variable,
        "none",
        "The environment variable with the token that `/metrics` takes as Bearer; without it an operator's token does.",
    ),
    setting(
        "store.url",
        Kind::Store,
        "sqlite",
        "Where agents, services and the trail are kept: `sqlite` is `toolgate.db` in the home, `postgres://user:password@host/database` a server that several gateways share.",
    ),
    setting(
        "store.password_file",
        Kind::Path,
        "none",
        "The file that holds the password for that server, instead of in its URL.",
    ),
    setting(
        "store.ca_file",
        Kind::Path,
        "none",
        "Certificates (PEM) of authorities that may vouch for that server, beside the well-known ones; it must then prove who it is, wherever it is.",
    ),
    setting(
        "counters.url",
        Kind::Server("memory", &["redis", "rediss"]),
        "memory",
        "Where rate limits are counted: `memory` is this process; a Redis or Valkey server (`rediss`: with TLS) counts for several gateways.",
    ),
    setting(
        "counters.password_file",
        Kind::Path,
        "none",
        "The file that holds the password for that server, instead of in its URL.",
    ),
    setting(
        "counters.ca_file",
        Kind::Path,
        "none",
        "Certificates (PEM) of the authorities that may vouch for that server (`rediss`), instead of those that this machine trusts.",
    ),
    setting(
        "counters.on_loss",
        Kind::OneOf(&["deny", "share"]),
        "deny",
        "What happens to calls while that server is away: they are refused (503), or each gateway counts its share of each limit: floor(N / `counters.nodes`).",
    ),
    setting(
        "counters.nodes",
        Kind::Count,
        "1",
        "How many gateways there are at most, for `counters.on_loss: share`.",
    ),
    setting(
        "policy.path",
        Kind::Path,
        "policy.yaml",
        "The policy file; read again when it changes, and on SIGHUP.",
    ),
    setting(
        "vault.key_file",
        Kind::Path,
        "vault.key",
        "The file that holds the vault's 256-bit key; nobody but its owner may read it.",
    ),
    setting(
        "vault.key_env",
        Kind::Variable,
        "none",
        "Instead of the file: the environment variable that holds the key as 64 hex digits or base64.",
    ),
    setting(
        "vault.passphrase_env",
        Kind::Variable,
        "none",
        "Instead of the file: the environment variable that holds a passphrase, which goes through scrypt.",
    ),
    setting(
        "risk.approve_at",
        Kind::Risk,
        "0.5",
        "At or above this risk a call waits for people even where a rule allows it; `none`: risk alone asks nobody.",
    ),
    setting(
        "risk.refuse_at",
        Kind::Risk,
        "none",
        "At or above this risk a call is refused with 403; `none`: risk alone refuses nothing.",
    ),
    setting(
        "risk.model.url",
        Kind::Endpoint,
        "none",
        "A model that is asked how risky a call is: the base of its endpoint, such as `https://api.example.com/v1`. \
         Without TLS only on this machine.",
    ),
    setting("risk.model.name", Kind::Name, "none", "The model's name at that endpoint."),
    setting(
        "risk.model.key_env",
        Kind::Variable,
        "none",
        "The environment variable that holds the key for that endpoint.",
    ),
    setting(
        "risk.model.style",
        Kind::OneOf(&["openai", "anthropic"]),
        "openai",
        "How the endpoint is spoken to: `openai` adds `/chat/completions` to its URL, `anthropic` adds `/v1/messages`.",
    ),
    setting(
        "risk.model.timeout",
        Kind::Duration,
        "10s",
        "How long the model may take; after it the call counts as riskier, and waits for people unless its rule says \
         `read: true`.",
    ),
    setting(
        "approvals.decide_within",
        Kind::Duration,
        "24h",
        "How long people have to decide about a call, where its rule does not say; then it expires.",
    ),
    setting(
        "approvals.execute_within",
        Kind::Duration,
        "15m",
        "How long an approved call may still be executed, where its rule does not say; then it expires.",
    ),
    setting(
        "approvals.keep_result",
        Kind::Duration,
        "24h",
        "How long a held call and its answer are kept, sealed, after its end.",
    ),
    setting(
        "approvals.max_pending_per_agent",
        Kind::Count,
        "20",
        "How many calls of one agent may wait for people at once (429 over it).",
    ),
    setting(
        "audit.sync",
        Kind::OneOf(&["flush", "os"]),
        "flush",
        "What a record survives before its call is sent: `flush` power loss, `os` only the death of the process.",
    ),
    setting(
        "audit.record",
        Kind::OneOf(&["calls", "everything"]),
        "calls",
        "Whether lists and housekeeping are recorded when refused (`calls`) or always (`everything`).",
    ),
    setting(
        "audit.retain",
        Kind::Delay,
        "90d",
        "How long the trail is kept; older events are dropped, and it says which. `none`: for ever.",
    ),
    setting("audit.value_limit", Kind::Size, "4KB", "The most that the trail keeps of a call's arguments."),
    setting(
        "notify",
        Kind::Sinks,
        "[]",
        "Who is told of held calls, decisions and the kill switch: docs/notifications.md.",
    ),
    setting("telemetry.log", Kind::OneOf(&["text", "json"]), "text", "The form of log lines on stderr."),
    setting(
        "telemetry.level",
        Kind::OneOf(&["error", "warn", "info", "debug"]),
        "info",
        "How much is logged; `debug` also shows the causes behind an error.",
    ),
    setting(
        "telemetry.otlp",
        Kind::Endpoint,
        "none",
        "The base URL of an OpenTelemetry collector (OTLP over HTTP) that gets a trace of each call.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        for setting in SETTINGS {
            let texts: Vec<_> = match setting.default {
                "[]" => vec![],
                one => vec![one.to_owned()],
            };
            assert!(setting.kind.read(&texts).is_ok(), "{}", setting.path);
            assert!(setting.doc.ends_with('.'), "{}", setting.path);
        }
    }

    #[test]
    fn no_two_settings_share_a_variable() {
        let names: std::collections::BTreeSet<_> = SETTINGS.iter().map(Setting::variable).collect();
        assert_eq!(names.len(), SETTINGS.len());
    }
}
