//! Arguments that are repeated in headers (2026-07-28, `x-mcp-header`): tools say which in their input schema, and
//! servers refuse a call without them. A stdio client does not send headers, so the bridge makes them.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue};
use wire::{
    json::Raw,
    jsonrpc::Message,
    mcp::{RepeatedArgument, encode_header, repeated_arguments},
};

/// So many tools are remembered; a service has tens, not thousands.
const TOOLS_MAX: usize = 4_096;

/// Which arguments of which tools are repeated, as far as lists have told.
#[derive(Debug, Default)]
pub struct Mirrors {
    tools: HashMap<String, Vec<RepeatedArgument>>,
}

impl Mirrors {
    /// Learns from an answer to `tools/list`; other answers say nothing.
    pub fn learn(&mut self, answer: &Message) {
        let tools = answer.root().get("result").and_then(|result| result.get("tools"));
        for tool in tools.into_iter().flat_map(Raw::elements) {
            let Some(name) = tool.get("name").and_then(Raw::as_str) else { continue };
            // Where annotations mean nothing, nothing is repeated.
            let repeated = tool.get("inputSchema").and_then(|schema| repeated_arguments(schema).ok());
            match repeated.filter(|repeated| !repeated.is_empty()) {
                Some(repeated) if self.tools.len() < TOOLS_MAX => {
                    self.tools.insert(name.into_owned(), repeated);
                }
                Some(_) => {}
                None => {
                    self.tools.remove(name.as_ref());
                }
            }
        }
    }

    /// The headers that repeat arguments of this call.
    pub fn headers(&self, call: &Message) -> Vec<(HeaderName, HeaderValue)> {
        if call.method() != Some("tools/call") || self.tools.is_empty() {
            return Vec::new();
        }
        let Some(params) = call.params() else { return Vec::new() };
        let name = params.get("name").and_then(Raw::as_str).unwrap_or_default();
        let repeated = self.tools.get(name.as_ref()).map(Vec::as_slice).unwrap_or_default();
        let Some(arguments) = params.get("arguments") else { return Vec::new() };
        let header = |argument: &RepeatedArgument| {
            let value = encode_header(&argument.value_in(arguments)?);
            Some((argument.header.parse().ok()?, HeaderValue::from_str(&value).ok()?))
        };
        repeated.iter().filter_map(header).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::json::Limits;

    use super::*;

    fn message(text: &str) -> Message {
        let limits = Limits { bytes: 10_000, depth: 64 };
        Message::read(Bytes::copy_from_slice(text.as_bytes()), &limits).unwrap()
    }

    #[test]
    fn annotated_arguments_are_repeated_and_others_are_not() {
        let mut mirrors = Mirrors::default();
        mirrors.learn(&message(
            r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"q","inputSchema":{"properties":{
            "region":{"type":"string","x-mcp-header":"Region"},"plain":{"type":"string"},
            "at":{"properties":{"n":{"type":"integer","x-mcp-header":"N"}}},
            "off":{"type":"string","x-mcp-header":"Off"}}}},{"name":"other","inputSchema":{}}]}}"#,
        ));
        let headers = mirrors.headers(&message(
            r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"q","arguments":
            {"region":"größer","plain":"x","at":{"n":12345678901234567890},"off":null}}}"#,
        ));
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            headers,
            [("mcp-param-region", "=?base64?Z3LDtsOfZXI=?="), ("mcp-param-n", "12345678901234567890")]
        );
        let other = message(r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"other"}}"#);
        assert!(mirrors.headers(&other).is_empty());
    }

    #[test]
    fn a_newer_list_replaces_what_an_older_one_said() {
        let tool = |schema: &str| {
            message(&format!(
                r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[{{"name":"q","inputSchema":{schema}}}]}}}}"#
            ))
        };
        let mut mirrors = Mirrors::default();
        mirrors.learn(&tool(r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}"#));
        mirrors.learn(&tool("{}"));
        assert!(mirrors.tools.is_empty());
    }
}
