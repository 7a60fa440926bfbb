//! Setting one member in the raw bytes of a document, with the objects that lead to it. Every other byte stays as it
//! came, in its place.

use std::ops::Range;

use crate::json::{Kind, Raw, Walk};

/// The document with `value`, given as JSON, as the member at `path` (keys through objects; none of them may need
/// escapes). An object on the way that is not there is made, and a new member comes first in its object.
///
/// `None` when the very same value stands there already, or when the path leads through something that is no object.
pub fn set(document: Raw<'_>, path: &[&str], value: &str) -> Option<Vec<u8>> {
    let text = document.text();
    let mut start = 0;
    let mut rest = path;
    let mut found = 0..text.len();
    while let [key, further @ ..] = rest {
        if !text.get(start..)?.starts_with('{') {
            return None;
        }
        match member(text, start, key) {
            Some(span) => (start, found, rest) = (span.start, span, further),
            None => return grown(text, start + 1, rest, value),
        }
    }
    let (before, old, after) = (text.get(..found.start)?, text.get(found.clone())?, text.get(found.end..)?);
    (old != value).then(|| [before, value, after].concat().into_bytes())
}

/// Where the value of the member `key` of the object at `start` stands.
fn member(text: &str, start: usize, key: &str) -> Option<Range<usize>> {
    let mut walk = Walk::over(text.get(start..)?, Kind::Object);
    while let Some(name) = walk.key() {
        let from = start + walk.at();
        walk.value();
        if name == key {
            return Some(from..start + walk.at());
        }
    }
    None
}

/// The text with a new member, and what leads to it, right behind the bracket before `inside`.
fn grown(text: &str, inside: usize, path: &[&str], value: &str) -> Option<Vec<u8>> {
    let (before, after) = (text.get(..inside)?, text.get(inside..)?);
    let opening: Vec<String> = path.iter().map(|key| format!("\"{key}\":")).collect();
    let closing = "}".repeat(path.len().saturating_sub(1));
    let comma = if after.trim_start().starts_with('}') { "" } else { "," };
    Some([before, &opening.join("{"), value, &closing, comma, after].concat().into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::{Limits, read};

    fn after(text: &str, path: &[&str], value: &str) -> Option<String> {
        let document = read(text.as_bytes(), &Limits::of_bytes(1 << 20)).unwrap();
        set(document, path, value).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_member_is_set_and_everything_else_stays() {
        for (before, path, expected) in [
            ("{}", &["a"][..], Some(r#"{"a":{}}"#)),
            ("{ }", &["a", "b"], Some(r#"{"a":{"b":{}} }"#)),
            (r#"{ "x" : 1.0 }"#, &["a"], Some(r#"{"a":{}, "x" : 1.0 }"#)),
            (r#"{"a":{"x":1E5}}"#, &["a", "b"], Some(r#"{"a":{"b":{},"x":1E5}}"#)),
            (
                r#"{"\u0061" : {"b" : [1 ,2] }, "z":-0}"#,
                &["a", "b"],
                Some(r#"{"\u0061" : {"b" : {} }, "z":-0}"#),
            ),
            (r#"{"a":{"b":{}}}"#, &["a", "b"], None),
            (r#"{"a":[1]}"#, &["a", "b"], None),
            (r#"{"a":null}"#, &["a", "b", "c"], None),
            ("[]", &["a"], None),
        ] {
            assert_eq!(after(before, path, "{}").as_deref(), expected, "{before} {path:?}");
        }
    }

    proptest! {
        #[test]
        fn what_was_set_is_there_and_setting_it_twice_changes_nothing(
            keys in prop::collection::btree_set("[a-e]", 0..5),
            path in prop::collection::vec("[a-e]", 1..4),
        ) {
            let members: Vec<_> = keys.iter().map(|key| format!(" \"{key}\" : {{\"{key}\":{{ }}}}")).collect();
            let text = format!("{{{} }}", members.join(","));
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let set = after(&text, &path, "[1.50]").unwrap();
            let document = read(set.as_bytes(), &Limits::of_bytes(1 << 20)).unwrap();
            let found = path.iter().try_fold(document, |raw, key| raw.get(key)).unwrap();
            prop_assert_eq!(found.text(), "[1.50]");
            for key in keys.iter().filter(|key| *key != path[0]) {
                let expected = format!("{{\"{key}\":{{ }}}}");
                prop_assert_eq!(document.get(key).unwrap().text(), expected);
            }
            prop_assert_eq!(after(&set, &path, "[1.50]"), None);
        }
    }
}
