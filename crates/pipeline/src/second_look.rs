//! What has changed since a call was held, and would keep a yes from being followed: what the second judgement of an
//! approved call would find now, for whoever is about to decide. It promises nothing; that judgement is made again.

use std::{collections::BTreeMap, sync::Arc};

use domain::{
    approval::{Approval, Held, HeldCall, approval_digest},
    call::{Action, Call},
    clock::Now,
    foreign::escape_foreign,
    key::Proof,
    policy::{Refused, Verdict},
    service::Service,
    stop::KeyFault,
    world::World,
};
use wire::mcp::Class;

use crate::{
    arrival::Caller,
    digest,
    dispatcher::rebuilt,
    gates::{
        g20_authorize::judge_whole,
        g60_approve::{credential_versions, tool_hash},
    },
};

/// Each difference as a sentence without its stop, safe to look at; none where an approval would be followed now. It is
/// about the caller, the service's place, its credentials, the tool's definition and the policy; not about risk or the kill
/// switch, which may be another the next moment.
#[must_use]
pub fn changes_since(approval: &Approval, call: HeldCall, world: &World, now: Now) -> Vec<String> {
    let held = &approval.held;
    let (agent, name) = (&held.agent, &held.service);
    let mut changes = Vec::new();
    let caller = match &call.proof {
        Proof::Key(mac) => world.holder(mac, now).map(|(_, agent)| agent),
        Proof::Token { .. } => world.active(agent).ok_or(KeyFault::AgentDisabled(held.key_id)),
    };
    let key = held.key_id;
    changes.extend(caller.as_ref().err().map(|fault| match fault {
        KeyFault::Revoked(_) => format!("its key agt_{key} was revoked"),
        KeyFault::Expired(_) => format!("its key agt_{key} has expired"),
        KeyFault::AgentDisabled(_) => format!("its agent `{agent}` is disabled or deleted"),
        _ => format!("its key agt_{key} is not known any more"),
    }));
    let Some(service) = world.services.get(name.as_str()) else {
        changes.push(format!("the service `{name}` was removed"));
        return changes;
    };
    let destination = service.upstream.destination();
    if destination != call.destination {
        let (then, now) = (escape_foreign(&call.destination), escape_foreign(&destination));
        changes.push(format!("`{name}` was at {then} and is at {now}"));
    }
    changes.extend(credentials_since(approval, service, world));
    let Some((exchange, headers, call)) = rebuilt(call, Some(&service.upstream)) else {
        changes.push("the call cannot be read any more".to_owned());
        return changes;
    };
    let again = Call {
        id: held.call_id,
        service: name.as_str().to_owned(),
        method: held.method.clone().into(),
        action: call.action,
        class: Class::Call,
    };
    if digest::of_exchange(agent, &again, &exchange, &headers) != Some(held.call_digest) {
        changes.push("it is not the call whose digest is shown".to_owned());
    }
    let tool = tool_hash(world, service, &again.action);
    if approval_digest(&held.call_digest, &held.rule, &held.credentials, tool.as_ref())
        != held.approval_digest
    {
        let what = if matches!(again.action, Action::Tool(_)) {
            "the tool has another definition"
        } else {
            "it is not what was held"
        };
        changes.push(what.to_owned());
    }
    if let Ok(agent) = caller {
        let caller = Caller { agent: Arc::clone(agent), key, proof: call.proof };
        let verdict = judge_whole(world, &caller, &again, &exchange, &headers, now.wall);
        changes.extend(judged_again(held, &verdict));
    }
    changes
}

/// Credentials that were set, replaced or taken away.
fn credentials_since(approval: &Approval, service: &Service, world: &World) -> Vec<String> {
    let then: BTreeMap<_, _> = approval.held.credentials.iter().cloned().collect();
    let now: BTreeMap<_, _> = credential_versions(world, service).into_iter().collect();
    let of_then = then.iter().filter_map(|(name, version)| match now.get(name) {
        Some(newer) if newer == version => None,
        Some(newer) => {
            Some(format!("credential `{name}` was replaced: version {version} then, version {newer} now"))
        }
        None => Some(format!("credential `{name}` has no value any more")),
    });
    let new = now.keys().filter(|name| !then.contains_key(*name));
    of_then.chain(new.map(|name| format!("credential `{name}` was added"))).collect()
}

/// What the policy says now, where it is not what people were asked for.
fn judged_again(held: &Held, verdict: &Verdict) -> Option<String> {
    let said = match verdict {
        Verdict::Never(Refused::NotInScope) => {
            format!("`{}` is not in the scope of `{}` any more", held.service, held.agent)
        }
        Verdict::Never(refused) => {
            let rule = refused.rule().map(|rule| format!(", rule {rule}")).unwrap_or_default();
            format!("the policy says no now: {}{rule}", refused.reason())
        }
        Verdict::Ask(wants) if wants.rule != held.rule => {
            format!("another rule wants a person now: {}", wants.rule)
        }
        Verdict::Ask(wants) if wants.quorum > held.quorum => {
            format!("its rule wants {} people now, not {}", wants.quorum, held.quorum)
        }
        Verdict::Ask(_) | Verdict::Allow { .. } | Verdict::Depends => return None,
    };
    Some(escape_foreign(&said).into_owned())
}
