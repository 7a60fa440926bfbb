//! Gate 20: may they ask for this? The kill switch first, then scope, then the policy (silence means no), then whether
//! the session they name is theirs. Arguments are looked at only where a condition needs them, or where a header must
//! repeat them.

use std::{convert::Infallible, sync::Arc};

use domain::{
    call::{Action, Call},
    clock::Now,
    idempotency::Repeatable,
    policy::{Args, Facts, Refused, Rights, RuleRisk, Verdict, Wants, judge},
    service::{Service, Upstream},
    stop::{Fault, Refusal, Stop, Unreadable},
    tools::Catalogue,
    world::World,
};
use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use tokio::sync::oneshot;
use wire::{
    Limits,
    mcp::{self, Class, PARAM_ANNOTATION, repeated_arguments},
};

use super::{g10_authenticate::Authenticated, g30_rate_limit::charge_housekeeping, g70_record::Draft};
use crate::{
    arguments,
    arrival::{Caller, Exchange},
    budget::BodyBudget,
    gateway::{Bounds, Gateway},
    session::Session,
    tools::{Asking, told_of_client},
};

/// A readable call that the policy allows. Only this gate can make one.
pub struct Authorized {
    pub(crate) caller: Caller,
    pub(crate) call: Arc<Call>,
    pub(crate) service: Arc<Service>,
    pub(crate) session: Option<Session>,
    /// The token that it came as.
    pub(crate) session_token: Option<String>,
    pub(crate) exchange: Exchange,
    pub(crate) at: Now,
    pub(crate) headers: HeaderMap,
    pub(crate) modern: bool,
    /// The key under which it is made at most once; housekeeping has none.
    pub(crate) repeatable: Option<Repeatable>,
    /// What the rule that allows it, or asks people about it, says about risk.
    pub(crate) rule_risk: RuleRisk,
    /// The approval that the policy wants, where it does.
    pub(crate) wants: Option<Box<Wants>>,
    /// Why the agent says that it calls.
    pub(crate) intent: Option<String>,
    pub(crate) gone: oneshot::Receiver<Infallible>,
    _proof: Proof,
}

/// Makes [`Authorized`] impossible to build in another file.
struct Proof;

impl Authorized {
    /// Reads the body whole where it still flows, because somebody must look at it. It stays the same body.
    pub(crate) async fn hold_body(&mut self, bodies: &BodyBudget, bounds: &Bounds) -> Result<(), Stop> {
        self.exchange.hold_body(bodies, bounds).await
    }
}

pub(crate) async fn authorize(
    call: Authenticated,
    world: &mut Arc<World>,
    gateway: &Gateway,
    draft: &mut Draft,
) -> Result<Authorized, Stop> {
    let (mut caller, arrival) = call.into_parts();
    world.check_kill_switch()?;
    // What was wrong with a request is told only to somebody with a key.
    let mut exchange = arrival.exchange?;
    let call = arrival.call;
    let judged = judge(world, &caller.agent, &call.service, &call.action, Args::Unknown);
    // A body that no condition reads goes on flowing.
    if judged == Verdict::Depends
        && Rights::of(world, &caller.agent, &call.service).is_ok_and(|rights| rights.needs_args(&call.action))
    {
        exchange.hold_body(&gateway.bodies, &gateway.bounds).await?;
    }
    let at = arrival.at.wall;
    let mut verdict = match judged {
        Verdict::Depends => judge_whole(world, &caller, &call, &exchange, &arrival.headers, at),
        judged => judged,
    };
    draft.judged(&verdict, world.policy.hash());
    let mut service = Arc::clone(world.services.get(call.service.as_str()).ok_or(Refusal::NotInScope)?);
    match &verdict {
        // Whoever may not know that the service exists is not told where it is.
        Verdict::Never(Refused::NotInScope) => return Err(Refusal::NotInScope.into()),
        Verdict::Never(Refused::HeldBack(_)) | Verdict::Allow { .. } | Verdict::Ask(_) => {
            check_door(&service, &exchange)?;
        }
        Verdict::Never(refused) => {
            check_door(&service, &exchange)?;
            // The newest version has an answer of its own to what it does not know.
            if arrival.modern && *refused == Refused::UnknownMethod {
                return Err(Refusal::NoSuchMethod(call.method.to_string()).into());
            }
            return Err(refused.clone().into_refusal(&caller.agent.role).into());
        }
        // Nothing is left open once the arguments are known.
        Verdict::Depends => return Err(Refused::Silence.into_refusal(&caller.agent.role).into()),
    }
    let session = match &arrival.session {
        None => None,
        Some(token) => {
            let session = gateway.sessions.open(token, &caller.agent.name, &service.name);
            Some(session.ok_or(Refusal::UnknownSession)?)
        }
    };
    if let Action::Tool(tool) = &call.action
        && gateway.tools.wants_look(&service, tool, world)
    {
        // It is a list that this call has made.
        let listing = Call { class: Class::Housekeeping, ..Call::clone(&call) };
        charge_housekeeping(&caller, &listing, world, arrival.at.monotonic, &gateway.counters).await?;
        let asking = Asking {
            caller: &caller,
            service: &service,
            tool,
            session: session.as_ref(),
            told: told_of_client(&exchange),
            headers: &arrival.headers,
            modern: arrival.modern,
        };
        // Boxed: few calls look, and each would have to have room for it.
        Box::pin(gateway.tools.look_first(&asking, gateway)).await?;
        // It took its time: who calls, and what they may, is asked again.
        let now = gateway.clock.now();
        *world = gateway.freshness.world(now).await?;
        world.check_kill_switch()?;
        let (agent, _) = caller.still(world, now).map_err(Refusal::Unauthorized)?;
        caller.agent = Arc::clone(agent);
        draft.caller(caller.key, &caller.agent);
        verdict = judge_whole(world, &caller, &call, &exchange, &arrival.headers, at);
        draft.judged(&verdict, world.policy.hash());
        let now = world.services.get(call.service.as_str()).ok_or(Refusal::NotInScope)?;
        if now.upstream != service.upstream || world.tools.is_unlisted(now) {
            // Somebody has put it elsewhere meanwhile.
            return Err(Fault::StaleAuthorization.into());
        }
        service = Arc::clone(now);
    }
    match &verdict {
        Verdict::Never(refused) => return Err(refused.clone().into_refusal(&caller.agent.role).into()),
        Verdict::Depends => return Err(Refused::Silence.into_refusal(&caller.agent.role).into()),
        Verdict::Allow { .. } | Verdict::Ask(_) => {}
    }
    // Behind the look: a tool that was listed just now has its schema.
    if arrival.modern {
        check_params(&world.tools, &call, &exchange, &arrival.headers)?;
    }
    let (rule_risk, wants) = match verdict {
        // Only calls can wait: nobody comes back for the answer to housekeeping.
        Verdict::Ask(wants) if call.class == Class::Housekeeping => {
            return Err(Refusal::CannotWait(wants.rule).into());
        }
        Verdict::Ask(wants) => (wants.risk, Some(wants)),
        Verdict::Allow { risk, .. } => (risk, None),
        Verdict::Never(_) | Verdict::Depends => return Err(Fault::Internal.into()),
    };
    let repeatable = arrival.repeatable.filter(|_| call.class == Class::Call);
    Ok(Authorized {
        service,
        caller,
        call,
        session,
        session_token: arrival.session,
        exchange,
        at: arrival.at,
        headers: arrival.headers,
        modern: arrival.modern,
        repeatable,
        rule_risk,
        wants,
        intent: arrival.intent,
        gone: arrival.gone,
        _proof: Proof,
    })
}

/// The arguments that the tool's schema wants in headers too stand there as in the body: who acts on the headers alone,
/// between us and the upstream, acts on the same call. A tool that no list has shown yet is the upstream's to check.
fn check_params(
    tools: &Catalogue,
    call: &Call,
    exchange: &Exchange,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let (Action::Tool(tool), Exchange::Post(message)) = (&call.action, exchange) else { return Ok(()) };
    let schema = tools.known(&call.service, tool).and_then(|known| known.schema.as_deref());
    let Some(schema) = schema.filter(|schema| schema.contains(PARAM_ANNOTATION)) else { return Ok(()) };
    let Ok(schema) = wire::json::read(schema.as_bytes(), &Limits::of_bytes(schema.len())) else {
        return Ok(());
    };
    // Where annotations mean nothing, nobody is to repeat anything.
    let Ok(repeated) = repeated_arguments(schema) else { return Ok(()) };
    let arguments = message.params().and_then(|params| params.get("arguments"));
    let values = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes);
    mcp::check_params(&repeated, arguments, values).map_err(|mismatch| Unreadable::Headers(mismatch).into())
}

/// What the policy says to a call whose body is there, as far as a condition reads it.
pub(crate) fn judge_whole(
    world: &World,
    caller: &Caller,
    call: &Call,
    exchange: &Exchange,
    headers: &HeaderMap,
    at: Timestamp,
) -> Verdict {
    let known = Facts::new(&caller.agent, &call.service, &call.method, &call.action, at);
    arguments::with_facts(known, &call.action, exchange, headers, |facts| {
        judge(world, &caller.agent, &call.service, &call.action, Args::Known(facts))
    })
}

/// MCP services are reached by MCP messages, HTTP services by requests.
pub(crate) fn check_door(service: &Service, exchange: &Exchange) -> Result<(), Refusal> {
    let name = &service.name;
    match (&service.upstream, exchange) {
        (Upstream::Api(_), Exchange::Request(_)) => Ok(()),
        (Upstream::Api(_), _) => Err(Refusal::WrongDoor { endpoint: format!("/http/{name}/…") }),
        (_, Exchange::Request(_)) => Err(Refusal::WrongDoor { endpoint: format!("/mcp/{name}") }),
        _ => Ok(()),
    }
}
