//! Names at the endpoint of all services: `service__tool`. No service has an underscore in its name, so the first two
//! in a row end it, whatever the tool is called. Two pairs never share a name.

use std::borrow::Cow;

use domain::{audit::write_json_string, names::ServiceName};
use wire::{
    Limits, Malformed, Message, Raw,
    mcp::ListKind::{self, Tools},
};

/// Stands between the service's name and the tool's or prompt's own.
const BETWEEN: &str = "__";
/// The longest name that clients must take (characters; MCP 2025-11-25, tool names).
const TOOL_NAME_MAX: usize = 128;

/// A tool or prompt as its member knows it.
#[derive(Debug)]
pub(super) struct Pair {
    /// The text in front of the first `__`; where that can be no service's name, what can be shown of it.
    pub(super) service: String,
    /// The message with the member's own name. None where there is no such service anyway.
    pub(super) message: Option<Message>,
}

/// The service that a message speaks of, and the message as it would have come to that service's own endpoint: every
/// other byte stays.
pub(super) fn pair(message: &Message) -> Result<Pair, Malformed> {
    let literal = message.params().and_then(|params| params.get("name"));
    let Some((literal, name)) = literal.zip(literal.and_then(Raw::as_str)) else {
        return Ok(Pair { service: String::new(), message: None });
    };
    let known = name
        .split_once(BETWEEN)
        .and_then(|(service, own)| Some((ServiceName::parse(service).ok()?, own, message.span(literal)?)));
    let Some((service, own, span)) = known else {
        return Ok(Pair { service: shown(&name), message: None });
    };
    // Digests are made of the text as it is written, so what can stay stays.
    let begins = format!("\"{service}{BETWEEN}");
    let own = match literal.text().strip_prefix(&begins) {
        Some(rest) => format!("\"{rest}"),
        None => quoted(own),
    };
    let body = message.replace(span, &own);
    let limits = Limits::of_bytes(body.len());
    Ok(Pair { service: service.as_str().to_owned(), message: Some(Message::read(body, &limits)?) })
}

/// What can be shown of a text that is no service's name.
fn shown(name: &str) -> String {
    let service = name.split_once(BETWEEN).map_or(name, |(service, _)| service);
    service.chars().take(64).flat_map(char::escape_default).collect()
}

/// An element of a member's list under its name here; every other byte stays. None for what cannot stand in this list:
/// one name that a client or a model's provider does not take would cost it all the others.
pub(super) fn listed<'e>(
    kind: ListKind,
    service: &ServiceName,
    element: Raw<'e>,
) -> Option<(Cow<'e, str>, String)> {
    let literal = element.get(kind.element_name())?;
    let own = literal.as_str()?;
    if kind == Tools && !fits(service, &own) {
        return None;
    }
    let (text, span) = (element.text(), literal.span_in(element.text())?);
    let (before, inside, after) =
        (text.get(..span.start)?, literal.text().strip_prefix('"')?, text.get(span.end..)?);
    Some((own, format!("{before}\"{service}{BETWEEN}{inside}{after}")))
}

/// Whether a tool's name is one that clients take, together with its service's.
fn fits(service: &ServiceName, own: &str) -> bool {
    let length = service.as_str().len() + BETWEEN.len() + own.len();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !own.is_empty() && length <= TOOL_NAME_MAX && own.bytes().all(allowed)
}

/// The text as JSON.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_json_string(&mut out, text);
    out
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn called(literal: &str) -> Pair {
        let text = format!(
            r#"{{"id":1, "jsonrpc":"2.0","params":{{"x":1.0,"name" : {literal},"arguments":{{"name":"a__b"}}}},"method":"tools/call"}}"#
        );
        pair(&Message::read(Bytes::from(text), &Limits::of_bytes(1 << 16)).unwrap()).unwrap()
    }

    fn own_name(pair: &Pair) -> String {
        let message = pair.message.as_ref().unwrap();
        message.params().unwrap().get("name").unwrap().text().to_owned()
    }

    #[test]
    fn the_first_two_underscores_end_the_services_name() {
        for (literal, service, own) in [
            (r#""files__read""#, "files", r#""read""#),
            (r#""files__web__read""#, "files", r#""web__read""#),
            (r#""files___read""#, "files", r#""_read""#),
            (r#""a-1____""#, "a-1", r#""__""#),
            (r#""files__re\u0061d""#, "files", r#""re\u0061d""#),
            (r#""f\u0069les__re\u0061d\n""#, "files", r#""read\n""#),
            (r#""files__""#, "files", r#""""#),
        ] {
            let pair = called(literal);
            assert_eq!((pair.service.as_str(), own_name(&pair).as_str()), (service, own), "{literal}");
        }
    }

    #[test]
    fn what_names_no_service_is_no_pair() {
        for (literal, shown) in [
            (r#""read""#, "read"),
            (r#""__read""#, ""),
            (r#""Files__read""#, "Files"),
            (r#""a_b__read""#, "a_b"),
            (r#""\u001b[31m__x""#, r"\u{1b}[31m"),
        ] {
            let pair = called(literal);
            assert!(pair.message.is_none(), "{literal}");
            assert_eq!(pair.service, shown);
        }
        assert!(called(&format!("\"{}\"", "ab".repeat(500))).service.len() <= 64);
        assert!(called("7").message.is_none());
    }

    #[test]
    fn only_the_name_changes() {
        let pair = called(r#""files__read""#);
        let body = pair.message.unwrap().body().clone();
        let expected = r#"{"id":1, "jsonrpc":"2.0","params":{"x":1.0,"name" : "read","arguments":{"name":"a__b"}},"method":"tools/call"}"#;
        assert_eq!(body, expected);
    }

    fn raw(text: &str) -> Raw<'_> {
        wire::json::read(text.as_bytes(), &Limits::of_bytes(1 << 16)).unwrap()
    }

    #[test]
    fn an_element_keeps_everything_but_its_name() {
        let service = ServiceName::parse("web").unwrap();
        let element = r#"{"n":1E5, "name" :"re\u0061d__x","d":{"name":"y"}}"#;
        let (own, text) = listed(Tools, &service, raw(element)).unwrap();
        assert_eq!(own, "read__x");
        assert_eq!(text, r#"{"n":1E5, "name" :"web__re\u0061d__x","d":{"name":"y"}}"#);
    }

    #[test]
    fn a_tool_that_would_cost_a_client_its_whole_list_is_left_out() {
        let service = ServiceName::parse("web").unwrap();
        let is_listed = |name: &str| {
            let element = format!(r#"{{"name":{}}}"#, quoted(name));
            listed(Tools, &service, raw(&element)).is_some()
        };
        assert!(is_listed(&"a".repeat(123)));
        for name in ["", "a b", "ä", "a/b", "a\u{202e}b", &"a".repeat(124)] {
            assert!(!is_listed(name), "{name:?}");
        }
        // A prompt is chosen by people, and may be called anything.
        assert!(listed(ListKind::Prompts, &service, raw(r#"{"name":"summarize this"}"#)).is_some());
        assert!(listed(Tools, &service, raw(r#"{"name":7}"#)).is_none());
    }

    proptest! {
        #[test]
        fn two_pairs_never_share_a_name(
            one in "[a-z0-9][a-z0-9-]{0,5}", two in "[a-z0-9][a-z0-9-]{0,5}", a in "[a-z_]{1,6}", b in "[a-z_]{1,6}",
        ) {
            let name = |service: &str, own: &str| {
                let service = ServiceName::parse(service).unwrap();
                let element = format!("{{\"name\":\"{own}\"}}");
                let (_, text) = listed(Tools, &service, raw(&element)).unwrap();
                raw(&text).get("name").unwrap().text().to_owned()
            };
            let (first, second) = (name(&one, &a), name(&two, &b));
            prop_assert_eq!(first == second, one == two && a == b);
            let back = called(&first);
            prop_assert_eq!((back.service.clone(), own_name(&back)), (one, format!("\"{a}\"")));
        }
    }
}
