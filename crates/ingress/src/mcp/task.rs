//! Held calls as tasks: the extension `io.modelcontextprotocol/tasks` of the newest version. A task of ours is the
//! approval's row and has its id; an upstream's own tasks pass unchanged.

use std::{sync::Arc, time::Duration};

use domain::{
    approval::{Approval, Status, Ticket},
    call::{Action, Call},
    names::{AgentName, ApprovalId},
    stop::{Fault, Refusal, Stop},
};
use http::{Response, StatusCode};
use jiff::Timestamp;
use pipeline::flow::Flow;
use serde_json::{Map, Value};
use wire::{
    Limits, Message, Raw, Shape, json,
    mcp::{self, Class, Subject, code, extension},
};

use crate::{
    Front,
    answer::{self, Form},
    identity::Claims,
    inquiry::Inquiry,
    vigil,
};

/// How long a client is asked to wait between two questions while people decide.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long while the call is being sent.
const ASK_EVERY_SOON: Duration = Duration::from_secs(1);

/// Whether a client that sends this is prepared to be answered a task.
pub(super) fn is_welcome(message: &Message) -> bool {
    message.method() == Some("tools/call") && mcp::declares_extension(message, extension::TASKS)
}

/// What a client asks about a task that may be one of ours.
pub(super) struct Question {
    agent: AgentName,
    service: String,
    approval: ApprovalId,
    wish: Wish,
    declared: bool,
}

#[derive(Clone, Copy)]
enum Wish {
    Look,
    Answer,
    TakeBack,
}

/// The question in a message of the newest version, where the task could be ours by its id.
pub(super) fn question(front: &Front, claims: &Claims, call: &Call, message: &Message) -> Option<Question> {
    let Shape::Request { method, .. } = message.shape() else { return None };
    let wish = match method {
        "tasks/get" => Wish::Look,
        "tasks/update" => Wish::Answer,
        "tasks/cancel" => Wish::TakeBack,
        _ => return None,
    };
    let Ok(Subject::Task(id)) = mcp::subject(message, mcp::method(method)?) else { return None };
    Some(Question {
        agent: front.gateway.agent_of(claims.key()?)?,
        service: call.service.clone(),
        approval: ApprovalId::parse(&id)?,
        wish,
        declared: mcp::declares_extension(message, extension::TASKS),
    })
}

impl Question {
    /// Whether it is about one of ours. Of another agent's, or another service's, only the upstream is asked, which knows
    /// nothing of it. While nobody can tell, it is.
    pub(super) async fn is_ours(&self, front: &Front) -> bool {
        !matches!(self.approval(front, &self.agent).await, Err(Stop::Refused(_)))
    }

    /// The approval, if it is a task of this agent at this service.
    async fn approval(&self, front: &Front, agent: &AgentName) -> Result<Approval, Stop> {
        let approval = now(front, agent, &self.approval).await?;
        let held = &approval.held;
        match held.service.as_str() == self.service && held.method == "tools/call" {
            true => Ok(approval),
            false => Err(Refusal::NoSuchApproval.into()),
        }
    }

    pub(super) async fn answered(self, mut inquiry: Inquiry, form: &Form) -> Response<Flow> {
        let (front, call) = (Arc::clone(&inquiry.front), Arc::clone(&inquiry.call));
        let refused = |stop: &Stop| answer::to_call(&front, stop, &call, form, false);
        let Form::Rpc { id, .. } = form else { return refused(&Refusal::NoSuchApproval.into()) };
        let (caller, world) = match inquiry.caller().await {
            Ok(known) => known,
            Err(stop) => return refused(&stop),
        };
        let service = self.service.as_str();
        if !caller.agent.scope.contains(service) || !world.services.contains_key(service) {
            return refused(&inquiry.recorded(Refusal::NotInScope.into()).await);
        }
        if !self.declared {
            return answer::own_message(StatusCode::BAD_REQUEST, &call, undeclared(id));
        }
        let told = match self.wish {
            Wish::Look => match self.approval(&front, &caller.agent.name).await {
                Ok(approval) => standing(&front, &approval).await,
                Err(stop) => Err(stop),
            },
            // We have asked for nothing, so there is nothing that an answer could be to.
            Wish::Answer => Ok(String::new()),
            Wish::TakeBack => match front.gateway.approvals.cancel(&caller, &self.approval).await {
                // What comes too late is acknowledged all the same.
                Ok(_) | Err(Stop::Refused(_)) => Ok(String::new()),
                Err(stop) => Err(stop),
            },
        };
        match told {
            Ok(members) => answer::own_message(StatusCode::OK, &call, result(id, "complete", &members)),
            Err(stop) => refused(&inquiry.recorded(stop).await),
        }
    }
}

/// The answer to a call that was held, for a client that takes a task.
pub(crate) async fn created(
    front: &Arc<Front>,
    call: &Call,
    form: &Form,
    keyed: bool,
    ticket: Ticket,
) -> Response<Flow> {
    match (now(front, &ticket.agent, &ticket.id).await, form) {
        (Ok(approval), Form::Rpc { id, .. }) => {
            // However quick people were: what became of it is told to who asks.
            let said = answer::standing(&ticket, call);
            let task = members(front, &approval, "working", Some(&said), None);
            answer::held_as_task(call, keyed, result(id, "task", &task))
        }
        // It is held all the same.
        _ => answer::to_call(front, &Stop::Held(Box::new(ticket)), call, form, keyed),
    }
}

/// The approval as it stands.
async fn now(front: &Front, agent: &AgentName, id: &ApprovalId) -> Result<Approval, Stop> {
    let gateway = &front.gateway;
    gateway.approvals.wait(agent, id, Duration::ZERO, gateway.stopping.clone()).await
}

/// How far a task is; its end is what the call itself would have been answered, and is delivered by this.
async fn standing(front: &Front, approval: &Approval) -> Result<String, Stop> {
    let held = &approval.held;
    let call = Call {
        id: held.call_id,
        service: held.service.as_str().to_owned(),
        method: held.method.clone().into(),
        action: Action::Tool(held.action.clone()),
        class: Class::Call,
    };
    if approval.status.is_under_way() {
        let said = answer::standing(&Ticket::of(approval), &call);
        return Ok(members(front, approval, "working", Some(&said), None));
    }
    let stop = front.gateway.approvals.answer(approval).await;
    if approval.status == Status::Cancelled {
        let said = format!("{} was taken back. Nothing was sent.", held.id);
        return Ok(members(front, approval, "cancelled", Some(&said), None));
    }
    let cannot_tell = Fault::StoreUnavailable;
    if stop == Stop::Fault(cannot_tell.clone()) && approval.ended_with.as_deref() != Some(cannot_tell.code())
    {
        // It is no end of the call: the store cannot tell now, and another time it will.
        return Err(stop);
    }
    let form = Form::Rpc { id: "0".into(), is_tool_call: true, modern: true };
    let ending = vigil::message_of(front, &stop, &call, &form).await;
    let root = json::read(&ending, &Limits::of_bytes(ending.len())).map_err(|_| Fault::Internal)?;
    Ok(match (root.get("result"), root.get("error")) {
        (Some(result), _) => members(front, approval, "completed", None, Some(("result", result.text()))),
        (None, error) => {
            let said = error.and_then(|error| error.get("message")).and_then(Raw::as_str);
            let error = error.map_or("{}", Raw::text);
            members(front, approval, "failed", said.as_deref(), Some(("error", error)))
        }
    })
}

/// The members of a task, each with a comma before it. What it ended with is repeated byte for byte.
fn members(
    front: &Front,
    approval: &Approval,
    status: &str,
    said: Option<&str>,
    ending: Option<(&str, &str)>,
) -> String {
    let held = &approval.held;
    let mut task = Map::new();
    task.insert("taskId".into(), held.id.as_str().into());
    task.insert("status".into(), status.into());
    if let Some(said) = said {
        task.insert("statusMessage".into(), said.into());
    }
    task.insert("createdAt".into(), format!("{:.3}", held.created_at).into());
    task.insert("lastUpdatedAt".into(), format!("{:.3}", last_change(approval)).into());
    task.insert("ttlMs".into(), milliseconds(kept_until(front, approval).duration_since(held.created_at)));
    let pause = match approval.status {
        Status::Approved | Status::Executing => ASK_EVERY_SOON,
        _ => ASK_EVERY,
    };
    task.insert("pollIntervalMs".into(), serde_json::json!(pause.as_millis()));
    let mut members = String::new();
    for (key, value) in &task {
        members.push_str(&format!(",\"{key}\":{value}"));
    }
    if let Some((key, raw)) = ending {
        members.push_str(&format!(",\"{key}\":{raw}"));
    }
    members
}

fn last_change(approval: &Approval) -> Timestamp {
    let decided = approval.decisions.iter().map(|decided| decided.at);
    let moments = decided.chain(approval.claimed_at).chain(approval.ended_at);
    moments.max().unwrap_or(approval.held.created_at)
}

/// Until when the answer can be had at the latest, as far as that is known now.
fn kept_until(front: &Front, approval: &Approval) -> Timestamp {
    let held = &approval.held;
    let latest = held.decide_by.checked_add(held.execute_within).unwrap_or(Timestamp::MAX);
    let ends = approval.ended_at.unwrap_or(latest);
    ends.checked_add(front.gateway.approvals.terms.keep_result).unwrap_or(Timestamp::MAX)
}

fn milliseconds(length: jiff::SignedDuration) -> Value {
    serde_json::json!(u64::try_from(length.as_millis()).unwrap_or_default())
}

fn result(id: &str, kind: &str, members: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"{kind}"{members}}}}}"#)
}

/// The error for a client that asks after a task without having said that it knows what that is.
fn undeclared(id: &str) -> String {
    let data = serde_json::json!({ "requiredCapabilities": { "extensions": { (extension::TASKS): {} } } });
    let message = format!("this request needs the client capability {}", extension::TASKS);
    let code = code::MISSING_CAPABILITY;
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}","data":{data}}}}}"#)
}
