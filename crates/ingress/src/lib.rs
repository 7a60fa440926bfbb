//! The doors for agents. A door reads a request strictly, hands it to the walk, and puts the answer into the words of
//! its protocol. It decides nothing that a gate decides.

mod answer;
mod approvals;
mod asked;
mod challenge;
mod desk;
mod explain;
mod head;
mod health;
mod http;
mod identity;
mod inquiry;
mod intent;
mod limits;
mod listener;
mod mcp;
mod metadata;
mod origin;
mod outliving;
mod proxy;
mod repeatable;
mod services;
mod vigil;
mod waiting;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ::http::{HeaderValue, Request, Response, StatusCode, Version, header};
use arc_swap::ArcSwapOption;
use domain::{
    clock::Clock,
    oauth::Resource,
    stop::{Refusal, Unreadable},
};
use hyper::body::Incoming;
use pipeline::{Gateway, flow::Flow, gateway::CallIds};
use tokio::sync::watch;

use wire::http1::HeadFault;

pub use desk::Desk;
pub use listener::{Listener, ListenerFault, Tls};
pub use mcp::Members;
pub use origin::Names;
pub use waiting::Waiting;

/// What a listener serves: the gateway, and how requests are to be taken.
pub struct Front {
    /// Where the walk happens.
    pub gateway: Arc<Gateway>,
    /// The host names that this listener answers to.
    pub names: Names,
    /// Whether `?api_key=` may carry a key.
    pub key_in_query: bool,
    /// Whether a peer is a proxy whose `X-Forwarded-For` is believed.
    pub trusts_proxy: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Which doors this listener has.
    pub doors: &'static [Door],
    /// Who answers what none of its doors takes; nobody on the gateway's listener.
    pub desk: Option<Desk>,
    /// The requests that wait for people.
    pub waiting: Waiting,
    /// What is known of services for the endpoint of all of them.
    pub members: Members,
    /// Turns true when the gateway is about to stop: it is not ready any more, and still takes what comes.
    pub leaving: watch::Receiver<bool>,
}

/// What stands behind a listener: nobody while the vault is sealed, then a [`Front`].
pub struct Entrance {
    front: ArcSwapOption<Front>,
    ids: CallIds,
    clock: Arc<dyn Clock>,
    finish: Option<Finish>,
}

/// The last touch of an answer, such as headers that every answer has.
pub type Finish = Box<dyn Fn(Response<Flow>) -> Response<Flow> + Send + Sync>;

impl Entrance {
    /// Whoever knocks is told that the vault is sealed, until it is [opened](Entrance::open). Every answer of ours passes
    /// `finish`, where there is one: those of doors and desk, and refusals before either.
    #[must_use]
    pub fn sealed(ids: CallIds, clock: Arc<dyn Clock>, finish: Option<Finish>) -> Arc<Self> {
        Arc::new(Self { front: ArcSwapOption::empty(), ids, clock, finish })
    }

    /// From now on requests are brought to the doors of `front`, those on open connections too.
    pub fn open(&self, front: Front) {
        self.front.store(Some(Arc::new(front)));
    }
}

/// One door: the paths it takes, and what happens to a request there.
pub struct Door {
    /// What it is called in logs and documents.
    pub name: &'static str,
    /// Whether a path is its own.
    takes: fn(&str) -> bool,
    open: fn(Knock) -> Opening,
}

/// A request at a door.
struct Knock {
    front: Arc<Front>,
    peer: SocketAddr,
    request: Request<Incoming>,
}

/// An answer on its way.
pub type Opening = std::pin::Pin<Box<dyn Future<Output = Response<Flow>> + Send>>;

/// Every door of the gateway listener, in the order they are asked. This is the one list of them.
pub const DOORS: &[Door] = &[
    Door { name: "mcp", takes: mcp::takes, open: |knock| Box::pin(mcp::open(knock)) },
    Door { name: "http", takes: http::takes, open: |knock| Box::pin(http::open(knock)) },
    Door { name: "proxy", takes: proxy::takes, open: |knock| Box::pin(proxy::open(knock)) },
    Door { name: "services", takes: services::takes, open: |knock| Box::pin(services::open(knock)) },
    Door { name: "approvals", takes: approvals::takes, open: |knock| Box::pin(approvals::open(knock)) },
    Door { name: "metadata", takes: metadata::takes, open: |knock| Box::pin(metadata::open(knock)) },
    Door { name: "explain", takes: explain::takes, open: |knock| Box::pin(explain::open(knock)) },
    HEALTH,
];

/// The doors of the console listener, beside its desk.
pub const CONSOLE_DOORS: &[Door] = &[HEALTH];

const HEALTH: Door =
    Door { name: "health", takes: health::takes, open: |knock| Box::pin(health::open(knock)) };

/// Answers a request. Before a gateway stops, each answer ends its connection: a proxy in front then never sends
/// another request on a connection that is closed in the same moment, which it could not safely repeat.
async fn receive(
    entrance: &Entrance,
    peer: SocketAddr,
    request: Request<Incoming>,
    fault: Option<HeadFault>,
) -> Response<Flow> {
    let version = request.version();
    let mut response = bring(entrance, peer, request, fault).await;
    let is_leaving = entrance.front.load().as_ref().is_some_and(|front| *front.leaving.borrow());
    // HTTP/2 says so itself, when the listener drains.
    if is_leaving && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    match &entrance.finish {
        Some(finish) => finish(response),
        None => response,
    }
}

/// Brings a request to its door.
async fn bring(
    entrance: &Entrance,
    peer: SocketAddr,
    request: Request<Incoming>,
    fault: Option<HeadFault>,
) -> Response<Flow> {
    let path = request.uri().path();
    let Some(front) = entrance.front.load_full() else {
        return match health::takes(path) {
            true => health::open_sealed(&request),
            false => answer::sealed(entrance.ids.next(entrance.clock.now().wall)),
        };
    };
    let unreadable = fault.map(|fault| Refusal::Unreadable(Unreadable::Head(fault)));
    if let Some(refusal) = unreadable.or_else(|| head::check(&request).err()) {
        return refuse(front, peer, request, refusal).await;
    }
    match front.doors.iter().find(|door| (door.takes)(path)) {
        Some(door) if front.gateway.issuers.is_empty() => (door.open)(Knock { front, peer, request }).await,
        Some(door) => {
            let (gateway, resource) = (Arc::clone(&front.gateway), Resource::of_path(path));
            let mut response = (door.open)(Knock { front, peer, request }).await;
            challenge::complete(&mut response, &gateway.issuers, &resource);
            response
        }
        None => desk::open(Knock { front, peer, request }, Ok(())).await,
    }
}

/// Refuses a request for its head, and reads no other one on its connection. A desk says so itself.
async fn refuse(
    front: Arc<Front>,
    peer: SocketAddr,
    request: Request<Incoming>,
    refusal: Refusal,
) -> Response<Flow> {
    let version = request.version();
    let mut response = if front.desk.is_some() {
        desk::open(Knock { front, peer, request }, Err(refusal)).await
    } else {
        answer::refused_at_the_door(&front, request.uri().path(), refusal)
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED && !response.headers().contains_key(header::ALLOW)
    {
        // RFC 9110 §15.5.6. Some door takes each of these; none takes `CONNECT` or `TRACE`.
        let allow = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        response.headers_mut().insert(header::ALLOW, allow);
    }
    // HTTP/2 frames its requests itself: the others on the connection are sound (RFC 9113 §8.2.2).
    if version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
