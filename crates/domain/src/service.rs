//! Services: the upstreams that agents reach through the gateway (contract §3).

mod declaration;

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use declaration::{DeclarationFault, Declared, parse_declarations};

use crate::{
    audit::push_hex,
    credential::CredentialSlot,
    names::{CredentialName, ServiceName},
    yaml::without_passwords,
};

/// One upstream and how it is to be treated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name: the last part of `/mcp/{service}`.
    pub name: ServiceName,
    /// Where it is.
    pub upstream: Upstream,
    /// What happens to methods that no supported version of MCP knows.
    pub unknown_methods: UnknownMethods,
    /// How a refused `tools/call` is answered.
    pub refusals: RefusalForm,
    /// Whether what its tools say about themselves counts for risk. Only services of kind `mcp` have tools.
    #[serde(default)]
    pub trust_annotations: bool,
    /// Which of its tools may be called. Only services of kind `mcp` have tools.
    #[serde(default)]
    pub pins: Pins,
    /// What is added to its requests, or to its child's environment.
    #[serde(default)]
    pub credentials: Vec<CredentialSlot>,
    /// What agents may read about it; the text is kept apart.
    #[serde(default)]
    pub documentation: Option<Documentation>,
}

impl Service {
    /// A rule to begin with, as a line below `allow` in the policy: what reads.
    #[must_use]
    pub fn example_rule(&self) -> String {
        let reads = match self.upstream {
            Upstream::Api(_) => "requests: [\"GET /**\"]",
            Upstream::Http(_) | Upstream::Stdio(_) => "tools: [\"read_*\", \"list_*\"]",
        };
        format!("- {{ service: {}, {reads} }}", self.name)
    }
}

/// Which documentation a service has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Documentation {
    /// SHA-256 of the text, lower-case hex: tells one text from another.
    pub sha256: String,
    /// Its length (bytes).
    pub bytes: u64,
}

impl Documentation {
    /// What tells `text` from other texts.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut sha256 = String::with_capacity(64);
        push_hex(&mut sha256, &Sha256::digest(text.as_bytes()));
        Self { sha256, bytes: text.len() as u64 }
    }
}

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upstream {
    /// MCP over Streamable HTTP.
    Http(HttpUpstream),
    /// MCP over the standard streams of a child process.
    Stdio(StdioUpstream),
    /// A plain HTTP API.
    Api(ApiUpstream),
}

impl Upstream {
    /// Where it is, if it has an address.
    #[must_use]
    pub fn http(&self) -> Option<&HttpUpstream> {
        match self {
            Self::Http(http) | Self::Api(ApiUpstream { http, .. }) => Some(http),
            Self::Stdio(_) => None,
        }
    }

    /// What a credential belongs to: scheme, host and port of an address; one word for every child.
    #[must_use]
    pub fn origin(&self) -> String {
        match self {
            Self::Http(http) | Self::Api(ApiUpstream { http, .. }) => http.url.origin(),
            Self::Stdio(_) => "stdio".to_owned(),
        }
    }

    /// Where exactly it is: the whole address; of a child, its program and arguments, each quoted.
    #[must_use]
    pub fn destination(&self) -> String {
        match self {
            Self::Http(http) | Self::Api(ApiUpstream { http, .. }) => http.url.uri().to_string(),
            Self::Stdio(child) => format!("stdio {:?}", child.command),
        }
    }

    /// What tells it from any other: SHA-256 of everything that it was declared with. `None`: it has no JSON form.
    #[must_use]
    pub fn fingerprint(&self) -> Option<[u8; 32]> {
        serde_json::to_vec(self).ok().map(|text| Sha256::digest(&text).into())
    }
}

/// An HTTP API behind a base URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiUpstream {
    /// Where it is. The path of the address comes before the path of every request.
    pub http: HttpUpstream,
    /// Whether answers may outlast the time and size of others.
    pub stream: bool,
    /// The header by which the upstream itself knows idempotency keys; forwarded where it is named.
    pub idempotency_header: Option<String>,
    /// Whether paths may hold what two programs could read differently.
    pub odd_paths: OddPaths,
}

/// What happens to request paths that two programs could read differently: `//`, an encoded slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OddPaths {
    /// They are refused.
    Refuse,
    /// They pass as they are; `.` and `..` never do.
    Pass,
}

impl From<OddPaths> for wire::OddTargets {
    fn from(odd: OddPaths) -> Self {
        match odd {
            OddPaths::Refuse => Self::Refuse,
            OddPaths::Pass => Self::Pass,
        }
    }
}

/// A server behind a URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpUpstream {
    /// `http` or `https`, host, optional port, path; no user information, no fragment.
    pub url: UpstreamUrl,
    /// Which addresses the host may resolve to.
    pub network: Network,
    /// An extra trust anchor, PEM.
    pub ca_pem: Option<String>,
}

/// An MCP server that is started as a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StdioUpstream {
    /// Program and arguments; no shell reads them.
    pub command: Vec<String>,
    /// What the child's environment holds besides `PATH`, `HOME` and `LANG`.
    pub env: BTreeMap<String, EnvValue>,
    /// One child for everybody, with ids rewritten; else one per session, or per key in the newest protocol.
    pub share: bool,
    /// The most children at once.
    pub processes: u32,
    /// A child that has had nothing to do for so long is stopped.
    pub idle: Duration,
}

/// The value of a variable in a child's environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvValue {
    /// A text that is no secret.
    Plain(String),
    /// A credential of the service, of the kind `env`.
    Credential(CredentialName),
}

impl EnvValue {
    /// The credential that the value is, if it is one.
    #[must_use]
    pub fn credential(&self) -> Option<&CredentialName> {
        match self {
            Self::Plain(_) => None,
            Self::Credential(name) => Some(name),
        }
    }
}

/// Which addresses a service's host may resolve to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Globally reachable addresses only.
    Public,
    /// Loopback, private and link-local ones too; never a cloud's metadata address.
    Private,
}

/// What happens to methods that no supported version of MCP knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownMethods {
    /// They are refused.
    Refuse,
    /// They pass, as housekeeping.
    Pass,
}

/// Which of a service's tools may be called: whether their definitions are pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pins {
    /// Those of the first list, as they are there; what is new or changes later waits for an operator.
    #[default]
    FirstUse,
    /// Those that an operator has accepted.
    Review,
    /// All, whatever becomes of them.
    Off,
}

impl Pins {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::FirstUse, Self::Review, Self::Off];

    /// The word in services.yaml.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FirstUse => "first-use",
            Self::Review => "review",
            Self::Off => "off",
        }
    }
}

/// How a refused `tools/call` is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RefusalForm {
    /// As a JSON-RPC error.
    Error,
    /// As a tool result with `isError`, for clients that hide errors from the model.
    Result,
}

/// An upstream's address, parsed once. What is shown is what is dialled.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UpstreamUrl(http::Uri);

/// Why a text is no address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{text}` is no upstream address: {why}")]
pub struct BadUrl {
    text: String,
    why: &'static str,
}

impl BadUrl {
    /// Why, without the text: it may have a secret in it.
    #[must_use]
    pub fn why(&self) -> &'static str {
        self.why
    }
}

impl UpstreamUrl {
    /// Parses an absolute `http` or `https` URL without user information and fragment.
    ///
    /// # Errors
    /// [`BadUrl`] says what is wrong.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let bad = |why| BadUrl {
            text: without_passwords(text).chars().take(120).flat_map(char::escape_default).collect(),
            why,
        };
        if text.contains('#') {
            return Err(bad("a fragment is never sent, leave it out"));
        }
        let uri: http::Uri = text.parse().map_err(|_| bad("it is not a URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad("it must start with http:// or https://"));
        }
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("user and password do not belong in an address"));
        }
        if authority.host().is_empty() {
            return Err(bad("it names no host"));
        }
        let behind_host = authority.as_str().get(authority.host().len()..).unwrap_or_default();
        if !behind_host.is_empty() && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(bad("its port is not one of 1 to 65535"));
        }
        Ok(Self(uri))
    }

    /// The parsed address.
    #[must_use]
    pub fn uri(&self) -> &http::Uri {
        &self.0
    }

    /// Host name or address, IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port that is dialled.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.is_tls() { 443 } else { 80 })
    }

    /// `scheme://host:port`, all three written out.
    #[must_use]
    pub fn origin(&self) -> String {
        let scheme = if self.is_tls() { "https" } else { "http" };
        let host = self.0.host().unwrap_or_default().to_ascii_lowercase();
        format!("{scheme}://{host}:{}", self.port())
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }
}
/// As people write it: a path that is only `/` is left out.
impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let bare = self.0.path() == "/" && self.0.query().is_none();
        f.pad(if bare { text.trim_end_matches('/') } else { &text })
    }
}
impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl TryFrom<String> for UpstreamUrl {
    type Error = BadUrl;
    fn try_from(text: String) -> Result<Self, BadUrl> {
        Self::parse(&text)
    }
}
impl From<UpstreamUrl> for String {
    fn from(url: UpstreamUrl) -> Self {
        url.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_path_or_argument_is_another_destination() {
        let http = |url: &str| {
            let url = UpstreamUrl::parse(url).unwrap();
            Upstream::Http(HttpUpstream { url, network: Network::Private, ca_pem: None }).destination()
        };
        let child = |command: &[&str]| {
            let command = command.iter().map(|part| (*part).to_owned()).collect();
            let (env, idle) = (BTreeMap::new(), Duration::ZERO);
            Upstream::Stdio(StdioUpstream { command, env, share: false, processes: 1, idle }).destination()
        };
        let all = [
            http("http://127.0.0.1:3001/mcp"),
            http("http://127.0.0.1:3001/admin"),
            http("http://127.0.0.1:3001/mcp?x=1"),
            child(&["files", "/srv/data"]),
            child(&["files", "/srv"]),
            child(&["files /srv"]),
            child(&["files", "/srv", ""]),
        ];
        for (place, one) in all.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other == one), Some(place), "{one}");
        }
    }

    #[test]
    fn an_address_is_http_without_user_or_fragment() {
        for good in ["http://127.0.0.1:3001/mcp", "https://api.example.com", "http://[::1]:80/x?y=z"] {
            assert!(UpstreamUrl::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/mcp",
            "ftp://x/",
            "http://",
            "http://u:p@x/",
            "http://x/#f",
            "http://x:0/",
            "http://x:99999/",
        ] {
            assert!(UpstreamUrl::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(UpstreamUrl::parse("http://[::1]:8/").unwrap().host(), "::1");
        assert_eq!(UpstreamUrl::parse("https://x/").unwrap().port(), 443);
    }
}
