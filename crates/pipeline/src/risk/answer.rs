//! A model's answer: one number and its reason, read strictly. Anything else counts as no answer, and none of it is
//! shown to anybody, because an agent's arguments may have written it.

use std::borrow::Cow;

use domain::risk::RiskScore;
use serde_json::{Value, json};
use wire::{Limits, Raw, json as strict, json::Kind};

/// The largest answer (bytes).
pub(super) const BYTES_MAX: usize = 64 * 1024;

/// Why there is no number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Miss {
    /// The endpoint did not do its work.
    Endpoint(Cow<'static, str>),
    /// It did, and the model said nothing that can be used: that may be the arguments' doing, so it is not held
    /// against the endpoint.
    Model(&'static str),
}

pub(super) const UNREADABLE: Miss = Miss::Endpoint(Cow::Borrowed("its answer cannot be read"));
pub(super) const CUT_OFF: Miss = Miss::Model("its answer is cut off");
pub(super) const DECLINED: Miss = Miss::Model("it declined to answer");
pub(super) const NO_ANSWER: Miss = Miss::Model("it gave no answer, or more than one");
const NO_SCORE: Miss = Miss::Model("its answer has no risk from 0 to 1");

/// The JSON Schema of the answer. The reason comes first: a model that has to give one judges better.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "reason": { "type": "string", "description": "One sentence: what could go wrong." },
            "risk": { "type": "number", "description": "From 0 (harmless) to 1 (severe and irreversible)." }
        },
        "required": ["reason", "risk"],
        "additionalProperties": false
    })
}

/// Reads a document of the endpoint.
pub(super) fn document(bytes: &[u8]) -> Result<Raw<'_>, Miss> {
    let root = strict::read(bytes, &Limits::of_bytes(BYTES_MAX)).map_err(|_| UNREADABLE)?;
    if root.is_object() { Ok(root) } else { Err(UNREADABLE) }
}

/// The number of an answer that has the members of [`schema`] and no others.
pub(super) fn score(answer: Raw<'_>) -> Result<RiskScore, Miss> {
    let known = |name: &str| answer.get(name);
    let (Some(risk), Some(reason)) = (known("risk"), known("reason")) else { return Err(NO_SCORE) };
    if answer.members().count() != 2 || reason.kind() != Kind::String || risk.kind() != Kind::Number {
        return Err(NO_SCORE);
    }
    let risk: f64 = risk.text().parse().map_err(|_| NO_SCORE)?;
    if !(0.0..=1.0).contains(&risk) {
        return Err(NO_SCORE);
    }
    // In this range nothing is cut off and nothing is negative.
    Ok(RiskScore::from_thousandths((risk * 1_000.0).round() as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<RiskScore, Miss> {
        score(document(text.as_bytes())?)
    }

    #[test]
    fn only_a_number_from_0_to_1_is_a_risk() {
        let cases =
            [("0", 0), ("1", 1_000), ("0.29", 290), ("1.0", 1_000), ("5e-1", 500), ("0.0005", 1), ("-0", 0)];
        for (risk, thousandths) in cases {
            let text = format!(r#"{{"reason":"r","risk":{risk}}}"#);
            assert_eq!(read(&text), Ok(RiskScore::from_thousandths(thousandths)), "{risk}");
        }
        for bad in ["-0.1", "1.001", "1e999", "-1", "2", "\"0\"", "\"low\"", "null", "true", "[0]", "{}"] {
            assert_eq!(read(&format!(r#"{{"reason":"r","risk":{bad}}}"#)), Err(NO_SCORE), "{bad}");
        }
    }

    #[test]
    fn anything_but_the_two_members_is_no_answer() {
        for bad in [
            "{}",
            r#"{"risk":0}"#,
            r#"{"reason":"r"}"#,
            r#"{"reason":7,"risk":0}"#,
            r#"{"reason":"r","risk":0,"approve":true}"#,
            r#"{"reason":"r","Risk":0}"#,
        ] {
            assert_eq!(read(bad), Err(NO_SCORE), "{bad}");
        }
        for bad in [
            "",
            "0",
            "[]",
            "approve",
            r#"{"reason":"r","risk":0,"risk":1}"#,
            "{\"reason\":\"r\",\"risk\":0}{}",
        ] {
            assert_eq!(read(bad), Err(UNREADABLE), "{bad}");
        }
    }
}
