//! The one pass that proves a document. It decides only; navigation is built on what it proved.

use std::borrow::Cow;
use std::collections::HashSet;

use super::scan::{blanks, plain_run, short_run};
use super::string::{Decoded, decode};
use super::{Key, Limits, Raw};
use crate::malformed::{Excerpt, Malformed, Reason};

/// Is told of the members of the outermost object, and of the members of those: an envelope is then known
/// without a second pass. Inner members come before the member that holds them.
pub(crate) trait Watch<'a> {
    /// A member was read; `level` is 1 for those of the outermost object and 2 for theirs.
    fn member(&mut self, level: u32, key: Key<'a>, value: Raw<'a>);
}

/// Watches nothing.
impl Watch<'_> for () {
    fn member(&mut self, _level: u32, _key: Key<'_>, _value: Raw<'_>) {}
}

/// Proves that `text` is one JSON document within `limits.depth`.
pub(super) fn read<'a>(
    text: &'a str,
    limits: &Limits,
    watch: &mut impl Watch<'a>,
) -> Result<Raw<'a>, Malformed> {
    if text.starts_with('\u{feff}') {
        return Err(Malformed::new(0, Reason::ByteOrderMark));
    }
    let depth_max = limits.depth.min(Limits::DEPTH_MAX);
    let mut reader =
        Reader { text, bytes: text.as_bytes(), at: 0, depth_max, keys: Vec::with_capacity(FEW), watch };
    reader.document().map_err(|refusal| *refusal)
}

struct Reader<'a, 'w, W> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth_max: u32,
    /// The keys of all objects that are open, outermost first, each without its quotes.
    keys: Vec<&'a str>,
    watch: &'w mut W,
}

/// Boxed, so that what the hot path returns fits into a register.
type Refusal = Box<Malformed>;

impl<'a, W: Watch<'a>> Reader<'a, '_, W> {
    fn document(&mut self) -> Result<Raw<'a>, Refusal> {
        self.skip_blanks();
        if self.peek().is_none() {
            return Err(self.refuse(Reason::Empty));
        }
        let start = self.at;
        self.value(0)?;
        let value = Raw::trusted(self.piece(start, self.at));
        self.skip_blanks();
        if self.peek().is_some() {
            return Err(self.refuse(Reason::TrailingData));
        }
        Ok(value)
    }

    /// A value inside `depth` open containers. Recurses at most `depth_max` times.
    fn value(&mut self, depth: u32) -> Result<(), Refusal> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{') => self.object(self.deeper(depth)?),
            Some(b'[') => self.array(self.deeper(depth)?),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.unexpected("a value")),
        }
    }

    fn deeper(&self, depth: u32) -> Result<u32, Refusal> {
        if depth >= self.depth_max {
            return Err(self.refuse(Reason::TooDeep { limit: self.depth_max }));
        }
        Ok(depth + 1)
    }

    fn object(&mut self, depth: u32) -> Result<(), Refusal> {
        let mut keys = Keys { first: self.keys.len(), escaped: false, many: None };
        self.at += 1;
        self.skip_blanks();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key in double quotes"));
            }
            let key_at = self.at;
            let escaped = self.string()?;
            let key_end = self.at;
            let key = self.piece(key_at + 1, key_end - 1);
            if !keys.insert(key, escaped, &mut self.keys) {
                return Err(refuse(key_at, Reason::DuplicateKey(Excerpt::of(&decode(key)))));
            }
            self.skip_blanks();
            if !self.take(b':') {
                return Err(self.unexpected("`:`"));
            }
            self.skip_blanks();
            let value_at = self.at;
            self.value(depth)?;
            if depth <= 2 {
                let (key, value) = (self.piece(key_at, key_end), self.piece(value_at, self.at));
                self.watch.member(depth, Key { text: key }, Raw::trusted(value));
            }
            self.skip_blanks();
            if self.take(b',') {
                self.skip_blanks();
            } else if self.take(b'}') {
                self.keys.truncate(keys.first);
                return Ok(());
            } else {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
    }

    fn array(&mut self, depth: u32) -> Result<(), Refusal> {
        self.at += 1;
        self.skip_blanks();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.skip_blanks();
            if self.take(b',') {
                self.skip_blanks();
            } else if self.take(b']') {
                return Ok(());
            } else {
                return Err(self.unexpected("`,` or `]`"));
            }
        }
    }

    /// A string; the reader stands at its opening quote. Whether it has escapes.
    #[inline]
    fn string(&mut self) -> Result<bool, Refusal> {
        self.at += 1;
        self.at += short_run(self.bytes.get(self.at..).unwrap_or_default());
        if self.take(b'"') { Ok(false) } else { self.rest_of_string() }
    }

    /// The rest of a string that is long or has something else than plain characters.
    #[inline(never)]
    fn rest_of_string(&mut self) -> Result<bool, Refusal> {
        let mut escaped = false;
        loop {
            self.at += plain_run(self.bytes.get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.refuse(Reason::ControlCharacter)),
                None => return Err(self.unexpected("`\"`")),
            }
        }
    }

    /// One escape, or two that make a surrogate pair; the reader stands at the backslash.
    fn escape(&mut self) -> Result<(), Refusal> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let second = match self.unit(self.at)? {
                    0xd800..=0xdbff => self.at + 6,
                    0xdc00..=0xdfff => return Err(self.refuse(Reason::LoneSurrogate)),
                    _ => {
                        self.at += 6;
                        return Ok(());
                    }
                };
                let paired = self.bytes.get(second..second + 2) == Some(b"\\u");
                if !paired || !(0xdc00..=0xdfff).contains(&self.unit(second)?) {
                    return Err(self.refuse(Reason::LoneSurrogate));
                }
                self.at = second + 6;
                Ok(())
            }
            Some(_) => Err(self.refuse(Reason::BadEscape)),
            None => Err(refuse(self.at + 1, Reason::Truncated { expected: "an escape" })),
        }
    }

    /// The code unit of the `\uXXXX` at `at`.
    fn unit(&self, at: usize) -> Result<u32, Refusal> {
        let digits = self.bytes.get(at + 2..at + 6).unwrap_or_default();
        let unit =
            digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?));
        unit.filter(|_| digits.len() == 4).ok_or_else(|| refuse(at, Reason::BadEscape))
    }

    /// A number of any size and precision: whoever needs its value decides whether it fits.
    fn number(&mut self) -> Result<(), Refusal> {
        let start = self.at;
        self.take(b'-');
        let whole = if self.take(b'0') { !matches!(self.peek(), Some(b'0'..=b'9')) } else { self.digits() };
        let fraction = !self.take(b'.') || self.digits();
        let exponent = !(self.take(b'e') || self.take(b'E')) || {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()
        };
        if whole && fraction && exponent { Ok(()) } else { Err(refuse(start, Reason::BadNumber)) }
    }

    /// Steps over digits; whether there were any.
    fn digits(&mut self) -> bool {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at > start
    }

    fn word(&mut self, word: &'static str) -> Result<(), Refusal> {
        if !self.bytes.get(self.at..).unwrap_or_default().starts_with(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn skip_blanks(&mut self) {
        self.at = blanks(self.bytes, self.at);
    }

    fn piece(&self, start: usize, end: usize) -> &'a str {
        // INVARIANT: pieces begin and end at ASCII characters, so the piece is always there.
        self.text.get(start..end).unwrap_or_default()
    }

    fn refuse(&self, reason: Reason) -> Refusal {
        refuse(self.at, reason)
    }

    #[cold]
    fn unexpected(&self, expected: &'static str) -> Refusal {
        let rest = self.text.get(self.at..).unwrap_or_default();
        self.refuse(match rest.chars().next() {
            None => Reason::Truncated { expected },
            Some(found) => {
                Reason::Unexpected { expected, found: Excerpt::of(found.encode_utf8(&mut [0; 4])) }
            }
        })
    }
}

#[cold]
fn refuse(at: usize, reason: Reason) -> Refusal {
    Box::new(Malformed::new(at, reason))
}

/// The keys of one object so far. Few are compared pairwise, which is faster than hashing;
/// many are hashed, with a random state, so that no sender can make it slow.
struct Keys<'a> {
    /// Where they begin among the keys of all open objects.
    first: usize,
    /// Whether one of them has escapes, so that two spellings of one key are possible.
    escaped: bool,
    many: Option<HashSet<Cow<'a, str>>>,
}

const FEW: usize = 16;

impl<'a> Keys<'a> {
    /// Whether the key is new. `key` is what stands between the quotes.
    fn insert(&mut self, key: &'a str, escaped: bool, open: &mut Vec<&'a str>) -> bool {
        if let Some(many) = &mut self.many {
            return many.insert(decode(key));
        }
        self.escaped |= escaped;
        let earlier = open.get(self.first..).unwrap_or_default();
        let is_new = if self.escaped {
            !earlier.iter().any(|other| Decoded::of(other).eq(Decoded::of(key)))
        } else {
            !earlier.contains(&key)
        };
        open.push(key);
        if open.len() - self.first > FEW {
            self.many = Some(open.drain(self.first..).map(decode).collect());
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use crate::json::{Limits, read};
    use crate::malformed::Reason;

    const LIMITS: Limits = Limits { bytes: 1 << 24, depth: 64 };

    fn reason(text: &str) -> Option<Reason> {
        read(text.as_bytes(), &LIMITS).err().map(|refusal| refusal.reason)
    }

    fn message(text: &str) -> String {
        read(text.as_bytes(), &LIMITS).unwrap_err().to_string()
    }

    #[test]
    fn a_document_is_read_without_the_blanks_around_it() {
        assert_eq!(read(b" \t\r\n{\"a\" : [ 1 ]}\n", &LIMITS).unwrap().text(), "{\"a\" : [ 1 ]}");
    }

    #[test]
    fn a_duplicate_key_is_refused_at_any_depth() {
        assert_eq!(message(r#"{"name":1,"b":2,"name":3}"#), "duplicate key `name` at byte 16");
        assert_eq!(message(r#"[{"a":{"b":0,"b":0}}]"#), "duplicate key `b` at byte 13");
        assert_eq!(message(r#"{"":1,"":2}"#), "duplicate key `` at byte 6");
    }

    #[test]
    fn a_duplicate_key_is_refused_however_it_is_spelled() {
        assert!(matches!(reason(r#"{"a":1,"\u0061":2}"#), Some(Reason::DuplicateKey(_))));
        assert!(matches!(reason(r#"{"\u0061":1,"a":2}"#), Some(Reason::DuplicateKey(_))));
        assert!(matches!(reason(r#"{"\ud83d\ude00":1,"😀":2}"#), Some(Reason::DuplicateKey(_))));
        assert!(matches!(reason(r#"{"a/b":1,"a\/b":2}"#), Some(Reason::DuplicateKey(_))));
        assert_eq!(reason(r#"{"a\n":1,"an":2,"a\\n":3}"#), None);
    }

    #[test]
    fn keys_that_differ_by_case_or_normalization_are_different() {
        assert_eq!(reason("{\"a\":1,\"A\":2,\"\u{e9}\":3,\"e\u{301}\":4}"), None);
    }

    #[test]
    fn the_same_key_in_different_objects_is_fine() {
        assert_eq!(reason(r#"{"a":{"a":{"a":1},"b":{"a":2}},"b":[{"a":3},{"a":4}]}"#), None);
    }

    #[test]
    fn a_duplicate_key_is_found_in_objects_of_any_size() {
        for size in 1..40 {
            for repeated in 0..size {
                let mut text = String::from("{");
                for index in 0..size {
                    write!(text, "\"k{index}\":{{\"k0\":0}},").unwrap();
                }
                let unique = format!("{text}\"last\":0}}");
                let duplicate = format!("{text}\"k{repeated}\":0}}");
                assert_eq!(reason(&unique), None, "{unique}");
                assert!(matches!(reason(&duplicate), Some(Reason::DuplicateKey(_))), "{duplicate}");
            }
        }
    }

    #[test]
    fn many_keys_are_not_compared_pairwise() {
        let mut text = String::from("{");
        for index in 0..100_000 {
            write!(text, "\"key {index}\":0,").unwrap();
        }
        assert_eq!(reason(&format!("{text}\"end\":0}}")), None);
        assert!(matches!(reason(&format!("{text}\"key 99999\":0}}")), Some(Reason::DuplicateKey(_))));
    }

    #[test]
    fn nesting_is_read_up_to_the_limit_and_not_further() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(reason(&nested(64)), None);
        assert_eq!(reason(&nested(65)), Some(Reason::TooDeep { limit: 64 }));
        assert_eq!(reason(&"{\"a\":".repeat(65)), Some(Reason::TooDeep { limit: 64 }));
        assert_eq!(reason(&"[".repeat(5_000_000)), Some(Reason::TooDeep { limit: 64 }));
    }

    #[test]
    fn a_deeper_limit_than_the_stack_can_bear_is_not_obeyed() {
        let limits = Limits { bytes: usize::MAX, depth: u32::MAX };
        let refusal = read(&b"[".repeat(1_000_000), &limits).unwrap_err();
        assert_eq!(refusal.reason, Reason::TooDeep { limit: Limits::DEPTH_MAX });
    }

    #[test]
    fn a_long_document_is_refused_before_it_is_read() {
        let limits = Limits { bytes: 4, depth: 64 };
        assert!(read(b"1234", &limits).is_ok());
        let refusal = read(b"\xff\xff\xff\xff\xff", &limits).unwrap_err();
        assert_eq!(refusal.to_string(), "the document is longer than 4 bytes");
    }

    #[test]
    fn a_surrogate_needs_its_other_half() {
        for lone in [
            r#""\ud800""#,
            r#""\udc00""#,
            r#""\udfffx""#,
            r#""\ud800\n""#,
            r#""\ud800\u0061""#,
            r#""\ud800\ud800""#,
            r#""\udc00\ud800""#,
            r#""\uD800\\uDC00""#,
            r#"{"\udead":1}"#,
        ] {
            assert_eq!(reason(lone), Some(Reason::LoneSurrogate), "{lone}");
        }
        assert_eq!(reason(r#""\ud800\udc00\uDBFF\uDFFF""#), None);
    }

    #[test]
    fn a_control_character_is_found_wherever_it_stands_in_a_string() {
        for length in 0..300 {
            for byte in ['\0', '\n', '\u{1f}'] {
                let text = format!("\"{}{byte}{}\"", "x".repeat(length), "y".repeat(300 - length));
                let refusal = read(text.as_bytes(), &LIMITS).unwrap_err();
                assert_eq!((refusal.at, refusal.reason), (length + 1, Reason::ControlCharacter));
            }
        }
        assert_eq!(reason("\"\u{7f}\u{80}\u{2028}\""), None);
    }

    #[test]
    fn numbers_are_those_of_the_rfc_and_of_any_size() {
        for number in [
            "0",
            "-0",
            "10",
            "0.0",
            "-1.50",
            "1e9",
            "1E+400",
            "1e-999999999",
            "123456789012345678901234567890",
        ] {
            assert_eq!(reason(number), None, "{number}");
        }
        for number in ["01", "-", "-a", "1.", "1.e1", "1e", "1e+", "00", "-01", "1.2.3e", "0x"] {
            assert!(reason(number).is_some(), "{number}");
        }
        for word in [".5", "+1", "NaN", "Infinity", "-Infinity", "True", "nul", "undefined"] {
            assert!(reason(word).is_some(), "{word}");
        }
    }

    #[test]
    fn what_other_readers_forgive_is_refused() {
        for text in [
            "",
            " ",
            "\u{feff}{}",
            "{} {}",
            "{},",
            "[1,]",
            "{\"a\":1,}",
            "[,1]",
            "[1 2]",
            "{\"a\" 1}",
            "{a:1}",
            "{'a':1}",
            "['a']",
            "// c\n1",
            "/**/1",
            "\u{a0}1",
            "1\u{c}",
            "[1",
            "{\"a\":",
            "\"abc",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u+123\"",
            "\"\\",
            "nulll",
            "true false",
            "{\"a\":1}}",
            "[]]",
            "\0",
            "1\0",
            "{1:2}",
            "{null:1}",
            "{[]:1}",
        ] {
            assert!(reason(text).is_some(), "{text:?}");
        }
        assert_eq!(message("\u{feff}{}"), "byte order mark at byte 0");
        assert_eq!(message("{} x"), "trailing data at byte 3");
        assert_eq!(message("[1,]"), "expected a value, found `]` at byte 3");
        assert_eq!(message("{\"a\":"), "expected a value, found the end of the text at byte 5");
    }

    #[test]
    fn invalid_utf8_is_refused_where_it_begins() {
        for bytes in
            [&b"\"\xff\""[..], b"\"\xc0\xaf\"", b"\"\xed\xa0\x80\"", b"\"\xf4\x90\x80\x80\"", b"\"\xe2\x82\""]
        {
            assert_eq!(read(bytes, &LIMITS).unwrap_err().to_string(), "invalid UTF-8 at byte 1");
        }
    }

    /// Text that is JSON, or nearly.
    fn nearly_json() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            8 => prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\"b\"", "\\u0061", "\\ud83d", "\\ude00", "\\n", "\\", "0",
                "1", "-", ".5", "e3", "true", "null", " ", "\n", "é", "{\"a\":", "[1,2]", "\u{1}",
            ]).prop_map(str::to_owned),
            1 => any::<char>().prop_map(String::from),
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(|number| serde_json::json!(number)),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(6, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..24)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Where we are stricter than `serde_json` is listed here, and there is nothing where we are laxer but
        /// numbers, of which we keep the text and it wants the value.
        #[test]
        fn the_reader_agrees_with_serde_json(text in nearly_json()) {
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text);
            match reason(&text) {
                None => prop_assert!(theirs.is_ok(), "{text:?}"),
                Some(Reason::DuplicateKey(_) | Reason::LoneSurrogate) => {}
                Some(_) => prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_err(), "{text:?}"),
            }
        }

        #[test]
        fn every_value_that_serde_json_writes_is_read(value in any_json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                let raw = read(text.as_bytes(), &LIMITS);
                prop_assert!(raw.is_ok(), "{text}: {raw:?}");
                prop_assert_eq!(raw.unwrap().text(), &text);
            }
        }
    }
}
