//! The call digest (contract §5): the identity of a call, whoever carries it and however often it comes. Two requests
//! with the same digest mean the same effect. Test vectors are in `docs/digest-vectors.json`.

use domain::{call::Call, names::AgentName};
use http::{HeaderMap, HeaderName, header};
use sha2::{Digest, Sha256};
use wire::{Raw, canonical};

use crate::arrival::{ApiRequest, Exchange};

/// Headers that say how a request travels or who carries it, not what it asks for.
static CARRIAGE: [HeaderName; 11] = [
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
        canonical::write_canonical(params, &mut text, &|path| {
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
    let parts: [&[u8]; 6] = [
        agent.as_str().as_bytes(),
        call.service.as_bytes(),
        request.method.as_str().as_bytes(),
        request.target.as_str().as_bytes(),
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use bytes::Bytes;
    use domain::{call::Action, names::CallId};
    use http::{HeaderValue, Method};
    use serde_json::Value;
    use wire::{Limits, Message, OddTargets, Target, mcp::Class};

    use super::*;
    use crate::arrival::CallBody;

    fn vectors(list: &str) -> Vec<Value> {
        let mut file: Value =
            serde_json::from_str(include_str!("../../../docs/digest-vectors.json")).unwrap();
        let vectors: Vec<Value> = serde_json::from_value(file[list].take()).unwrap();
        assert!(vectors.len() >= 5, "{list}");
        vectors
    }

    fn text<'v>(vector: &'v Value, member: &str) -> &'v str {
        vector[member].as_str().unwrap_or_else(|| panic!("`{member}` is no text in {vector}"))
    }

    fn whose(vector: &Value) -> (AgentName, Call) {
        let call = Call {
            id: CallId::new(1_000, 1),
            service: text(vector, "service").to_owned(),
            method: text(vector, "method").to_owned().into(),
            // Not a part of the digest: the method and what is sent say it.
            action: Action::Unknown,
            class: Class::Call,
        };
        (AgentName::parse(text(vector, "agent")).unwrap(), call)
    }

    fn hex(digest: [u8; 32]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn body_of(vector: &Value) -> Bytes {
        match vector["body_hex"].as_str() {
            None => Bytes::copy_from_slice(vector["body"].as_str().unwrap_or_default().as_bytes()),
            Some(hex) => {
                let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
                digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
            }
        }
    }

    /// The vectors were computed by another program, from their description alone.
    #[test]
    fn the_published_digests_of_requests_hold() {
        let mut seen: HashMap<String, Vec<String>> = HashMap::new();
        for vector in vectors("requests") {
            let (agent, call) = whose(&vector);
            let mut headers = HeaderMap::new();
            for header in vector["headers"].as_array().unwrap() {
                let name: HeaderName = header[0].as_str().unwrap().parse().unwrap();
                headers.append(name, HeaderValue::from_str(header[1].as_str().unwrap()).unwrap());
            }
            let target =
                Target::parse(text(&vector, "path"), vector["query"].as_str(), OddTargets::Refuse).unwrap();
            let method: Method = text(&vector, "method").parse().unwrap();
            let body = CallBody::Whole(body_of(&vector));
            let request = ApiRequest { method, target, body, reads_answer: false };
            let digest = of_exchange(&agent, &call, &Exchange::Request(request), &headers).unwrap();
            assert_eq!(hex(digest), text(&vector, "sha256"), "{}", text(&vector, "name"));
            seen.entry(hex(digest)).or_default().push(text(&vector, "name").to_owned());
        }
        let same: Vec<_> = seen.into_values().filter(|names| names.len() > 1).collect();
        assert_eq!(same, [["a body", "what only carries the request does not count"]]);
    }

    #[test]
    fn the_published_digests_of_messages_hold() {
        for vector in vectors("messages") {
            let (agent, call) = whose(&vector);
            let params = vector["params"].as_str().map(|params| format!(",\"params\":{params}"));
            let body = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{}\"{}}}",
                call.method,
                params.unwrap_or_default()
            );
            let limits = Limits::of_bytes(body.len());
            let message = Message::read(body.into(), &limits).unwrap();
            let digest = of_exchange(&agent, &call, &Exchange::Post(message), &HeaderMap::new()).unwrap();
            assert_eq!(hex(digest), text(&vector, "sha256"), "{}", text(&vector, "name"));
        }
    }

    #[test]
    fn a_body_that_flows_by_has_no_digest() {
        let target = Target::parse("/v1/x", None, OddTargets::Refuse).unwrap();
        let body = CallBody::Flow(crate::flow::whole("x"));
        let request =
            Exchange::Request(ApiRequest { method: Method::POST, target, body, reads_answer: false });
        let (agent, call) = whose(&serde_json::json!({ "agent": "a", "service": "s", "method": "POST" }));
        assert_eq!(of_exchange(&agent, &call, &request, &HeaderMap::new()), None);
    }
}
