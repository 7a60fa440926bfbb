//! Services in the words of services.yaml. Values of credentials go in and never come out. Commands can be set only by
//! whoever owns the home, because they run on its machine.

use std::collections::BTreeMap;

use admin::{CredentialView, Expected, SeenService, WantedService, credential_json, service_json};
use domain::{
    credential::check_value,
    names::CredentialName,
    service::{Service, Upstream, parse_declarations},
};
use http::{Response, StatusCode, header};
use pipeline::{dial::check_anchors, flow::Flow};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use vault::Secret;

use super::Listed;
use crate::{answer, asked::Asked, etag, problem::Problem};

/// The longest documentation that is taken (bytes).
const DOCUMENTATION_BYTES_MAX: usize = 1024 * 1024;

/// A service, as services.yaml has it.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct ServiceView(Value);

impl JsonSchema for ServiceView {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ServiceView".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "A service in the words of services.yaml. Members depend on its kind.",
            "required": ["name", "kind", "credentials", "documentation"],
            "properties": {
                "name": { "type": "string" },
                "kind": { "type": "string", "enum": ["mcp", "http"] },
                "url": { "type": "string", "description": "Where it is; a service with a command has none." },
                "network": { "type": "string", "enum": ["public", "private"] },
                "ca": { "type": "boolean", "description": "Whether it has a trust anchor of its own." },
                "command": { "type": "array", "items": { "type": "string" } },
                "env": { "type": "array", "items": { "type": "string" }, "description": "Names only." },
                "documentation": { "type": ["object", "null"] },
                "credentials": { "type": "array", "items": {
                    "type": "object",
                    "required": ["name", "kind", "version", "set_at"],
                    "properties": {
                        "name": { "type": "string" },
                        "kind": { "type": "string" },
                        "version": { "type": ["integer", "null"], "description": "None: it has no value." },
                        "set_at": { "type": ["string", "null"], "format": "date-time" }
                    }
                } }
            }
        })
    }
}

/// A service as it is to be.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct ServiceBody(Map<String, Value>);

impl JsonSchema for ServiceBody {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ServiceBody".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "One service as services.yaml has it (docs/services.md); `ca` is the PEM itself here, and \
                            there is no `command` and no `documentation`.",
            "required": ["kind", "url"],
            "properties": {
                "name": { "type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,39}$" },
                "kind": { "type": "string", "enum": ["mcp", "http"] },
                "url": { "type": "string" },
                "network": { "type": "string", "enum": ["public", "private"] },
                "ca": { "type": "string", "pattern": "-----BEGIN CERTIFICATE-----" },
                "stream": { "type": "boolean" },
                "idempotency_header": { "type": "string" },
                "credentials": { "type": "array", "items": {
                    "type": "object", "required": ["name", "kind"],
                    "properties": { "name": { "type": "string" }, "kind": { "type": "string" } }
                } }
            }
        })
    }
}

/// Values of credentials by their names.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct CredentialsBody(BTreeMap<String, String>);

/// What agents may read.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DocumentationBody {
    /// Text, Markdown or OpenAPI.
    text: String,
}

pub(crate) async fn list(asked: Asked) -> Result<Response<Flow>, Problem> {
    let admin = &asked.desk.admin;
    let mut items = Vec::new();
    for service in admin.list_services().await? {
        items.push(view(&service, &admin.list_credentials(service.name.as_str()).await?));
    }
    answer::ok(&Listed::all(items))
}

pub(crate) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    tagged(&asked, asked.part("name"), StatusCode::OK).await
}

pub(crate) async fn create(asked: Asked) -> Result<Response<Flow>, Problem> {
    let service = read(asked.json()?, None)?;
    let (name, actor) = (service.name.to_string(), asked.who()?.operator.actor());
    asked.desk.admin.put_service(&actor, asked.now.wall, service, Expected::Nothing).await?;
    let mut response = tagged(&asked, &name, StatusCode::CREATED).await?;
    answer::set(response.headers_mut(), header::LOCATION, &format!("/api/services/{name}"));
    Ok(response)
}

pub(crate) async fn put(asked: Asked) -> Result<Response<Flow>, Problem> {
    let service = read(asked.json()?, Some(asked.part("name")))?;
    let (admin, actor) = (&asked.desk.admin, asked.who()?.operator.actor());
    let name = service.name.to_string();
    let known = admin.list_services().await?;
    let known = known.iter().find(|known| known.name == service.name);
    if known.is_some_and(|known| matches!(known.upstream, Upstream::Stdio(_))) {
        return Err(runs_a_command());
    }
    let expected = match known {
        Some(_) => match seen(&asked, &admin.see_service(&name).await?)? {
            Some(revision) => Expected::Revision(revision),
            None => Expected::Anything,
        },
        None if asked.head.headers.contains_key(header::IF_MATCH) => {
            return Err(Problem::changed_meanwhile("the service"));
        }
        None => Expected::Nothing,
    };
    let put = admin.put_service(&actor, asked.now.wall, service, expected).await;
    put.map_err(|error| etag::meanwhile(&asked, error))?;
    // RFC 9110 §9.3.4.
    let status = if known.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    tagged(&asked, &name, status).await
}

pub(crate) async fn remove(asked: Asked) -> Result<Response<Flow>, Problem> {
    let (admin, actor) = (&asked.desk.admin, asked.who()?.operator.actor());
    let service = admin.see_service(asked.part("name")).await?;
    let revision = seen(&asked, &service)?;
    let removed = admin.remove_service(&actor, asked.now.wall, &service.service.name, revision).await;
    removed.map_err(|error| etag::meanwhile(&asked, error))?;
    Ok(answer::done())
}

/// Replaces them all: what is not named loses its value.
pub(crate) async fn set_credentials(asked: Asked) -> Result<Response<Flow>, Problem> {
    let CredentialsBody(values) = asked.json()?;
    let (desk, now, actor) = (&asked.desk, asked.now.wall, asked.who()?.operator.actor());
    let service = desk.admin.see_service(asked.part("name")).await?;
    seen(&asked, &service)?;
    let mut wanted = Vec::new();
    for (name, value) in values {
        let name = CredentialName::parse(&name).map_err(|bad| Problem::invalid(bad.to_string()))?;
        let value = Secret::new(value.into_bytes());
        // Whose value is bad is not known further down.
        if let Some(declared) = service.credentials.iter().find(|declared| declared.slot.name == name) {
            check_value(&declared.slot.kind, value.reveal())
                .map_err(|bad| Problem::invalid(format!("`{name}`: {bad}")))?;
        }
        wanted.push((name, value));
    }
    let replaced = desk.admin.replace_credentials(&actor, now, &desk.vault, &service, &wanted).await;
    replaced.map_err(|error| etag::meanwhile(&asked, error))?;
    tagged(&asked, asked.part("name"), StatusCode::OK).await
}

pub(crate) async fn document(asked: Asked) -> Result<Response<Flow>, Problem> {
    let DocumentationBody { text } = asked.json()?;
    if text.len() > DOCUMENTATION_BYTES_MAX {
        return Err(Problem::too_large(DOCUMENTATION_BYTES_MAX));
    }
    let (name, actor) = (asked.part("name"), asked.who()?.operator.actor());
    let text = Some(text).filter(|text| !text.trim().is_empty());
    let service = asked.desk.admin.see_service(name).await?;
    seen(&asked, &service)?;
    // The definition goes with it: it must be the one that was looked at, whoever asks.
    let expected = Expected::Revision(service.revision);
    let wanted = WantedService { service: service.service, documentation: text };
    let put = asked.desk.admin.put_documented_service(&actor, asked.now.wall, wanted, expected).await;
    put.map_err(|error| etag::meanwhile(&asked, error))?;
    tagged(&asked, name, StatusCode::OK).await
}

/// Reads a service in the words of services.yaml, with the reader of services.yaml.
fn read(ServiceBody(mut members): ServiceBody, name: Option<&str>) -> Result<Service, Problem> {
    if members.contains_key("command") {
        return Err(runs_a_command());
    }
    if members.contains_key("documentation") {
        return Err(Problem::invalid("documentation has a place of its own: PUT …/documentation"));
    }
    if let Some(name) = name {
        let named = members.entry("name").or_insert_with(|| json!(name));
        if *named != json!(name) {
            return Err(Problem::invalid(
                "the name in the body is another one than in the path; leave it out, or write the same",
            ));
        }
    }
    let ca = match members.remove("ca") {
        None | Some(Value::Null) => None,
        Some(Value::String(pem)) if check_anchors(&pem).is_ok() => Some(pem),
        Some(_) => return Err(Problem::invalid("`ca` must be certificates in PEM that can be read")),
    };
    // JSON is YAML as well.
    let text = json!({ "services": [members] }).to_string();
    let declared = parse_declarations("service", &text).map_err(|problems| {
        let said: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
        Problem::invalid(said.join("; "))
    })?;
    let declared = declared
        .into_iter()
        .next()
        .ok_or_else(|| Problem::invalid("there is no service in it; describe one"))?;
    let mut service = declared.service;
    match (ca, &mut service.upstream) {
        (None, _) => {}
        (pem, Upstream::Http(http)) => http.ca_pem = pem,
        (pem, Upstream::Api(api)) => api.http.ca_pem = pem,
        (Some(_), Upstream::Stdio(_)) => return Err(runs_a_command()),
    }
    Ok(service)
}

fn runs_a_command() -> Problem {
    Problem::forged(
        "a service with a command runs on the gateway's machine, so only whoever owns the home makes it: \
         toolgate services apply",
    )
}

async fn tagged(asked: &Asked, name: &str, status: StatusCode) -> Result<Response<Flow>, Problem> {
    let service = asked.desk.admin.see_service(name).await?;
    let mut response = answer::json(status, &view(&service.service, &service.credentials))?;
    answer::set(response.headers_mut(), header::ETAG, &tag(&service));
    Ok(response)
}

/// The revision that the request wants to see again; `None`: it does not say.
fn seen(asked: &Asked, service: &SeenService) -> Result<Option<i64>, Problem> {
    Ok(etag::check(asked, &tag(service), "the service")?.then_some(service.revision))
}

/// What an edit changes: the service, and which values its credentials have.
pub(crate) fn tag(service: &SeenService) -> String {
    let version = |credential: &CredentialView| match credential.value {
        Some(value) => format!("{} {}", credential.slot.name, value.version),
        None => credential.slot.name.to_string(),
    };
    let versions: Vec<String> = service.credentials.iter().map(version).collect();
    etag::of(&[service.service.name.as_str(), &service.revision.to_string(), &versions.join("\n")])
}

fn view(service: &Service, credentials: &[CredentialView]) -> ServiceView {
    let mut value = service_json(service);
    if let Some(members) = value.as_object_mut() {
        members.insert("credentials".to_owned(), credentials.iter().map(credential_json).collect());
    }
    ServiceView(value)
}

#[cfg(test)]
mod tests {
    use domain::names::ServiceName;

    use super::*;

    fn body(value: Value) -> ServiceBody {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_body_is_read_by_the_reader_of_services_yaml() {
        let service = read(
            body(json!({
                "kind": "http", "url": "https://api.example.com/v1", "idempotency_header": "Idempotency-Key",
                "credentials": [{ "name": "key", "kind": "bearer" }]
            })),
            Some("billing"),
        );
        let service = service.map_err(|problem| problem.detail).unwrap();
        assert_eq!((service.name.as_str(), service.credentials.len()), ("billing", 1));
        let plain = read(
            body(
                json!({ "name": "a", "kind": "mcp", "url": "http://127.0.0.1:1/mcp", "network": "private" }),
            ),
            None,
        );
        assert_eq!(plain.unwrap().name, ServiceName::parse("a").unwrap());
    }

    #[test]
    fn commands_paths_and_other_names_are_refused() {
        for (value, name) in [
            (json!({ "name": "a", "kind": "mcp", "command": ["sh"] }), None),
            (
                json!({ "name": "a", "kind": "http", "url": "https://x.test", "documentation": "/etc/passwd" }),
                None,
            ),
            (json!({ "name": "a", "kind": "http", "url": "https://x.test", "ca": "/etc/passwd" }), None),
            (json!({ "name": "a", "kind": "http", "url": "https://x.test" }), Some("b")),
            (json!({ "name": "a", "kind": "http", "url": "file:///etc/passwd" }), None),
            (json!({ "name": "a\nb: c", "kind": "http", "url": "https://x.test" }), None),
            (json!({ "name": "a", "kind": "http", "url": "https://x.test", "strange": 1 }), None),
        ] {
            assert!(read(body(value.clone()), name).is_err(), "{value}");
        }
    }
}
