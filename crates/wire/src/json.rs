//! The strict JSON reader (RFC 8259, with the interoperable stance of RFC 7493), and navigation over what it accepted.
//! Whatever two parsers could read differently is refused; what is accepted is never copied or rewritten.

mod reader;
mod scan;
mod string;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::malformed::{Malformed, Reason};
pub(crate) use reader::Watch;
use scan::{blanks, string_end, value_end};

/// How much JSON is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest document, in bytes.
    pub bytes: usize,
    /// The deepest nesting, in levels: `[]` has one. Never more than [`Limits::DEPTH_MAX`] is read.
    pub depth: u32,
}

impl Limits {
    /// What the product reads unless told otherwise, in levels.
    pub const DEFAULT_DEPTH: u32 = 64;
    /// The reader and the canonical writer recurse; this keeps them far from the end of a small stack.
    pub const DEPTH_MAX: u32 = 128;

    /// Documents of up to `bytes` bytes, nested up to [`Limits::DEFAULT_DEPTH`].
    pub const fn of_bytes(bytes: usize) -> Self {
        Self { bytes, depth: Self::DEFAULT_DEPTH }
    }
}

/// Reads one JSON document.
///
/// One pass proves everything that navigation relies on. It allocates once, for the keys of the objects that
/// are open, and a set for each object of more than sixteen members.
///
/// # Errors
/// What is not exactly one value of RFC 8259 within `limits`; and beyond the RFC: a byte order mark, a key
/// twice in one object (compared after decoding), an escaped lone surrogate.
pub fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Raw<'a>, Malformed> {
    check_length(bytes, limits)?;
    let text = str::from_utf8(bytes).map_err(|error| not_utf8(error.valid_up_to()))?;
    reader::read(text, limits, &mut ())
}

/// [`read`], for text already known to be UTF-8 and short enough.
pub(crate) fn read_text<'a>(
    text: &'a str,
    limits: &Limits,
    watch: &mut impl Watch<'a>,
) -> Result<Raw<'a>, Malformed> {
    reader::read(text, limits, watch)
}

/// The length comes first: nothing is spent on a document that is too long.
pub(crate) fn check_length(bytes: &[u8], limits: &Limits) -> Result<(), Malformed> {
    if bytes.len() > limits.bytes {
        return Err(Malformed::new(limits.bytes, Reason::TooLong { limit: limits.bytes }));
    }
    Ok(())
}

pub(crate) const fn not_utf8(valid_up_to: usize) -> Malformed {
    Malformed::new(valid_up_to, Reason::NotUtf8)
}

/// A value that the strict reader accepted: its exact text, without the white space around it.
///
/// INVARIANT: the text is one valid JSON value; only this crate makes a `Raw`.
#[derive(Clone, Copy)]
pub struct Raw<'a> {
    text: &'a str,
}

/// The kinds of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// `-1.5e3`
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

impl Kind {
    /// The kind of the value that proven `text` begins with.
    pub(crate) fn of(text: &str) -> Self {
        match text.as_bytes().first() {
            Some(b'{') => Self::Object,
            Some(b'[') => Self::Array,
            Some(b'"') => Self::String,
            Some(b't' | b'f') => Self::Bool,
            Some(b'n') => Self::Null,
            _ => Self::Number,
        }
    }
}

impl<'a> Raw<'a> {
    /// A piece of text that the strict reader accepted before.
    pub(crate) const fn trusted(text: &'a str) -> Self {
        Self { text }
    }

    /// The exact bytes of the value, as they came.
    pub const fn text(self) -> &'a str {
        self.text
    }

    /// What kind of value this is.
    pub fn kind(self) -> Kind {
        Kind::of(self.text)
    }

    /// Whether this is an object.
    pub fn is_object(self) -> bool {
        self.kind() == Kind::Object
    }

    /// The members of an object in the order they came; none of anything else.
    pub fn members(self) -> Members<'a> {
        Members { walk: Walk::over(self.text, Kind::Object) }
    }

    /// The elements of an array in the order they came; none of anything else.
    pub fn elements(self) -> Elements<'a> {
        Elements { walk: Walk::over(self.text, Kind::Array) }
    }

    /// The member of an object with this decoded key. Looks through the members one by one.
    pub fn get(self, key: &str) -> Option<Raw<'a>> {
        self.members().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The decoded text of a string. Borrowed unless it has escapes.
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        (self.kind() == Kind::String).then(|| string::decode(unquoted(self.text)))
    }

    /// The value of `true` or `false`.
    pub fn as_bool(self) -> Option<bool> {
        match self.text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The value of a number written as plain digits that fits into 64 bits. `1.0` and `1e0` are not.
    pub fn as_u64(self) -> Option<u64> {
        self.text.parse().ok()
    }

    /// Whether this is a number written without fraction and exponent, of any size.
    pub fn is_integer(self) -> bool {
        self.kind() == Kind::Number && !self.text.contains(['.', 'e', 'E'])
    }

    /// Where this value stands in `document`, in bytes. Nothing unless it was read from that very text.
    pub fn span_in(self, document: &str) -> Option<Range<usize>> {
        let start = self.text.as_ptr().addr().checked_sub(document.as_ptr().addr())?;
        let end = start.checked_add(self.text.len())?;
        (end <= document.len()).then_some(start..end)
    }
}

/// Values may hold what nobody should see in a log, so only kind and length are shown.
impl fmt::Debug for Raw<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Raw({:?}, {} bytes)", self.kind(), self.text.len())
    }
}

/// The key of a member. Compares by its decoded value.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    text: &'a str,
}

impl<'a> Key<'a> {
    /// The exact bytes of the key, quotes included.
    pub const fn raw(self) -> &'a str {
        self.text
    }

    /// The key with its escapes undone. Borrowed unless it has escapes.
    pub fn decoded(self) -> Cow<'a, str> {
        string::decode(unquoted(self.text))
    }
}

impl PartialEq<str> for Key<'_> {
    fn eq(&self, other: &str) -> bool {
        string::same(unquoted(self.text), other)
    }
}

impl PartialEq<&str> for Key<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

/// The members of an object.
#[derive(Clone)]
pub struct Members<'a> {
    walk: Walk<'a>,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Key<'a>, Raw<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.walk.key()?;
        Some((key, self.walk.value()))
    }
}

/// The elements of an array.
#[derive(Clone)]
pub struct Elements<'a> {
    walk: Walk<'a>,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Raw<'a>;

    fn next(&mut self) -> Option<Raw<'a>> {
        self.walk.more().then(|| self.walk.value())
    }
}

/// A walk through the items of one container, over proven text.
#[derive(Clone)]
pub(crate) struct Walk<'a> {
    /// From the opening bracket on; may go on behind the closing one.
    text: &'a str,
    at: usize,
}

impl<'a> Walk<'a> {
    /// The items of the container that `text` begins with if it is of `kind`, else none.
    pub(crate) fn over(text: &'a str, kind: Kind) -> Self {
        // An empty text has no items.
        Self { text: if Kind::of(text) == kind { text } else { "" }, at: 1 }
    }

    /// A walk that stands at the one value that `text` begins with.
    pub(crate) const fn at_value(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Steps over blanks and commas; whether an item follows.
    pub(crate) fn more(&mut self) -> bool {
        let bytes = self.text.as_bytes();
        self.at = blanks(bytes, self.at);
        if bytes.get(self.at) == Some(&b',') {
            self.at = blanks(bytes, self.at + 1);
        }
        !matches!(bytes.get(self.at), None | Some(b'}' | b']'))
    }

    /// The next key, leaving the walk at its value.
    pub(crate) fn key(&mut self) -> Option<Key<'a>> {
        if !self.more() {
            return None;
        }
        let bytes = self.text.as_bytes();
        let start = self.at;
        let end = string_end(bytes, start);
        let colon = blanks(bytes, end);
        self.at = blanks(bytes, colon + 1);
        Some(Key { text: self.piece(start..end) })
    }

    /// The value at hand.
    pub(crate) fn value(&mut self) -> Raw<'a> {
        let start = self.at;
        self.at = value_end(self.text.as_bytes(), start);
        Raw { text: self.piece(start..self.at) }
    }

    /// The text from where the walk stands on.
    pub(crate) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Steps over a value of `length` bytes that somebody else has walked.
    pub(crate) const fn advance(&mut self, length: usize) {
        self.at += length;
    }

    /// Where the walk stands, in bytes from the opening bracket.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    fn piece(&self, span: Range<usize>) -> &'a str {
        // INVARIANT: spans end at ASCII characters of proven text, so the piece is always there.
        self.text.get(span).unwrap_or_default()
    }
}

fn unquoted(text: &str) -> &str {
    // INVARIANT: a string's text begins and ends with a quote.
    text.get(1..text.len().saturating_sub(1)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(text: &str) -> Raw<'_> {
        read(text.as_bytes(), &Limits::of_bytes(1 << 20)).unwrap()
    }

    #[test]
    fn a_member_is_found_by_its_decoded_key() {
        let object = raw(r#" { "a" : [1, {"b":2}] , "\u0062\/" : "x" , "":{} } "#);
        assert_eq!(object.get("a").unwrap().text(), r#"[1, {"b":2}]"#);
        assert_eq!(object.get("b/").unwrap().text(), r#""x""#);
        assert_eq!(object.get("").unwrap().text(), "{}");
        assert!(object.get("b").is_none());
        assert!(object.get(r"\u0062\/").is_none());
    }

    #[test]
    fn a_key_keeps_its_spelling() {
        let (key, _) = raw(r#"{"\u0061\"":1}"#).members().next().unwrap();
        assert_eq!(key.raw(), r#""\u0061\"""#);
        assert_eq!(key.decoded(), "a\"");
        assert!(key == "a\"" && key != "a");
    }

    #[test]
    fn elements_come_in_order_with_their_exact_text() {
        let texts: Vec<_> = raw("[1.0 , \"]\\\"\" ,[ ],{\"a\":[]},null]").elements().map(Raw::text).collect();
        assert_eq!(texts, ["1.0", "\"]\\\"\"", "[ ]", "{\"a\":[]}", "null"]);
    }

    #[test]
    fn only_containers_have_items() {
        for text in ["1", "\"{}\"", "null", "[]", "{}", "[ ]", "{ }"] {
            assert_eq!(raw(text).members().count() + raw(text).elements().count(), 0, "{text}");
        }
        assert_eq!(raw("{\"a\":1}").elements().count(), 0);
        assert_eq!(raw("[1]").members().count(), 0);
    }

    #[test]
    fn scalars_are_taken_only_for_what_they_are() {
        assert_eq!(
            raw(r#""a\ud83d\ude00\u00e9\b\f\n\r\t\/\\\"""#).as_str().unwrap(),
            "a😀é\u{8}\u{c}\n\r\t/\\\""
        );
        assert!(matches!(raw("\"plain\"").as_str(), Some(Cow::Borrowed("plain"))));
        assert_eq!(raw("1").as_str(), None);
        assert_eq!(
            (raw("true").as_bool(), raw("false").as_bool(), raw("1").as_bool()),
            (Some(true), Some(false), None)
        );
        assert_eq!(raw("18446744073709551615").as_u64(), Some(u64::MAX));
        for text in ["18446744073709551616", "-1", "1.0", "1e0", "\"1\""] {
            assert_eq!(raw(text).as_u64(), None, "{text}");
        }
        assert!(raw("-12345678901234567890123").is_integer());
        assert!(!raw("1e2").is_integer() && !raw("1.0").is_integer() && !raw("\"1\"").is_integer());
    }

    #[test]
    fn a_value_knows_its_place_in_its_own_document_only() {
        let document = r#"{"a":[10,20]}"#;
        let value = raw(document).get("a").unwrap().elements().nth(1).unwrap();
        assert_eq!(value.span_in(document), Some(9..11));
        assert_eq!(raw(document).span_in(document), Some(0..document.len()));
        assert_eq!(value.span_in(document.get(..10).unwrap()), None);
        assert_eq!(value.span_in(""), None);
    }

    #[test]
    fn values_are_not_shown_in_logs() {
        assert_eq!(format!("{:?}", raw("\"secret\"")), "Raw(String, 8 bytes)");
    }

    /// What `raw` says, built by navigation alone.
    fn rebuilt(raw: Raw<'_>) -> serde_json::Value {
        match raw.kind() {
            Kind::Object => {
                raw.members().map(|(key, value)| (key.decoded().into_owned(), rebuilt(value))).collect()
            }
            Kind::Array => raw.elements().map(rebuilt).collect(),
            Kind::String => raw.as_str().unwrap().into_owned().into(),
            Kind::Bool => raw.as_bool().unwrap().into(),
            Kind::Null => serde_json::Value::Null,
            Kind::Number => serde_json::from_str(raw.text()).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn navigation_sees_what_serde_json_sees(
            keys in prop::collection::btree_set(any::<String>(), 0..20),
            values in prop::collection::vec(any::<(String, Option<i32>, Vec<bool>)>(), 20),
            pretty: bool,
        ) {
            let value: serde_json::Value =
                keys.into_iter().zip(values).map(|(key, value)| (key, serde_json::json!(value))).collect();
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert_eq!(rebuilt(raw(&text)), value);
        }

        #[test]
        fn every_character_survives_being_escaped(text: String) {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let quoted = format!("\"{escaped}\"");
            prop_assert_eq!(raw(&quoted).as_str().unwrap(), text);
        }
    }
}
