//! The call digest (contract §5): which call this is, whoever carries it and however often it comes. Two requests
//! with one digest mean the same effect. Test vectors are in `docs/digest-vectors.json`.

use domain::{call::Call, names::AgentName};
use http::{HeaderMap, HeaderName, header};
use sha2::{Digest, Sha256};
use wire::{Raw, canonical};

use crate::arrival::{ApiRequest, Exchange};

/// Headers that say how a request travels or who carries it, not what it asks for.
const CARRIAGE: [HeaderName; 11] = [
    header::USER_AGENT,
    header::ACCEPT_ENCODING,
    header::CONTENT_LENGTH,
    header::DATE,
    HeaderName::from_static("prefer"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-correlation-id"),
    // Stripe's SDKs tell how long their last request took.
    HeaderName::from_static("x-stripe-client-telemetry"),
];

/// What headers begin with in which many generated SDKs (OpenAI's, Anthropic's) count their tries.
const CARRIAGE_PREFIX: &str = "x-stainless-";

/// The digest of an exchange; `None` for what has none: sessions, and bodies that flow by unread.
#[must_use]
pub fn of_exchange(
    agent: &AgentName,
    call: &Call,
    exchange: &Exchange,
    headers: &HeaderMap,
) -> Option<[u8; 32]> {
    match exchange {
        Exchange::Post(message) => Some(of_message(agent, call, message.params())),
        Exchange::Request(request) => of_request(agent, call, request, headers),
        Exchange::Listen | Exchange::End => None,
    }
}

/// SHA-256 over agent, service, method and canonical parameters, each preceded by its length. JSON-RPC ids, session
/// ids, progress tokens and our own members never count.
#[must_use]
pub fn of_message(agent: &AgentName, call: &Call, params: Option<Raw<'_>>) -> [u8; 32] {
    let mut text = Vec::with_capacity(256);
    if let Some(params) = params {
        canonical::write_canonical_without(params, &mut text, &|path| {
            matches!(path, ["_meta", "progressToken"])
                || matches!(path, ["_meta", ours] if ours.starts_with("toolgate/"))
        });
    }
    let parts: [&[u8]; 4] =
        [agent.as_str().as_bytes(), call.service.as_bytes(), call.method.as_bytes(), &text];
    of_parts(b"toolgate-call-1", parts)
}

/// SHA-256 over agent, service, method, target, every travelling header but those of the carriage (sorted by
/// name, `name: value` a line), and the SHA-256 of the body; each preceded by its length.
fn of_request(agent: &AgentName, call: &Call, request: &ApiRequest, headers: &HeaderMap) -> Option<[u8; 32]> {
    let body: [u8; 32] = Sha256::digest(request.body.bytes()?).into();
    let mut lines: Vec<(&str, &[u8])> = headers
        .iter()
        .filter(|(name, _)| !CARRIAGE.contains(name) && !name.as_str().starts_with(CARRIAGE_PREFIX))
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .collect();
    // Stable: values of one name keep their order, which has a meaning.
    lines.sort_by_key(|(name, _)| *name);
    let mut text = Vec::with_capacity(256);
    for (name, value) in lines {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.push(b'\n');
    }
    let target = match request.target.query() {
        Some(query) => format!("{}?{query}", request.target.path()),
        None => request.target.path().to_owned(),
    };
    let parts: [&[u8]; 6] = [
        agent.as_str().as_bytes(),
        call.service.as_bytes(),
        request.method.as_str().as_bytes(),
        target.as_bytes(),
        &text,
        &body,
    ];
    Some(of_parts(b"toolgate-request-1", parts))
}

fn of_parts<const N: usize>(format: &[u8], parts: [&[u8]; N]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(format);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
