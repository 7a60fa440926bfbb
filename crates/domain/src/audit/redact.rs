//! Arguments as the trail may keep them: redacted by key name and by shape, bounded in size, depth and number. It
//! would rather hide too much than show one secret. The result is always one valid JSON text.

mod shape;

use std::borrow::Cow;

use wire::json::{self, Kind, Raw};

use self::shape::{is_secret_name, is_secret_value};
use super::write_json_string;

/// How much of the arguments is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest result, in bytes; less than 64 leaves nothing to say.
    pub bytes: usize,
    /// How deep objects and arrays may be nested; what is deeper is left out.
    pub depth: usize,
    /// How many members or elements are kept of each.
    pub items: usize,
}

impl Limits {
    /// What the contract says (§7): 4 KiB, depth 6, 40 items.
    pub const TRAIL: Self = Self { bytes: 4096, depth: 6, items: 40 };
}

/// Stands for a secret.
const REDACTED: &str = "\"[redacted]\"";
/// Stands for something that is too deep, or that there is no room for.
const LEFT_OUT: &str = "\"[…]\"";
/// Room that every container keeps for the note that something is missing, and its own end.
const TAIL: usize = 24;
/// The most that is shown of one string, and of one key, in bytes.
const STRING_MAX: usize = 256;
const KEY_MAX: usize = 64;
/// The most that is looked at of one string, in bytes as it came. Longer than what is shown, so that a secret
/// which begins there is recognised.
const WINDOW: usize = 2048;

/// Arguments as a JSON text for the trail, of at most `limits.bytes`.
#[must_use]
pub fn redact(args: Raw<'_>, limits: &Limits) -> String {
    let mut redactor = Redactor { out: String::with_capacity(limits.bytes.min(512)), limits };
    redactor.value(args, 1, limits.bytes);
    redactor.out
}

struct Redactor<'l> {
    out: String,
    limits: &'l Limits,
}

impl Redactor<'_> {
    /// Writes a value in at most `room` bytes, which must be enough for [`LEFT_OUT`].
    fn value(&mut self, value: Raw<'_>, depth: usize, room: usize) {
        match value.kind() {
            Kind::Object | Kind::Array
                if value.members().next().is_none() && value.elements().next().is_none() =>
            {
                self.out.push_str(if value.is_object() { "{}" } else { "[]" });
            }
            Kind::Object | Kind::Array if depth > self.limits.depth || room < 2 * TAIL => {
                self.out.push_str(LEFT_OUT)
            }
            Kind::Object => self.object(value, depth, room),
            Kind::Array => self.array(value, depth, room),
            Kind::String => self.string(value, room),
            // A number may be as long as its sender likes.
            _ if value.text().len() + 2 > room.min(KEY_MAX) => self.out.push_str(LEFT_OUT),
            // One that is too large for most readers would make the whole record unreadable to them: it stays as a text.
            Kind::Number if !fits(value) => write_json_string(&mut self.out, value.text()),
            _ => self.out.push_str(value.text()),
        }
    }

    fn object(&mut self, object: Raw<'_>, depth: usize, room: usize) {
        let end = self.out.len() + room;
        self.out.push('{');
        for (place, (key, value)) in object.members().enumerate() {
            let (name, start) = (key.decoded(), self.out.len());
            if place > 0 {
                self.out.push(',');
            }
            self.key(&name, place);
            // INVARIANT: before and after each member at least TAIL bytes are left.
            if place == self.limits.items || self.out.len() + REDACTED.len() + TAIL > end {
                self.out.truncate(start);
                self.out.push_str(if place == 0 { "\"…\":\"more\"" } else { ",\"…\":\"more\"" });
                break;
            }
            if is_secret_name(&name) {
                self.out.push_str(REDACTED);
            } else {
                self.value(value, depth + 1, end - self.out.len() - TAIL);
            }
        }
        self.out.push('}');
    }

    /// Writes a key, short and never secret. One that is cut carries its place, so that two stay two.
    fn key(&mut self, name: &str, place: usize) {
        let shown = fitting(name, KEY_MAX);
        if is_secret_value(name) {
            write_json_string(&mut self.out, &format!("[redacted #{place}]"));
        } else if shown.len() == name.len() {
            write_json_string(&mut self.out, name);
        } else {
            write_json_string(&mut self.out, &format!("{shown}… #{place}"));
        }
        self.out.push(':');
    }

    fn array(&mut self, array: Raw<'_>, depth: usize, room: usize) {
        let end = self.out.len() + room;
        self.out.push('[');
        for (place, element) in array.elements().enumerate() {
            let needed = ",".len() + REDACTED.len() + TAIL;
            if place == self.limits.items || self.out.len() + needed > end {
                self.out.push_str(if place == 0 { "\"… more\"" } else { ",\"… more\"" });
                break;
            }
            if place > 0 {
                self.out.push(',');
            }
            self.value(element, depth + 1, end - self.out.len() - TAIL);
        }
        self.out.push(']');
    }

    fn string(&mut self, string: Raw<'_>, room: usize) {
        let (text, whole) = beginning(string);
        if is_secret_value(&text) {
            return self.out.push_str(if REDACTED.len() <= room { REDACTED } else { LEFT_OUT });
        }
        let shown = fitting(&text, STRING_MAX.min(room.saturating_sub(2)));
        if whole && shown.len() == text.len() {
            return write_json_string(&mut self.out, shown);
        }
        let note = format!("… ({} bytes)", string.text().len() - 2);
        match room.checked_sub(2 + note.len()) {
            Some(left) => write_json_string(&mut self.out, &format!("{}{note}", fitting(shown, left))),
            None => self.out.push_str(LEFT_OUT),
        }
    }
}

/// Whether a reader that knows 64-bit floating-point numbers can hold this number (RFC 8259 §6).
fn fits(number: Raw<'_>) -> bool {
    number.text().parse().is_ok_and(f64::is_finite)
}

/// The longest beginning that takes at most `room` bytes once it is escaped.
fn fitting(text: &str, room: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, character)| {
        taken += match character {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            control if control.is_ascii_control() => 6,
            other => other.len_utf8(),
        };
        taken > room
    });
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// A string's text, or the beginning of a very long one; and whether that is all of it.
fn beginning(string: Raw<'_>) -> (Cow<'_, str>, bool) {
    let lexeme = string.text();
    if lexeme.len() <= WINDOW {
        return (string.as_str().unwrap_or_default(), true);
    }
    let cut = whole_escapes(lexeme.get(..lexeme.floor_char_boundary(WINDOW)).unwrap_or_default());
    // The first half of a surrogate pair may be left at the end; the reader refuses it alone.
    let without_half = cut.len().checked_sub(ESCAPE_MAX).and_then(|end| cut.get(..end)).unwrap_or_default();
    for cut in [cut, without_half] {
        let closed = format!("{cut}\"");
        let limits = json::Limits { bytes: closed.len(), depth: 1 };
        if let Some(text) = json::read(closed.as_bytes(), &limits).ok().and_then(Raw::as_str) {
            return (Cow::Owned(text.into_owned()), false);
        }
    }
    (Cow::Borrowed(""), false)
}

/// The longest escape, `\u0000`, in bytes.
const ESCAPE_MAX: usize = 6;

/// A beginning of a string's lexeme without the escape at its end that may have been cut in two.
fn whole_escapes(cut: &str) -> &str {
    let Some(last) = cut.rfind('\\') else { return cut };
    let before = cut.get(..last).unwrap_or_default();
    // In a row of backslashes every second one is escaped by the one before it.
    let starts_escape = (before.len() - before.trim_end_matches('\\').len()) % 2 == 0;
    if starts_escape && cut.len() - last < ESCAPE_MAX { before } else { cut }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(text: &str) -> String {
        redacted_to(text, &Limits::TRAIL)
    }

    fn redacted_to(text: &str, limits: &Limits) -> String {
        let reading = json::Limits { bytes: text.len(), depth: 64 };
        redact(json::read(text.as_bytes(), &reading).unwrap(), limits)
    }

    #[test]
    fn plain_arguments_stay_as_they_are() {
        for text in [
            r#"{"path":"docs/a.md","head":10,"deep":{"list":[1.50,true,null,"x"]},"empty":{},"none":[]}"#,
            r#"{"author":"ada","key":"name","notes":"a\nb \"c\""}"#,
            "[]",
            "-1.7e308",
            "123456789012345678901234567890",
            r#""ü""#,
        ] {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn a_number_that_most_readers_refuse_does_not_hide_what_stands_beside_it() {
        let kept = redacted(r#"{"amount":5000,"x":1e400,"list":[-9E999,1e-400]}"#);
        assert_eq!(kept, r#"{"amount":5000,"x":"1e400","list":["-9E999",1e-400]}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&kept).is_ok(), "{kept}");
        // One that is as long as a number may be for a person is left out, whatever it is worth.
        assert_eq!(redacted(&"9".repeat(400)), LEFT_OUT);
        assert_eq!(redacted(&format!("1e{}", "9".repeat(61))), LEFT_OUT);
    }

    #[test]
    fn what_is_named_like_a_secret_is_never_kept() {
        let text = r#"{"user":"ada","password":"hunter2","db":{"apiKey":["hunter2"],"port":1},"token":{"v":"hunter2"}}"#;
        assert_eq!(
            redacted(text),
            r#"{"user":"ada","password":"[redacted]","db":{"apiKey":"[redacted]","port":1},"token":"[redacted]"}"#
        );
    }

    #[test]
    fn what_looks_like_a_secret_is_never_kept() {
        let text = r#"{"a":"use agt_7kq2m9xd_abc","b":["Bearer abcdef0123456789"],"agt_7kq2m9xd_abc":1}"#;
        assert_eq!(redacted(text), r#"{"a":"[redacted]","b":["[redacted]"],"[redacted #2]":1}"#);
    }

    #[test]
    fn too_deep_and_too_many_are_left_out() {
        assert_eq!(redacted("[[[[[[[1]]]]]]]"), "[[[[[[\"[…]\"]]]]]]");
        let many = redacted(&format!("[{}1]", "1,".repeat(60)));
        assert_eq!(many, format!("[{}\"… more\"]", "1,".repeat(40)));
        let members: Vec<String> = (0..50).map(|n| format!("\"k{n}\":{n}")).collect();
        let many = redacted(&format!("{{{}}}", members.join(",")));
        assert!(many.ends_with(r#""k39":39,"…":"more"}"#), "{many}");
    }

    #[test]
    fn a_long_string_is_cut_and_says_how_long_it_was() {
        let long = redacted(&format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20)));
        assert_eq!(long, format!("{{\"text\":\"{}… (1048576 bytes)\"}}", "x".repeat(STRING_MAX)));
        // The cut of the window must not tear an escape: any number of bytes before a row of escapes.
        for escape in ["\\n", "\\\\", "\\u00e9", "\\ud83d\\ude00", "ü", "😀"] {
            for shift in 0..12 {
                let text = format!("\"{}{}\"", "y".repeat(shift), escape.repeat(1500));
                let kept = redacted(&text);
                assert!(kept.len() < 400 && kept.contains("bytes)"), "{escape} {shift}: {kept}");
                assert!(kept.len() > 200, "{escape} {shift}: the beginning is lost: {kept}");
                assert!(serde_json::from_str::<serde_json::Value>(&kept).is_ok(), "{kept}");
            }
        }
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(serde_json::Value::from),
            any::<String>().prop_map(serde_json::Value::from),
            "[a\\\\\"\n\u{1}ü😀]{0,400}".prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
        ];
        leaf.prop_recursive(9, 300, 60, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..60).prop_map(serde_json::Value::from),
                proptest::collection::btree_map("[a-z\"\\\\ü]{0,90}", inner, 0..60)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn the_result_is_valid_json_within_its_limits(value in any_json(), bytes in 64..5000usize) {
            let limits = Limits { bytes, ..Limits::TRAIL };
            let kept = redacted_to(&value.to_string(), &limits);
            prop_assert!(kept.len() <= bytes, "{} of {}", kept.len(), bytes);
            let read = json::read(kept.as_bytes(), &json::Limits { bytes, depth: 8 });
            prop_assert!(read.is_ok(), "{:?}: {}", read.err(), kept);
        }

        #[test]
        fn no_secret_is_ever_shown(mut value in any_json(), place in any::<prop::sample::Index>(), bytes in 64..5000usize) {
            plant(&mut value, place.index(50));
            let kept = redacted_to(&value.to_string(), &Limits { bytes, ..Limits::TRAIL });
            prop_assert!(!kept.contains("hunter2") && !kept.contains("agt_7kq2m9xd"), "{}", kept);
        }
    }

    /// Puts secrets into every object, and into every string as one part of it.
    fn plant(value: &mut serde_json::Value, seed: usize) {
        match value {
            serde_json::Value::String(text) => {
                let at = text.floor_char_boundary(seed * 8 % (text.len() + 1));
                text.insert_str(at, "agt_7kq2m9xd_hunter2");
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| plant(item, seed)),
            serde_json::Value::Object(members) => {
                members.values_mut().for_each(|member| plant(member, seed));
                let names = ["password", "X-Api-Key", "accessToken", "CLIENT_SECRET", "authorization"];
                members.insert(names[seed % names.len()].into(), serde_json::json!(["hunter2"]));
            }
            _ => {}
        }
    }
}
