//! An HTTP service's answer as a tool result: text for models, and the same as structured content for programs. JSON
//! stays as it came, byte for byte; binary data is not poured into a model.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use domain::audit::write_json_string;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use wire::{Limits, json};

use super::words::quoted;

/// What [`tool_result`] puts into `structuredContent`, as the tool declares it (JSON Schema 2020-12).
pub(crate) const OUTPUT_SCHEMA: &str = concat!(
    r#"{"type":"object","properties":{"#,
    r#""status":{"type":"integer","description":"The HTTP status."},"#,
    r#""headers":{"type":"object","additionalProperties":{"type":"string"},"#,
    r#""description":"The headers that matter, by their names in lower case."},"#,
    r#""body_is":{"type":"string","enum":["json","text","binary","empty"]},"#,
    r#""body":{"description":"JSON as it came, a text as a string; null where it is empty or no text."}"#,
    r#"},"required":["status","headers","body_is","body"]}"#
);

/// The headers that say something to whoever asked. The others are about connections, caches and browsers.
const HEADERS: [&str; 11] = [
    "allow",
    "content-disposition",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "link",
    "location",
    "retry-after",
    "x-request-id",
    "x-total-count",
];
/// What the names of headers begin with that tell of limits.
const LIMIT_HEADERS: [&str; 2] = ["ratelimit", "x-ratelimit-"];
/// What models can see (bytes are base64 in MCP).
const IMAGES: [&str; 4] = ["image/gif", "image/jpeg", "image/png", "image/webp"];
/// The longest body that models are shown (bytes). A longer one would fill any of them, and stand here twice.
const SHOWN_BYTES_MAX: usize = 1024 * 1024;
/// How many levels the message has around a body; what reads it reads [`Limits::DEFAULT_DEPTH`] in all.
const LEVELS_ABOVE: u32 = 3;

/// What a body is, and how it is told.
enum Body<'b> {
    Empty,
    /// One JSON document, whole.
    Json(&'b str),
    Text(&'b str),
    Binary(&'b [u8]),
}

impl<'b> Body<'b> {
    fn read(headers: &HeaderMap, bytes: &'b [u8]) -> Self {
        if bytes.is_empty() {
            return Self::Empty;
        }
        // We ask for none; where one came all the same and nobody has undone it, this is no text.
        let is_coded = headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
        let text = std::str::from_utf8(bytes).ok().filter(|text| !is_coded && !text.contains(is_unprintable));
        let Some(text) = text else { return Self::Binary(bytes) };
        let media = media_type(headers);
        let limits = Limits { bytes: bytes.len(), depth: Limits::DEFAULT_DEPTH - LEVELS_ABOVE };
        let is_json = media == "application/json" || media.ends_with("+json");
        match json::read(bytes, &limits) {
            Ok(document) if is_json => Self::Json(document.text()),
            _ => Self::Text(text),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Json(_) => "json",
            Self::Text(_) => "text",
            Self::Binary(_) => "binary",
        }
    }
}

/// The answer as the JSON-RPC response to the `tools/call` with this id; of the newest protocol, where it is `modern`.
pub(super) fn tool_result(
    id: &str,
    modern: bool,
    service: &str,
    status: StatusCode,
    headers: &HeaderMap,
    bytes: &[u8],
) -> String {
    let body = Body::read(headers, bytes);
    let told = told(headers);
    let mut head = format!("HTTP {}", status.as_u16());
    if let Some(reason) = status.canonical_reason() {
        let _ = write!(head, " {reason}");
    }
    for (name, value) in &told {
        let _ = write!(head, "\n{name}: {value}");
    }

    let mut out = String::with_capacity(bytes.len().min(SHOWN_BYTES_MAX) + bytes.len() + 1_024);
    // Writing to a `String` cannot fail.
    let _ = write!(out, "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{");
    if modern {
        out.push_str("\"resultType\":\"complete\",");
    }
    out.push_str("\"content\":[");
    write_text(&mut out, &head);
    write_shown(&mut out, &body, headers, service);
    let _ = write!(out, "],\"structuredContent\":{{\"status\":{},\"headers\":{{", status.as_u16());
    for (place, (name, value)) in told.iter().enumerate() {
        let _ = write!(out, "{}\"{name}\":", if place == 0 { "" } else { "," });
        write_json_string(&mut out, value);
    }
    let _ = write!(out, "}},\"body_is\":\"{}\",\"body\":", body.word());
    match body {
        Body::Json(document) => out.push_str(document),
        Body::Text(text) => write_json_string(&mut out, text),
        Body::Binary(_) | Body::Empty => out.push_str("null"),
    }
    let is_error = status.is_client_error() || status.is_server_error();
    let _ = write!(out, "}},\"isError\":{is_error}}}}}");
    out
}

/// The body as models get it, in a block of its own: our words and an upstream's never stand in one.
fn write_shown(out: &mut String, body: &Body<'_>, headers: &HeaderMap, service: &str) {
    match body {
        Body::Empty => {}
        Body::Json(text) | Body::Text(text) if text.len() <= SHOWN_BYTES_MAX => {
            out.push(',');
            write_text(out, text);
        }
        Body::Json(text) | Body::Text(text) => {
            out.push(',');
            write_text(
                out,
                &format!(
                    "The body is {} bytes long, too long to show. It stands in `structuredContent` only. Ask for less in \
                     one request.",
                    text.len()
                ),
            );
        }
        Body::Binary(bytes) => {
            out.push(',');
            let media = media_type(headers);
            let is_coded = headers.contains_key(header::CONTENT_ENCODING);
            if IMAGES.contains(&media.as_str()) && !is_coded && bytes.len() <= SHOWN_BYTES_MAX {
                let _ = write!(out, "{{\"type\":\"image\",\"mimeType\":\"{media}\",\"data\":\"");
                STANDARD.encode_string(bytes, out);
                out.push_str("\"}");
                return;
            }
            let kind =
                if media.is_empty() { "of no stated type".into() } else { format!("of {}", quoted(&media)) };
            write_text(
                out,
                &format!(
                    "The body is {} bytes {kind}: no text, so it is not shown. A program with the same key gets it at \
                     /http/{service}/ and the same path.",
                    bytes.len()
                ),
            );
        }
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push_str("{\"type\":\"text\",\"text\":");
    write_json_string(out, text);
    out.push('}');
}

/// The headers that are told, each once; values of one name as one list (RFC 9110 §5.3).
fn told(headers: &HeaderMap) -> Vec<(&str, String)> {
    let matters =
        |name: &str| HEADERS.contains(&name) || LIMIT_HEADERS.iter().any(|prefix| name.starts_with(prefix));
    let names = headers.keys().map(http::HeaderName::as_str).filter(|name| matters(name));
    names
        .map(|name| {
            let values: Vec<&str> =
                headers.get_all(name).iter().filter_map(|value| HeaderValue::to_str(value).ok()).collect();
            (name, values.join(", "))
        })
        .collect()
}

/// In lower case, without parameters; empty where there is none.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether no text has this character: other controls than white space.
fn is_unprintable(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}' | '\u{85}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn told_of(media: &str, body: &[u8]) -> (String, Value) {
        let mut headers = HeaderMap::new();
        if !media.is_empty() {
            headers.insert(header::CONTENT_TYPE, media.parse().unwrap());
        }
        let text = tool_result("7", true, "billing", StatusCode::OK, &headers, body);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["id"], &value["result"]["resultType"]), (&7.into(), &"complete".into()));
        (text, value["result"].clone())
    }

    #[test]
    fn a_body_is_told_as_what_it_is() {
        for (media, body, word, shown) in [
            ("application/json", &b"{\"a\": 1.50}"[..], "json", Some("{\"a\": 1.50}")),
            ("application/problem+json; charset=utf-8", b"[1,\n2]", "json", Some("[1,\n2]")),
            ("application/json", b"{\"a\":1,\"a\":2}", "text", Some("{\"a\":1,\"a\":2}")),
            ("application/json", b"nonsense", "text", Some("nonsense")),
            ("text/plain", b"{\"a\":1}", "text", Some("{\"a\":1}")),
            ("", b"a\tb\r\n", "text", Some("a\tb\r\n")),
            ("text/html", "<p>ü</p>".as_bytes(), "text", Some("<p>ü</p>")),
            ("application/json", b"", "empty", None),
            ("text/plain", b"\xff\xfe", "binary", None),
            ("application/octet-stream", b"a\0b", "binary", None),
        ] {
            let (_, result) = told_of(media, body);
            let structured = &result["structuredContent"];
            assert_eq!(structured["body_is"], word, "{media} {body:?}");
            match shown {
                Some(shown) => assert_eq!(result["content"][1]["text"], shown),
                None => assert_eq!(structured["body"], Value::Null),
            }
        }
    }

    #[test]
    fn json_stays_as_it_came() {
        let body = r#" {"amount": 1.50, "id":12345678901234567890123, "e":1E+2,"s":"\u00fc\/"}"#;
        let (text, result) = told_of("application/json", body.as_bytes());
        assert!(text.contains(&format!("\"body\":{}", body.trim_start())), "{text}");
        assert_eq!(result["isError"], false);
    }

    #[test]
    fn json_is_no_deeper_than_what_reads_the_message() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for (levels, word) in [(61, "json"), (62, "text")] {
            let (text, result) = told_of("application/json", nested(levels).as_bytes());
            assert_eq!(result["structuredContent"]["body_is"], word, "{levels}");
            assert!(wire::Message::read(text.into(), &Limits::of_bytes(1 << 20)).is_ok(), "{levels}");
        }
    }

    #[test]
    fn images_are_shown_and_other_bytes_are_named() {
        let (_, image) = told_of("image/PNG", b"\x89PNG\r\n\x1a\n");
        assert_eq!(
            image["content"][1],
            serde_json::json!({ "type": "image", "mimeType": "image/png", "data": "iVBORw0KGgo=" })
        );
        let (_, archive) = told_of("application/x-`zip", b"PK\x03\x04");
        let said = archive["content"][1]["text"].as_str().unwrap();
        assert!(said.starts_with("The body is 4 bytes of `application/x-\\u{60}zip`: no text"), "{said}");
        assert!(said.contains("/http/billing/"), "{said}");
    }

    #[test]
    fn a_long_body_stands_in_the_answer_once() {
        let long = format!("\"{}\"", "x".repeat(SHOWN_BYTES_MAX));
        let (text, result) = told_of("application/json", long.as_bytes());
        assert!(text.len() < long.len() + 1_024);
        assert!(result["content"][1]["text"].as_str().unwrap().contains("too long to show"));
        assert_eq!(result["structuredContent"]["body"].as_str().unwrap().len(), SHOWN_BYTES_MAX);
    }

    #[test]
    fn only_headers_that_matter_are_told() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("content-type", "text/plain"),
            ("link", "<a>"),
            ("link", "<b>"),
            ("x-ratelimit-remaining", "3"),
            ("ratelimit", "\"a\";r=1"),
            ("server", "x"),
            ("cache-control", "no-store"),
            ("x-custom", "y"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers.append("location", HeaderValue::from_bytes(b"/\xff").unwrap());
        let text = tool_result("1", false, "s", StatusCode::NOT_FOUND, &headers, b"no");
        let value: Value = serde_json::from_str(&text).unwrap();
        let result = &value["result"];
        assert_eq!(
            result["structuredContent"]["headers"],
            serde_json::json!({
                "content-type": "text/plain", "link": "<a>, <b>", "x-ratelimit-remaining": "3",
                "ratelimit": "\"a\";r=1", "location": "",
            })
        );
        assert_eq!((&result["isError"], &result["resultType"]), (&true.into(), &Value::Null));
        let head = result["content"][0]["text"].as_str().unwrap();
        assert!(head.starts_with("HTTP 404 Not Found\n") && head.contains("link: <a>, <b>"), "{head}");
    }

    proptest! {
        #[test]
        fn whatever_comes_the_answer_is_one_message(
            media in "(application/json|text/plain|image/png|[a-z\"\\\\]{0,8})",
            body in proptest::collection::vec(any::<u8>(), 0..200),
            status in 100_u16..600,
        ) {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, media.parse().unwrap());
            let status = StatusCode::from_u16(status).unwrap();
            let text = tool_result("\"a\"", true, "s", status, &headers, &body);
            let limits = Limits::of_bytes(text.len());
            let message = wire::Message::read(text.into(), &limits).unwrap();
            let structured = message.root().get("result").unwrap().get("structuredContent").unwrap();
            prop_assert_eq!(structured.get("status").unwrap().as_u64(), Some(u64::from(status.as_u16())));
        }
    }
}
