//! The HTTP door: `/http/{service}/{path}?{query}`. Method, target, headers and body are read strictly, judged by the
//! walk, and passed on as they came. Small bodies are read here; larger ones are streamed.

mod travel;

use bytes::Bytes;
use domain::{
    call::{Action, Call},
    key::PresentedKey,
    service::{OddPaths, Upstream},
    stop::{Refusal, Stop, Unreadable},
};
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use pipeline::{
    ApiRequest, CallBody, Exchange, Presented,
    flow::{self, Broken, Flow},
};
use wire::{OddTargets, Target, mcp::Class};

use crate::{
    Front, Knock,
    answer::{self, Form},
    asked::Asked,
    identity::{self, Claims},
    intent, limits,
    repeatable::repeatable,
};

/// Bodies up to this size (bytes) are read at the door, so that trail and digest can hold them.
const WHOLE_BYTES_MAX: u64 = 64 * 1024;

pub(crate) fn takes(path: &str) -> bool {
    path.strip_prefix("/http/").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

pub(crate) async fn open(knock: Knock) -> Response<Flow> {
    let Knock { front, peer, request } = knock;
    let at = front.gateway.clock.now();
    let rest = request.uri().path().strip_prefix("/http/").unwrap_or_default();
    let (service, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let method = request.method().as_str();
    let mut call = Call {
        id: front.gateway.ids.next(at.wall),
        service: service.to_owned(),
        // What cannot be read is told apart by its refusal; the trail keeps no foreign word for it.
        method: wire::target::method(method).map_or("other".into(), |method| method.to_owned().into()),
        action: Action::Request(format!("{method} {path}")),
        class: Class::Call,
    };
    if let Err(foreign) = front.names.check(request.uri(), request.headers()) {
        return answer::turned_away(&front, &call, at, Refusal::ForeignOrigin(foreign), &Form::Http);
    }

    let source = identity::source(&front, peer, request.headers());
    let claims = Claims::of(request.headers(), request.uri(), front.key_in_query);
    let (path, query) = (path.to_owned(), request.uri().query().map(str::to_owned));
    let query = query.and_then(|query| without_key(&query, front.key_in_query));
    let stated = repeatable(request.headers(), None)
        .and_then(|repeatable| Ok((repeatable, intent::stated(request.headers(), None)?)));
    let (head, body) = request.into_parts();
    let asked = match read_head(&front, &call.service, &head.method, &path, query.as_deref(), &head.headers) {
        Ok((method, target, headers)) => {
            let body = read_body(&head.headers, body, &front, claims.key()).await;
            body.map(|body| (ApiRequest { method, target, body, reads_answer: false }, headers))
        }
        Err(unreadable) => Err(unreadable.into()),
    };
    let (exchange, headers) = match asked {
        Ok((request, headers)) => (Ok(Exchange::Request(request)), headers),
        Err(stop) => {
            // What cannot be read was not judged either: the trail must not show it as a path that is one.
            if matches!(stop, Stop::Refused(Refusal::Unreadable(Unreadable::Target(_)))) {
                call.action = Action::Unknown;
            }
            (Err(stop), HeaderMap::new())
        }
    };
    let exchange = stated.as_ref().map_or_else(|bad| Err(bad.clone().into()), |_| exchange);
    let (repeatable, intent) = stated.unwrap_or_default();
    let (session, modern, progress) = (None, false, None);
    let asked = Asked {
        at,
        source,
        claims,
        call,
        exchange,
        headers,
        session,
        modern,
        repeatable,
        intent,
        progress,
        tasks: false,
    };
    asked.walk(&front, &Form::Http).await
}

/// Method, target and the headers that travel on. `service` decides only how strictly a path is read.
pub(crate) fn read_head(
    front: &Front,
    service: &str,
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<(Method, Target, HeaderMap), Unreadable> {
    wire::target::method(method.as_str()).map_err(|bad| Unreadable::Target(bad.to_string()))?;
    let target = Target::parse(path, query, oddness(front, service))
        .map_err(|bad| Unreadable::Target(bad.to_string()))?;
    Ok((method.clone(), target, travel::travelling(headers)?))
}

fn oddness(front: &Front, service: &str) -> OddTargets {
    let world = front.gateway.freshness.current();
    match world.services.get(service).map(|service| &service.upstream) {
        Some(Upstream::Api(api)) => api.odd_paths,
        _ => OddPaths::Refuse,
    }
    .into()
}

/// A small body whole, a larger one flowing. One that is announced as too large is not read at all.
async fn read_body(
    headers: &HeaderMap,
    body: Incoming,
    front: &Front,
    key: Option<&Presented>,
) -> Result<CallBody, Stop> {
    use http_body::Body as _;
    if body.is_end_stream() {
        return Ok(CallBody::Whole(Bytes::new()));
    }
    let bytes_max = front.gateway.bounds.body_bytes_max;
    match limits::announced(headers) {
        Some(bytes) if bytes > bytes_max => Err(Refusal::TooLarge(bytes_max).into()),
        Some(bytes) if bytes <= WHOLE_BYTES_MAX => {
            limits::read_whole(headers, body, front, key).await.map(CallBody::Whole)
        }
        _ => {
            let body = body.map_err(|_| Broken::Client).map_frame(without_trailers);
            Ok(CallBody::Flow(flow::limited(body.boxed_unsync(), bytes_max)))
        }
    }
}

/// Trailers stay behind (RFC 9110 §6.5.1): they come when all is judged, and some servers take them for headers.
fn without_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    if frame.is_trailers() { Frame::data(Bytes::new()) } else { frame }
}

/// The query without the agent's key; `None` when nothing is left.
fn without_key(query: &str, key_in_query: bool) -> Option<String> {
    let is_key = |pair: &&str| {
        pair.strip_prefix("api_key=")
            .is_some_and(|value| key_in_query || PresentedKey::parse(value).is_some())
    };
    if !query.split('&').any(|pair| is_key(&pair)) {
        return Some(query.to_owned());
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_key(pair)).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_key_is_cut_out_of_the_query() {
        let key = domain::key::mint([1; 5], [2; 32]);
        let key = key.reveal();
        assert_eq!(without_key("a=b&c", false).as_deref(), Some("a=b&c"));
        assert_eq!(without_key("", true).as_deref(), Some(""));
        assert_eq!(without_key(&format!("a=b&api_key={key}&c=d"), false).as_deref(), Some("a=b&c=d"));
        assert_eq!(without_key("api_key=theirs", false).as_deref(), Some("api_key=theirs"));
        assert_eq!(without_key("api_key=junk", true), None);
    }

    #[test]
    fn what_comes_behind_a_body_is_no_part_of_the_request() {
        let kept = without_trailers(Frame::data(Bytes::from("a")));
        assert_eq!(kept.into_data().unwrap(), "a");
        let mut late = HeaderMap::new();
        late.insert("x-http-method-override", "DELETE".parse().unwrap());
        assert_eq!(without_trailers(Frame::trailers(late)).into_data().unwrap(), "");
    }

    #[test]
    fn the_door_takes_a_service_and_what_is_behind_it() {
        for path in ["/http/billing", "/http/billing/", "/http/billing/v1/x", "/http/b//x"] {
            assert!(takes(path), "{path}");
        }
        for path in ["/http", "/http/", "/http//x", "/https/x", "/mcp/x"] {
            assert!(!takes(path), "{path}");
        }
    }
}
