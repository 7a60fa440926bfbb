//! The description of the API (OpenAPI 3.1.0), generated from the table of its routes and the types that go in and
//! out.

use http::Response;
use pipeline::flow::Flow;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    ENDPOINTS, Endpoint, Place,
    endpoint::{Answer, Form, IF_MATCH, Param, REFRESH},
};
use crate::{answer, asked::Asked, cookies, problem::Problem, route::Least};

/// The description itself.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Document(Value);

impl JsonSchema for Document {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OpenApi".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "required": ["openapi", "paths"] })
    }
}

pub(crate) async fn show(asked: Asked) -> Result<Response<Flow>, Problem> {
    answer::ok(&Document(document(cookies::prefix(&asked))))
}

/// `prefix`: what the names of cookies begin with here.
fn document(prefix: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        let operation = operation(endpoint, &mut generator);
        let path = paths.entry(endpoint.route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(endpoint.route.method.as_str().to_ascii_lowercase(), operation);
        }
    }
    let mut schemas = generator.take_definitions(true);
    schemas.insert("Problem".to_owned(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Toolgate console",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What operators may do. Sessions and operators' tokens come as `Authorization: Bearer`, or in \
                            a browser as cookies; a write by cookie carries the session's token in `X-CSRF-Token`. \
                            Each role may do what the one before it may: viewer, approver, owner.",
        },
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer" },
                "refresh": {
                    "type": "apiKey", "in": "cookie", "name": format!("{prefix}{}", REFRESH.name),
                    "description": REFRESH.doc,
                },
            },
            "schemas": schemas,
        },
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let route = &endpoint.route;
    let mut parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }))
        .collect();
    parameters.extend(endpoint.at(Place::Query).map(|param| parameter(param, "query")));
    parameters.extend(endpoint.at(Place::Header).map(|param| parameter(param, "header")));
    let headers: Map<String, Value> = endpoint
        .at(Place::Answer)
        .map(|param| {
            let header =
                json!({ "description": param.doc, "required": true, "schema": schema_of(param.form) });
            (param.name.to_owned(), header)
        })
        .collect();
    let mut success = json!({ "description": "Done." });
    if let (false, Some(success)) = (headers.is_empty(), success.as_object_mut()) {
        success.insert("headers".to_owned(), Value::Object(headers));
    }
    let content = match endpoint.answer {
        Answer::Nothing => None,
        Answer::Json(schema) => Some(json!({ "application/json": { "schema": schema(generator) } })),
        Answer::Text(media) => {
            let media =
                media.iter().map(|media| ((*media).to_owned(), json!({ "schema": { "type": "string" } })));
            Some(Value::Object(media.collect()))
        }
    };
    if let (Some(content), Some(success)) = (content, success.as_object_mut()) {
        success.insert("content".to_owned(), content);
    }
    let mut responses = Map::new();
    for status in endpoint.statuses {
        responses.insert(status.to_string(), success.clone());
    }
    let refused = |why: &str| {
        json!({
            "description": why,
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        })
    };
    if endpoint.at(Place::Header).any(|param| param.name == IF_MATCH.name) {
        let changed = refused("Not done: it was changed since it had the tag of If-Match.");
        responses.insert("412".to_owned(), changed);
    }
    responses.insert("default".to_owned(), refused("Not done; `detail` says why."));
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "responses": responses,
    });
    let Some(members) = operation.as_object_mut() else { return operation };
    match route.least {
        Least::Anyone if endpoint.at(Place::Proof).next().is_some() => {
            members.insert("security".to_owned(), json!([{ "refresh": [] }]))
        }
        Least::Anyone => members.insert("security".to_owned(), json!([])),
        Least::Role(role) => members.insert("x-role".to_owned(), json!(role.as_str())),
    };
    if !parameters.is_empty() {
        members.insert("parameters".to_owned(), json!(parameters));
    }
    if let Some(body) = endpoint.body {
        let (schema, required) = present(body(generator).to_value());
        members.insert(
            "requestBody".to_owned(),
            json!({ "required": required, "content": { "application/json": { "schema": schema } } }),
        );
    }
    operation
}

/// A body's schema, and whether there must be one: an `Option` may be left out, but is never `null`.
fn present(mut schema: Value) -> (Value, bool) {
    let null = json!({ "type": "null" });
    let choices = schema.get_mut("anyOf").and_then(Value::as_array_mut);
    match choices.map(|choices| choices.as_mut_slice()) {
        Some([body, other]) if *other == null => (body.take(), false),
        _ => (schema, true),
    }
}

/// `get_agents_name`.
fn operation_id(endpoint: &Endpoint) -> String {
    let path =
        endpoint.route.path.trim_start_matches("/api/").replace(['/', '.'], "_").replace(['{', '}'], "");
    format!("{}_{path}", endpoint.route.method.as_str().to_ascii_lowercase())
}

fn parameter(param: &Param, place: &str) -> Value {
    let schema = schema_of(param.form);
    json!({ "name": param.name, "in": place, "required": false, "description": param.doc, "schema": schema })
}

fn schema_of(form: Form) -> Value {
    match form {
        Form::Text => json!({ "type": "string", "minLength": 1 }),
        Form::Pattern(pattern) => json!({ "type": "string", "pattern": pattern }),
        Form::Time => json!({ "type": "string", "format": "date-time" }),
        Form::Count(most) => json!({ "type": "integer", "minimum": 1, "maximum": most }),
        Form::OneOf(words) => json!({ "type": "string", "enum": words() }),
    }
}

/// RFC 9457.
fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "retry_after": { "type": "integer", "description": "Seconds." },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_once_and_every_reference_leads_somewhere() {
        let document = document("");
        let paths = document["paths"].as_object().unwrap();
        let described: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
        assert_eq!(described, ENDPOINTS.len());
        let mut ids = std::collections::BTreeSet::new();
        for operation in paths.values().flat_map(|path| path.as_object().unwrap().values()) {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()));
            assert!(operation["summary"].as_str().unwrap().ends_with('.'));
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
        }
        assert!(!text.contains("#/$defs/"), "everything is in components");
    }

    #[test]
    fn what_stands_in_headers_and_cookies_is_described() {
        let document = document("__Host-");
        let headers_of = |operation: &Value| -> Vec<String> {
            let all = operation["parameters"].as_array().cloned().unwrap_or_default();
            let headers = all.iter().filter(|parameter| parameter["in"] == "header");
            headers.map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
        };
        let paths = &document["paths"];
        let edit = &paths["/api/services/{name}"]["put"];
        assert_eq!(headers_of(edit), ["If-Match"]);
        assert!(edit["responses"]["201"]["headers"]["ETag"].is_object(), "{edit}");
        assert!(edit["responses"]["200"].is_object() && edit["responses"]["412"].is_object(), "{edit}");
        assert!(paths["/api/agents/{name}"]["get"]["responses"]["200"]["headers"]["ETag"].is_object());
        assert!(paths["/api/services/{name}"]["get"]["responses"].get("412").is_none());
        assert_eq!(headers_of(&paths["/api/events"]["get"]), ["Last-Event-ID"]);
        assert_eq!(paths["/api/refresh"]["post"]["security"], json!([{ "refresh": [] }]));
        let cookie = &document["components"]["securitySchemes"]["refresh"];
        assert_eq!((&cookie["in"], &cookie["name"]), (&json!("cookie"), &json!("__Host-toolgate-refresh")));
        assert_eq!(paths["/metrics"]["get"]["x-role"], "viewer", "and a monitor's token");
        assert_eq!(paths["/api/login"]["post"]["security"], json!([]));
    }
}
