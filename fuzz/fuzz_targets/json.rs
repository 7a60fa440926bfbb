//! The strict reader against `serde_json`: what we accept it accepts and sees the same; what only we refuse,
//! we refuse for a reason that we have and it has not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wire::json::{Kind, Limits, read};
use wire::{Raw, Reason};

const LIMITS: Limits = Limits::of_bytes(1 << 20);

fuzz_target!(|bytes: &[u8]| {
    let theirs = serde_json::from_slice::<Value>(bytes);
    match read(bytes, &LIMITS) {
        Ok(raw) => assert_eq!(seen(raw), theirs.expect("we accepted it")),
        Err(refusal) => {
            assert!(refusal.at <= bytes.len());
            let message = refusal.to_string();
            assert!(!message.chars().any(char::is_control) && message.chars().count() < 160);
            let stricter = matches!(refusal.reason, Reason::DuplicateKey(_) | Reason::TooDeep { .. });
            assert!(stricter || theirs.is_err(), "{message}");
        }
    }
});

/// What navigation sees. Numbers keep their text on both sides.
fn seen(raw: Raw<'_>) -> Value {
    match raw.kind() {
        Kind::Object => raw
            .members()
            .map(|(key, value)| {
                let name = key.decoded().into_owned();
                assert_eq!(raw.get(&name).expect("a member is found by its key").text(), value.text());
                (name, seen(value))
            })
            .collect(),
        Kind::Array => raw.elements().map(seen).collect(),
        Kind::String => Value::String(raw.as_str().expect("a string").into_owned()),
        Kind::Bool => Value::Bool(raw.as_bool().expect("a bool")),
        Kind::Null => Value::Null,
        Kind::Number => serde_json::from_str(raw.text()).expect("a number"),
    }
}
