//! The desk of the people who judge calls: the JSON API under `/api` and the pages. It reads a request, asks `admin`,
//! and puts the answer into JSON or HTML. It decides nothing that `admin` or a gate decides, and touches no store.

mod answer;
mod api;
mod asked;
mod denied;
mod origin;
mod pages;
mod problem;
mod route;
mod who;

use std::{net::IpAddr, sync::Arc};

use admin::Admin;
use domain::clock::Clock;
use http::{Request, Response};
use hyper::body::Incoming;
use pipeline::{approvals::Approvals, flow::Flow, freshness::Freshness, recorder::Recorder};
use tokio::sync::watch;
use vault::{Pepper, Vault};

use crate::{
    asked::Asked,
    problem::Problem,
    route::{Found, Least, Route},
};

/// Everything a request to the console reads or asks.
pub struct Desk {
    /// What operators may do; the only way to the store.
    pub admin: Admin,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What calls are judged by at this moment: agents, keys, services, policy, kill switch.
    pub freshness: Arc<Freshness>,
    /// The trail's writer, for requests that are denied.
    pub recorder: Arc<Recorder>,
    /// News of held calls, and how long things take.
    pub approvals: Arc<Approvals>,
    /// What operators' tokens are looked up by, and what new keys are hashed with.
    pub pepper: Pepper,
    /// What credentials are sealed with.
    pub vault: Arc<Vault>,
    /// How the console is reached.
    pub manner: Manner,
    /// Turns true when the gateway is about to stop: streams end.
    pub stopping: watch::Receiver<bool>,
}

/// How the console is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manner {
    /// Browsers reach it with TLS, here or at a proxy: cookies are `Secure` and named `__Host-…`.
    pub secure: bool,
}

impl Desk {
    /// Answers one request of a client at this address. Its head was judged before.
    pub async fn answer(self: Arc<Self>, source: IpAddr, request: Request<Incoming>) -> Response<Flow> {
        let (asked, answered) = self.take(source, request).await;
        let response = answered.unwrap_or_else(|problem| {
            if problem.is_denial() {
                denied::record(&asked, &problem);
            }
            problem.into_response(&asked)
        });
        answer::finished(response)
    }

    /// From the request to its handler's answer, with what is known of the request by then.
    async fn take(
        self: Arc<Self>,
        source: IpAddr,
        request: Request<Incoming>,
    ) -> (Asked, Result<Response<Flow>, Problem>) {
        let (head, body) = request.into_parts();
        let mut asked = Asked::new(self, source, head);
        let route = match route::find(asked.method(), asked.path()) {
            Found::Route(route, captures) => {
                asked.captures = captures;
                asked.route = Some(route);
                route
            }
            Found::OtherMethod(allowed) => return (asked, Err(Problem::method_not_allowed(&allowed))),
            Found::Nothing => return (asked, Err(Problem::not_found("there is no such page here"))),
        };
        if let Err(problem) = admit(&mut asked, route).await {
            return (asked, Err(problem));
        }
        if let Err(problem) = asked.read(body).await {
            return (asked, Err(problem));
        }
        if let Err(problem) = who::check_write(&asked) {
            return (asked, Err(problem));
        }
        let answered = (route.open)(asked.clone()).await;
        (asked, answered)
    }
}

/// Who asks, and whether they may.
async fn admit(asked: &mut Asked, route: &Route) -> Result<(), Problem> {
    origin::check(asked)?;
    let who = who::identify(asked).await;
    match (route.least, who) {
        (Least::Anyone, who) => asked.who = who.ok().flatten(),
        (Least::Role(_), Err(problem)) => return Err(problem),
        (Least::Role(_), Ok(None)) => return Err(Problem::no_session()),
        (Least::Role(least), Ok(Some(who))) => {
            let role = who.operator.role();
            asked.who = Some(who);
            if role < least {
                return Err(Problem::role_too_low(role, least));
            }
        }
    }
    Ok(())
}
