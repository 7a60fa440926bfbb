//! Canonical JSON: it says the same, it is a fixed point, and neither order nor white space changes it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use wire::Raw;
use wire::canonical::write_canonical;
use wire::json::{Kind, Limits, read};

const LIMITS: Limits = Limits::of_bytes(1 << 24);

fuzz_target!(|bytes: &[u8]| {
    let Ok(raw) = read(bytes, &LIMITS) else { return };
    let once = canonical(raw);
    let again = read(&once, &LIMITS).expect("canonical text is JSON");
    assert_eq!(canonical(again), once);
    let value = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("we accepted it");
    assert_eq!(value(&once), value(bytes));

    let mut shuffled = String::new();
    backwards(raw, &mut shuffled);
    assert_eq!(canonical(read(shuffled.as_bytes(), &LIMITS).expect("still JSON")), once);

    let mut without = Vec::new();
    write_canonical(raw, &mut without, &|path| path == ["_meta", "progressToken"]);
    let mut expected = value(bytes);
    if let Some(meta) = expected.get_mut("_meta").and_then(Value::as_object_mut) {
        meta.remove("progressToken");
    }
    assert_eq!(value(&without), expected);
});

fn canonical(raw: Raw<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_canonical(raw, &mut out, &|_| false);
    out
}

/// The same value with its members the other way round and blanks between everything.
fn backwards(raw: Raw<'_>, out: &mut String) {
    match raw.kind() {
        Kind::Object => {
            let members: Vec<_> = raw.members().collect();
            out.push_str("{\n");
            for (index, (key, value)) in members.iter().rev().enumerate() {
                out.push_str(if index > 0 { " , " } else { "" });
                out.push_str(key.raw());
                out.push_str(" : ");
                backwards(*value, out);
            }
            out.push_str("\r}");
        }
        Kind::Array => {
            out.push('[');
            for (index, element) in raw.elements().enumerate() {
                out.push_str(if index > 0 { "\t,\t" } else { "" });
                backwards(element, out);
            }
            out.push_str(" ]");
        }
        _ => out.push_str(raw.text()),
    }
}
