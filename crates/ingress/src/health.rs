//! `/healthz`: the process answers. `/readyz`: a call could be let through right now.

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use pipeline::flow::{self, Flow};

use crate::Knock;

pub(crate) fn takes(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

pub(crate) async fn open(knock: Knock) -> Response<Flow> {
    if let Some(said) = alive(&knock.request) {
        return said;
    }
    if *knock.front.leaving.borrow() {
        return say(StatusCode::SERVICE_UNAVAILABLE, "stopping");
    }
    match knock.front.gateway.ready().await {
        Ok(()) => say(StatusCode::OK, "ready\n"),
        Err(fault) => say(StatusCode::SERVICE_UNAVAILABLE, fault.code()),
    }
}

/// While the vault is sealed: the process lives, and no call could be let through.
pub(crate) fn open_sealed(request: &Request<Incoming>) -> Response<Flow> {
    alive(request).unwrap_or_else(|| say(StatusCode::SERVICE_UNAVAILABLE, "sealed"))
}

/// What is said without looking at anything.
fn alive(request: &Request<Incoming>) -> Option<Response<Flow>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = say(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(refused);
    }
    (request.uri().path() == "/healthz").then(|| say(StatusCode::OK, "ok\n"))
}

fn say(status: StatusCode, text: &'static str) -> Response<Flow> {
    let mut response = Response::new(flow::whole(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
