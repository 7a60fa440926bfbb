//! From the end of a walk to an HTTP response: problem documents (RFC 9457) on HTTP, JSON-RPC errors on MCP, and our
//! own headers on every answer. What is said stands in `words.rs`.

mod forms;
mod tool_result;
mod words;

use domain::{
    approval::{NotApproved, Ticket},
    call::{Action, Call},
    clock::Now,
    idempotency::StoredAnswer,
    names::CallId,
    service::RefusalForm,
    stop::{Fault, Refusal, Stop, Unreadable},
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use pipeline::{
    Repeat, Reply,
    flow::{self, Flow},
    turn_away,
};
use wire::{
    Message, Reason, Shape,
    mcp::{Class, code},
};

pub(crate) use self::{tool_result::OUTPUT_SCHEMA, words::quoted};
use self::{tool_result::tool_result, words::Words};
use crate::{
    Front,
    challenge::{self, Challenge},
};

const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const PROXY_STATUS: HeaderName = HeaderName::from_static("x-proxy-status");
const IDEMPOTENCY_STATUS: HeaderName = HeaderName::from_static("x-idempotency-status");
/// Says of an event stream that nobody in between may hold it back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How an answer must look, whatever it will say.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// A JSON-RPC answer to the request with this id, as the client wrote it.
    Rpc {
        /// The id.
        id: String,
        /// Whether it is a `tools/call`, which may be answered by a tool result.
        is_tool_call: bool,
        /// Whether it is of the newest protocol.
        modern: bool,
    },
    /// The same for a `tools/call` that was made a request to an HTTP service: its answer is told in a tool result.
    Tool {
        /// The id.
        id: String,
        /// Whether it is of the newest protocol.
        modern: bool,
    },
    /// A plain HTTP answer of an MCP endpoint: nothing in the request asks for a JSON-RPC one.
    Plain,
    /// An HTTP answer: problems are problem documents.
    Http,
}

impl Form {
    /// The form of the answer to this message.
    pub(crate) fn of(message: &Message, modern: bool) -> Self {
        match message.shape() {
            Shape::Request { id, method } => {
                Self::Rpc { id: id.text().to_owned(), is_tool_call: method == "tools/call", modern }
            }
            Shape::Notification { .. } | Shape::Response { .. } => Self::Plain,
        }
    }

    /// The id of the JSON-RPC request that is answered.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::Rpc { id, .. } | Self::Tool { id, .. } => Some(id),
            Self::Plain | Self::Http => None,
        }
    }
}

/// Whether an answer is the gateway's own word: a refusal, a fault, or about a held call. What an upstream answered is
/// not, nor is what we say as a server.
pub(crate) fn is_of_ours(headers: &HeaderMap) -> bool {
    const OF_UPSTREAMS: [&str; 3] = ["forwarded", "executed-approved", "replayed"];
    headers.get(PROXY_STATUS).is_some_and(|status| !OF_UPSTREAMS.iter().any(|word| status == word))
}

/// Whether it says that the call waits for people.
pub(crate) fn is_held(headers: &HeaderMap) -> bool {
    headers.get(PROXY_STATUS).is_some_and(|status| status == "held")
}

/// What a fault is told as, in a stream of messages: the JSON-RPC error to the request `id`.
pub(crate) fn fault_message(fault: &Fault, call: &Call, id: &str) -> String {
    let words = Words::of_fault(fault, call);
    words.rpc_error(Some(id), words.status.into(), call)
}

/// The upstream's answer, with our two headers.
pub(crate) async fn forwarded(
    front: &Front,
    reply: Reply,
    call: &Call,
    form: &Form,
    keyed: bool,
) -> Response<Flow> {
    let mut response = match form {
        Form::Tool { id, modern } => {
            // It is read whole first: a result that breaks off in the middle would be no message.
            let (bodies, bounds) = (&front.gateway.bodies, &front.gateway.bounds);
            match bodies.collect(reply.body, bounds.body_bytes_max, bounds.upstream_timeout).await {
                Ok(body) => {
                    let (status, headers) = (reply.head.status, &reply.head.headers);
                    let body = tool_result(id, *modern, &call.service, status, headers, body.bytes());
                    rpc(StatusCode::OK, body)
                }
                Err(fault) => return to_call(front, &fault.into(), call, form, keyed),
            }
        }
        Form::Rpc { .. } | Form::Plain | Form::Http => Response::from_parts(reply.head, reply.body),
    };
    if let Some(repeat) = reply.repeat {
        let status = match repeat {
            Repeat::Stored => "stored",
            Repeat::Unknown => "unknown",
        };
        response.headers_mut().insert(IDEMPOTENCY_STATUS, HeaderValue::from_static(status));
    }
    sign(&mut response, call, "forwarded");
    response
}

/// The answer to a call that an upstream did not answer.
pub(crate) fn stopped(
    stop: &Stop,
    call: &Call,
    form: &Form,
    refusals: Option<RefusalForm>,
) -> Response<Flow> {
    let words = match stop {
        Stop::Refused(refusal) => Words::of_refusal(refusal, call),
        Stop::Fault(fault) => Words::of_fault(fault, call),
        Stop::Held(ticket) => Words::of_ticket(ticket, call),
        Stop::Replayed(answer) => {
            let mut response = stored(answer, call, form, "replayed");
            response.headers_mut().insert(IDEMPOTENCY_STATUS, HeaderValue::from_static("replayed"));
            return response;
        }
        Stop::Executed(answer) => return stored(answer, call, form, "executed-approved"),
    };
    let mut response = match (form, stop) {
        (Form::Http, _) => problem(&words, call),
        (Form::Rpc { id, is_tool_call, modern }, _) if speaks_rpc(stop) => {
            let hides_errors = *is_tool_call
                && refusals == Some(RefusalForm::Result)
                && !matches!(stop, Stop::Refused(Refusal::NotInScope));
            let body = if hides_errors {
                words.tool_result(id, *modern, call)
            } else {
                words.rpc_error(Some(id), words.status.into(), call)
            };
            rpc(StatusCode::OK, body)
        }
        (Form::Rpc { id, .. }, Stop::Refused(Refusal::NoSuchMethod(_))) => {
            rpc(StatusCode::NOT_FOUND, words.rpc_error(Some(id), code::METHOD_NOT_FOUND, call))
        }
        (Form::Tool { id, .. }, _) if speaks_rpc(stop) => {
            rpc(StatusCode::OK, words.rpc_error(Some(id), words.status.into(), call))
        }
        // What the arguments say wrong, whoever wrote them can mend.
        (Form::Tool { id, modern }, Stop::Refused(Refusal::Unreadable(unreadable)))
            if *unreadable != Unreadable::TwoKeys =>
        {
            rpc(StatusCode::OK, words.tool_result(id, *modern, call))
        }
        // Whose protocol it would have been is not known yet.
        (_, Stop::Refused(Refusal::Unreadable(Unreadable::Head(_)))) => problem(&words, call),
        (form, Stop::Refused(Refusal::Unreadable(unreadable))) => {
            let body = words.rpc_error(form.id(), unreadable_code(unreadable), call);
            rpc(StatusCode::BAD_REQUEST, body)
        }
        _ => problem(&words, call),
    };
    let headers = response.headers_mut();
    if let Some(wait) = words.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
    }
    if let (Stop::Held(ticket), Form::Http) = (stop, form)
        && let Ok(place) = HeaderValue::try_from(format!("/v1/approvals/{}", ticket.id))
    {
        headers.insert(header::LOCATION, place);
    }
    if let Stop::Refused(Refusal::MethodNotAllowed) = stop {
        // RFC 9110 §15.5.6. Every MCP endpoint takes messages; who was refused a stream or an end has none to be had.
        // Envelopes are posted, and every other path of HTTP has methods of its own that are set by its door.
        let allow = match form {
            Form::Plain if !matches!(&*call.method, "GET" | "DELETE") => "GET, POST, DELETE",
            _ => "POST",
        };
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(challenge) = Challenge::of(stop) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge::PLAIN));
        response.extensions_mut().insert(challenge);
    }
    let headers = response.headers_mut();
    match stop {
        Stop::Refused(Refusal::RateLimited(over)) => {
            limit_headers(headers, over.header(), over.policy_header())
        }
        // What waits for people has no window: a place is free when one of them is decided.
        Stop::Refused(Refusal::PendingFull(most)) => {
            limit_headers(
                headers,
                "\"pending-approvals\";r=0".into(),
                format!("\"pending-approvals\";q={most}"),
            );
        }
        _ => {}
    }
    if let Some(status) = idempotency_status(stop) {
        headers.insert(IDEMPOTENCY_STATUS, HeaderValue::from_static(status));
    }
    sign(&mut response, call, words.proxy_status);
    response
}

/// An answer that was kept; on MCP with this request's own id.
fn stored(answer: &StoredAnswer, call: &Call, form: &Form, proxy_status: &'static str) -> Response<Flow> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = HeaderMap::with_capacity(answer.headers.len());
    for (name, value) in &answer.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let mut response = match form {
        Form::Tool { id, modern } => {
            let body = tool_result(id, *modern, &call.service, status, &headers, &answer.body);
            rpc(StatusCode::OK, body)
        }
        Form::Rpc { .. } | Form::Plain | Form::Http => {
            let body = form.id().map_or_else(|| answer.body.clone(), |id| answer.body_for(id));
            let mut response = Response::new(flow::whole(body));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            response
        }
    };
    sign(&mut response, call, proxy_status);
    response
}

/// The answer to a call that stopped, in the form that its service wants. `keyed` says that it came with an idempotency
/// key.
pub(crate) fn to_call(front: &Front, stop: &Stop, call: &Call, form: &Form, keyed: bool) -> Response<Flow> {
    let world = front.gateway.freshness.current();
    let refusals = world.services.get(call.service.as_str()).map(|service| service.refusals);
    let mut response = stopped(stop, call, form, refusals);
    let status = match stop {
        Stop::Held(_) => Some("in-progress"),
        Stop::Executed(_) => Some("stored"),
        Stop::Refused(Refusal::NotApproved(NotApproved::Unknown(_))) => Some("unknown"),
        stop if stop.may_have_happened() => Some("unknown"),
        _ => None,
    };
    if let Some(status) = status.filter(|_| keyed) {
        response.headers_mut().insert(IDEMPOTENCY_STATUS, HeaderValue::from_static(status));
    }
    response
}

/// The head of an event stream that tells a client of a held call how it goes.
pub(crate) fn event_stream(call: &Call, keyed: bool) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    if keyed {
        headers.insert(IDEMPOTENCY_STATUS, HeaderValue::from_static("in-progress"));
    }
    sign(&mut response, call, "held");
    response
}

/// The answer to a held call that goes on as a task: no error, and no result yet.
pub(crate) fn held_as_task(call: &Call, keyed: bool, message: String) -> Response<Flow> {
    let mut response = rpc(StatusCode::OK, message);
    if keyed {
        response.headers_mut().insert(IDEMPOTENCY_STATUS, HeaderValue::from_static("in-progress"));
    }
    sign(&mut response, call, "held");
    response
}

/// A message of ours that is no refusal.
pub(crate) fn own_message(status: StatusCode, call: &Call, message: String) -> Response<Flow> {
    let mut response = rpc(status, message);
    sign_own(&mut response, call);
    response
}

/// How a held call stands, in words for people and models.
pub(crate) fn standing(ticket: &Ticket, call: &Call) -> String {
    words::standing(ticket, call)
}

/// What `X-Idempotency-Status` says of a stop, where it is about an idempotency key.
fn idempotency_status(stop: &Stop) -> Option<&'static str> {
    match stop {
        Stop::Refused(Refusal::InProgress) => Some("in-progress"),
        Stop::Refused(Refusal::KeyReused) => Some("mismatch"),
        Stop::Refused(Refusal::OutcomeUnknown) => Some("unknown"),
        _ => None,
    }
}

/// Whether an MCP request is told this as a JSON-RPC error on HTTP 200 (contract §5).
fn speaks_rpc(stop: &Stop) -> bool {
    match stop {
        Stop::Refused(
            Refusal::NotInScope
            | Refusal::Stopped
            | Refusal::Forbidden { .. }
            | Refusal::ToolHeldBack(_)
            | Refusal::InProgress
            | Refusal::KeyReused
            | Refusal::OutcomeUnknown
            | Refusal::TooRisky { .. }
            | Refusal::CannotWait(_)
            | Refusal::PendingFull(_)
            | Refusal::NotApproved(_)
            | Refusal::NotDecided { .. }
            | Refusal::NotTakenBack { .. }
            | Refusal::NoSuchApproval
            | Refusal::NoApprovalNamed,
        ) => true,
        // Without a good key there is no agent to speak to: like 401, it is plain HTTP.
        Stop::Refused(Refusal::RateLimited(over)) => !over.is_of_a_stranger(),
        Stop::Refused(_) => false,
        Stop::Fault(_) | Stop::Replayed(_) | Stop::Held(_) | Stop::Executed(_) => true,
    }
}

/// The JSON-RPC code of a request that cannot be read (contract §5: HTTP 400).
fn unreadable_code(unreadable: &Unreadable) -> i32 {
    match unreadable {
        Unreadable::Body(malformed) => match malformed.reason {
            Reason::Batch | Reason::Shape(_) => code::INVALID_REQUEST,
            Reason::Member { .. } => code::INVALID_PARAMS,
            _ => code::PARSE_ERROR,
        },
        Unreadable::Headers(_) => code::HEADER_MISMATCH,
        Unreadable::Version(_) => code::UNSUPPORTED_VERSION,
        _ => code::INVALID_REQUEST,
    }
}

/// 404 for paths that no door takes.
pub(crate) fn no_such_endpoint(front: &Front) -> Response<Flow> {
    let call = without_door(front.gateway.ids.next(front.gateway.clock.now().wall));
    stopped(&Refusal::NoSuchEndpoint.into(), &call, &Form::Plain, None)
}

/// The refusal of a request that no door was asked about, which the trail has all the same.
pub(crate) fn refused_at_the_door(front: &Front, path: &str, refusal: Refusal) -> Response<Flow> {
    let at = front.gateway.clock.now();
    let call = without_door(front.gateway.ids.next(at.wall));
    let form = if path.starts_with("/mcp") { Form::Plain } else { Form::Http };
    turned_away(front, &call, at, refusal, &form)
}

/// The refusal of a request that no gate needs to see, which the trail has all the same.
pub(crate) fn turned_away(
    front: &Front,
    call: &Call,
    at: Now,
    refusal: Refusal,
    form: &Form,
) -> Response<Flow> {
    let stop = turn_away(call, at, refusal.into(), &front.gateway);
    stopped(&stop, call, form, None)
}

/// What no door has read: it says of no service what it wants.
fn without_door(id: CallId) -> Call {
    Call {
        id,
        service: String::new(),
        method: "".into(),
        action: Action::Service,
        class: Class::Housekeeping,
    }
}

/// Marks an answer that is ours and no refusal.
pub(crate) fn sign_own<B>(response: &mut Response<B>, call: &Call) {
    if let Ok(id) = HeaderValue::try_from(call.id.to_string()) {
        response.headers_mut().insert(CALL_ID, id);
    }
}

/// 503 while the vault is sealed, whatever was asked.
pub(crate) fn sealed(id: CallId) -> Response<Flow> {
    stopped(&Fault::Sealed.into(), &without_door(id), &Form::Plain, None)
}

fn sign<B>(response: &mut Response<B>, call: &Call, status: &'static str) {
    sign_own(response, call);
    response.headers_mut().insert(PROXY_STATUS, HeaderValue::from_static(status));
}

fn limit_headers(headers: &mut HeaderMap, left: String, policy: String) {
    for (name, text) in [(RATE_LIMIT, left), (RATE_LIMIT_POLICY, policy)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}

fn rpc(status: StatusCode, body: String) -> Response<Flow> {
    json(status, "application/json", body)
}

fn problem(words: &Words, call: &Call) -> Response<Flow> {
    let status = StatusCode::from_u16(words.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, "application/problem+json", words.document(call))
}

fn json(status: StatusCode, media: &'static str, body: String) -> Response<Flow> {
    let mut response = Response::new(flow::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
