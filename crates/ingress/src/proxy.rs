//! The proxy door: `POST /proxy`, a request to an HTTP service as one JSON envelope. It is turned into what the HTTP
//! door would have read, and walks the same way. On MCP the arguments of a tool are the same envelope.

use bytes::Bytes;
use domain::{
    call::{Action, Call},
    idempotency::Repeatable,
    stop::{Refusal, Stop, Unreadable},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};
use pipeline::{ApiRequest, CallBody, Exchange, flow::Flow};
use wire::{
    Limits, Raw,
    json::{self, Kind},
    mcp::Class,
    percent,
};

use crate::{
    Front, Knock,
    answer::{self, Form},
    asked::Asked,
    http::read_head,
    identity::{self, Claims},
    intent, limits,
    repeatable::{self, repeatable},
};

/// The members of an envelope (contract §5), besides the `service` that it is for.
pub(crate) const REQUEST: [&str; 7] =
    ["method", "path", "query", "headers", "body", "intent", "idempotency_key"];
/// How many header lines an envelope may give, as many as a request of its own; the map of the HTTP library panics
/// over 32,768.
const HEADERS_MAX: usize = 100;

pub(crate) fn takes(path: &str) -> bool {
    path == "/proxy"
}

pub(crate) async fn open(knock: Knock) -> Response<Flow> {
    let Knock { front, peer, request } = knock;
    let at = front.gateway.clock.now();
    let mut call = Call {
        id: front.gateway.ids.next(at.wall),
        service: String::new(),
        method: "proxy".into(),
        action: Action::Unknown,
        class: Class::Call,
    };
    if let Err(foreign) = front.names.check(request.uri(), request.headers()) {
        return answer::turned_away(&front, &call, at, Refusal::ForeignOrigin(foreign), &Form::Http);
    }
    let source = identity::source(&front, peer, request.headers());
    let claims = Claims::of(request.headers(), request.uri(), front.key_in_query);
    let (head, body) = request.into_parts();
    let whole = match head.method {
        Method::POST => limits::read_message(&head.headers, body, &front, claims.key()).await,
        _ => Err(Refusal::MethodNotAllowed.into()),
    };
    let read = whole.and_then(|bytes| read(&bytes, &head.headers, &front, &mut call));
    let (exchange, headers, repeatable, intent) = match read {
        Ok(read) => (Ok(Exchange::Request(read.request)), read.headers, read.repeatable, read.intent),
        Err(stop) => (Err(stop), HeaderMap::new(), None, None),
    };
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

/// An envelope that could be read.
pub(crate) struct Read {
    pub(crate) request: ApiRequest,
    pub(crate) headers: HeaderMap,
    pub(crate) repeatable: Option<Repeatable>,
    pub(crate) intent: Option<String>,
}

/// Reads an envelope, and notes in `call` what it is about. Headers of its request (`outer`) win over it.
///
/// # Errors
/// What cannot be read in exactly one way.
pub(crate) fn read(bytes: &Bytes, outer: &HeaderMap, front: &Front, call: &mut Call) -> Result<Read, Stop> {
    let envelope = json::read(bytes, &Limits::of_bytes(bytes.len())).map_err(Unreadable::Body)?;
    check_members(envelope, &[&["service"], &REQUEST[..]].concat())?;
    call.service = required(envelope, "service")?;
    read_request(envelope, bytes, outer, front, call)
}

/// Reads what an envelope, which stands in `bytes`, says of a request to the service of `call`.
///
/// # Errors
/// What cannot be read in exactly one way.
pub(crate) fn read_request(
    envelope: Raw<'_>,
    bytes: &Bytes,
    outer: &HeaderMap,
    front: &Front,
    call: &mut Call,
) -> Result<Read, Stop> {
    let method = required(envelope, "method")?;
    let path = required(envelope, "path")?;
    if path.contains("://") && !path.starts_with('/') {
        return Err(envelope_fault("`path` is an address; give the path alone, it starts with `/`").into());
    }
    if path.contains('?') {
        return Err(envelope_fault("`path` holds a query; give that as `query`").into());
    }
    let intent = intent::stated(outer, optional_text(envelope, "intent")?)?;
    let query = envelope.get("query").map(query_text).transpose()?.flatten();
    let mut inner = envelope.get("headers").map(header_map).transpose()?.unwrap_or_default();
    let body = match envelope.get("body").filter(|body| body.kind() != Kind::Null) {
        None => Bytes::new(),
        Some(body) => body_bytes(body, bytes, &mut inner),
    };
    if !body.is_empty() {
        // The body says how long it is. A length that is stated would cut it after it was judged.
        inner.remove(header::CONTENT_LENGTH);
    }
    let method = wire::target::method(&method).map_err(|bad| Unreadable::Target(bad.to_string())).and_then(
        |method| {
            Method::from_bytes(method.as_bytes()).map_err(|_| envelope_fault("`method` is no HTTP method"))
        },
    )?;
    call.method = method.as_str().to_owned().into();
    let (method, target, headers) =
        read_head(front, &call.service, &method, &path, query.as_deref(), &inner)?;
    call.action = Action::Request(format!("{method} {}", target.path()));

    let stated = optional_text(envelope, "idempotency_key")?;
    // A header of the request wins over the envelope (contract §5).
    let stated = stated.filter(|_| !outer.contains_key(repeatable::HEADER));
    let repeatable = repeatable(outer, stated.as_deref())?;
    let request = ApiRequest { method, target, body: CallBody::Whole(body), reads_answer: false };
    Ok(Read { request, headers, repeatable, intent })
}

/// An envelope is an object, and has no members but these.
pub(crate) fn check_members(envelope: Raw<'_>, members: &[&str]) -> Result<(), Unreadable> {
    if !envelope.is_object() {
        return Err(envelope_fault("it is no JSON object"));
    }
    for (name, _) in envelope.members() {
        let name = name.decoded();
        if !members.contains(&name.as_ref()) {
            let known = members.join(", ");
            let shown: String = name.chars().take(40).flat_map(char::escape_default).collect();
            return Err(envelope_fault(&format!("unknown member `{shown}`; known: {known}")));
        }
    }
    Ok(())
}

pub(crate) fn envelope_fault(what: &str) -> Unreadable {
    Unreadable::Envelope(what.to_owned())
}

pub(crate) fn required(envelope: Raw<'_>, name: &str) -> Result<String, Unreadable> {
    optional_text(envelope, name)?.ok_or_else(|| envelope_fault(&format!("`{name}` is missing")))
}

fn optional_text(envelope: Raw<'_>, name: &str) -> Result<Option<String>, Unreadable> {
    match envelope.get(name) {
        None => Ok(None),
        Some(value) if value.kind() == Kind::Null => Ok(None),
        Some(value) => match value.as_str() {
            Some(text) => Ok(Some(text.into_owned())),
            None => Err(envelope_fault(&format!("`{name}` must be a text"))),
        },
    }
}

/// A query as a text, sent as it is, or as an object of texts, numbers and booleans, or lists of them.
fn query_text(query: Raw<'_>) -> Result<Option<String>, Unreadable> {
    if query.kind() == Kind::Null {
        return Ok(None);
    }
    if let Some(text) = query.as_str() {
        return Ok(Some(text.strip_prefix('?').unwrap_or(&text).to_owned()));
    }
    if !query.is_object() {
        return Err(envelope_fault("`query` must be a text or an object"));
    }
    let mut pairs = Vec::new();
    for (name, value) in query.members() {
        let name = percent::encode(name.decoded().as_bytes());
        let values: Vec<Raw<'_>> = match value.kind() {
            Kind::Array => value.elements().collect(),
            _ => vec![value],
        };
        for value in values {
            pairs.push(format!("{name}={}", percent::encode(scalar(value)?.as_bytes())));
        }
    }
    Ok((!pairs.is_empty()).then(|| pairs.join("&")))
}

/// A text as it is, a number or a boolean as it was written.
fn scalar(value: Raw<'_>) -> Result<String, Unreadable> {
    match value.kind() {
        Kind::Object | Kind::Array | Kind::Null => {
            Err(envelope_fault("values in `query` must be texts, numbers or booleans"))
        }
        _ => Ok(value.as_str().map_or_else(|| value.text().to_owned(), std::borrow::Cow::into_owned)),
    }
}

/// Header names and values; a list gives several values of one name.
fn header_map(headers: Raw<'_>) -> Result<HeaderMap, Unreadable> {
    if !headers.is_object() {
        return Err(envelope_fault("`headers` must be an object of texts"));
    }
    let mut map = HeaderMap::new();
    for (name, value) in headers.members() {
        let name = name.decoded();
        let bad = || {
            let shown: String = name.chars().take(40).flat_map(char::escape_default).collect();
            envelope_fault(&format!("`headers` holds `{shown}`, which cannot be a header"))
        };
        let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let values: Vec<Raw<'_>> = match value.kind() {
            Kind::Array => value.elements().collect(),
            _ => vec![value],
        };
        for value in values {
            let text = value.as_str().ok_or_else(bad)?;
            if map.len() == HEADERS_MAX {
                return Err(envelope_fault("`headers` holds more than 100 values"));
            }
            map.append(field.clone(), HeaderValue::from_str(&text).map_err(|_| bad())?);
        }
    }
    Ok(map)
}

/// A text is sent as it is, anything else as the JSON that it is, to the byte. Either keeps the envelope, which has a
/// part of the budget for bodies where it is large.
fn body_bytes(body: Raw<'_>, envelope: &Bytes, headers: &mut HeaderMap) -> Bytes {
    match body.as_str() {
        Some(text) => Bytes::from_owner(Text { text: text.into_owned(), _envelope: envelope.clone() }),
        None => {
            headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            envelope.slice_ref(body.text().as_bytes())
        }
    }
}

/// A body that stood in an envelope as a text.
struct Text {
    text: String,
    _envelope: Bytes,
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}
