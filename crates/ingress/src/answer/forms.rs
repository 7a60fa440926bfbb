//! The forms that an answer's words can take: a problem document (RFC 9457), a JSON-RPC error that carries one, a tool
//! result. What came with the request is escaped here; no form says more than the words do.

use std::fmt::Write as _;

use domain::{audit::write_json_string, call::Call};
use wire::mcp::{Era, Version};

use super::words::Words;

impl Words {
    /// The sentence for models: clients drop everything of an error but its message.
    fn sentence(&self, call: &Call) -> String {
        // After the colon the sentence goes on, unless it starts with a name.
        let detail = lower(self.detail_for_model.as_ref().unwrap_or(&self.detail));
        let next = self.next_for_model.as_ref().unwrap_or(&self.next);
        format!("{} ({}): {} {} Call {}.", self.verdict, self.status, detail, next, call.id)
    }

    pub(super) fn rpc_error(&self, id: Option<&str>, code: i32, call: &Call) -> String {
        let mut body = String::with_capacity(1_024);
        body.push_str("{\"jsonrpc\":\"2.0\",");
        if let Some(id) = id {
            // Writing to a `String` cannot fail.
            let _ = write!(body, "\"id\":{id},");
        }
        let _ = write!(body, "\"error\":{{\"code\":{code},\"message\":");
        write_json_string(&mut body, &self.sentence(call));
        let _ = write!(body, ",\"data\":{}}}}}", self.document(call));
        body
    }

    /// A tool result with `isError`, for clients that hide errors from the model.
    pub(super) fn tool_result(&self, id: &str, modern: bool, call: &Call) -> String {
        // The newest protocol wants to be told what kind of result it is.
        let kind = if modern { "\"resultType\":\"complete\"," } else { "" };
        let mut body = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{{kind}\"content\":[{{\"type\":\"text\",\"text\":"
        );
        write_json_string(&mut body, &self.sentence(call));
        body.push_str("}],\"isError\":true}}");
        body
    }

    /// The problem document (RFC 9457), on one line.
    pub(super) fn document(&self, call: &Call) -> String {
        let mut body = String::with_capacity(512);
        let _ = write!(
            body,
            "{{\"type\":\"urn:toolgate:{}\",\"title\":\"{}\",\"status\":{}",
            self.code, self.title, self.status
        );
        member(&mut body, "detail", &self.detail);
        member(&mut body, "call_id", &call.id.to_string());
        if let Some(reason) = &self.reason {
            member(&mut body, "reason", reason);
        }
        if let Some(rule) = &self.rule {
            member(&mut body, "rule", rule);
        }
        if let Some(note) = &self.approval {
            let _ = write!(body, ",\"approval\":{{\"id\":\"{}\"", note.id);
            if let Some(status) = note.status {
                let _ = write!(body, ",\"status\":\"{status}\"");
            }
            match &note.expires_at {
                Some(at) => member(&mut body, "expires_at", at),
                None => body.push_str(",\"expires_at\":null"),
            }
            body.push('}');
        }
        if let Some(wait) = self.retry_after {
            let _ = write!(body, ",\"retry_after\":{wait}");
        }
        member(&mut body, "next", &self.next);
        if let Some(requested) = &self.requested_version {
            // MCP 2026-07-28 wants both beside its code -32022. The older versions do not know that code, and agree on
            // one of theirs in `initialize`.
            let modern = Version::ALL.iter().filter(|version| version.era() == Era::Modern);
            let supported: Vec<String> = modern.map(|version| format!("\"{version}\"")).collect();
            let _ = write!(body, ",\"supported\":[{}]", supported.join(","));
            member(&mut body, "requested", requested);
        }
        body.push('}');
        body
    }
}

fn member(body: &mut String, key: &str, value: &str) {
    let _ = write!(body, ",\"{key}\":");
    write_json_string(body, value);
}

/// The text with its first letter in lower case.
fn lower(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}
