//! The metadata of the gateway's resources (RFC 9728): where clients get tokens for an endpoint. Anybody may read it,
//! so it does not reveal which services exist. Without an issuer there is none.

use domain::{oauth::Resource, stop::Refusal};
use http::{HeaderValue, Method, Response, header};
use pipeline::{
    flow::{self, Flow},
    issuers::METADATA_PATH,
};

use crate::{Knock, answer};

pub(crate) fn takes(path: &str) -> bool {
    below(path).is_some()
}

/// The path of the resource that is asked about.
fn below(path: &str) -> Option<&str> {
    path.strip_prefix(METADATA_PATH).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(crate) async fn open(knock: Knock) -> Response<Flow> {
    let Knock { front, request, .. } = knock;
    let gateway = &front.gateway;
    let path = request.uri().path();
    let refused = |refusal| answer::refused_at_the_door(&front, path, refusal);
    if let Err(foreign) = front.names.check(request.uri(), request.headers()) {
        return refused(Refusal::ForeignOrigin(foreign));
    }
    let resource = below(path).and_then(Resource::at).filter(|_| !gateway.issuers.is_empty());
    let Some(resource) = resource else { return answer::no_such_endpoint(&front) };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = refused(Refusal::MethodNotAllowed);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let mut response = Response::new(flow::whole(gateway.issuers.metadata(&resource).to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    response
}
