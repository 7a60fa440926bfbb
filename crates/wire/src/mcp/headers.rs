//! The headers that repeat parts of the body in the modern era (2026-07-28, Streamable HTTP, "Request Metadata").
//! Decisions are made from the body; this only makes sure that nobody on the way was told something else.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{ActsOn, Era, header, meta, method};
use crate::json::Raw;
use crate::jsonrpc::{Message, Shape};
use crate::malformed::Excerpt;

const SENTINEL_START: &str = "=?base64?";
const SENTINEL_END: &str = "?=";

/// Headers and body do not say the same: HTTP 400 and [`super::code::HEADER_MISMATCH`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderMismatch {
    /// A header that must be there is not.
    #[error("header `{header}` is missing")]
    Missing {
        /// Its name.
        header: Cow<'static, str>,
    },
    /// A header has characters that a value cannot have, or base64 that does not decode to UTF-8.
    #[error("header `{header}` has an invalid value")]
    Invalid {
        /// Its name.
        header: Cow<'static, str>,
    },
    /// A header repeats a part of the body that is not there.
    #[error("header `{header}` says what the body does not")]
    Unfounded {
        /// Its name.
        header: Cow<'static, str>,
    },
    /// A header says something else than the body.
    #[error("header `{header}` says `{said}`, the body says `{body}`")]
    Differs {
        /// Its name.
        header: Cow<'static, str>,
        /// What the header says, decoded.
        said: Excerpt,
        /// What the body says.
        body: Excerpt,
    },
}

/// Checks that the headers of a modern request say what its body says.
///
/// Give the only value of each header: two values of one header are the caller's to refuse. Header values are
/// compared exactly, after blanks around them are cut and base64 is decoded. Of a notification the headers
/// need not be there, and `tasks/…` requests and methods of older versions need no name, but what is there must be
/// right. A version that the
/// body does not state is for [`super::stated_version`] to refuse.
///
/// # Errors
/// See [`HeaderMismatch`].
pub fn check_headers(
    message: &Message,
    version_header: Option<&[u8]>,
    method_header: Option<&[u8]>,
    name_header: Option<&[u8]>,
) -> Result<(), HeaderMismatch> {
    let required = matches!(message.shape(), Shape::Request { .. });
    let Some(called) = message.method() else { return Ok(()) };

    let stated = message.meta(meta::PROTOCOL_VERSION).and_then(Raw::as_str);
    let version = Mirror { header: header::PROTOCOL_VERSION, required, encoded: false };
    version.check(version_header, stated.as_deref())?;

    let mirror = Mirror { header: header::METHOD, required, encoded: false };
    mirror.check(method_header, Some(called))?;

    let known = method(called).filter(|method| method.eras.include_era(Era::Modern));
    let (key, required) = match known.map(|method| method.acts_on) {
        Some(ActsOn::Tool | ActsOn::Prompt) => ("name", required),
        Some(ActsOn::Resource) => ("uri", required),
        Some(ActsOn::Task) => ("taskId", false),
        _ => return Ok(()),
    };
    let name = message.params().and_then(|params| params.get(key)).and_then(Raw::as_str);
    Mirror { header: header::NAME, required, encoded: true }.check(name_header, name.as_deref())
}

/// `value` as a header can carry it: as it is, or in base64 when it has other than visible ASCII characters
/// and inner blanks, or looks like base64 already.
pub fn encode_header(value: &str) -> String {
    let plain = value.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) && value.trim_matches(' ') == value;
    let like_sentinel = value.starts_with(SENTINEL_START) && value.ends_with(SENTINEL_END);
    if plain && !like_sentinel {
        value.to_owned()
    } else {
        format!("{SENTINEL_START}{}{SENTINEL_END}", STANDARD.encode(value))
    }
}

/// A header that repeats a part of the body.
struct Mirror {
    header: &'static str,
    required: bool,
    encoded: bool,
}

impl Mirror {
    fn check(&self, value: Option<&[u8]>, body: Option<&str>) -> Result<(), HeaderMismatch> {
        let header = Cow::Borrowed(self.header);
        let said = match value {
            Some(value) => match decoded(value, self.encoded) {
                Some(said) => said,
                None => return Err(HeaderMismatch::Invalid { header }),
            },
            None if self.required => return Err(HeaderMismatch::Missing { header }),
            None => return Ok(()),
        };
        match body {
            Some(body) if said != body => {
                Err(HeaderMismatch::Differs { header, said: Excerpt::of(&said), body: Excerpt::of(body) })
            }
            _ => Ok(()),
        }
    }
}

/// The text of a header without blanks around it, and without its base64 where it may be `encoded`. None where it has
/// characters that a value cannot have, or what is in base64 is no text.
pub(super) fn decoded(value: &[u8], encoded: bool) -> Option<Cow<'_, str>> {
    let value = str::from_utf8(value).ok()?.trim_matches([' ', '\t']);
    if !value.bytes().all(|byte| byte == b'\t' || (0x20..=0x7e).contains(&byte)) {
        return None;
    }
    let sentinel = value.strip_prefix(SENTINEL_START).and_then(|rest| rest.strip_suffix(SENTINEL_END));
    match sentinel.filter(|_| encoded) {
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok().map(Cow::Owned),
        None => Some(Cow::Borrowed(value)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::json::Limits;

    const VERSION: &[u8] = b"2026-07-28";

    fn message(id: &str, method: &str, params: &str) -> Message {
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        let text = format!(r#"{{"jsonrpc":"2.0",{id}"method":"{method}","params":{{{meta}{params}}}}}"#);
        Message::read(Bytes::from(text), &Limits::of_bytes(1 << 16)).unwrap()
    }

    fn call(name: &str) -> Message {
        message(r#""id":1,"#, "tools/call", &format!(r#","name":{}"#, serde_json::to_string(name).unwrap()))
    }

    fn checked(name: &str, header: &[u8]) -> Result<(), String> {
        check_headers(&call(name), Some(VERSION), Some(b"tools/call"), Some(header))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn headers_that_say_what_the_body_says_pass() {
        for header in [&b"echo"[..], b" \techo\t ", b"=?base64?ZWNobw==?="] {
            assert_eq!(checked("echo", header), Ok(()));
        }
        let read = message(r#""id":1,"#, "resources/read", r#","uri":"file:///a b""#);
        check_headers(&read, Some(VERSION), Some(b"resources/read"), Some(b"file:///a b")).unwrap();
        let list = message(r#""id":1,"#, "tools/list", "");
        check_headers(&list, Some(VERSION), Some(b"tools/list"), None).unwrap();
    }

    #[test]
    fn headers_that_say_something_else_are_refused() {
        assert_eq!(
            checked("echo", b"Echo").unwrap_err(),
            "header `mcp-name` says `Echo`, the body says `echo`"
        );
        for header in
            [&b""[..], b"ech", b"echo echo", b"=?BASE64?ZWNobw==?=", b"=?base64?ZWNo?=", b"\"echo\""]
        {
            assert!(checked("echo", header).unwrap_err().contains("says"), "{header:?}");
        }
        for header in [
            &b"=?base64?ZWNobw?="[..],
            b"=?base64?ZWNobx==?=",
            b"=?base64?%%%?=",
            b"=?base64?/w==?=",
            b"=?base64?ZWNobw== ?=",
            b"\xff",
            b"\xc3\xa9",
            b"ec\0ho",
            b"echo\n",
            b"\x7f",
        ] {
            assert_eq!(
                checked("echo", header).unwrap_err(),
                "header `mcp-name` has an invalid value",
                "{header:?}"
            );
        }
        let call = call("echo");
        let differs =
            |version, method| check_headers(&call, version, method, Some(b"echo")).unwrap_err().to_string();
        assert_eq!(
            differs(Some(VERSION), Some(b"tools/list")),
            "header `mcp-method` says `tools/list`, the body says `tools/call`"
        );
        assert!(
            differs(Some(b"2025-11-25"), Some(b"tools/call"))
                .starts_with("header `mcp-protocol-version` says")
        );
        // Only names may be encoded.
        assert!(differs(Some(VERSION), Some(b"=?base64?dG9vbHMvY2FsbA==?=")).contains("says"));
    }

    #[test]
    fn a_request_needs_its_headers() {
        let call = call("echo");
        for (version, method, name, missing) in [
            (None, Some(&b"tools/call"[..]), Some(&b"echo"[..]), header::PROTOCOL_VERSION),
            (Some(VERSION), None, Some(b"echo"), header::METHOD),
            (Some(VERSION), Some(b"tools/call"), None, header::NAME),
        ] {
            let refusal = check_headers(&call, version, method, name).unwrap_err();
            assert_eq!(refusal, HeaderMismatch::Missing { header: missing.into() });
        }
    }

    #[test]
    fn where_headers_are_not_needed_they_must_still_be_right() {
        let cancelled = message("", "notifications/cancelled", r#","requestId":1"#);
        check_headers(&cancelled, None, None, None).unwrap();
        assert!(check_headers(&cancelled, None, Some(b"tools/call"), None).is_err());
        let task = message(r#""id":1,"#, "tasks/get", r#","taskId":"t""#);
        check_headers(&task, Some(VERSION), Some(b"tasks/get"), None).unwrap();
        assert!(check_headers(&task, Some(VERSION), Some(b"tasks/get"), Some(b"u")).is_err());
    }

    #[test]
    fn a_long_value_does_not_flood_the_message() {
        assert!(checked("echo", &[b'x'; 9000]).unwrap_err().len() < 200);
    }

    /// The examples of the specification, and what else cannot stand in a header.
    #[test]
    fn values_are_encoded_only_where_they_must_be() {
        for (value, encoded) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("a b", "a b"),
            ("a\tb", "=?base64?YQli?="),
            ("", ""),
        ] {
            assert_eq!(encode_header(value), encoded);
        }
    }

    proptest! {
        #[test]
        fn an_encoded_name_passes_and_no_other_name_does(name: String, other: String) {
            let header = encode_header(&name);
            prop_assert!(header.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
            prop_assert_eq!(checked(&name, header.as_bytes()), Ok(()));
            prop_assume!(name != other);
            prop_assert!(checked(&other, header.as_bytes()).is_err());
        }
    }
}
