//! Canonical JSON, the text that digests are computed over: members sorted, white space gone, every number
//! and string as it was written. It never rounds a number and never touches a character.

use std::borrow::Cow;
use std::ops::Range;

use crate::json::{Key, Kind, Raw, Walk};

/// Appends the canonical text of `raw` to `out`.
///
/// Members are sorted by the UTF-8 bytes of their decoded keys; keys, strings and numbers keep the bytes they
/// came with. So two documents that differ only in the order of members and in white space are written alike,
/// and two that spell a number or a string differently are not.
///
/// Each member for whose path `omit` says so is left out. A path is the decoded keys from the outermost object to the
/// member, both included. Paths lead through objects only: what stands inside an array is never left out.
pub fn write_canonical(raw: Raw<'_>, out: &mut Vec<u8>, omit: &dyn Fn(&[&str]) -> bool) {
    write(raw.text(), Spelling::Kept, Some(Path { keys: &mut Vec::new(), omit }), out);
}

/// Appends the canonical text of `raw` with keys and strings in one spelling: `"\u0061"` is written `"a"`. Only what
/// JSON demands is escaped, control characters as `\u00xx`. Two documents that mean the same are written alike, but for
/// numbers, which keep their digits.
pub fn write_meaning(raw: Raw<'_>, out: &mut Vec<u8>) {
    write(raw.text(), Spelling::One, None, out);
}

/// Appends a string as [`write_meaning`] spells it.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
            '\0'..='\x1f' => out.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes()),
            _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

/// How keys and strings are spelled.
#[derive(Clone, Copy)]
enum Spelling {
    /// As they came.
    Kept,
    /// In the one way of [`write_meaning`].
    One,
}

/// Where in the document the writer is, and what to leave out there.
struct Path<'p, 't> {
    keys: &'p mut Vec<&'t str>,
    omit: &'p dyn Fn(&[&str]) -> bool,
}

/// Writes the value that `text` begins with, and tells its length in `text`.
///
/// Goes over the text once, whatever its depth, and recurses as deep as it is nested, which the reader bounds.
fn write<'t>(text: &'t str, spelling: Spelling, path: Option<Path<'_, 't>>, out: &mut Vec<u8>) -> usize {
    match Kind::of(text) {
        Kind::Object => write_object(text, spelling, path, out),
        Kind::Array => write_array(text, spelling, out),
        Kind::String | Kind::Number | Kind::Bool | Kind::Null => {
            let scalar = Walk::at_value(text).value();
            match (spelling, scalar.as_str()) {
                (Spelling::One, Some(string)) => write_string(&string, out),
                _ => out.extend_from_slice(scalar.text().as_bytes()),
            }
            scalar.text().len()
        }
    }
}

fn write_array(text: &str, spelling: Spelling, out: &mut Vec<u8>) -> usize {
    let mut walk = Walk::over(text, Kind::Array);
    out.push(b'[');
    let mut first = true;
    while walk.more() {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        let length = write(walk.rest(), spelling, None, out);
        walk.advance(length);
    }
    out.push(b']');
    walk.at() + 1
}

fn write_object<'t>(
    text: &'t str,
    spelling: Spelling,
    mut path: Option<Path<'_, 't>>,
    out: &mut Vec<u8>,
) -> usize {
    let mut walk = Walk::over(text, Kind::Object);
    let mut members: Vec<(Cow<'t, str>, Range<usize>)> = Vec::new();
    out.push(b'{');
    let inside = out.len();
    while let Some(key) = walk.key() {
        if !members.is_empty() {
            out.push(b',');
        }
        let start = out.len();
        let name = key.decoded();
        let written = match (&mut path, &name) {
            (None, _) => write_member(key, walk.rest(), spelling, None, out),
            (Some(path), Cow::Borrowed(name)) => {
                path.keys.push(name);
                let inner = Path { keys: path.keys, omit: path.omit };
                let written = write_member(key, walk.rest(), spelling, Some(inner), out);
                path.keys.pop();
                written
            }
            // A decoded name does not live as long as the text, so its path is one of its own.
            (Some(path), Cow::Owned(name)) => {
                let mut keys = path.keys.clone();
                keys.push(name);
                write_member(key, walk.rest(), spelling, Some(Path { keys: &mut keys, omit: path.omit }), out)
            }
        };
        if let Some(length) = written {
            walk.advance(length);
            members.push((name, start - inside..out.len() - inside));
        } else {
            walk.value();
            out.truncate(members.last().map_or(0, |(_, span)| span.end) + inside);
        }
    }
    sort(&mut members, inside, out);
    out.push(b'}');
    walk.at() + 1
}

/// Writes one member unless it is to be left out, and tells the length of its value in the text.
fn write_member<'t>(
    key: Key<'_>,
    rest: &'t str,
    spelling: Spelling,
    path: Option<Path<'_, 't>>,
    out: &mut Vec<u8>,
) -> Option<usize> {
    if path.as_ref().is_some_and(|path| (path.omit)(path.keys)) {
        return None;
    }
    match spelling {
        Spelling::Kept => out.extend_from_slice(key.raw().as_bytes()),
        Spelling::One => write_string(&key.decoded(), out),
    }
    out.push(b':');
    Some(write(rest, spelling, path, out))
}

/// Brings the members of one object, written from `inside` on, into the order of their names.
fn sort(members: &mut [(Cow<'_, str>, Range<usize>)], inside: usize, out: &mut Vec<u8>) {
    // `str` compares by UTF-8 bytes; the reader has refused duplicates, so the order is total.
    if members.is_sorted_by(|(one, _), (other, _)| one <= other) {
        return;
    }
    members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let written = out.split_off(inside);
    for (index, (_, span)) in members.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(written.get(span.clone()).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;
    use crate::json::{Limits, read};

    const LIMITS: Limits = Limits::of_bytes(1 << 20);

    fn canonical(text: &str) -> String {
        canonical_without(text, &|_| false)
    }

    fn canonical_without(text: &str, omit: &dyn Fn(&[&str]) -> bool) -> String {
        let mut out = Vec::new();
        write_canonical(read(text.as_bytes(), &LIMITS).unwrap(), &mut out, omit);
        String::from_utf8(out).unwrap()
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        name: String,
        input: String,
        canonical: String,
        #[serde(default)]
        omit: Vec<Vec<String>>,
    }

    /// The vectors are published for others who compute digests.
    #[test]
    fn the_published_vectors_hold() {
        let file: Value = serde_json::from_str(include_str!("../../../docs/digest-vectors.json")).unwrap();
        let vectors: Vec<Vector> = serde_json::from_value(file["vectors"].clone()).unwrap();
        assert!(vectors.len() >= 30);
        for Vector { name, input, canonical, omit } in vectors {
            let written = canonical_without(&input, &|path| omit.iter().any(|omitted| omitted == path));
            assert_eq!(written, canonical, "{name}");
        }
    }

    #[test]
    fn nothing_inside_an_array_is_left_out() {
        let text = r#"{"a":[{"a":1}],"b":{"a":2}}"#;
        assert_eq!(canonical_without(text, &|path| path.last() == Some(&"a")), r#"{"b":{}}"#);
        assert_eq!(canonical_without(text, &|path| path == ["b", "a"]), r#"{"a":[{"a":1}],"b":{}}"#);
        assert_eq!(canonical_without(text, &|path| path.len() == 2), r#"{"a":[{"a":1}],"b":{}}"#);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            Just(Value::Null)
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn reversed(value: &Value) -> Value {
        match value {
            Value::Array(elements) => elements.iter().map(reversed).collect(),
            Value::Object(members) => {
                let members: Map<String, Value> =
                    members.iter().rev().map(|(key, value)| (key.clone(), reversed(value))).collect();
                Value::Object(members)
            }
            scalar => scalar.clone(),
        }
    }

    proptest! {
        #[test]
        fn the_order_of_members_and_white_space_do_not_matter(value in any_json()) {
            let once = canonical(&value.to_string());
            prop_assert_eq!(&canonical(&reversed(&value).to_string()), &once);
            prop_assert_eq!(&canonical(&serde_json::to_string_pretty(&value).unwrap()), &once);
        }

        #[test]
        fn canonical_text_is_its_own_canonical_text_and_says_the_same(value in any_json()) {
            let once = canonical(&value.to_string());
            prop_assert_eq!(&canonical(&once), &once);
            prop_assert_eq!(serde_json::from_str::<Value>(&once).unwrap(), value);
        }
    }
}
