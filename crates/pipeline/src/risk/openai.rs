//! Endpoints with OpenAI's chat completions API, of which there are many: `POST {url}/chat/completions` with a JSON
//! Schema as `response_format`.

use domain::risk::RiskScore;
use serde_json::{Value, json};
use wire::{Raw, json::Kind};

use super::answer::{self, CUT_OFF, DECLINED, Miss, NO_ANSWER, UNREADABLE};

/// Behind the URL of the settings, which ends in the version: `https://api.example.com/v1`.
pub(super) const PATH: &str = "/chat/completions";

/// The request's body. No bound of tokens and no temperature: the names differ, and some models refuse them.
pub(super) fn body(model: &str, instructions: &str, question: &str) -> Value {
    json!({
        "model": model,
        "messages": [
            { "role": "system", "content": instructions },
            { "role": "user", "content": question }
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": { "name": "risk_report", "strict": true, "schema": answer::schema() }
        }
    })
}

/// The number of an answer: exactly one choice, that ended by itself, with a text that is the report.
pub(super) fn score(bytes: &[u8]) -> Result<RiskScore, Miss> {
    let root = answer::document(bytes)?;
    let choices = root.get("choices").filter(|choices| choices.kind() == Kind::Array).ok_or(UNREADABLE)?;
    let mut choices = choices.elements();
    let (Some(choice), None) = (choices.next(), choices.next()) else { return Err(NO_ANSWER) };
    let message = choice.get("message").ok_or(UNREADABLE)?;
    if message.get("refusal").is_some_and(|refusal| refusal.kind() != Kind::Null) {
        return Err(DECLINED);
    }
    match choice.get("finish_reason").and_then(Raw::as_str).as_deref() {
        Some("stop") => {}
        Some("length") => return Err(CUT_OFF),
        Some("content_filter") => return Err(DECLINED),
        _ => return Err(NO_ANSWER),
    }
    let calls = message.get("tool_calls").is_some_and(|calls| calls.elements().next().is_some());
    let content = message.get("content").and_then(Raw::as_str).filter(|_| !calls).ok_or(NO_ANSWER)?;
    let report = answer::document(content.as_bytes()).map_err(|_| NO_ANSWER)?;
    answer::score(report)
}
