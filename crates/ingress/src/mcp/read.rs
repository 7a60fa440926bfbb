//! Reads one MCP request strictly: its headers, its message, what it acts on, what it says about itself. The body that
//! is passed on is the one that was read.

use std::borrow::Cow;

use bytes::Bytes;
use domain::{
    call::Action,
    idempotency::Repeatable,
    stop::{Refusal, Stop, Unreadable},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use hyper::body::Incoming;
use pipeline::Exchange;
use wire::{
    Limits, Message, Shape,
    json::Kind,
    mcp::{self, Class, Era, Subject, Version},
};

use super::{method_word, task};
use crate::{
    Front,
    answer::Form,
    identity::{Claims, META_KEY},
    intent, limits,
    repeatable::{self, repeatable},
};

/// The headers of a request that travel on as they came, if they come once. `accept` and `mcp-param-*` do too.
const REQUEST_HEADERS: [HeaderName; 5] = [
    header::USER_AGENT,
    HeaderName::from_static(mcp::header::PROTOCOL_VERSION),
    HeaderName::from_static(mcp::header::LAST_EVENT_ID),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// A request that could be read.
pub(super) struct Read {
    pub(super) exchange: Exchange,
    pub(super) method: Cow<'static, str>,
    pub(super) action: Action,
    pub(super) class: Class,
    pub(super) form: Form,
    pub(super) stated: Stated,
}

/// What a request says of itself, beside its message.
#[derive(Clone, Default)]
pub(super) struct Stated {
    pub(super) modern: bool,
    pub(super) session: Option<String>,
    pub(super) repeatable: Option<Repeatable>,
    pub(super) intent: Option<String>,
    /// The token under which it wants to hear of progress, where it takes event streams.
    pub(super) progress: Option<String>,
    /// Whether it may be answered a task, should it be held.
    pub(super) tasks: bool,
}

/// A request that could not, and how its answer must look as far as that is known.
pub(super) struct Unread {
    pub(super) stop: Stop,
    pub(super) form: Option<Form>,
}

impl From<Stop> for Unread {
    fn from(stop: Stop) -> Self {
        Self { stop, form: None }
    }
}
impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Stop::from(refusal).into()
    }
}
impl From<Unreadable> for Unread {
    fn from(unreadable: Unreadable) -> Self {
        Refusal::Unreadable(unreadable).into()
    }
}

pub(super) async fn read(
    request: Request<Incoming>,
    front: &Front,
    claims: &mut Claims,
    travelling: &mut HeaderMap,
) -> Result<Read, Unread> {
    let (head, body) = request.into_parts();
    let headers = &head.headers;
    for name in REQUEST_HEADERS {
        if let Some(value) = only(headers, &name)? {
            travelling.insert(name, value.clone());
        }
    }
    for (name, value) in headers {
        // `Accept` is a list and may be split over several lines (RFC 9110 §5.3).
        if *name == header::ACCEPT || name.as_str().starts_with(mcp::header::PARAM_PREFIX) {
            travelling.append(name.clone(), value.clone());
        }
    }
    let version = only(headers, &HeaderName::from_static(mcp::header::PROTOCOL_VERSION))?;
    let version = version.map(version_of).transpose();
    let session = only(headers, &HeaderName::from_static(mcp::header::SESSION_ID))?
        .map(|value| value.to_str().map(str::to_owned).map_err(|_| Refusal::UnknownSession))
        .transpose()?;

    let exchange = match head.method {
        Method::GET => Exchange::Listen,
        Method::DELETE => Exchange::End,
        Method::POST => {
            let bytes = limits::read_message(headers, body, front, claims.key()).await?;
            let read = read_message(bytes, headers, version, session, claims)?;
            if read.stated.modern {
                // The newest protocol resumes nothing.
                travelling.remove(mcp::header::LAST_EVENT_ID);
            }
            return Ok(read);
        }
        _ => return Err(Refusal::MethodNotAllowed.into()),
    };
    // The newest protocol has neither sessions nor streams without a request.
    if version?.is_some_and(|version| version.era() == Era::Modern) {
        return Err(Refusal::MethodNotAllowed.into());
    }
    let method = method_word(&head.method);
    let (action, class) = (Action::Service, Class::Housekeeping);
    let stated = Stated { session, ..Stated::default() };
    Ok(Read { exchange, method, action, class, form: Form::Plain, stated })
}

fn read_message(
    bytes: Bytes,
    headers: &HeaderMap,
    version: Result<Option<Version>, Unreadable>,
    session: Option<String>,
    claims: &mut Claims,
) -> Result<Read, Unread> {
    let is_json =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
            value.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
        });
    if !is_json {
        return Err(Refusal::UnsupportedMediaType.into());
    }
    let limits = Limits::of_bytes(bytes.len());
    let mut message = Message::read(bytes, &limits).map_err(Unreadable::Body)?;
    if let Some(key) = message.meta(META_KEY) {
        claims.add(key.as_str().as_deref().unwrap_or_default());
    }
    let inside = message.meta(repeatable::META_KEY);
    // What is no text is no key either.
    let inside = inside.map(|key| key.as_str().unwrap_or_default());
    let repeatable = repeatable(headers, inside.as_deref());
    let intent = match message.meta(intent::META_KEY).map(|intent| intent.as_str()) {
        Some(None) => Err(Unreadable::Intent),
        intent => intent::stated(headers, intent.flatten().map(Cow::into_owned)),
    };
    let progress = progress_token(&message).filter(|_| takes_events(headers));
    // Our own members are for us: neither digest nor record nor upstream sees them.
    if let Some(without) = message.without_meta(|key| key.starts_with(mcp::meta::OURS_PREFIX)) {
        let limits = Limits::of_bytes(without.len());
        message = Message::read(without, &limits).map_err(Unreadable::Body)?;
    }

    let states_version = message.meta(mcp::meta::PROTOCOL_VERSION).is_some();
    let modern = states_version || matches!(&version, Ok(Some(version)) if version.era() == Era::Modern);
    let form = Form::of(&message, modern);
    let unread =
        |unreadable| Unread { stop: Refusal::Unreadable(unreadable).into(), form: Some(form.clone()) };
    if modern {
        check_modern(&message, headers).map_err(|stop| Unread { stop, form: Some(form.clone()) })?;
    } else {
        version.map_err(unread)?;
        check_legacy(&message, headers).map_err(unread)?;
    }
    let (method, action, class) = subject_of(&message).map_err(unread)?;
    let session = session.filter(|_| !modern);
    let (repeatable, intent) = (repeatable.map_err(unread)?, intent.map_err(unread)?);
    let tasks = modern && task::is_welcome(&message);
    let stated = Stated { modern, session, repeatable, intent, progress, tasks };
    Ok(Read { exchange: Exchange::Post(message), method, action, class, form, stated })
}

/// The token of a request that wants to hear of progress: a text or a number, as it was written.
fn progress_token(message: &Message) -> Option<String> {
    let token = message.meta(mcp::meta::PROGRESS_TOKEN)?;
    let is_request = matches!(message.shape(), Shape::Request { .. });
    (is_request && matches!(token.kind(), Kind::String | Kind::Number)).then(|| token.text().to_owned())
}

/// Whether the client takes an event stream for an answer (RFC 9110 §12.5.1).
fn takes_events(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| {
        let media = range.split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case("text/event-stream")
    })
}

/// What the message acts on, in the words that policy uses.
pub(super) fn subject_of(message: &Message) -> Result<(Cow<'static, str>, Action, Class), Unreadable> {
    let (Shape::Request { method: name, .. } | Shape::Notification { method: name }) = message.shape() else {
        return Ok((Cow::Borrowed("response"), Action::Service, Class::Housekeeping));
    };
    let Some(method) = mcp::method(name) else {
        return Ok((Cow::Owned(name.to_owned()), Action::Unknown, Class::Housekeeping));
    };
    let action = match mcp::subject(message, method).map_err(Unreadable::Body)? {
        Subject::Tool(name) => Action::Tool(name.into_owned()),
        Subject::Prompt(name) => Action::Prompt(name.into_owned()),
        Subject::Resource(uri) => Action::Resource(uri.into_owned()),
        Subject::Resources(uris) => Action::Resources(uris.into_iter().map(Cow::into_owned).collect()),
        Subject::List(kind) => Action::List(kind),
        Subject::Task(_) | Subject::Service => Action::Service,
    };
    Ok((Cow::Borrowed(method.name), action, method.class))
}

/// A request of the newest protocol states its version, its headers say what its body says, the version is one that is
/// spoken here and it has the method: asked in this order, so that who contradicts themselves is told that first.
fn check_modern(message: &Message, headers: &HeaderMap) -> Result<(), Stop> {
    let value =
        |name| only(headers, &HeaderName::from_static(name)).map(|value| value.map(HeaderValue::as_bytes));
    let (version, method, name) =
        (value(mcp::header::PROTOCOL_VERSION)?, value(mcp::header::METHOD)?, value(mcp::header::NAME)?);
    let Shape::Request { method: called, .. } = message.shape() else {
        return Ok(mcp::check_headers(message, version, method, name).map_err(Unreadable::Headers)?);
    };
    let stated = mcp::stated_version(message).map_err(Unreadable::Body)?;
    mcp::check_headers(message, version, method, name).map_err(Unreadable::Headers)?;
    if Version::parse(&stated).is_none() {
        return Err(unknown_version(&stated).into());
    }
    match mcp::method(called) {
        Some(known) if !known.eras.include_era(Era::Modern) => {
            Err(Refusal::NoSuchMethod(called.to_owned()).into())
        }
        // What no version knows is for the service's settings to refuse.
        _ => Ok(()),
    }
}

/// In the older protocols the headers may be left out, but must not say something else either.
fn check_legacy(message: &Message, headers: &HeaderMap) -> Result<(), Unreadable> {
    let method = only(headers, &HeaderName::from_static(mcp::header::METHOD))?.map(HeaderValue::as_bytes);
    let differs = method.is_some_and(|said| Some(said) != message.method().map(str::as_bytes));
    if differs { Err(Unreadable::Header(mcp::header::METHOD.into())) } else { Ok(()) }
}

/// A protocol version that nobody here speaks cannot be judged either.
fn version_of(value: &HeaderValue) -> Result<Version, Unreadable> {
    let text = value.to_str().map_err(|_| Unreadable::Header(mcp::header::PROTOCOL_VERSION.into()))?;
    Version::parse(text.trim()).ok_or_else(|| unknown_version(text))
}

fn unknown_version(text: &str) -> Unreadable {
    Unreadable::Version(text.chars().take(64).collect())
}

/// The value of a header that must not come twice.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Unreadable> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Unreadable::Header(name.to_string())),
    }
}
