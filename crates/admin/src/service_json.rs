//! Services and their credentials as `--json` and the API have them: in the words of services.yaml.

use domain::{
    credential::CredentialSlot,
    service::{Network, OddPaths, RefusalForm, Service, UnknownMethods, Upstream},
};
use serde_json::{Map, Value, json};

use crate::CredentialView;

/// A service in the words of services.yaml. Of `env` only the names: values may be secret.
#[must_use]
pub fn service_json(service: &Service) -> Value {
    let mut members = Map::new();
    let mut put = |key: &str, value: Value| members.insert(key.to_owned(), value);
    let is_api = matches!(service.upstream, Upstream::Api(_));
    put("name", json!(service.name));
    put("kind", json!(if is_api { "http" } else { "mcp" }));
    if let Some(http) = service.upstream.http() {
        put("url", json!(http.url.to_string()));
        let network = match http.network {
            Network::Public => "public",
            Network::Private => "private",
        };
        put("network", json!(network));
        put("ca", json!(http.ca_pem.is_some()));
    }
    match &service.upstream {
        Upstream::Stdio(stdio) => {
            put("command", json!(stdio.command));
            put("env", json!(stdio.env.keys().collect::<Vec<_>>()));
            put("share", json!(stdio.share));
            put("processes", json!(stdio.processes));
            put("idle", json!(format!("{}s", stdio.idle.as_secs())));
        }
        Upstream::Http(_) => {}
        Upstream::Api(api) => {
            put("stream", json!(api.stream));
            put("idempotency_header", json!(api.idempotency_header));
            let odd_paths = match api.odd_paths {
                OddPaths::Refuse => "refuse",
                OddPaths::Pass => "pass",
            };
            put("odd_paths", json!(odd_paths));
        }
    }
    if !is_api {
        let unknown = match service.unknown_methods {
            UnknownMethods::Refuse => "refuse",
            UnknownMethods::Pass => "pass",
        };
        put("unknown_methods", json!(unknown));
        put("trust_annotations", json!(service.trust_annotations));
        put("pins", json!(service.pins.as_str()));
        let refusals = match service.refusals {
            RefusalForm::Error => "error",
            RefusalForm::Result => "result",
        };
        put("refusals", json!(refusals));
    }
    put("documentation", json!(service.documentation));
    put("credentials", service.credentials.iter().map(|slot| Value::Object(slot_json(slot))).collect());
    Value::Object(members)
}

/// A credential in the words of services.yaml.
fn slot_json(slot: &CredentialSlot) -> Map<String, Value> {
    let head = [("name".to_owned(), json!(slot.name)), ("kind".to_owned(), json!(slot.kind.word()))];
    let parameters = slot.kind.parameters();
    head.into_iter()
        .chain(parameters.into_iter().map(|(name, value)| (name.to_owned(), json!(value))))
        .collect()
}

/// A credential in the words of services.yaml, and what is known of its value.
#[must_use]
pub fn credential_json(view: &CredentialView) -> Value {
    let mut members = slot_json(&view.slot);
    members.insert("version".to_owned(), json!(view.value.map(|value| value.version)));
    members.insert("set_at".to_owned(), json!(view.value.map(|value| value.set_at.to_string())));
    Value::Object(members)
}
