//! A question that the gateway answers itself. Who asks is proven, limited and, when refused, recorded as anywhere else;
//! nothing of it is forwarded.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use domain::{
    call::{Action, Call},
    clock::Now,
    stop::{Refusal, Stop},
    world::World,
};
use http::{HeaderMap, HeaderValue, Response, header};
use pipeline::{
    Arrival, Exchange, Foretold, Presented,
    arrival::Caller,
    attend,
    flow::{self, Flow},
    foretell, inquire, refuse,
};
use tokio::sync::oneshot;
use wire::mcp::Class;

use crate::{
    Front, Knock,
    answer::{self, Form},
    identity::{self, Claims},
};

/// A question, and who claims to ask it.
pub(crate) struct Inquiry {
    pub(crate) front: Arc<Front>,
    pub(crate) at: Now,
    pub(crate) source: IpAddr,
    pub(crate) claims: Claims,
    /// What the trail calls it, should it be refused.
    pub(crate) call: Arc<Call>,
    /// Who asks, once that is proven.
    known: Option<Caller>,
}

impl Inquiry {
    /// The question at a door, under the name that the trail has for it.
    ///
    /// # Errors
    /// The answer to a request from where none may come.
    pub(crate) fn of(knock: &Knock, name: &'static str) -> Result<Self, Box<Response<Flow>>> {
        let Knock { front, peer, request } = knock;
        let at = front.gateway.clock.now();
        let call = Arc::new(Call {
            id: front.gateway.ids.next(at.wall),
            service: String::new(),
            method: name.into(),
            action: Action::Service,
            class: Class::Housekeeping,
        });
        let inquiry = Self {
            front: Arc::clone(front),
            at,
            source: identity::source(front, *peer, request.headers()),
            claims: Claims::of(request.headers(), request.uri(), front.key_in_query),
            call,
            known: None,
        };
        match front.names.check(request.uri(), request.headers()) {
            Ok(()) => Ok(inquiry),
            Err(foreign) => Err(Box::new(inquiry.turned_away(Refusal::ForeignOrigin(foreign)))),
        }
    }

    /// The question that a door has read by itself.
    pub(crate) fn made(front: Arc<Front>, at: Now, source: IpAddr, claims: Claims, call: Arc<Call>) -> Self {
        Self { front, at, source, claims, call, known: None }
    }

    /// The key that it came with, as far as there is one.
    pub(crate) fn key(&self) -> Option<&Presented> {
        self.claims.key()
    }

    /// Who asks, and the world as it is for them.
    ///
    /// # Errors
    /// The [`Stop`]: no good key, too many questions, or nothing can be confirmed.
    pub(crate) async fn caller(&mut self) -> Result<(Caller, Arc<World>), Stop> {
        // Nothing is forwarded: what is asked for here is answered by us.
        let arrival = self.arrival(Err(Refusal::MethodNotAllowed.into()), HeaderMap::new());
        let (caller, world) = inquire(arrival, &self.front.gateway).await?;
        self.known = Some(caller.clone());
        Ok((caller, world))
    }

    /// Who asks a service for what we answer in its place, and the world as it is for them; or what is `wrong` with it.
    ///
    /// # Errors
    /// See [`attend`].
    pub(crate) async fn attended(&mut self, wrong: Option<Stop>) -> Result<(Caller, Arc<World>), Stop> {
        let arrival = self.arrival(Err(Refusal::MethodNotAllowed.into()), HeaderMap::new());
        let (caller, world) = attend(arrival, wrong, &self.front.gateway).await?;
        self.known = Some(caller.clone());
        Ok((caller, world))
    }

    /// What would become of a call that is not made.
    ///
    /// # Errors
    /// See [`foretell`].
    pub(crate) async fn foretold(
        &mut self,
        asked: &Call,
        exchange: Result<Exchange, Stop>,
        headers: HeaderMap,
    ) -> Result<Foretold, Stop> {
        let arrival = self.arrival(exchange, headers);
        foretell(arrival, asked, &self.front.gateway).await
    }

    fn arrival(&mut self, exchange: Result<Exchange, Stop>, headers: HeaderMap) -> Arrival {
        let (_, gone) = oneshot::channel::<Infallible>();
        Arrival {
            at: self.at,
            source: self.source,
            key: std::mem::take(&mut self.claims).into_presented(),
            call: Arc::clone(&self.call),
            exchange,
            headers,
            session: None,
            modern: false,
            repeatable: None,
            intent: None,
            gone,
        }
    }

    /// Our answer, as JSON.
    pub(crate) fn told(&self, json: &serde_json::Value) -> Response<Flow> {
        let mut response = Response::new(flow::whole(json.to_string()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        answer::sign_own(&mut response, &self.call);
        response
    }

    /// The answer to a question that ended so.
    pub(crate) async fn stopped(&self, stop: &Stop) -> Response<Flow> {
        let stop = self.recorded(stop.clone()).await;
        answer::stopped(&stop, &self.call, &Form::Http, None)
    }

    /// Has it recorded when somebody asks for what is not theirs: guessing must show. How a held call of their own
    /// ended is in the trail already.
    pub(crate) async fn recorded(&self, stop: Stop) -> Stop {
        match (&self.known, &stop) {
            (Some(_), Stop::Refused(Refusal::NoSuchApproval | Refusal::NoApprovalNamed)) => {
                self.refused(stop).await
            }
            _ => stop,
        }
    }

    /// Has it recorded that somebody who is known was refused.
    pub(crate) async fn refused(&self, stop: Stop) -> Stop {
        match &self.known {
            Some(caller) => refuse(caller, &self.call, self.at, stop, &self.front.gateway).await,
            None => stop,
        }
    }

    /// The refusal of a method; `allow` are those that the path takes (RFC 9110 §15.5.6).
    pub(crate) fn not_allowed(&self, allow: &'static str) -> Response<Flow> {
        let mut response = self.turned_away(Refusal::MethodNotAllowed);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        response
    }

    fn turned_away(&self, refusal: Refusal) -> Response<Flow> {
        answer::turned_away(&self.front, &self.call, self.at, refusal, &Form::Http)
    }
}
