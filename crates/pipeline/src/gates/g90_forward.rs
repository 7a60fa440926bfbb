//! Gate 90: send it, and hand back the answer as it came. Only lists are filtered, only session ids are replaced, and
//! only what belongs to the connection or to us is left out.

mod head;

use std::{pin::Pin, sync::Arc, time::Duration};

use domain::{
    service::{ApiUpstream, Upstream},
    stop::{Fault, Stop},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::Sleep;

use self::head::media_type;
use super::{g20_authorize::Authorized, g80_inject_credential::Equipped};
use crate::{
    arrival::{ApiRequest, CallBody, Exchange, Reply},
    edit::Edit,
    flow::{self, BodyHash, Broken, Coding, Deadline, Flow, Hash, Leash, Limit, Mask},
    gateway::Gateway,
    leave::{Leave, may_leave},
    traces::Trace,
    upstreams::{Answer, Outbound},
};

/// The session id of the older protocol.
const SESSION_ID: header::HeaderName = header::HeaderName::from_static(wire::mcp::header::SESSION_ID);

pub(crate) async fn forward(
    call: Equipped,
    gateway: &Gateway,
    mut trace: Option<&mut Trace>,
) -> Result<Reply, Stop> {
    let (call, injection) = call.into_parts();
    // A token may have been waited for.
    let now = gateway.clock.now();
    let world = gateway.freshness.world(now).await?;
    may_leave((&call.caller, &call.call, &call.service), &world, now)?;
    let call = call.into_inner();
    let is_detached = call.is_detached();
    let Authorized {
        caller, call, service, session, exchange, mut headers, modern, repeatable, gone, ..
    } = call.into_inner();
    let timeout = gateway.bounds.upstream_timeout;
    let mut timer = Box::pin(tokio::time::sleep(timeout));
    let only_listens = matches!(exchange, Exchange::Listen) || call.method == "subscriptions/listen";
    let edit = Edit::of(gateway, &caller, &service, &call, &exchange, modern);

    // What the upstream itself knows by such a key is not done twice either.
    if let (Some(repeatable), Upstream::Api(ApiUpstream { idempotency_header: Some(name), .. })) =
        (&repeatable, &service.upstream)
        && let (Ok(name), Ok(key)) =
            (HeaderName::try_from(name), HeaderValue::from_str(repeatable.key.as_str()))
    {
        headers.insert(name, key);
    }
    let leash = |body, stopping| {
        let (freshness, clock) = (Arc::clone(&gateway.freshness), Arc::clone(&gateway.clock));
        Leash::new(body, freshness, clock, caller.clone(), call.service.clone(), stopping).boxed_unsync()
    };
    let is_read_whole = matches!(&exchange, Exchange::Request(request) if request.reads_answer);
    let (exchange, body_hash) = watch_on_its_way(exchange, |body| leash(body, None));
    if let Some(trace) = &mut trace {
        trace.leaves(&mut headers);
    }
    // It may wait for a connection, too.
    let leave = Leave::of_call(&gateway.freshness, &gateway.clock, (&caller, &call, &service));
    let outbound = Outbound { caller: &caller, exchange, session, headers, modern, leave };
    let answered = async {
        if is_detached {
            // Boxed: few calls go this way, and each would have to have room for it.
            Box::pin(gateway.upstreams.exchange_detached(&service, outbound, &injection, &gateway.bounds))
                .await
        } else {
            gateway.upstreams.exchange(&service, outbound, &injection).await
        }
    };
    let answer = tokio::select! {
        // An answer that is there is taken.
        biased;
        answer = answered => answer?,
        () = timer.as_mut() => return Err(Fault::UpstreamTimeout(timeout).into()),
        // In the stateless protocol a client cancels by hanging up; in the older ones it does not. Whoever sends
        // an idempotency key means to come back for the answer.
        _ = gone, if modern && repeatable.is_none() => return Err(Fault::ClientGone.into()),
    };

    if let Some(trace) = trace {
        trace.answered();
    }
    let Answer { response, session } = answer;
    let (mut upstream, body) = response.into_parts();
    // Two framings in one head are two bodies (RFC 9112 §6.3): the library reads one of them and tells both.
    if [header::TRANSFER_ENCODING, header::CONTENT_LENGTH]
        .iter()
        .all(|name| upstream.headers.contains_key(name))
    {
        return Err(Fault::UpstreamBroken("it sent a length and a transfer coding in one head".into()).into());
    }
    // The HTTP library undoes `chunked` alone; under anything else nobody here could read the body.
    if upstream.headers.get_all(header::TRANSFER_ENCODING).iter().any(|coding| !is_plain(coding)) {
        return Err(Fault::UpstreamBroken("it used a transfer coding that nobody asked for".into()).into());
    }
    if let Some(masker) = &injection.masker {
        flow::mask_headers(masker, &mut upstream.headers);
    }
    let is_stream = match &service.upstream {
        Upstream::Api(api) => api.stream && !is_read_whole,
        _ => media_type(&upstream.headers) == Some("text/event-stream"),
    };
    // We have asked for `identity`. What comes in another coding is undone where somebody must read it.
    let is_read =
        injection.masker.is_some() || is_read_whole || !matches!(service.upstream, Upstream::Api(_));
    let codings = if is_read { undo_codings(&mut upstream.headers)? } else { Vec::new() };
    let mut head = head::travelling(&upstream, &service.upstream, is_stream);
    if let Some(session) = session {
        let token = gateway.sessions.seal(&caller.agent.name, &service.name, &session);
        if let Ok(token) = HeaderValue::try_from(token) {
            head.headers.insert(SESSION_ID, token);
        }
    }

    let bytes_max = gateway.bounds.body_bytes_max;
    if !is_stream && body.size_hint().lower() > bytes_max {
        return Err(Fault::AnswerTooLarge(bytes_max).into());
    }
    let readable = |body: Flow, bytes_max| {
        let body = if codings.is_empty() { body } else { flow::decode(body, &codings, bytes_max) };
        match &injection.masker {
            Some(masker) => Mask::new(body, masker.clone()).boxed_unsync(),
            None => body,
        }
    };
    let body = if is_stream {
        let body = readable(body, u64::MAX);
        let body = match edit {
            Some(edit) => flow::edit_events(body, edit, usize::try_from(bytes_max).unwrap_or(usize::MAX)),
            None => body,
        };
        leash(body, only_listens.then(|| gateway.stopping.clone()))
    } else {
        // Whoever reads it sees a stream, whatever the service was said to answer.
        let flows = matches!(service.upstream, Upstream::Api(_))
            && !is_read_whole
            && body.size_hint().exact().is_none();
        let body = readable(bounded(body, timer, bytes_max), bytes_max);
        match edit {
            Some(edit) => edit_whole(&upstream, body, edit, bytes_max, timeout).await?,
            None if flows => leash(body, None),
            None => body,
        }
    };
    // What cannot be decoded from its first byte on is no answer.
    let body = if codings.is_empty() { body } else { begun_in_time(body, timeout).await? };
    Ok(Reply { head, body, body_hash, repeat: None })
}

/// `identity` is how RFC 2616 said that there is none.
fn is_plain(coding: &HeaderValue) -> bool {
    let coding = coding.as_bytes().trim_ascii();
    coding.eq_ignore_ascii_case(b"chunked") || coding.eq_ignore_ascii_case(b"identity")
}

async fn begun_in_time(body: Flow, timeout: Duration) -> Result<Flow, Stop> {
    match tokio::time::timeout(timeout, flow::begun(body)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(Broken::TooSlow)) | Err(_) => Err(Fault::UpstreamTimeout(timeout).into()),
        Ok(Err(broken)) => Err(Fault::UpstreamBroken(broken.to_string()).into()),
    }
}

/// Has a request body that nobody has read hashed while it flows by, and ends it when its caller may not go on.
fn watch_on_its_way(exchange: Exchange, leash: impl Fn(Flow) -> Flow) -> (Exchange, Option<BodyHash>) {
    match exchange {
        Exchange::Request(ApiRequest { method, target, body: CallBody::Flow(flow), reads_answer }) => {
            let hash = BodyHash::default();
            let flow = if flow.is_end_stream() { flow } else { leash(flow) };
            let body = CallBody::Flow(Hash::new(flow, Arc::clone(&hash)).boxed_unsync());
            (Exchange::Request(ApiRequest { method, target, body, reads_answer }), Some(hash))
        }
        other => (other, None),
    }
}

/// The codings to undo; the head then tells of the body without them.
fn undo_codings(headers: &mut HeaderMap) -> Result<Vec<Coding>, Stop> {
    let codings = flow::codings(headers).map_err(|broken| Fault::UpstreamBroken(broken.to_string()))?;
    if !codings.is_empty() {
        headers.remove(header::CONTENT_ENCODING);
        headers.remove(header::CONTENT_LENGTH);
    }
    Ok(codings)
}

/// A body that must be whole in time and not too large.
fn bounded(body: Flow, timer: Pin<Box<Sleep>>, bytes_max: u64) -> Flow {
    if body.is_end_stream() {
        return body;
    }
    Limit::new(Deadline::new(body, timer).boxed_unsync(), bytes_max).boxed_unsync()
}

/// Collects an answer and edits it. A list that cannot be read is not handed out.
async fn edit_whole(
    upstream: &response::Parts,
    body: Flow,
    mut edit: Edit,
    bytes_max: u64,
    timeout: Duration,
) -> Result<Flow, Stop> {
    let broken = |broken| match broken {
        Broken::TooSlow => Fault::UpstreamTimeout(timeout),
        Broken::TooLarge(_) => {
            Fault::UpstreamBroken(format!("its answer is larger than {bytes_max} bytes (gateway.body_limit)"))
        }
        other => Fault::UpstreamBroken(other.to_string()),
    };
    let bytes = body.collect().await.map_err(broken)?.to_bytes();
    if bytes.is_empty() || upstream.status == StatusCode::ACCEPTED {
        return Ok(flow::whole(bytes));
    }
    let is_json = media_type(&upstream.headers) == Some("application/json");
    let why = match edit.apply(&bytes) {
        Ok(edited) if is_json => return Ok(flow::whole(edited.unwrap_or(bytes))),
        _ if !edit.is_strict() => return Ok(flow::whole(bytes)),
        // An error in words of its own is no list.
        _ if !upstream.status.is_success() && !is_json => return Ok(flow::whole(bytes)),
        Ok(_) => "it is not application/json".to_owned(),
        Err(malformed) => malformed.to_string(),
    };
    Err(Fault::UpstreamBroken(format!("its list cannot be cut: {why}")).into())
}
