//! Gate 60: has a person said yes? A call that needs people ends here: it becomes a row of the ledger, and the walk a
//! ticket. What was decided comes back through [`decided`], on the gateway's own walk. There is no third way on.

use std::ops::Deref;

use domain::{
    approval::{Approval, Held, HeldCall, HeldExchange, NotApproved, Status, Ticket, approval_digest},
    call::Action,
    credential::CredentialKind,
    names::{ApprovalId, CredentialName},
    policy::Wants,
    service::{Pins, Service},
    stop::{Fault, Refusal, Stop},
    world::World,
};
use jiff::Timestamp;
use store::HoldCall;
use wire::mcp::Class;

use super::{
    g20_authorize::Authorized,
    g50_assess_risk::Assessed,
    g70_record::{Draft, Record},
};
use crate::{
    arguments,
    arrival::{ApiRequest, Exchange},
    digest,
    gateway::Gateway,
    idempotency::Claim,
    recorder::Written,
};

/// How often an id is drawn anew, or a row looked up that has just come or gone.
const TRIES_MAX: usize = 8;

/// A call that needs nobody, or has everybody that it needs. Only this gate can make one.
pub struct Approved(Cleared);

/// The two doors into the proof.
enum Cleared {
    /// It needs nobody.
    Now(Assessed),
    /// People said yes to exactly this.
    Decided(Authorized),
}

impl Deref for Approved {
    type Target = Authorized;
    fn deref(&self) -> &Authorized {
        match &self.0 {
            Cleared::Now(call) => call,
            Cleared::Decided(call) => call,
        }
    }
}

impl Approved {
    /// The idempotency key's claim, for gate 70 to write down.
    pub(crate) fn take_claim(&mut self) -> Option<Claim> {
        match &mut self.0 {
            Cleared::Now(call) => call.take_claim(),
            Cleared::Decided(_) => None,
        }
    }

    /// Whether nobody is there who speaks to the upstream: the gateway executes what was held.
    pub(crate) fn is_detached(&self) -> bool {
        matches!(self.0, Cleared::Decided(_))
    }

    /// Takes the proof apart; only the last gate has a use for the pieces.
    pub(crate) fn into_inner(self) -> Authorized {
        match self.0 {
            Cleared::Now(call) => call.into_inner().into_inner().into_inner(),
            Cleared::Decided(call) => call,
        }
    }
}

/// Where nobody is wanted it costs nothing.
pub(crate) async fn approve(
    mut call: Assessed,
    world: &World,
    gateway: &Gateway,
    record: &mut Record,
) -> Result<Approved, Stop> {
    if call.call.class == Class::Housekeeping || !call.wants_people() {
        return Ok(Approved(Cleared::Now(call)));
    }
    call.hold_body(&gateway.bodies, &gateway.bounds).await?;
    let approvals = &gateway.approvals;
    let agent = call.caller.agent.name.clone();
    let Some(digest) = digest::of_exchange(&agent, &call.call, &call.exchange, &call.headers) else {
        return Err(Refusal::MethodNotAllowed.into());
    };
    let claim = call.take_claim();
    for _ in 0..TRIES_MAX {
        let id = ApprovalId::new(u64::from_be_bytes(vault::random::bytes()));
        let held = call.wants().map(|wants| held(id, digest, &call, &wants, world, gateway));
        let Some(held) = held else { return Err(Fault::Internal.into()) };
        let ticket = Ticket {
            id,
            agent: agent.clone(),
            rule: held.rule.clone(),
            risk: held.risk.as_ref().map(|risk| risk.score),
            status: Status::Pending,
            expires_at: Some(held.decide_by),
        };
        let sealed = approvals.seal(&agent, &id, &sealed_form(&call)?);
        let hold = HoldCall { held, call: sealed, pending_max: approvals.terms.pending_max };
        // Boxed, here and below: few calls are held, and each would have to have room for it.
        let written = Box::pin(record.hold(hold)).await;
        if matches!(written, Ok(Written::Done) | Err(Fault::HoldUnknown)) {
            approvals.note_live(&agent);
        }
        if written? == Written::Done {
            return Err(Stop::Held(Box::new(ticket)));
        }
        // An identical call was quicker, or the agent has as many as it may, or the id was taken.
        let key = call.repeatable.as_ref().map(|repeatable| &repeatable.key);
        if let Some(approval) = Box::pin(approvals.met_by(&agent, &digest, key)).await? {
            record.draft.of_approval(&approval.held.id);
            return Err(Box::pin(approvals.answer(&approval)).await);
        }
        // Or another gateway, whose policy wants nobody, sends it under the same key.
        if let Some(claim) = &claim {
            claim.look(gateway.clock.now().wall).await?;
        }
        if Box::pin(approvals.is_full(&agent)).await? {
            return Err(Refusal::PendingFull(approvals.terms.pending_max).into());
        }
    }
    Err(Fault::StoreUnavailable.into())
}

/// What people see of the call.
fn held(
    id: ApprovalId,
    call_digest: [u8; 32],
    call: &Assessed,
    wants: &Wants,
    world: &World,
    gateway: &Gateway,
) -> Held {
    let terms = &gateway.approvals.terms;
    let credentials = credential_versions(world, &call.service);
    let created_at = gateway.clock.now().wall;
    let decide_within = wants.decide_within.unwrap_or(terms.decide_within);
    Held {
        id,
        call_id: call.call.id,
        agent: call.caller.agent.name.clone(),
        key_id: call.caller.key,
        role: call.caller.agent.role.clone(),
        service: call.service.name.clone(),
        method: call.call.method.clone().into_owned(),
        action: call.call.action_text().to_owned(),
        call_digest,
        approval_digest: approval_digest(
            &call_digest,
            &wants.rule,
            &credentials,
            tool_hash(world, &call.service, &call.call.action).as_ref(),
        ),
        rule: wants.rule.clone(),
        rule_place: Some(wants.place.clone()).filter(|place| !place.is_empty()),
        because: wants.because.clone(),
        risk: call.held_risk(),
        intent: call.intent.clone(),
        args: arguments::of(&call.exchange, &call.headers, &gateway.recording.values).map(Into::into),
        quorum: wants.quorum,
        created_at,
        decide_by: created_at.checked_add(decide_within).unwrap_or(Timestamp::MAX),
        execute_within: wants.execute_within.unwrap_or(terms.execute_within),
        policy: world.policy.hash().clone(),
        credentials,
        idempotency_key: call.repeatable.as_ref().map(|repeatable| repeatable.key.clone()),
    }
}

/// The credentials that the call would get, by name. A refresh token is replaced by the gateway itself, each time that
/// its server rotates it: its version tells nothing about people's decision, and is 0 here.
pub(crate) fn credential_versions(world: &World, service: &Service) -> Vec<(CredentialName, u64)> {
    let rotates = |name: &CredentialName| {
        let slot = service.credentials.iter().find(|slot| slot.name == *name);
        slot.is_some_and(|slot| matches!(slot.kind, CredentialKind::Oauth2RefreshToken(_)))
    };
    let stored = world.credentials.get(&service.name);
    let mut versions: Vec<_> = stored
        .into_iter()
        .flatten()
        .map(|sealed| (sealed.name.clone(), if rotates(&sealed.name) { 0 } else { sealed.version }))
        .collect();
    versions.sort();
    versions
}

/// The definition of the tool that is called, where it is pinned: then it was known before the call was judged.
pub(crate) fn tool_hash(world: &World, service: &Service, action: &Action) -> Option<[u8; 32]> {
    let Action::Tool(tool) = action else { return None };
    if service.pins == Pins::Off {
        return None;
    }
    world.tools.known(service.name.as_str(), tool).map(|known| known.hash.0)
}

/// The whole call, as it is kept and sent.
fn sealed_form(call: &Authorized) -> Result<HeldCall, Stop> {
    let exchange = match &call.exchange {
        Exchange::Post(message) => HeldExchange::Message {
            body: message.body().to_vec(),
            modern: call.modern,
            session: call.session_token.clone(),
        },
        Exchange::Request(ApiRequest { method, target, body, .. }) => HeldExchange::Request {
            method: method.as_str().to_owned(),
            target: target.as_str().to_owned(),
            body: body.bytes().ok_or(Fault::Internal)?.to_vec(),
        },
        Exchange::Listen | Exchange::End => return Err(Refusal::MethodNotAllowed.into()),
    };
    let headers = call.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    Ok(HeldCall {
        proof: call.caller.proof,
        destination: call.service.upstream.destination(),
        action: call.call.action.clone(),
        exchange,
        headers,
    })
}

/// The second door: people approved it. It must be, to the byte, what they approved, to the same place, under a policy
/// that asks for no more than they gave, with the credentials that they saw. `approvers` of them may still decide.
///
/// # Errors
/// [`NotApproved::Void`] when anything differs; the trail is told what.
pub(crate) fn decided(
    call: Authorized,
    approval: &Approval,
    destination: &str,
    approvers: usize,
    world: &World,
    draft: &mut Draft,
) -> Result<Approved, Stop> {
    match difference(&call, approval, destination, approvers, world) {
        None => Ok(Approved(Cleared::Decided(call))),
        Some(what) => {
            draft.void(what);
            Err(Refusal::NotApproved(NotApproved::Void(approval.held.id)).into())
        }
    }
}

/// What is not as it was when people approved the call.
fn difference(
    call: &Authorized,
    approval: &Approval,
    destination: &str,
    approvers: usize,
    world: &World,
) -> Option<&'static str> {
    let held = &approval.held;
    let agent = &call.caller.agent.name;
    let digest = digest::of_exchange(agent, &call.call, &call.exchange, &call.headers);
    let digest = digest.filter(|digest| *digest == held.call_digest && *agent == held.agent);
    let Some(digest) = digest else { return Some("approved, but it is another call") };
    if call.service.upstream.destination() != destination {
        return Some("approved for another address or command");
    }
    if approvers < usize::from(held.quorum.get()) {
        return Some("approved by somebody who may not decide any more");
    }
    let credentials = credential_versions(world, &call.service);
    if credentials != held.credentials {
        return Some("approved with another credential");
    }
    let tool = tool_hash(world, &call.service, &call.call.action);
    if approval_digest(&digest, &held.rule, &credentials, tool.as_ref()) != held.approval_digest {
        return Some("approved, but the call or its tool is not what was shown");
    }
    let wants = call.wants.as_ref()?;
    match wants {
        wants if wants.rule != held.rule => Some("approved under another rule"),
        wants if usize::from(wants.quorum.get()) > approvers => {
            Some("approved by fewer than its rule wants now")
        }
        _ => None,
    }
}
