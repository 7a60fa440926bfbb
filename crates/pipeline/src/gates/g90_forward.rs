//! Gate 90: send it, and hand the answer back as it came. Only lists are cut, only session ids are replaced, only
//! what belongs to the connection or to us is left out.

use std::{pin::Pin, sync::Arc, time::Duration};

use domain::{
    call::Action,
    service::{ApiUpstream, Upstream},
    stop::{Fault, Stop},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::Sleep;

use super::{g20_authorize::Authorized, g80_inject_credential::Equipped};
use crate::{
    arrival::{Exchange, Origin, Reply},
    flow::{self, Broken, Deadline, Flow, Leash, Limit},
    gateway::Gateway,
    listing::Catalog,
    upstreams::{Answer, Outbound},
};

/// The headers of an upstream's answer that travel on.
const ANSWER_HEADERS: [header::HeaderName; 4] =
    [header::CONTENT_TYPE, header::CACHE_CONTROL, header::RETRY_AFTER, header::ALLOW];
/// Says of an event stream that nobody in between may hold it back.
const ACCEL_BUFFERING: header::HeaderName = header::HeaderName::from_static("x-accel-buffering");
/// The session id of the older protocol.
const SESSION_ID: header::HeaderName = header::HeaderName::from_static(wire::mcp::header::SESSION_ID);

pub(crate) async fn forward(call: Equipped, gateway: &Gateway) -> Result<Reply, Stop> {
    let (call, injection) = call.into_parts();
    let Authorized {
        caller, call, service, session, exchange, mut headers, modern, repeatable, gone, ..
    } = call.into_inner().into_inner().into_inner();
    let timeout = gateway.bounds.upstream_timeout;
    let mut timer = Box::pin(tokio::time::sleep(timeout));
    // A resumed stream replays answers of any kind, lists among them.
    let lists = matches!(call.action, Action::List(_)) || matches!(exchange, Exchange::Listen);
    let only_listens = matches!(exchange, Exchange::Listen) || call.method == "subscriptions/listen";
    let catalog = lists.then(|| Catalog::new(&gateway.freshness, &caller, &call.service));

    // What the upstream itself knows by such a key is not done twice either.
    if let (Some(repeatable), Upstream::Api(ApiUpstream { idempotency_header: Some(name), .. })) =
        (&repeatable, &service.upstream)
        && let (Ok(name), Ok(key)) =
            (HeaderName::try_from(name), HeaderValue::from_str(repeatable.key.as_str()))
    {
        headers.insert(name, key);
    }
    let outbound = Outbound { caller: &caller, exchange, session, headers, modern };
    let answer = tokio::select! {
        answer = gateway.upstreams.exchange(&service, outbound, &injection) => answer?,
        () = timer.as_mut() => return Err(Fault::UpstreamTimeout(timeout).into()),
        // In the stateless protocol a client cancels by hanging up; in the older ones it does not. Whoever sends
        // an idempotency key means to come back for the answer.
        _ = gone, if modern && repeatable.is_none() => return Err(Fault::ClientGone.into()),
    };

    let Answer { response, session } = answer;
    let (upstream, body) = response.into_parts();
    // We have asked for `identity`. Its coding does not travel on, and nothing could be read or cut in it.
    if upstream.headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(Fault::UpstreamBroken("its answer is compressed, unasked".into()).into());
    }
    let is_stream = media_type(&upstream.headers) == Some("text/event-stream");
    let mut head = answer_head(&upstream, is_stream);
    if let Some(session) = session {
        let token = gateway.sessions.seal(&caller.agent.name, &service.name, &session);
        if let Ok(token) = HeaderValue::try_from(token) {
            head.headers.insert(SESSION_ID, token);
        }
    }

    let bytes_max = gateway.bounds.body_bytes_max;
    let body = if is_stream {
        let body = match catalog {
            Some(catalog) => {
                flow::cut_events(body, catalog, usize::try_from(bytes_max).unwrap_or(usize::MAX))
            }
            None => body,
        };
        let (freshness, clock) = (Arc::clone(&gateway.freshness), Arc::clone(&gateway.clock));
        let stopping = only_listens.then(|| gateway.stopping.clone());
        Leash::new(body, freshness, clock, caller, call.service.clone(), stopping).boxed_unsync()
    } else {
        let body = bounded(body, timer, bytes_max);
        match catalog {
            Some(catalog) => cut_whole(&upstream, body, &catalog, bytes_max, timeout).await?,
            None => body,
        }
    };
    Ok(Reply { head, body, origin: Origin::Upstream, repeat: None })
}

/// Status and the headers that travel on.
fn answer_head(upstream: &response::Parts, is_stream: bool) -> response::Parts {
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = upstream.status;
    for name in ANSWER_HEADERS {
        if let Some(value) = upstream.headers.get(&name) {
            head.headers.insert(name, value.clone());
        }
    }
    if is_stream {
        head.headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        head.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    }
    head
}

/// A body that must be whole in time and not too large.
fn bounded(body: Flow, timer: Pin<Box<Sleep>>, bytes_max: u64) -> Flow {
    if body.is_end_stream() {
        return body;
    }
    Limit::new(Deadline::new(body, timer).boxed_unsync(), bytes_max).boxed_unsync()
}

/// Collects a list answer and cuts it. What cannot be read is not handed out.
async fn cut_whole(
    upstream: &response::Parts,
    body: Flow,
    catalog: &Catalog,
    bytes_max: u64,
    timeout: Duration,
) -> Result<Flow, Stop> {
    let broken = |broken| match broken {
        Broken::TooSlow => Fault::UpstreamTimeout(timeout),
        Broken::TooLarge(_) => {
            Fault::UpstreamBroken(format!("its list is larger than {bytes_max} bytes (gateway.body_limit)"))
        }
        other => Fault::UpstreamBroken(other.to_string()),
    };
    let bytes = body.collect().await.map_err(broken)?.to_bytes();
    if bytes.is_empty() || upstream.status == StatusCode::ACCEPTED {
        return Ok(flow::whole(bytes));
    }
    let is_json = media_type(&upstream.headers) == Some("application/json");
    let why = match catalog.cut(&bytes) {
        Ok(cut) if is_json => return Ok(flow::whole(cut.unwrap_or(bytes))),
        // An error in words of its own is no list.
        _ if !upstream.status.is_success() && !is_json => return Ok(flow::whole(bytes)),
        Ok(_) => "it is not application/json".to_owned(),
        Err(malformed) => malformed.to_string(),
    };
    Err(Fault::UpstreamBroken(format!("its list cannot be cut: {why}")).into())
}

/// The media type without parameters, as far as we compare it (RFC 9110 §8.3: case does not count, but our
/// comparison may be strict: an odd spelling is passed on as bytes, or refused where it must be read).
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}
