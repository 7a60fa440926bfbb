//! What a listener serves besides its doors: the console, which is another crate. Request heads and host names are
//! checked here as strictly as anywhere; the rest, refusals included, is up to the console.

use std::net::IpAddr;

use domain::stop::Refusal;
use http::{Request, Response};
use hyper::body::Incoming;
use pipeline::flow::Flow;

use crate::{Knock, Opening, answer, identity};

/// Answers a request of this peer; behind a trusted proxy, of the client that the proxy names. What is wrong with its head
/// is said with it: a name that is not ours, a head that others may read in another way, a method that nobody takes. Such
/// a request must be refused, and the desk alone can record that, and say it in words for people.
pub type Desk = Box<dyn Fn(IpAddr, Result<(), Refusal>, Request<Incoming>) -> Opening + Send + Sync>;

/// Hands the request over.
pub(crate) async fn open(knock: Knock, head: Result<(), Refusal>) -> Response<Flow> {
    let Knock { front, peer, request } = knock;
    let Some(desk) = &front.desk else { return answer::no_such_endpoint(&front) };
    let is_ours = head.is_err() || front.names.is_host_ours(request.uri(), request.headers());
    let head = if is_ours { head } else { Err(Refusal::ForeignOrigin("the Host is not one of its names")) };
    let source = identity::source(&front, peer, request.headers());
    desk(source, head, request).await
}
