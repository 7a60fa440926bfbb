//! The services door: `GET /v1/services`, what an agent may reach, where, and what there is to read about it.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use domain::{
    call::{Action, Call},
    names::ServiceName,
    service::{Service, Upstream},
    stop::Refusal,
};
use http::{HeaderMap, HeaderValue, Method, Response, header};
use pipeline::{Arrival, flow, flow::Flow, inquire};
use serde_json::json;
use tokio::sync::oneshot;
use wire::mcp::Class;

use crate::{
    Knock,
    answer::{self, Form},
    identity::{self, Claims},
};

pub(crate) fn takes(path: &str) -> bool {
    path == "/v1/services"
}

pub(crate) async fn open(knock: Knock) -> Response<Flow> {
    let Knock { front, peer, request } = knock;
    let gateway = &front.gateway;
    let at = gateway.clock.now();
    let call = Arc::new(Call {
        id: gateway.ids.next(at.wall),
        service: String::new(),
        method: "services".into(),
        action: Action::Service,
        class: Class::Housekeeping,
    });
    if let Err(foreign) = front.names.check(request.uri(), request.headers()) {
        return answer::turned_away(&front, &call, at, Refusal::ForeignOrigin(foreign), &Form::Http);
    }
    let (_alive, gone) = oneshot::channel::<Infallible>();
    let arrival = Arrival {
        at,
        source: identity::source(&front, peer, request.headers()),
        key: Claims::of(request.headers(), request.uri(), front.key_in_query).into_presented(),
        call: Arc::clone(&call),
        // Nothing is forwarded: what is asked for here is answered by us.
        exchange: Err(Refusal::MethodNotAllowed.into()),
        headers: HeaderMap::new(),
        session: None,
        modern: false,
        repeatable: None,
        intent: None,
        gone,
    };
    if request.method() != Method::GET {
        return answer::turned_away(&front, &call, at, Refusal::MethodNotAllowed, &Form::Http);
    }
    let services = match inquire(arrival, gateway).await {
        Ok((caller, world)) => {
            let in_scope = caller.agent.scope.iter();
            in_scope.filter_map(|name| world.services.get(name)).cloned().collect::<Vec<_>>()
        }
        Err(stop) => return answer::stopped(&stop, &call, &Form::Http, None),
    };
    let texts = match gateway.documentation(&services).await {
        Ok(texts) => texts,
        Err(fault) => return answer::stopped(&fault.into(), &call, &Form::Http, None),
    };
    let list: Vec<_> = services.iter().map(|service| described(service, &texts)).collect();
    let mut response = Response::new(flow::whole(json!({ "services": list }).to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer::sign_own(&mut response, &call);
    response
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
