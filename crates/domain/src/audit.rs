//! The trail's events: one fact each, written as one JSON object, chained by hash.
//!
//! A record is `{"seq":…,"writer":…,"prev":…,` and then the event's own members; its hash is the SHA-256 of
//! exactly those bytes, so anybody can check an export with a text editor's tools.

pub mod redact;

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use jiff::Timestamp;

use crate::{
    key::KeyId,
    names::{AgentName, ApprovalId, CallId, RoleName},
    policy::{PolicyHash, RuleName},
    risk::RiskScore,
    stop::Gate,
};

/// What kind of fact an event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A call is about to be forwarded; durable before its first byte leaves.
    Intent,
    /// How a forwarded call ended.
    Outcome,
    /// A call was refused, or failed before anything was sent.
    Refusal,
    /// A call waits for people.
    Held,
    /// A held call was decided: approved, denied, resolved, taken back, or nobody came in time.
    Decision,
    /// An operator, or whoever owns the home, changed something.
    Operator,
    /// The gateway about itself: start, stop, policy loaded.
    System,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Intent,
        Self::Outcome,
        Self::Refusal,
        Self::Held,
        Self::Decision,
        Self::Operator,
        Self::System,
    ];

    /// The word in the record.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Outcome => "outcome",
            Self::Refusal => "refusal",
            Self::Held => "held",
            Self::Decision => "decision",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// How a call ended, in the words of `X-Proxy-Status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResultWord {
    /// The upstream answered.
    Forwarded,
    /// The call was made before; its answer was given again.
    Replayed,
    /// It waits for people.
    Held,
    /// People approved it, and the upstream answered.
    ExecutedApproved,
    /// We said no.
    Refused,
    /// The upstream was reached, or tried, and failed.
    UpstreamError,
    /// We failed before anything was sent.
    Fault,
}

impl ResultWord {
    /// Every word, as `--decision` takes them.
    pub const ALL: [Self; 7] = [
        Self::Forwarded,
        Self::Replayed,
        Self::Held,
        Self::ExecutedApproved,
        Self::Refused,
        Self::UpstreamError,
        Self::Fault,
    ];

    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Replayed => "replayed",
            Self::Held => "held",
            Self::ExecutedApproved => "executed-approved",
            Self::Refused => "refused",
            Self::UpstreamError => "upstream-error",
            Self::Fault => "fault",
        }
    }
}

/// What was decided about a call, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is forwarded.
    Allow,
    /// It is held until people have approved it.
    Hold,
    /// It is refused.
    Deny,
}

impl Effect {
    /// The word in records and in JSON; in capitals it is the verdict that people read.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Hold => "hold",
            Self::Deny => "deny",
        }
    }
}

/// What was decided about a call, by a gate or by people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The gate that had the last word.
    pub gate: Gate,
    /// Allowed, held or denied.
    pub effect: Effect,
    /// The rule that decided, where one did.
    pub rule: Option<RuleName>,
    /// Why, in few words.
    pub reason: Cow<'static, str>,
    /// How risky the call is, where that was assessed.
    pub risk: Option<RiskScore>,
    /// The policy it was decided by.
    pub policy: Option<PolicyHash>,
}

/// What stands in the place of a method where the console denied a request.
pub const CONSOLE: &str = "console";

/// One fact. Members that are `None` are left out of the record.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it happened (UTC).
    pub at: Timestamp,
    /// What kind of fact it is.
    pub kind: Kind,
    /// How the call ended, for outcomes and refusals.
    pub result: Option<ResultWord>,
    /// The call it belongs to.
    pub call_id: Option<CallId>,
    /// Who called.
    pub agent: Option<AgentName>,
    /// With which key.
    pub key_id: Option<KeyId>,
    /// In which role.
    pub role: Option<RoleName>,
    /// Which service, as the call named it.
    pub service: Option<Arc<str>>,
    /// The protocol's word.
    pub method: Option<Cow<'static, str>>,
    /// The tool, prompt, resource; for operators' changes, what was done: `keys.revoke`.
    pub action: Option<Arc<str>>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// Arguments, redacted and bounded: a JSON text (see [`redact`]).
    pub args: Option<Box<str>>,
    /// The call digest (contract §5); of a decision, the approval digest that was decided on.
    pub digest: Option<[u8; 32]>,
    /// The approval that it belongs to.
    pub approval_id: Option<ApprovalId>,
    /// SHA-256 of a request body that streamed, so that no digest could hold it.
    pub body_sha256: Option<[u8; 32]>,
    /// Who changed something: an e-mail address, or `os:<user>`.
    pub operator: Option<Arc<str>>,
    /// The HTTP status that was answered.
    pub status: Option<u16>,
    /// What went wrong: a code, and words for operators.
    pub error: Option<(Cow<'static, str>, String)>,
    /// Bytes of the answer's body.
    pub bytes: Option<u64>,
    /// From arrival to the end of the answer.
    pub latency_us: Option<u64>,
    /// How many equal refusals this event stands for, when more than one.
    pub count: Option<u64>,
}

impl Event {
    /// Whether it is a denied request to the console, which is no call. Methods of calls are their callers' choice, and a call
    /// has an id.
    #[must_use]
    pub fn is_denial_at_console(&self) -> bool {
        self.call_id.is_none() && self.method.as_deref() == Some(CONSOLE)
    }

    /// An event that says nothing yet but when and what kind.
    #[must_use]
    pub fn new(at: Timestamp, kind: Kind) -> Self {
        Self {
            at,
            kind,
            result: None,
            call_id: None,
            agent: None,
            key_id: None,
            role: None,
            service: None,
            method: None,
            action: None,
            decision: None,
            args: None,
            digest: None,
            approval_id: None,
            body_sha256: None,
            operator: None,
            status: None,
            error: None,
            bytes: None,
            latency_us: None,
            count: None,
        }
    }

    /// The record's bytes: this event at a place of a chain. Its hash is the SHA-256 of what is returned.
    #[must_use]
    pub fn record(&self, seq: i64, writer: &str, prev: &[u8; 32]) -> String {
        let mut json = Writer { out: String::with_capacity(512 + self.args.as_ref().map_or(0, |a| a.len())) };
        json.out.push('{');
        json.number("seq", seq);
        json.text("writer", writer);
        json.hex("prev", prev);
        json.display("at", &format_args!("{:.6}", self.at));
        json.text("kind", self.kind.as_str());
        json.optional_text("result", self.result.map(ResultWord::as_str));
        if let Some(call) = self.call_id {
            json.display("call_id", &call);
        }
        json.optional_text("agent", self.agent.as_ref().map(AgentName::as_str));
        json.optional_text("key_id", self.key_id.as_ref().map(KeyId::as_str));
        json.optional_text("role", self.role.as_ref().map(RoleName::as_str));
        json.optional_text("service", self.service.as_deref());
        json.optional_text("method", self.method.as_deref());
        json.optional_text("action", self.action.as_deref());
        if let Some(decision) = &self.decision {
            json.open("decision");
            json.number("gate", decision.gate as i64);
            json.text("effect", decision.effect.as_str());
            json.optional_text("rule", decision.rule.as_ref().map(RuleName::as_str));
            json.text("reason", &decision.reason);
            if let Some(risk) = &decision.risk {
                json.display_bare("risk", risk);
            }
            if let Some(policy) = &decision.policy {
                json.text("policy_hash", policy.as_str());
            }
            json.out.push('}');
        }
        if let Some(args) = &self.args {
            json.raw("args", args);
        }
        if let Some(digest) = &self.digest {
            json.hex("digest", digest);
        }
        json.optional_text("approval_id", self.approval_id.as_ref().map(ApprovalId::as_str));
        if let Some(hash) = &self.body_sha256 {
            json.hex("body_sha256", hash);
        }
        json.optional_text("operator", self.operator.as_deref());
        json.optional_number("status", self.status);
        if let Some((code, message)) = &self.error {
            json.open("error");
            json.text("code", code);
            json.text("message", message);
            json.out.push('}');
        }
        json.optional_number("bytes", self.bytes.map(|n| i64::try_from(n).unwrap_or(i64::MAX)));
        if let Some(us) = self.latency_us {
            json.display_bare("latency_ms", &format_args!("{}.{:03}", us / 1000, us % 1000));
        }
        json.optional_number("count", self.count.map(|n| i64::try_from(n).unwrap_or(i64::MAX)));
        json.out.push('}');
        json.out
    }
}

/// Writes members of one JSON object, in the order it is told.
struct Writer {
    out: String,
}

impl Writer {
    fn key(&mut self, key: &str) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }
    fn open(&mut self, key: &str) {
        self.key(key);
        self.out.push('{');
    }
    fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        self.out.push_str(json);
    }
    fn number(&mut self, key: &str, value: i64) {
        self.display_bare(key, &value);
    }
    fn optional_number(&mut self, key: &str, value: Option<impl Into<i64>>) {
        if let Some(value) = value {
            self.number(key, value.into());
        }
    }
    fn display_bare(&mut self, key: &str, value: &dyn std::fmt::Display) {
        self.key(key);
        // Writing to a `String` cannot fail.
        let _ = write!(self.out, "{value}");
    }
    fn display(&mut self, key: &str, value: &dyn std::fmt::Display) {
        self.key(key);
        let _ = write!(self.out, "\"{value}\"");
    }
    fn optional_text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }
    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        write_json_string(&mut self.out, value);
    }
    fn hex(&mut self, key: &str, bytes: &[u8]) {
        self.key(key);
        self.out.push('"');
        push_hex(&mut self.out, bytes);
        self.out.push('"');
    }
}

/// Appends `bytes` as lower-case hex digits.
pub fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
    for chunk in bytes.chunks(32) {
        let mut digits = [b'0'; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(chunk) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(*byte)]);
        }
        out.push_str(
            digits.get(..chunk.len() * 2).and_then(|hex| std::str::from_utf8(hex).ok()).unwrap_or_default(),
        );
    }
}

/// Appends `text` as a JSON string (RFC 8259), escaping control characters, quotes and backslashes.
pub fn write_json_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    // Nearly all texts need no escape: they are copied in one piece.
    while let Some((plain, escaped, behind)) = split_at_escape(rest) {
        out.push_str(plain);
        match escaped {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        rest = behind;
    }
    out.push_str(rest);
    out.push('"');
}

/// The text before the first byte that must be escaped, that byte, and the text behind it.
fn split_at_escape(text: &str) -> Option<(&str, u8, &str)> {
    let escapes = |byte: &u8| *byte < b' ' || matches!(byte, b'"' | b'\\' | 0x7f);
    let place = text.as_bytes().iter().position(escapes)?;
    Some((text.get(..place)?, *text.as_bytes().get(place)?, text.get(place + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_json_object_in_a_fixed_order() {
        let mut event = Event::new("2026-11-23T14:02:31.5Z".parse().unwrap(), Kind::Outcome);
        event.result = Some(ResultWord::Forwarded);
        event.call_id = Some(CallId::new(1, 2));
        event.action = Some("say \"hi\"\n\u{1b}".into());
        event.status = Some(200);
        event.latency_us = Some(3_100);
        let record = event.record(7, "gw-1", &[0xab; 32]);
        assert_eq!(
            record,
            format!(
                concat!(
                    "{{\"seq\":7,\"writer\":\"gw-1\",\"prev\":\"{}\",\"at\":\"2026-11-23T14:02:31.500000Z\",",
                    "\"kind\":\"outcome\",\"result\":\"forwarded\",\"call_id\":\"c_000001000002\",",
                    "\"action\":\"say \\\"hi\\\"\\n\\u001b\",\"status\":200,\"latency_ms\":3.100}}"
                ),
                "ab".repeat(32)
            )
        );
        assert!(serde_json::from_str::<serde_json::Value>(&record).is_ok());
    }
}
