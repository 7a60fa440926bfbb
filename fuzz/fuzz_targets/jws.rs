//! Signed tokens: whatever is read has exactly one spelling, and what serde_json reads of it is the same.
#![no_main]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wire::jws::{BYTES_MAX, Jws};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(jws) = Jws::read(text) else { return };
    assert!(Jws::is_shape_of(text) && text.len() <= BYTES_MAX);
    let parts: Vec<&str> = text.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    assert_eq!(URL_SAFE_NO_PAD.encode(jws.signature()), signature);
    assert_eq!(jws.signed(), format!("{header}.{payload}"));
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("we decoded it");
    let header: Value = serde_json::from_slice(&decoded(header)).expect("we accepted it");
    assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some(jws.algorithm()), jws.key_id()));
    assert!(header.get("crit").is_none());
    if let Some(claims) = jws.claims() {
        assert_eq!(URL_SAFE_NO_PAD.encode(decoded(payload)), payload);
        let read: Value = serde_json::from_str(claims.text()).expect("we accepted it");
        assert_eq!(claims.members().count(), read.as_object().expect("an object").len());
    }
});
