//! HTTP services on MCP: at `/mcp/{service}` the gateway is a server with two tools of its own. A `request` is turned
//! into the request it describes before the walk, and walks as that; everything else is answered here.

mod catalog;

use std::sync::Arc;

use domain::{
    call::{Action, Call},
    clock::Now,
    policy::{Refused, Rights},
    service::Upstream,
    stop::{Fault, Stop},
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use pipeline::{
    Exchange,
    flow::{self, Flow},
};
use wire::{Message, mcp::ListKind};

use self::catalog::{DOCUMENTATION, REQUEST};
use super::{
    held,
    ours::{About, Ours, accepted},
};
use crate::{
    Front,
    answer::{self, Form},
    asked::Asked,
    inquiry::Inquiry,
    proxy::{self, envelope_fault},
};

/// Whether an HTTP API stands behind this service.
pub(super) async fn is_one(front: &Front, service: &str, at: Now) -> bool {
    let freshness = &front.gateway.freshness;
    let mut world = freshness.current();
    // It may have been made since the last look at the store, together with the key of who asks.
    if !world.services.contains_key(service) {
        world = freshness.catch_up(at).await;
    }
    world.services.get(service).is_some_and(|service| matches!(service.upstream, Upstream::Api(_)))
}

/// Answers what was sent to an HTTP service; what may be held is asked after elsewhere ([`held::own`]). Nothing is remembered between messages, so there are no sessions.
pub(super) async fn answered(mut asked: Asked, front: &Arc<Front>, form: &Form) -> Response<Flow> {
    let (wrong, form) = match request_in(&asked, front) {
        Ok(None) => (None, form.clone()),
        // Whoever wrote the arguments can mend them, so that is told as a tool tells its errors.
        Err(stop) => (Some(stop), as_tool(form)),
        Ok(Some((read, call))) => {
            asked.call = call;
            asked.exchange = Ok(Exchange::Request(read.request));
            asked.headers = read.headers;
            // What came with the message wins over its arguments, as headers win over an envelope (contract §5).
            asked.repeatable = asked.repeatable.or(read.repeatable);
            asked.intent = asked.intent.or(read.intent);
            return asked.walk(front, &as_tool(form)).await;
        }
    };
    let Asked { at, source, claims, call, exchange, .. } = asked;
    let call = held::housekeeping(call);
    let mut inquiry = Inquiry::made(Arc::clone(front), at, source, claims, Arc::clone(&call));
    let (caller, world) = match inquiry.attended(wrong).await {
        Ok(known) => known,
        Err(stop) => return answer::to_call(front, &stop, &call, &form, false),
    };
    let (Form::Rpc { id, modern, .. }, Ok(Exchange::Post(message))) = (&form, &exchange) else {
        return match exchange {
            Ok(Exchange::Post(_)) => accepted(&call),
            _ => nothing_to_listen_to(&call),
        };
    };
    let ours = Ours { call: &call, id, modern: *modern };
    let refused = async |refused: Refused| {
        let stop = inquiry.refused(refused.into_refusal(&caller.agent.role).into()).await;
        answer::to_call(front, &stop, &call, &form, false)
    };
    let rights = match Rights::of(&world, &caller.agent, &call.service) {
        Ok(rights) => rights,
        Err(no_rights) => return refused(no_rights).await,
    };
    let capabilities = r#"{"tools":{}}"#;
    let about =
        About { name: &call.service, capabilities, instructions: &catalog::instructions(&call.service) };
    match (&call.action, message.method().unwrap_or_default()) {
        (Action::List(ListKind::Tools), _) if has_cursor(message) => {
            ours.invalid_params("the list has one page; no cursor comes from here")
        }
        (Action::List(ListKind::Tools), _) => {
            ours.listed(&catalog::listed(&call.service, rights, &front.gateway.risk))
        }
        // What is not listed may not be called.
        (Action::Tool(_), _) if !rights.may_request() => refused(Refused::Silence).await,
        (Action::Tool(tool), _) if tool == DOCUMENTATION => match documentation(front, &call.service).await {
            Ok(text) => ours.result(&catalog::read(&call.service, text.as_deref())),
            Err(fault) => answer::to_call(front, &fault.into(), &call, &form, false),
        },
        (Action::Tool(_), _) => ours
            .invalid_params(&format!("there is no such tool here, only `{REQUEST}` and `{DOCUMENTATION}`")),
        (_, "initialize") if !modern => ours.greeting(message, &about),
        (_, "server/discover") if *modern => ours.discovery(&about),
        (_, "ping") if !modern => ours.result(""),
        (_, method) => ours.unknown_method(method),
    }
}

/// The request that a message asks for, with the call that it is; none for other messages.
///
/// # Errors
/// Arguments of a tool that cannot be read in exactly one way.
fn request_in(asked: &Asked, front: &Front) -> Result<Option<(proxy::Read, Call)>, Stop> {
    let (Ok(Exchange::Post(message)), Action::Tool(tool)) = (&asked.exchange, &asked.call.action) else {
        return Ok(None);
    };
    let arguments = message.params().and_then(|params| params.get("arguments"));
    if tool == DOCUMENTATION && arguments.is_some_and(|arguments| arguments.members().next().is_some()) {
        return Err(envelope_fault("`documentation` takes no arguments").into());
    }
    if tool != REQUEST {
        return Ok(None);
    }
    let arguments = arguments.filter(|arguments| arguments.is_object());
    let arguments =
        arguments.ok_or_else(|| envelope_fault("`arguments` must be an object with `method` and `path`"))?;
    proxy::check_members(arguments, &proxy::REQUEST)?;
    let mut call = asked.call.clone();
    // The message's own headers are those of MCP.
    let none = HeaderMap::new();
    let mut read = proxy::read_request(arguments, message.body(), &none, front, &mut call)?;
    read.request.reads_answer = true;
    Ok(Some((read, call)))
}

/// The form of an answer that is told in the result of a tool.
fn as_tool(form: &Form) -> Form {
    match form {
        Form::Rpc { id, modern, .. } => Form::Tool { id: id.clone(), modern: *modern },
        form => form.clone(),
    }
}

fn has_cursor(message: &Message) -> bool {
    message.params().and_then(|params| params.get("cursor")).is_some()
}

/// What agents may read about the service, where an operator has given it any.
async fn documentation(front: &Front, service: &str) -> Result<Option<String>, Fault> {
    let world = front.gateway.freshness.current();
    let Some(service) = world.services.get(service) else { return Ok(None) };
    let mut texts = front.gateway.documentation(std::slice::from_ref(service)).await?;
    Ok(texts.remove(&service.name))
}

/// 405: there is no stream of this server's own, and no session to end (Streamable HTTP allows for both).
fn nothing_to_listen_to(call: &Call) -> Response<Flow> {
    let mut response = Response::new(flow::whole(""));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    answer::sign_own(&mut response, call);
    response
}
