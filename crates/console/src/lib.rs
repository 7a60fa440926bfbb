//! The desk of the people who judge calls: the JSON API under `/api` and the pages. It reads a request, asks `admin`,
//! and puts the answer into JSON or HTML. It decides nothing that `admin` or a gate decides, and touches no store.

mod answer;
mod api;
mod asked;
mod cookies;
mod denied;
mod etag;
mod health;
mod login;
mod metrics;
mod news;
mod origin;
mod overviews;
mod pages;
mod problem;
mod route;
mod searches;
mod welcome;
mod who;

use std::{net::IpAddr, sync::Arc};

use admin::{Admin, SessionKeys};
use counters::Counters;
use domain::{clock::Clock, risk::KnownRisk, stop::Refusal};
use http::{Request, Response};
use hyper::body::Incoming;
use jiff::Timestamp;
use pipeline::{
    approvals::Approvals, flow::Flow, freshness::Freshness, recorder::Recorder, timings::Timings,
};
use tokio::sync::{Semaphore, watch};
use vault::Vault;

pub use health::LastSeen;
pub use login::Logins;
pub use metrics::{METRICS, Metric, MonitorToken, Tally};
pub use news::News;
pub use overviews::Overviews;
pub use searches::Searches;
pub use welcome::Welcome;

use crate::{
    asked::Asked,
    problem::Problem,
    route::{Found, Least, Route},
};

/// Everything a request to the console reads or asks.
pub struct Desk {
    /// What operators may do; the only way to the store.
    pub admin: Admin,
    /// The same for questions that read much of the trail.
    pub searches: Searches,
    /// The overviews that were counted last.
    pub overviews: Overviews,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What calls are judged by at this moment: agents, keys, services, policy, kill switch.
    pub freshness: Arc<Freshness>,
    /// The trail's writer, for requests that are denied.
    pub recorder: Arc<Recorder>,
    /// The limits' state.
    pub counters: Arc<Counters>,
    /// News of held calls, and how long things take.
    pub approvals: Arc<Approvals>,
    /// What logins and operators' tokens are checked with; new keys are hashed with its pepper.
    pub sessions: SessionKeys,
    /// What keeps guessing at passwords slow.
    pub logins: Logins,
    /// From where on risk has consequences, and whether a model is asked; the hints of tools are in the store.
    pub risk: KnownRisk,
    /// What credentials are sealed with.
    pub vault: Arc<Vault>,
    /// What became of the policy file of late.
    pub policy: watch::Receiver<PolicyStanding>,
    /// The link for the first operator.
    pub welcome: Welcome,
    /// What happens, for who watches.
    pub news: News,
    /// What was counted of the trail since the start.
    pub tally: Arc<Tally>,
    /// Where the time of calls goes.
    pub timings: Arc<Timings>,
    /// What a monitor presents; `None`: only operators read metrics.
    pub monitor: Option<MonitorToken>,
    /// How the store, the vault and the counters were when they were last looked at.
    pub seen: LastSeen,
    /// Who verifies the trail, which reads all of it: one at a time.
    pub verifying: Semaphore,
    /// A command line to paste, of the arguments behind `toolgate`: the right program with the right home.
    pub command: Box<dyn Fn(&str) -> String + Send + Sync>,
    /// How the console is reached.
    pub manner: Manner,
    /// Turns true when the gateway is about to stop: streams end.
    pub stopping: watch::Receiver<bool>,
}

/// What became of the policy file of late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyStanding {
    /// When the policy in force was read.
    pub loaded_at: Timestamp,
    /// A newer file that was refused: when, and what is wrong with it.
    pub refused: Option<(Timestamp, String)>,
}

/// How the console is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Browsers reach it with TLS, here or at a proxy: cookies are `Secure` and named `__Host-…`, and browsers are told to
    /// come in no other way (RFC 6797).
    pub secure: bool,
}

impl Manner {
    /// The last touch of every answer on the console's listener: what it says to browsers.
    #[must_use]
    pub fn finish(self, response: Response<Flow>) -> Response<Flow> {
        answer::finished(response, self)
    }
}

const FOREIGN_HOST: &str =
    "the Host is not one of this console's names (console.allowed_hosts); open it under one of them";

impl Desk {
    /// Answers one request of a client at this address, whose head was judged before: what is wrong with it is refused
    /// here. [`Manner::finish`] has the last touch.
    pub async fn answer(
        self: Arc<Self>,
        source: IpAddr,
        head: Result<(), Refusal>,
        request: Request<Incoming>,
    ) -> Response<Flow> {
        let (mut asked, answered) = self.take(source, head, request).await;
        let mut response = answered.unwrap_or_else(|problem| {
            denied::record(&asked, &problem);
            problem.into_response(&asked)
        });
        // What a handler says of a login is newer.
        if !response.headers().contains_key(http::header::SET_COOKIE) {
            answer::set_cookies(&mut response, std::mem::take(&mut asked.renewed));
        }
        etag::unless_had(&asked, response)
    }

    /// From the request to its handler's answer, with what is known of the request by then.
    async fn take(
        self: Arc<Self>,
        source: IpAddr,
        judged: Result<(), Refusal>,
        request: Request<Incoming>,
    ) -> (Asked, Result<Response<Flow>, Problem>) {
        let (head, body) = request.into_parts();
        let mut asked = Asked::new(self, source, head);
        let found = match route::find(asked.method(), asked.path()) {
            Found::Route(route, captures) => {
                asked.captures = captures;
                asked.route = Some(route);
                Ok(route)
            }
            Found::OtherMethod(allowed) => Err(Problem::method_not_allowed(&allowed)),
            Found::Nothing => Err(Problem::not_found(
                "there is no such page here; the API is described at /api/openapi.json",
            )),
        };
        match judged {
            // No route takes `CONNECT` or `TRACE`.
            Ok(()) | Err(Refusal::MethodNotAllowed) => {}
            // DNS rebinding: a page of another site must not reach the desk under a name that leads here.
            Err(Refusal::ForeignOrigin(_)) => return (asked, Err(Problem::forged(FOREIGN_HOST))),
            Err(Refusal::Unreadable(why)) => return (asked, Err(Problem::unreadable(why.to_string()))),
            Err(_) => return (asked, Err(Problem::unreadable("the head of the request is refused"))),
        }
        let route = match found {
            Ok(route) => route,
            Err(problem) => return (asked, Err(problem)),
        };
        if let Err(problem) = admit(&mut asked, route).await {
            return (asked, Err(problem));
        }
        if let Err(problem) = etag::check_known(&asked, route) {
            return (asked, Err(problem));
        }
        if let Err(problem) = asked.read(body).await {
            return (asked, Err(problem));
        }
        if let Err(problem) = who::check_write(&asked) {
            return (asked, Err(problem));
        }
        let answered = (route.open)(asked.clone()).await;
        // What was changed here holds here at once; other nodes notice within a second. Where it cannot be read now, so
        // do we.
        if route.method != http::Method::GET && asked.desk.freshness.refresh().await.is_err() {
            tracing::warn!("what an operator changed is read again in a moment");
        }
        (asked, answered)
    }
}

/// Who asks, and whether they may.
async fn admit(asked: &mut Asked, route: &Route) -> Result<(), Problem> {
    origin::check(asked)?;
    let Least::Role(least) = route.least else {
        // Logging in goes on with a login that has run out.
        asked.who = who::identify(asked, false).await.ok().flatten().map(|(who, _)| who);
        return Ok(());
    };
    // Nobody in particular, who may read one thing.
    if metrics::is_for_monitor(asked, route) {
        return Ok(());
    }
    let (who, renewed) = who::identify(asked, true).await?.ok_or_else(Problem::no_session)?;
    let role = who.operator.role();
    (asked.who, asked.renewed) = (Some(who), renewed);
    if role < least {
        return Err(Problem::role_too_low(role, least));
    }
    Ok(())
}
