//! The JSON-RPC 2.0 envelope as MCP uses it: one object, read strictly, owned, and edited by splicing.
//! Every byte that an edit does not name stays as it came.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use bytestring::ByteString;

use crate::json::{self, Key, Kind, Limits, Raw, Watch};
use crate::list::cut_members;
use crate::malformed::{Malformed, Reason};

/// One JSON-RPC message: its bytes, and where in them the parts stand.
#[derive(Clone)]
pub struct Message {
    text: ByteString,
    form: Form,
    id: Option<Range<usize>>,
    params: Option<Range<usize>>,
    meta: Option<Range<usize>>,
}

/// What a message is, with the method decoded where it was written with escapes.
#[derive(Clone)]
enum Form {
    Call { method: Range<usize>, decoded: Option<Box<str>> },
    Response { is_error: bool },
}

/// The three shapes of a message.
#[derive(Debug, Clone, Copy)]
pub enum Shape<'m> {
    /// Wants an answer that repeats `id`, a string or an integer.
    Request {
        /// The id, to be repeated byte for byte.
        id: Raw<'m>,
        /// The method, decoded.
        method: &'m str,
    },
    /// Wants no answer.
    Notification {
        /// The method, decoded.
        method: &'m str,
    },
    /// Answers a request.
    Response {
        /// The id of that request. `None` where an error response has none, or `null`, because the request's
        /// id could not be read.
        id: Option<Raw<'m>>,
        /// Whether it carries `error` instead of `result`.
        is_error: bool,
    },
}

impl Message {
    /// Reads one message.
    ///
    /// # Errors
    /// What [`json::read`] refuses, and: anything but an object; `jsonrpc` other than `"2.0"`; an `id` that is
    /// neither string nor integer (`null` only in error responses); a `method` that is not a string; `params`
    /// that are not an object (MCP has no positional ones); members of more than one shape, or of none.
    /// Unknown members are kept.
    pub fn read(body: Bytes, limits: &Limits) -> Result<Self, Malformed> {
        json::check_length(&body, limits)?;
        refuse_unless_object(&body)?;
        let text = ByteString::try_from(body).map_err(|error| json::not_utf8(error.valid_up_to()))?;
        let mut envelope = Envelope::default();
        json::read_text(&text, limits, &mut envelope)?;
        let form = envelope.form(&text)?;
        let id = envelope.id.filter(|id| id.kind() != Kind::Null);
        let params = envelope.params;
        let meta = envelope.meta.filter(|meta| meta.is_object());
        let span = |raw: Option<Raw<'_>>| raw.and_then(|raw| raw.span_in(&text));
        let (id, params, meta) = (span(id), span(params), span(meta));
        Ok(Self { form, id, params, meta, text })
    }

    /// What the message is.
    pub fn shape(&self) -> Shape<'_> {
        match (&self.form, self.id()) {
            (Form::Response { is_error }, id) => Shape::Response { id, is_error: *is_error },
            (Form::Call { .. }, Some(id)) => Shape::Request { id, method: self.called() },
            (Form::Call { .. }, None) => Shape::Notification { method: self.called() },
        }
    }

    /// The method of a request or notification, decoded.
    pub fn method(&self) -> Option<&str> {
        matches!(self.form, Form::Call { .. }).then(|| self.called())
    }

    /// The id: of a request, or of the request that is answered.
    pub fn id(&self) -> Option<Raw<'_>> {
        self.raw(self.id.as_ref())
    }

    /// The parameters, always an object.
    pub fn params(&self) -> Option<Raw<'_>> {
        self.raw(self.params.as_ref())
    }

    /// The member `key` of `params._meta`.
    pub fn meta(&self, key: &str) -> Option<Raw<'_>> {
        self.raw(self.meta.as_ref())?.get(key)
    }

    /// The whole message.
    pub fn root(&self) -> Raw<'_> {
        Raw::trusted(self.text.trim_matches([' ', '\t', '\n', '\r']))
    }

    /// The bytes of the message as they came.
    pub fn body(&self) -> &Bytes {
        self.text.as_bytes()
    }

    /// Where a value of this message stands in [`Message::body`], in bytes.
    pub fn span(&self, raw: Raw<'_>) -> Option<Range<usize>> {
        raw.span_in(&self.text)
    }

    /// The message with another id, given as JSON. A message without an id stays as it is.
    pub fn with_id(&self, new_id_json: &str) -> Bytes {
        match &self.id {
            Some(id) => self.replace(id.clone(), new_id_json),
            None => self.body().clone(),
        }
    }

    /// The message without those members of `params._meta` for whose key `drop` says so; `_meta` itself
    /// stays, if need be empty. `None` when nothing matched.
    pub fn without_meta(&self, drop: impl Fn(&str) -> bool) -> Option<Bytes> {
        let meta = self.meta.as_ref()?;
        cut_members(&self.text, meta.start, |key| !drop(key)).map(Bytes::from)
    }

    /// The message with the bytes of `span` replaced by `new`. Outside the message nothing is replaced.
    pub fn replace(&self, span: Range<usize>, new: &str) -> Bytes {
        let body = self.body();
        let (Some(before), Some(after)) = (body.get(..span.start), body.get(span.end..)) else {
            return body.clone();
        };
        [before, new.as_bytes(), after].concat().into()
    }

    fn called(&self) -> &str {
        match &self.form {
            Form::Call { decoded: Some(decoded), .. } => decoded,
            Form::Call { method, decoded: None } => self.text.get(method.clone()).unwrap_or_default(),
            Form::Response { .. } => "",
        }
    }

    fn raw(&self, span: Option<&Range<usize>>) -> Option<Raw<'_>> {
        // INVARIANT: spans are those of values that the strict reader accepted in this very text.
        self.text.get(span?.clone()).map(Raw::trusted)
    }
}

/// A message may hold secrets, so only its size and method are shown.
impl fmt::Debug for Message {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Message({:?}, {} bytes)", self.method(), self.text.len())
    }
}

/// Typed readers accept a positional array for an object; and a batch is an array too. Both are told apart
/// from a message by the first byte, before anything else is spent on them.
fn refuse_unless_object(body: &[u8]) -> Result<(), Malformed> {
    let first = body.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    match first.and_then(|at| Some((at, *body.get(at)?))) {
        Some((at, b'[')) => Err(Malformed::new(at, Reason::Batch)),
        // A byte order mark has its own refusal, which is the reader's.
        Some((_, b'{' | 0xef)) => Ok(()),
        Some((at, _)) => Err(Malformed::new(at, Reason::Shape("a message must be a JSON object"))),
        None => Err(Malformed::new(0, Reason::Empty)),
    }
}

/// The members of a message that JSON-RPC knows.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<Raw<'a>>,
    id: Option<Raw<'a>>,
    method: Option<Raw<'a>>,
    params: Option<Raw<'a>>,
    result: Option<Raw<'a>>,
    error: Option<Raw<'a>>,
    /// `params._meta`
    meta: Option<Raw<'a>>,
    /// The `_meta` of the member that is being read.
    inner_meta: Option<Raw<'a>>,
}

impl<'a> Watch<'a> for Envelope<'a> {
    fn member(&mut self, level: u32, key: Key<'a>, value: Raw<'a>) {
        if level > 1 {
            if key == "_meta" {
                self.inner_meta = Some(value);
            }
            return;
        }
        let inner_meta = self.inner_meta.take();
        let member = match key.decoded().as_ref() {
            "jsonrpc" => &mut self.jsonrpc,
            "id" => &mut self.id,
            "method" => &mut self.method,
            "params" => {
                self.meta = inner_meta;
                &mut self.params
            }
            "result" => &mut self.result,
            "error" => &mut self.error,
            _ => return,
        };
        *member = Some(value);
    }
}

impl Envelope<'_> {
    /// Decides what the message is, or why it is nothing.
    fn form(&self, text: &str) -> Result<Form, Malformed> {
        let place = |raw: Option<Raw<'_>>| raw.and_then(|raw| raw.span_in(text)).map_or(0, |span| span.start);
        let must = |member, must, raw| Err(Malformed::new(place(raw), Reason::Member { member, must }));
        let shape = |what| Err(Malformed::new(0, Reason::Shape(what)));

        if self.jsonrpc.is_none_or(|version| version.as_str().as_deref() != Some("2.0")) {
            return must("jsonrpc", "be \"2.0\"", self.jsonrpc);
        }
        let is_null = |raw: Raw<'_>| raw.kind() == Kind::Null;
        if self.id.is_some_and(|id| !(id.kind() == Kind::String || id.is_integer() || is_null(id))) {
            return must("id", "be a string or an integer", self.id);
        }
        match (self.method, self.result, self.error) {
            (Some(method), None, None) => {
                if self.id.is_some_and(is_null) {
                    return must("id", "not be null in a request", self.id);
                }
                if self.params.is_some_and(|params| !params.is_object()) {
                    return must("params", "be an object", self.params);
                }
                match (method.as_str(), method.span_in(text)) {
                    (Some(Cow::Borrowed(_)), Some(span)) => {
                        Ok(Form::Call { method: span.start + 1..span.end - 1, decoded: None })
                    }
                    (Some(decoded), _) => Ok(Form::Call { method: 0..0, decoded: Some(decoded.into()) }),
                    (None, _) => must("method", "be a string", self.method),
                }
            }
            (None, Some(_), None) | (None, None, Some(_)) if self.params.is_some() => {
                shape("`params` cannot stand in a response")
            }
            (None, Some(_), None) => match self.id {
                Some(id) if !is_null(id) => Ok(Form::Response { is_error: false }),
                _ => must("id", "be there and not be null beside `result`", self.id),
            },
            (None, None, Some(error)) if error.is_object() => Ok(Form::Response { is_error: true }),
            (None, None, Some(_)) => must("error", "be an object", self.error),
            (None, None, None) => shape("one of `method`, `result` and `error` must be there"),
            _ => shape("only one of `method`, `result` and `error` can be there"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits::of_bytes(1 << 20);

    fn message(text: &str) -> Message {
        Message::read(Bytes::copy_from_slice(text.as_bytes()), &LIMITS).unwrap()
    }

    fn refusal(text: &str) -> String {
        Message::read(Bytes::copy_from_slice(text.as_bytes()), &LIMITS).unwrap_err().to_string()
    }

    #[test]
    fn a_request_is_read_with_its_parts_as_they_came() {
        let request = message(concat!(
            r#" {"jsonrpc":"2.0", "id" : -12345678901234567890, "method":"tools/call","#,
            r#""params":{"name":"a", "n":1.0},"extra":[1]}"#
        ));
        let Shape::Request { id, method } = request.shape() else { panic!("{request:?}") };
        assert_eq!((id.text(), method), ("-12345678901234567890", "tools/call"));
        assert_eq!(request.params().unwrap().text(), r#"{"name":"a", "n":1.0}"#);
        assert!(request.body().starts_with(b" {"));
        assert_eq!(request.root().get("extra").unwrap().text(), "[1]");
    }

    #[test]
    fn the_three_shapes_are_told_apart() {
        let shape = |text| format!("{:?}", message(text).shape());
        assert_eq!(
            shape(r#"{"jsonrpc":"2.0","id":"é","method":"ping"}"#),
            "Request { id: Raw(String, 4 bytes), method: \"ping\" }"
        );
        assert_eq!(
            shape(r#"{"jsonrpc":"2.0","method":"notifications/x"}"#),
            "Notification { method: \"notifications/x\" }"
        );
        for (text, id, is_error) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":null}"#, Some("7"), false),
            (r#"{"jsonrpc":"2.0","id":7,"error":{}}"#, Some("7"), true),
            (r#"{"jsonrpc":"2.0","id":null,"error":{}}"#, None, true),
            (r#"{"jsonrpc":"2.0","error":{}}"#, None, true),
        ] {
            let answer = message(text);
            let Shape::Response { id: found, is_error: found_error } = answer.shape() else {
                panic!("{text}")
            };
            assert_eq!((found.map(Raw::text), found_error), (id, is_error));
            assert_eq!(answer.method(), None);
        }
    }

    #[test]
    fn a_method_is_decoded() {
        let request = message(r#"{"jsonrpc":"2.0","id":1,"meth\u006fd":"tools\/c\u0061ll"}"#);
        assert_eq!(request.method(), Some("tools/call"));
    }

    #[test]
    fn what_is_not_a_message_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "the document is empty"),
            ("  ", "the document is empty"),
            ("[]", "batches are not supported"),
            (r#" [{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, "batches are not supported"),
            (r#"["2.0",1,"ping",null]"#, "batches are not supported"),
            ("1", "a message must be a JSON object"),
            ("\u{feff}{}", "byte order mark at byte 0"),
            ("{}", "`jsonrpc` must be \"2.0\" at byte 0"),
            (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, "`jsonrpc` must be \"2.0\" at byte 11"),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, "`jsonrpc` must be \"2.0\" at byte 11"),
            (r#"{"JSONRPC":"2.0","id":1,"method":"ping"}"#, "`jsonrpc` must be \"2.0\" at byte 0"),
            (r#"{"jsonrpc":"2.0"}"#, "one of `method`, `result` and `error` must be there"),
            (
                r#"{"jsonrpc":"2.0","id":1,"Method":"ping"}"#,
                "one of `method`, `result` and `error` must be there",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":1}"#, "`method` must be a string at byte 33"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, "`id` must not be null in a request at byte 22"),
            (r#"{"jsonrpc":"2.0","id":1.0,"method":"a"}"#, "`id` must be a string or an integer at byte 22"),
            (r#"{"jsonrpc":"2.0","id":1e3,"method":"a"}"#, "`id` must be a string or an integer at byte 22"),
            (r#"{"jsonrpc":"2.0","id":[1],"method":"a"}"#, "`id` must be a string or an integer at byte 22"),
            (r#"{"jsonrpc":"2.0","id":true,"error":{}}"#, "`id` must be a string or an integer at byte 22"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"a","params":["x"]}"#,
                "`params` must be an object at byte 46",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"a","params":null}"#,
                "`params` must be an object at byte 46",
            ),
            (
                r#"{"jsonrpc":"2.0","result":{}}"#,
                "`id` must be there and not be null beside `result` at byte 0",
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
                "`id` must be there and not be null beside `result` at byte 22",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#, "`error` must be an object at byte 32"),
            (
                r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
                "only one of `method`, `result` and `error` can be there",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"a","result":{}}"#,
                "only one of `method`, `result` and `error` can be there",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, "`params` cannot stand in a response"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#, "duplicate key `method` at byte 37"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a"}x"#, "trailing data at byte 37"),
        ] {
            assert_eq!(refusal(text), reason, "{text}");
        }
        let refusal = Message::read(Bytes::from_static(b"{\"a\":\"\xff\"}"), &LIMITS).unwrap_err();
        assert_eq!(refusal.to_string(), "invalid UTF-8 at byte 6");
    }

    #[test]
    fn a_member_of_meta_is_found() {
        let request =
            message(r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"toolgate/key":"k"}}}"#);
        assert_eq!(request.meta("toolgate/key").unwrap().as_str().unwrap(), "k");
        assert!(request.meta("key").is_none());
        for meta in ["[]", "null", "\"toolgate/key\""] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{{"_meta":{meta}}}}}"#);
            assert!(message(&text).meta("toolgate/key").is_none());
            assert!(message(&text).without_meta(|_| true).is_none());
        }
    }

    #[test]
    fn cutting_from_meta_leaves_everything_else() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{META},"n":1.0}} "#;
        for (before, after) in [
            (r#""toolgate/key":"k""#, ""),
            (r#""toolgate/key":"k","x":1"#, r#""x":1"#),
            (r#""x":1 , "toolgate\/key":{"a":[1]}"#, r#""x":1"#),
            (r#""a":1,"toolgate/key":"k","toolgate/intent":"","z":1"#, r#""a":1,"z":1"#),
        ] {
            let cut = message(&text.replace("META", before)).without_meta(|key| key.starts_with("toolgate/"));
            assert_eq!(cut.unwrap(), text.replace("META", after));
        }
        assert!(
            message(&text.replace("META", r#""x":1"#))
                .without_meta(|key| key.starts_with("toolgate/"))
                .is_none()
        );
    }

    #[test]
    fn a_message_is_not_shown_in_logs() {
        let request = message(r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"secret":1}}"#);
        assert_eq!(format!("{request:?}"), "Message(Some(\"a\"), 59 bytes)");
    }

    #[test]
    fn a_span_outside_the_message_replaces_nothing() {
        let request = message(r#"{"jsonrpc":"2.0","method":"a"}"#);
        assert_eq!(request.replace(5..1000, "x"), *request.body());
        assert_eq!(request.with_id("5"), *request.body());
    }

    proptest! {
        #[test]
        fn a_new_id_changes_nothing_but_the_id(old in "[1-9][0-9]{0,20}", new in "[1-9][0-9]{0,20}", value: String, first: bool) {
            let value = serde_json::to_string(&value).unwrap();
            let text = |id: &str| if first {
                format!(r#"{{ "id" : {id} , "jsonrpc":"2.0","method":"a","params":{{"id":{value}}}}}"#)
            } else {
                format!(r#"{{"jsonrpc":"2.0","x":{value},"method":"a","params":{{"id":1}},"id":{id}}}"#)
            };
            let changed = message(&text(&old)).with_id(&new);
            prop_assert_eq!(&changed, &text(&new));
            prop_assert_eq!(Message::read(changed, &LIMITS).unwrap().with_id(&old), text(&old));
        }

        #[test]
        fn cutting_meta_changes_nothing_but_meta(
            members in prop::collection::btree_map("[a-c]{1,3}", any::<String>(), 0..8),
            arguments: String,
        ) {
            let meta = serde_json::to_string(&members).unwrap();
            let text = serde_json::json!({"jsonrpc":"2.0","id":1,"method":"m","params":{"a":arguments,"_meta":{},"z":[1]}}).to_string();
            let text = text.replace(r#""_meta":{}"#, &format!(r#""_meta":{meta}"#));
            prop_assume!(text.matches("\"_meta\"").count() == 1);
            let left: std::collections::BTreeMap<_, _> = members.iter().filter(|(key, _)| !key.starts_with('a')).collect();
            let cut = message(&text).without_meta(|key| key.starts_with('a'));
            prop_assert_eq!(cut.is_none(), left.len() == members.len());
            let expected = text.replacen(&meta, &serde_json::to_string(&left).unwrap(), 1);
            prop_assert_eq!(cut.unwrap_or(text.into()), expected);
        }
    }
}
