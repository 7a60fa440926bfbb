//! A call's arguments: those of a tool, or the body and query of an HTTP request. Conditions look at them and the
//! trail keeps them, always as one valid JSON text, redacted and bounded.

use std::borrow::Cow;

use domain::{
    audit::{redact, write_json_string},
    call::Action,
    policy::{Facts, Unusable},
};
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use wire::{Limits, Raw, form, json};

use crate::arrival::{ApiRequest, Exchange};

/// The arguments of an exchange as the trail keeps them; none where it has none, or none that can be read.
pub(crate) fn of(exchange: &Exchange, headers: &HeaderMap, limits: &redact::Limits) -> Option<String> {
    match exchange {
        Exchange::Post(message) => {
            message.params().map(|params| redact::redact(params.get("arguments").unwrap_or(params), limits))
        }
        Exchange::Request(request) => of_request(request, headers, limits),
        Exchange::Listen | Exchange::End => None,
    }
}

/// The body alone where there is no query, else `{"query":…,"body":…}`.
fn of_request(request: &ApiRequest, headers: &HeaderMap, limits: &redact::Limits) -> Option<String> {
    let query = request.target.query().and_then(form::pairs).map(|pairs| as_json(&pairs));
    let text = match (query, body_as_json(request, headers).ok()) {
        (None, body) => body?,
        (Some(query), None) => format!("{{\"query\":{query}}}").into(),
        (Some(query), Some(body)) => format!("{{\"query\":{query},\"body\":{body}}}").into(),
    };
    let json = json::read(text.as_bytes(), &Limits::of_bytes(text.len())).ok()?;
    Some(redact::redact(json, limits))
}

/// What a condition of the policy can ask about a call, once its body is there.
pub(crate) fn with_facts<T>(
    known: Facts<'_>,
    action: &Action,
    exchange: &Exchange,
    headers: &HeaderMap,
    ask: impl FnOnce(&Facts<'_>) -> T,
) -> T {
    match exchange {
        Exchange::Post(message) if matches!(action, Action::Tool(_) | Action::Prompt(_)) => {
            let arguments = message.params().and_then(|params| params.get("arguments"));
            // Left out, they are empty.
            let arguments = arguments.map_or_else(|| read("{}"), Ok);
            ask(&known.with_args(arguments))
        }
        Exchange::Request(request) => {
            let body = body_as_json(request, headers);
            let args = body.as_deref().map_err(|why| *why).and_then(read);
            let query = request.target.query().unwrap_or_default();
            ask(&known.with_args(args).with_query(form::pairs(query).ok_or(Unusable::Unreadable)))
        }
        Exchange::Post(_) | Exchange::Listen | Exchange::End => ask(&known),
    }
}

fn read(text: &str) -> Result<Raw<'_>, Unusable> {
    json::read(text.as_bytes(), &Limits::of_bytes(text.len())).map_err(|_| Unusable::Unreadable)
}

/// The body of a request as a JSON text, if its type says that it is JSON or a form. Whether it keeps that promise
/// is still to be seen.
fn body_as_json<'r>(request: &'r ApiRequest, headers: &HeaderMap) -> Result<Cow<'r, str>, Unusable> {
    let bytes = request.body.bytes().filter(|bytes| !bytes.is_empty()).ok_or(Unusable::Missing)?;
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(Unusable::Compressed);
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(media), None) = (types.next(), types.next()) else { return Err(Unusable::Type) };
    let media = media.to_str().map_err(|_| Unusable::Type)?.to_ascii_lowercase();
    let (media, parameters) = media.split_once(';').unwrap_or((&media, ""));
    // Another charset would be another text.
    let charsets = parameters.split(';').filter_map(|parameter| parameter.trim().strip_prefix("charset="));
    if charsets.map(|charset| charset.trim_matches('"')).any(|charset| charset != "utf-8") {
        return Err(Unusable::Type);
    }
    let text = || std::str::from_utf8(bytes).map_err(|_| Unusable::Unreadable);
    match media.trim() {
        "application/x-www-form-urlencoded" => {
            form::pairs(text()?).map(|pairs| as_json(&pairs).into()).ok_or(Unusable::Unreadable)
        }
        json if json == "application/json" || json.ends_with("+json") => Ok(text()?.into()),
        _ => Err(Unusable::Type),
    }
}

/// Pairs as a JSON object of texts.
fn as_json(pairs: &[(String, String)]) -> String {
    let mut out = String::from("{");
    for (name, value) in pairs {
        if out.len() > 1 {
            out.push(',');
        }
        write_json_string(&mut out, name);
        out.push(':');
        write_json_string(&mut out, value);
    }
    out.push('}');
    out
}
