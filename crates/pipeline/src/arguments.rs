//! What the trail keeps of a call's arguments: those of a tool, or body and query of an HTTP request. Always one
//! valid JSON text, redacted and bounded.

use std::{borrow::Cow, collections::HashSet};

use domain::audit::{redact, write_json_string};
use http::HeaderMap;
use wire::{Limits, json};

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
    let body = body_as_json(request, headers);
    let text = match (request.target.query().and_then(pairs_as_json), body) {
        (None, body) => body?,
        (Some(query), None) => format!("{{\"query\":{query}}}").into(),
        (Some(query), Some(body)) => format!("{{\"query\":{query},\"body\":{body}}}").into(),
    };
    let json = json::read(text.as_bytes(), &Limits::of_bytes(text.len())).ok()?;
    Some(redact::redact(json, limits))
}

fn body_as_json<'r>(request: &'r ApiRequest, headers: &HeaderMap) -> Option<Cow<'r, str>> {
    let bytes = request.body.bytes().filter(|bytes| !bytes.is_empty())?;
    if headers.contains_key(http::header::CONTENT_ENCODING) {
        return None;
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let media = headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
    let media = media.split(';').next().unwrap_or(media).trim().to_ascii_lowercase();
    match media.as_str() {
        "application/x-www-form-urlencoded" => pairs_as_json(text).map(Cow::Owned),
        json if json == "application/json" || json.ends_with("+json") => Some(Cow::Borrowed(text)),
        _ => None,
    }
}

/// `a=b&c=d` as a JSON object of texts; none where a name comes twice or an escape is no UTF-8.
fn pairs_as_json(text: &str) -> Option<String> {
    let mut names: HashSet<String> = HashSet::new();
    let mut out = String::from("{");
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        if out.len() > 1 {
            out.push(',');
        }
        write_json_string(&mut out, &name);
        out.push(':');
        write_json_string(&mut out, &value);
        if !names.insert(name) {
            return None;
        }
    }
    out.push('}');
    Some(out)
}

/// Decodes `%XX` and `+` (WHATWG URL, application/x-www-form-urlencoded).
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
                rest = after;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_a_million_names_is_read_in_no_time() {
        // Comparing each with each would take hours.
        let form = (0..1_000_000).map(|name| format!("{name:x}=")).collect::<Vec<_>>().join("&");
        let json = pairs_as_json(&form).unwrap();
        assert!(json.starts_with("{\"0\":\"\",\"1\":\"\",") && json.ends_with(",\"f423f\":\"\"}"));
    }

    #[test]
    fn names_that_come_twice_make_no_object() {
        assert_eq!(pairs_as_json("a=1&b=%C3%BC+x").as_deref(), Some("{\"a\":\"1\",\"b\":\"ü x\"}"));
        for text in ["a=1&a=2", "a=1&%61=2", "a=%FF", "a=%4"] {
            assert_eq!(pairs_as_json(text), None, "{text}");
        }
    }
}
