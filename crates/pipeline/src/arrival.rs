//! What comes in at a door and what goes out again.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use bytes::Bytes;
use domain::{
    agent::Agent,
    call::Call,
    clock::Now,
    idempotency::Repeatable,
    key::{KeyId, PresentedKey, Proof},
    oauth::{AccessToken, Resource},
    stop::{KeyFault, Stop},
    world::World,
};
use http::{HeaderMap, Method, response};
use jiff::Timestamp;
use tokio::sync::oneshot;
use wire::{Message, Target};

use crate::{
    budget::{BodyBudget, HeldBody},
    flow::{BodyHash, Flow},
    gateway::Bounds,
};

/// One request as a door understood it. Nothing in it has been checked against keys or policy.
pub struct Arrival {
    /// When it came.
    pub at: Now,
    /// From where: the client's address, for limiting failed authentication.
    pub source: IpAddr,
    /// The key that came with it.
    pub key: Presented,
    /// What it wants. Readable even when `exchange` is not, as far as the door understood.
    pub call: Arc<Call>,
    /// The request itself, or why it cannot be read. The walk tells only a caller whose key is good.
    pub exchange: Result<Exchange, Stop>,
    /// The headers that may travel on.
    pub headers: HeaderMap,
    /// The session token, where the client sent one.
    pub session: Option<String>,
    /// Whether the request is of the newest, stateless protocol.
    pub modern: bool,
    /// The idempotency key that came with it, where one did. For housekeeping it means nothing.
    pub repeatable: Option<Repeatable>,
    /// Why the agent says that it calls: its own words, nothing that we vouch for.
    pub intent: Option<String>,
    /// Resolves when the client has hung up.
    pub gone: oneshot::Receiver<Infallible>,
}

/// The key that came with a request.
#[derive(Clone)]
pub enum Presented {
    /// None.
    Missing,
    /// Something that is no key of ours.
    Misshapen,
    /// One key, perhaps several times.
    One(PresentedKey),
    /// An access token, and what it must be for.
    Token(AccessToken, Resource),
    /// Different ones: nobody can say who is asking.
    Several,
}

/// What a request asks an upstream for: one of the three things that a client of Streamable HTTP can do at an
/// endpoint, or a request to an HTTP API.
pub enum Exchange {
    /// Send a message.
    Post(Message),
    /// Open the stream of server messages (older protocol), or resume a broken one.
    Listen,
    /// End the session (older protocol).
    End,
    /// Ask an HTTP API.
    Request(ApiRequest),
}

/// A request to an HTTP API. Its headers are the arrival's.
pub struct ApiRequest {
    /// The method.
    pub method: Method,
    /// Path and query, read strictly: what is judged is what is sent.
    pub target: Target,
    /// The body.
    pub body: CallBody,
    /// Whether somebody must read the whole answer before any of it is handed out: then it is bounded whatever the
    /// service says of streams, and not left compressed.
    pub reads_answer: bool,
}

impl Exchange {
    /// Reads a request's body whole where it still flows, because somebody must look at it. It stays the same body.
    pub(crate) async fn hold_body(&mut self, bodies: &BodyBudget, bounds: &Bounds) -> Result<(), Stop> {
        let Self::Request(request) = self else { return Ok(()) };
        if let CallBody::Flow(_) = request.body {
            let body = std::mem::replace(&mut request.body, CallBody::Whole(Bytes::new()));
            if let CallBody::Flow(flow) = body {
                request.body =
                    CallBody::Held(bodies.read(flow, bounds.body_bytes_max, bounds.upstream_timeout).await?);
            }
        }
        Ok(())
    }
}

/// A request's body: whole where somebody must read it, else flowing.
pub enum CallBody {
    /// Small enough to have been read at the door.
    Whole(Bytes),
    /// Read whole because a gate had to; it holds a part of the budget for bodies.
    Held(HeldBody),
    /// Not read. It ends in an error at the first byte over the limit.
    Flow(Flow),
}

impl CallBody {
    /// The bytes, where they are known.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Whole(bytes) => Some(bytes),
            Self::Held(held) => Some(held.bytes()),
            Self::Flow(_) => None,
        }
    }
}

/// The answer to an arrival.
pub struct Reply {
    /// Status and headers.
    pub head: response::Parts,
    /// The body; its record closes when it ends.
    pub body: Flow,
    /// The hash of the request's body, where that flowed by unread; it is there once the body has been sent.
    pub body_hash: Option<BodyHash>,
    /// What the call's idempotency key is good for from now on, where it came with one that is spent.
    pub repeat: Option<Repeat>,
}

/// What a repeated call will be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// The same.
    Stored,
    /// That the outcome is unknown: this answer could not be kept.
    Unknown,
}

/// Who is calling, once that is proven.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The agent.
    pub agent: Arc<Agent>,
    /// The key it came with, or what stands for the subject of its access token.
    pub key: KeyId,
    /// What is looked at again.
    pub proof: Proof,
}

impl Caller {
    /// The agent as it is now, and when what it came with ends, if that is still good.
    ///
    /// # Errors
    /// The [`KeyFault`] says why it is not.
    pub fn still<'w>(
        &self,
        world: &'w World,
        now: Now,
    ) -> Result<(&'w Arc<Agent>, Option<Timestamp>), KeyFault> {
        match self.proof {
            Proof::Key(mac) => world.holder(&mac, now).map(|(key, agent)| (agent, key.expires_at)),
            Proof::Token { expires_at: Some(end), .. } if end <= now.wall => Err(KeyFault::Expired(self.key)),
            Proof::Token { expires_at, .. } => {
                let agent = world.active(&self.agent.name).ok_or(KeyFault::AgentDisabled(self.key))?;
                Ok((agent, expires_at))
            }
        }
    }
}
