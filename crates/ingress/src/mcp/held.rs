//! What MCP clients say to us about held calls: the tool that asks for a result, and the notification that takes a
//! call back. Both are answered here and never travel on.

use std::sync::Arc;

use domain::{
    approval::Approval,
    call::{Action, Call},
    names::ApprovalId,
    stop::{Refusal, Stop},
};
use http::Response;
use pipeline::{Exchange, WAIT_TOOL, arrival::Caller, flow::Flow};
use wire::{Message, Raw, Shape, mcp::Class};

use super::ours::accepted;
use crate::{
    Front,
    answer::{self, Form},
    identity::Claims,
    inquiry::Inquiry,
    vigil::Vigil,
    waiting::Asking,
};

/// What a message is to us.
pub(super) enum Own {
    /// A question about the result of a held call; the approval's id as it was written.
    Wait(Option<ApprovalId>),
    /// A held call is taken back.
    TakeBack(ApprovalId),
}

/// What a message that could be read is to us, if it is for us at all.
pub(super) fn own(
    front: &Front,
    claims: &Claims,
    call: &Call,
    exchange: &Exchange,
    session: Option<&str>,
) -> Option<Own> {
    let Exchange::Post(message) = exchange else { return None };
    match message.shape() {
        Shape::Request { .. } if call.method == "tools/call" && is_wait_tool(&call.action) => {
            Some(Own::Wait(approval_in(message)))
        }
        Shape::Notification { method: "notifications/cancelled" } => {
            let asking = Asking {
                agent: front.gateway.agent_of(claims.key()?)?,
                service: call.service.clone(),
                session: session.map(str::to_owned),
                id: message.params()?.get("requestId")?.text().to_owned(),
            };
            front.waiting.approval_of(&asking).map(Own::TakeBack)
        }
        _ => None,
    }
}

fn is_wait_tool(action: &Action) -> bool {
    matches!(action, Action::Tool(name) if name == WAIT_TOOL)
}

/// The approval that is asked for; `None` where no text of that form stands there.
pub(super) fn approval_in(message: &Message) -> Option<ApprovalId> {
    let arguments = message.params()?.get("arguments")?;
    ApprovalId::parse(&arguments.get("approval").and_then(Raw::as_str)?)
}

impl Own {
    /// What the trail calls it, should it be refused; it is charged as housekeeping.
    pub(super) async fn answered(
        self,
        mut inquiry: Inquiry,
        form: &Form,
        progress: Option<String>,
    ) -> Response<Flow> {
        let (front, call) = (Arc::clone(&inquiry.front), Arc::clone(&inquiry.call));
        let (caller, world) = match inquiry.caller().await {
            Ok(known) => known,
            Err(stop) => return answer::to_call(&front, &stop, &call, form, false),
        };
        match self {
            Self::TakeBack(id) => match front.gateway.approvals.cancel(&caller, &id).await {
                // A notification that comes too late is no error.
                Ok(_) | Err(Stop::Refused(_)) => accepted(&call),
                Err(stop) => answer::to_call(&front, &stop, &call, form, false),
            },
            Self::Wait(id) => {
                let service = call.service.as_str();
                let in_scope = caller.agent.scope.contains(service) && world.services.contains_key(service);
                let found = match id {
                    _ if !in_scope => Err(Refusal::NotInScope.into()),
                    None => Err(Refusal::NoApprovalNamed.into()),
                    Some(id) => found(&front, &caller, &id, service).await,
                };
                match found {
                    Ok(approval) => {
                        let form = form_for(form, &approval);
                        let vigil = Vigil::of_question(&front, &call, &form, &approval);
                        let progress = progress.filter(|_| approval.status.is_under_way());
                        vigil.answered(progress).await
                    }
                    Err(stop) => answer::to_call(&front, &inquiry.recorded(stop).await, &call, form, false),
                }
            }
        }
    }
}

/// The agent's approval, of a call to this service: the answer to a call elsewhere may be no message at all.
async fn found(front: &Front, caller: &Caller, id: &ApprovalId, service: &str) -> Result<Approval, Stop> {
    let gateway = &front.gateway;
    let now = std::time::Duration::ZERO;
    let approval = gateway.approvals.wait(&caller.agent.name, id, now, gateway.stopping.clone()).await?;
    match approval.held.service.as_str() == service {
        true => Ok(approval),
        false => Err(Refusal::NoSuchApproval.into()),
    }
}

/// The call as which it is limited and recorded.
pub(super) fn housekeeping(call: Call) -> Arc<Call> {
    Arc::new(Call { class: Class::Housekeeping, ..call })
}

/// What a held request to an HTTP service was answered is told as a result of the tool that asks.
fn form_for(form: &Form, approval: &Approval) -> Form {
    match form {
        Form::Rpc { id, modern, .. } if approval.held.is_request() => {
            Form::Tool { id: id.clone(), modern: *modern }
        }
        form => form.clone(),
    }
}
