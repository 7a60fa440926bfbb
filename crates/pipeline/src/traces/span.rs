//! What a span contains: names from OpenTelemetry's semantic conventions (HTTP, MCP) where there are any, our own
//! beside them. No arguments, no bodies, no secrets.

use std::{borrow::Cow, time::SystemTime};

use domain::{
    audit::{Event, ResultWord},
    call::{Action, Call},
};
use jiff::Timestamp;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId,
    trace::{SpanContext, SpanKind, Status},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

/// What is known of a call when it begins.
pub(super) struct Sketch {
    name: Cow<'static, str>,
    attributes: Vec<KeyValue>,
}

impl Sketch {
    /// A span's name has few values: what strangers may choose freely is in the attributes.
    pub(super) fn of(call: &Call) -> Self {
        let mut attributes = vec![
            KeyValue::new("toolgate.call.id", call.id.to_string()),
            KeyValue::new("toolgate.service", bounded(&call.service)),
        ];
        let mut name = call.method.clone();
        match &call.action {
            Action::Request(_) => {
                attributes.push(KeyValue::new("http.request.method", call.method.clone().into_owned()));
            }
            Action::Unknown => name = Cow::Borrowed("mcp"),
            action => {
                attributes.push(KeyValue::new("mcp.method.name", call.method.clone().into_owned()));
                let named = match action {
                    Action::Tool(name) => Some(("gen_ai.tool.name", name)),
                    Action::Prompt(name) => Some(("gen_ai.prompt.name", name)),
                    Action::Resource(uri) => Some(("mcp.resource.uri", uri)),
                    _ => None,
                };
                attributes.extend(named.map(|(key, value)| KeyValue::new(key, bounded(value))));
            }
        }
        Self { name, attributes }
    }

    /// A span of this call.
    pub(super) fn span(
        &self,
        span_context: SpanContext,
        parent: SpanId,
        kind: SpanKind,
        (from, until): (Timestamp, Timestamp),
    ) -> SpanData {
        SpanData {
            span_context,
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: kind,
            name: self.name.clone(),
            start_time: SystemTime::from(from),
            end_time: SystemTime::from(until.max(from)),
            attributes: self.attributes.clone(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("toolgate")
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        }
    }
}

/// How a call ended.
#[derive(Default)]
pub(super) struct End {
    pub(super) at: Option<Timestamp>,
    attributes: Vec<KeyValue>,
    fault: Option<String>,
}

impl End {
    /// What the trail says of it. A refusal is no error: it is what the gateway is there for.
    pub(super) fn of(event: &Event, now: Timestamp) -> Self {
        let status = event.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status)));
        let text = |key, value: Option<String>| value.map(|value| KeyValue::new(key, value));
        let decision = event.decision.as_ref();
        let attributes = [
            status,
            text("toolgate.result", event.result.map(|word| word.as_str().to_owned())),
            text("toolgate.agent", event.agent.as_ref().map(ToString::to_string)),
            decision.map(|decision| KeyValue::new("toolgate.gate", i64::from(decision.gate as u8))),
            text(
                "toolgate.rule",
                decision.and_then(|decision| decision.rule.as_ref()).map(ToString::to_string),
            ),
            text("toolgate.approval.id", event.approval_id.map(|id| id.to_string())),
            text("error.type", event.error.as_ref().map(|(code, _)| code.clone().into_owned())),
        ];
        let failed = matches!(event.result, Some(ResultWord::UpstreamError | ResultWord::Fault));
        let fault = failed.then(|| event.error.as_ref().map(|(code, _)| code.clone().into_owned()));
        Self {
            at: Some(now),
            attributes: attributes.into_iter().flatten().collect(),
            fault: fault.map(Option::unwrap_or_default),
        }
    }

    pub(super) fn describe(self, span: &mut SpanData) {
        span.attributes.extend(self.attributes);
        if let Some(fault) = self.fault {
            span.status = Status::error(fault);
        }
    }
}

/// A name that a stranger chose, not longer than anybody reads.
fn bounded(text: &str) -> String {
    const CHARACTERS_MAX: usize = 256;
    text.chars().take(CHARACTERS_MAX).collect()
}
