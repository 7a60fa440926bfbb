//! The envelope: every part is a part of the body, and an edit changes what it names and nothing else.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::json::Limits;
use wire::{Message, Shape, mcp};

const LIMITS: Limits = Limits::of_bytes(1 << 20);

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::read(Bytes::copy_from_slice(bytes), &LIMITS) else { return };
    assert_eq!(message.body(), bytes);
    let value: serde_json::Value = serde_json::from_slice(bytes).expect("we accepted it");
    assert_eq!(message.method(), value["method"].as_str());
    assert_eq!(message.params().is_some(), value["params"].is_object());
    assert_eq!(message.id().is_some(), !value["id"].is_null());
    if let Shape::Response { is_error, .. } = message.shape() {
        assert_eq!(is_error, value.get("error").is_some());
    }

    if let Some(id) = message.id() {
        let changed = message.with_id("\"another\"");
        let changed = Message::read(changed, &LIMITS).expect("still a message");
        assert_eq!(changed.id().map(|id| id.text()), Some("\"another\""));
        assert_eq!(changed.with_id(id.text()), bytes);
    }
    if let Some(cut) = message.without_meta(|key| key.len() % 2 == 0) {
        let cut: serde_json::Value = serde_json::from_slice(&cut).expect("still JSON");
        let mut expected = value.clone();
        let meta = expected["params"]["_meta"].as_object_mut().expect("there was something to cut");
        meta.retain(|key, _| key.len() % 2 != 0);
        assert_eq!(cut, expected);
    }
    if let Some(method) = message.method().and_then(mcp::method) {
        let _ = mcp::subject(&message, method);
        let _ = mcp::stated_version(&message);
    }
});
