//! What a listener serves beside its doors: the console, which is another crate's. Heads are as strict there as
//! anywhere, and so are the names that are answered to; the rest is the desk's own business.

use std::net::IpAddr;

use domain::stop::Refusal;
use http::{Request, Response};
use hyper::body::Incoming;
use pipeline::flow::Flow;

use crate::{Knock, Opening, answer, identity, refuse};

/// Answers a request of this peer; behind a trusted proxy, of the client that the proxy names.
pub type Desk = Box<dyn Fn(IpAddr, Request<Incoming>) -> Opening + Send + Sync>;

/// Hands the request over.
pub(crate) async fn open(knock: Knock) -> Response<Flow> {
    let Knock { front, peer, request } = knock;
    let Some(desk) = &front.desk else { return answer::no_such_endpoint(&front) };
    // DNS rebinding: a page of another site must not reach the desk under a name that leads here.
    if !front.names.is_host_ours(request.uri(), request.headers()) {
        let foreign = "the Host is not one of this console's names (console.allowed_hosts)";
        return refuse(&front, &request, Refusal::ForeignOrigin(foreign));
    }
    let source = identity::source(&front, peer, request.headers());
    desk(source, request).await
}
