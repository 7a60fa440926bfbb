//! Services as words: what they are, and what differs between two.

use std::collections::BTreeMap;

use domain::{
    credential::CredentialSlot,
    service::{ApiUpstream, EnvValue, Network, OddPaths, RefusalForm, Service, UnknownMethods, Upstream},
};

/// One thing that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key in services.yaml.
    pub field: &'static str,
    /// Before. Values of environment variables are never in here, only their names.
    pub from: String,
    /// Now.
    pub to: String,
}

/// The upstream in one line: the command, or the address.
pub fn upstream_text(upstream: &Upstream) -> String {
    match upstream {
        Upstream::Http(http) | Upstream::Api(ApiUpstream { http, .. }) => http.url.to_string(),
        Upstream::Stdio(stdio) => stdio.command.join(" "),
    }
}

/// What differs, field by field, in the order of the contract's example.
pub fn differences(old: &Service, new: &Service) -> Vec<Difference> {
    let (old_fields, new_fields) = (fields(old), fields(new));
    let mut names: Vec<&'static str> = old_fields.iter().map(|(name, _)| *name).collect();
    names.extend(
        new_fields
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| !old_fields.iter().any(|(old, _)| old == name)),
    );
    let value = |fields: &[(&'static str, String)], name| {
        fields
            .iter()
            .find(|(field, _)| *field == name)
            .map_or_else(|| "–".to_owned(), |(_, value)| value.clone())
    };
    let mut found: Vec<Difference> = names
        .into_iter()
        .map(|field| Difference { field, from: value(&old_fields, field), to: value(&new_fields, field) })
        .filter(|difference| difference.from != difference.to)
        .collect();
    if let (Upstream::Stdio(old), Upstream::Stdio(new)) = (&old.upstream, &new.upstream) {
        let names = |env: &BTreeMap<String, EnvValue>| match env.is_empty() {
            true => "–".to_owned(),
            false => env.keys().cloned().collect::<Vec<_>>().join(" "),
        };
        if old.env != new.env {
            found.push(Difference { field: "env", from: names(&old.env), to: names(&new.env) });
        }
    }
    if let (Some(old), Some(new)) = (old.upstream.http(), new.upstream.http())
        && old.ca_pem != new.ca_pem
    {
        let shown = |pem: &Option<String>| if pem.is_some() { "a certificate" } else { "–" }.to_owned();
        found.push(Difference { field: "ca", from: shown(&old.ca_pem), to: shown(&new.ca_pem) });
    }
    found
}

/// A service's fields as they are written, without `env` and `ca`: their values are not for showing.
fn fields(service: &Service) -> Vec<(&'static str, String)> {
    let kind = match &service.upstream {
        Upstream::Api(_) => "http",
        Upstream::Http(_) | Upstream::Stdio(_) => "mcp",
    };
    let mut fields = vec![("kind", kind.to_owned())];
    if let Some(http) = service.upstream.http() {
        let network = match http.network {
            Network::Public => "public",
            Network::Private => "private",
        };
        fields.extend([("url", http.url.to_string()), ("network", network.to_owned())]);
    }
    match &service.upstream {
        Upstream::Stdio(stdio) => fields.extend([
            ("command", stdio.command.join(" ")),
            ("share", stdio.share.to_string()),
            ("processes", stdio.processes.to_string()),
            ("idle", format!("{}s", stdio.idle.as_secs())),
        ]),
        Upstream::Api(api) => {
            let odd_paths = match api.odd_paths {
                OddPaths::Refuse => "refuse",
                OddPaths::Pass => "pass",
            };
            fields.extend([("stream", api.stream.to_string()), ("odd_paths", odd_paths.to_owned())]);
            fields.extend(api.idempotency_header.clone().map(|header| ("idempotency_header", header)));
        }
        Upstream::Http(_) => {}
    }
    if kind == "mcp" {
        let unknown = match service.unknown_methods {
            UnknownMethods::Refuse => "refuse",
            UnknownMethods::Pass => "pass",
        };
        let refusals = match service.refusals {
            RefusalForm::Error => "error",
            RefusalForm::Result => "result",
        };
        fields.extend([
            ("unknown_methods", unknown.to_owned()),
            ("trust_annotations", service.trust_annotations.to_string()),
            ("pins", service.pins.as_str().to_owned()),
            ("refusals", refusals.to_owned()),
        ]);
    }
    if !service.credentials.is_empty() {
        let slots: Vec<String> = service.credentials.iter().map(slot_text).collect();
        fields.push(("credentials", slots.join(", ")));
    }
    if let Some(documentation) = &service.documentation {
        let hash: String = documentation.sha256.chars().take(8).collect();
        fields.push(("documentation", format!("{hash}…")));
    }
    fields
}

/// `token (header, x-token, Token {})`: a credential's name, its kind, and the kind's parameters.
fn slot_text(slot: &CredentialSlot) -> String {
    let parameters = slot.kind.parameters();
    let words = std::iter::once(slot.kind.word()).chain(parameters.values().map(String::as_str));
    format!("{} ({})", slot.name, words.collect::<Vec<_>>().join(", "))
}
