//! Headers of the modern era: what passes says exactly what the body says, and what we encode passes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use wire::Message;
use wire::json::Limits;
use wire::mcp::{check_headers, encode_header};

const LIMITS: Limits = Limits::of_bytes(1 << 20);
const VERSION: &str = "2026-07-28";

fuzz_target!(|input: (&str, &[u8], &[u8], &[u8])| {
    let (name, version_header, method_header, name_header) = input;
    let params =
        serde_json::json!({"name": name, "_meta": {"io.modelcontextprotocol/protocolVersion": VERSION}});
    let body = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let message = Message::read(Bytes::from(body.to_string()), &LIMITS).expect("a message");

    let encoded = encode_header(name);
    assert!(encoded.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
    let right = (VERSION.as_bytes(), b"tools/call".as_slice(), encoded.as_bytes());
    check_headers(&message, Some(right.0), Some(right.1), Some(right.2)).expect("they agree");

    let passes =
        |version, method, name| check_headers(&message, Some(version), Some(method), Some(name)).is_ok();
    assert_eq!(passes(version_header, right.1, right.2), trimmed(version_header) == right.0);
    assert_eq!(passes(right.0, method_header, right.2), trimmed(method_header) == right.1);
    if passes(right.0, right.1, name_header) {
        let said = trimmed(name_header);
        assert!(
            said == name.as_bytes() || said == format!("=?base64?{}?=", base64(name.as_bytes())).as_bytes()
        );
    }
});

fn trimmed(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Base64 once more, so that the check has a witness of its own.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * index) & 63) as usize];
            out.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}
