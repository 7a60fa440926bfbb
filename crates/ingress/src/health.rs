//! `/healthz`: the process answers. `/readyz`: a call could be let through now.

use http::{HeaderValue, Method, Response, StatusCode, header};
use pipeline::flow::{self, Flow};

use crate::Knock;

pub(crate) fn takes(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

pub(crate) async fn open(knock: Knock) -> Response<Flow> {
    if !matches!(*knock.request.method(), Method::GET | Method::HEAD) {
        return say(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    if knock.request.uri().path() == "/healthz" {
        return say(StatusCode::OK, "ok\n");
    }
    match knock.front.gateway.ready().await {
        Ok(()) => say(StatusCode::OK, "ready\n"),
        Err(fault) => say(StatusCode::SERVICE_UNAVAILABLE, fault.code()),
    }
}

fn say(status: StatusCode, text: &'static str) -> Response<Flow> {
    let mut response = Response::new(flow::whole(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
