//! The doors that agents come in by. A door reads a request strictly, hands it to the walk, and puts the answer
//! into the words of its protocol. It decides nothing that a gate decides.

mod answer;
mod health;
mod identity;
mod listener;
mod mcp;
mod origin;
mod repeatable;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{Request, Response};
use hyper::body::Incoming;
use pipeline::{Gateway, flow::Flow};

pub use listener::{Listener, ListenerFault, Tls};
pub use origin::Names;

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

type Opening = std::pin::Pin<Box<dyn Future<Output = Response<Flow>> + Send>>;

/// Every door of the gateway listener, in the order they are asked. This is the one list of them.
pub const DOORS: &[Door] =
    &[Door { name: "mcp", takes: mcp::takes, open: |knock| Box::pin(mcp::open(knock)) }, HEALTH];

/// The doors of the console listener.
pub const CONSOLE_DOORS: &[Door] = &[HEALTH];

const HEALTH: Door =
    Door { name: "health", takes: health::takes, open: |knock| Box::pin(health::open(knock)) };

/// Brings a request to its door.
async fn receive(front: Arc<Front>, peer: SocketAddr, request: Request<Incoming>) -> Response<Flow> {
    let path = request.uri().path();
    match front.doors.iter().find(|door| (door.takes)(path)) {
        Some(door) => (door.open)(Knock { front, peer, request }).await,
        None => answer::no_such_endpoint(&front),
    }
}
