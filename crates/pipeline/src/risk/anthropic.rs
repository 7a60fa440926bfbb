//! Endpoints with Anthropic's messages API: `POST {url}/v1/messages`, with a tool that the model must use.

use domain::risk::RiskScore;
use serde_json::{Value, json};
use wire::{Raw, json::Kind};

use super::answer::{self, CUT_OFF, DECLINED, Miss, NO_ANSWER, UNREADABLE};

/// Behind the URL of the settings: `https://api.example.com`.
pub(super) const PATH: &str = "/v1/messages";
/// The version of the API that is spoken here.
pub(super) const VERSION: &str = "2023-06-01";

const TOOL: &str = "report_risk";
/// Room for one sentence and a number.
const TOKENS_MAX: u32 = 1_024;

/// The request's body.
pub(super) fn body(model: &str, instructions: &str, question: &str) -> Value {
    json!({
        "model": model,
        "max_tokens": TOKENS_MAX,
        "system": instructions,
        "messages": [{ "role": "user", "content": question }],
        "tools": [{
            "name": TOOL,
            "description": "Reports how risky the call is.",
            "input_schema": answer::schema()
        }],
        "tool_choice": { "type": "tool", "name": TOOL, "disable_parallel_tool_use": true }
    })
}

/// The number of an answer: exactly one use of the tool.
pub(super) fn score(bytes: &[u8]) -> Result<RiskScore, Miss> {
    let root = answer::document(bytes)?;
    match root.get("stop_reason").and_then(Raw::as_str).as_deref() {
        Some("tool_use") => {}
        Some("max_tokens" | "model_context_window_exceeded") => return Err(CUT_OFF),
        Some("refusal") => return Err(DECLINED),
        Some(_) => return Err(NO_ANSWER),
        None => return Err(UNREADABLE),
    }
    let content = root.get("content").filter(|content| content.kind() == Kind::Array).ok_or(UNREADABLE)?;
    let is =
        |block: &Raw<'_>, key, word| block.get(key).and_then(Raw::as_str).is_some_and(|text| text == word);
    let mut uses = content.elements().filter(|block| is(block, "type", "tool_use"));
    let (Some(used), None) = (uses.next(), uses.next()) else { return Err(NO_ANSWER) };
    if !is(&used, "name", TOOL) {
        return Err(NO_ANSWER);
    }
    answer::score(used.get("input").ok_or(NO_ANSWER)?)
}
