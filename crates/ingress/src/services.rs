//! The services door: `GET /v1/services`, what an agent may reach, where, and the documentation there is about it.

use std::collections::BTreeMap;

use domain::{
    names::ServiceName,
    service::{Service, Upstream},
    stop::Stop,
};
use http::{Method, Response};
use pipeline::flow::Flow;
use serde_json::json;

use crate::{Knock, inquiry::Inquiry};

pub(crate) fn takes(path: &str) -> bool {
    path == "/v1/services"
}

pub(crate) async fn open(knock: Knock) -> Response<Flow> {
    let mut inquiry = match Inquiry::of(&knock, "services") {
        Ok(inquiry) => inquiry,
        Err(response) => return *response,
    };
    if knock.request.method() != Method::GET {
        return inquiry.not_allowed("GET");
    }
    match list(&mut inquiry).await {
        // The second is where all of them can be called as one MCP server.
        Ok(list) => inquiry.told(&json!({ "services": list, "mcp": "/mcp" })),
        Err(stop) => inquiry.stopped(&stop).await,
    }
}

async fn list(inquiry: &mut Inquiry) -> Result<Vec<serde_json::Value>, Stop> {
    let (caller, world) = inquiry.caller().await?;
    let in_scope = caller.agent.scope.iter();
    let services: Vec<_> = in_scope.filter_map(|name| world.services.get(name)).cloned().collect();
    let texts = inquiry.front.gateway.documentation(&services).await?;
    Ok(services.iter().map(|service| described(service, &texts)).collect())
}

/// One service in the words of the contract; nothing about where it really is.
fn described(service: &Service, texts: &BTreeMap<ServiceName, String>) -> serde_json::Value {
    let name = &service.name;
    let (kind, endpoint) = match service.upstream {
        Upstream::Api(_) => ("http", format!("/http/{name}/")),
        Upstream::Http(_) | Upstream::Stdio(_) => ("mcp", format!("/mcp/{name}")),
    };
    json!({ "name": name, "kind": kind, "endpoint": endpoint, "documentation": texts.get(name) })
}
