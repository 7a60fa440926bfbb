//! `audit list`: one row a call, merged from its events.

use std::{collections::HashMap, ops::ControlFlow};

use jiff::Timestamp;
use serde_json::Value;
use store::{EventRow, Order, Query, Store};

use super::{
    super::{Context, Verdict},
    Filters,
};
use crate::output::{Column, Table, count, escape_foreign, milliseconds, short_time};

pub async fn list(
    context: &Context,
    store: &Store,
    filters: &Filters,
    limit: u32,
) -> anyhow::Result<Verdict> {
    let now = context.now();
    let query = filters.query(now);
    if context.output.json {
        let query = Query { order: Order::NewestFirst, limit: Some(limit), ..query };
        let mut events = store.events(&query).await?;
        events.reverse();
        for event in &events {
            context.output.raw(&event.json())?;
        }
        return Ok(Verdict::Done);
    }
    let rows = calls(store, &query, limit).await?;
    if rows.is_empty() {
        context.output.talk("nothing is recorded that fits");
        return Ok(Verdict::Done);
    }
    for line in table(&rows, now.wall).lines(&context.output.stdout) {
        context.output.answer(line)?;
    }
    Ok(Verdict::Done)
}

/// What a row shows of a call, or of a change that an operator made.
#[derive(Debug, Clone, PartialEq)]
struct Call {
    at: Timestamp,
    id: String,
    agent: String,
    service: String,
    action: String,
    result: String,
    code: String,
    milliseconds: String,
    why: String,
}

/// The newest `limit` calls that fit, the oldest of them first. Events are read page by page.
async fn calls(store: &Store, query: &Query, limit: u32) -> anyhow::Result<Vec<Call>> {
    let mut rows: Vec<Call> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let newest_first = Query { order: Order::NewestFirst, ..query.clone() };
    store
        .for_each_event(&newest_first, |event| {
            let record: Value = serde_json::from_str(&event.rec).unwrap_or_default();
            let known = event.call_id.as_ref().and_then(|id| places.get(id)).copied();
            // Its outcome stood later in the trail and is a row already.
            if let Some(row) = known.and_then(|place| rows.get_mut(place)) {
                row.complete(&event, &record);
                return ControlFlow::Continue(());
            }
            if rows.len() == limit {
                return ControlFlow::Break(());
            }
            if let Some(id) = &event.call_id {
                places.insert(id.clone(), rows.len());
            }
            rows.push(Call::of(&event, &record));
            ControlFlow::Continue(())
        })
        .await?;
    rows.reverse();
    Ok(rows)
}

impl Call {
    fn of(event: &EventRow, record: &Value) -> Self {
        let foreign =
            |text: &Option<String>| escape_foreign(text.as_deref().unwrap_or_default()).into_owned();
        let mut call = Self {
            at: event.at,
            id: event.call_id.clone().unwrap_or_default(),
            agent: foreign(&event.agent),
            service: foreign(&event.service),
            action: foreign(&event.action),
            result: result(event, record),
            code: record
                .get("status")
                .and_then(Value::as_u64)
                .map(|code| code.to_string())
                .unwrap_or_default(),
            milliseconds: record
                .get("latency_ms")
                .and_then(Value::as_f64)
                .map(milliseconds)
                .unwrap_or_default(),
            why: why(record),
        };
        if event.kind == "operator" {
            call.agent = foreign(&record.get("operator").and_then(Value::as_str).map(str::to_owned));
        }
        call
    }

    /// Takes what only the intent knows.
    fn complete(&mut self, event: &EventRow, record: &Value) {
        self.at = event.at;
        if self.why.is_empty() {
            self.why = why(record);
        }
        for (mine, theirs) in [
            (&mut self.agent, &event.agent),
            (&mut self.service, &event.service),
            (&mut self.action, &event.action),
        ] {
            if mine.is_empty() {
                *mine = escape_foreign(theirs.as_deref().unwrap_or_default()).into_owned();
            }
        }
    }
}

/// How it ended: an intent without its outcome is `unknown`.
fn result(event: &EventRow, record: &Value) -> String {
    let word = match (event.kind.as_str(), event.result.as_deref()) {
        (_, Some(word)) => word,
        ("intent", None) => "unknown",
        ("operator", None) => "changed",
        (kind, None) => kind,
    };
    match record.get("count").and_then(Value::as_u64) {
        Some(number) if number > 1 => format!("{word} × {}", count(number)),
        _ => word.to_owned(),
    }
}

/// Why in one or two words: the rule, the limit, or the reason.
fn why(record: &Value) -> String {
    let Some(decision) = record.get("decision") else {
        let fault = record.get("error").and_then(|error| error.get("code"));
        return fault
            .and_then(Value::as_str)
            .map(|code| escape_foreign(code).into_owned())
            .unwrap_or_default();
    };
    let text = |member: &str| decision.get(member).and_then(Value::as_str);
    let short = match (text("rule"), text("reason")) {
        // `roles.user.allow[0]` of the row's own agent needs no more than its end.
        (Some(rule), _) if rule.starts_with("roles.") => rule.rsplit('.').next().unwrap_or(rule),
        (Some(rule), _) => rule,
        (None, Some(reason)) if reason.starts_with("silence") => "silence",
        (None, Some(reason)) => reason,
        (None, None) => "",
    };
    escape_foreign(short).into_owned()
}

fn table(rows: &[Call], now: Timestamp) -> Table {
    let mut table = Table::new([
        Column::left("UTC"),
        Column::left("CALL"),
        Column::left("AGENT"),
        Column::left("SERVICE"),
        Column::left("ACTION"),
        Column::left("RESULT"),
        Column::right("CODE"),
        Column::right("MS"),
        Column::left("WHY"),
    ]);
    for row in rows {
        table.row([
            short_time(row.at, now),
            row.id.clone(),
            row.agent.clone(),
            row.service.clone(),
            row.action.clone(),
            row.result.clone(),
            row.code.clone(),
            row.milliseconds.clone(),
            row.why.clone(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Stream;

    fn event(kind: &str, call: Option<&str>, result: Option<&str>, rec: &str) -> EventRow {
        EventRow {
            seq: 1,
            at: "2026-11-23T14:02:31.5Z".parse().unwrap(),
            kind: kind.into(),
            call_id: call.map(Into::into),
            agent: Some("laptop".into()),
            service: Some("files".into()),
            action: Some("read_text_file".into()),
            result: result.map(Into::into),
            rec: rec.into(),
            hash: [0; 32],
        }
    }

    fn shown(event: &EventRow) -> Call {
        Call::of(event, &serde_json::from_str(&event.rec).unwrap())
    }

    #[test]
    fn rows_read_as_the_experience_has_them() {
        let outcome =
            event("outcome", Some("c_9q4x7m2kd0pw"), Some("forwarded"), r#"{"status":200,"latency_ms":3.1}"#);
        let intent = event(
            "intent",
            Some("c_9q4x7m2kd0pw"),
            None,
            r#"{"decision":{"rule":"roles.user.allow[0]","reason":"x"}}"#,
        );
        let mut row = shown(&outcome);
        row.complete(&intent, &serde_json::from_str(&intent.rec).unwrap());
        let limited = event(
            "refusal",
            Some("c_7v3q0z8c5jdm"),
            Some("refused"),
            r#"{"status":429,"count":5,"decision":{"reason":"20/1m"}}"#,
        );
        let lines =
            table(&[row, shown(&limited)], "2026-11-23T18:00:00Z".parse().unwrap()).lines(&Stream::plain());
        assert_eq!(
            lines,
            [
                "UTC       CALL            AGENT   SERVICE  ACTION          RESULT       CODE   MS  WHY",
                "14:02:31  c_9q4x7m2kd0pw  laptop  files    read_text_file  forwarded     200  3.1  allow[0]",
                "14:02:31  c_7v3q0z8c5jdm  laptop  files    read_text_file  refused × 5   429    –  20/1m",
            ]
        );
    }

    #[test]
    fn an_intent_without_an_outcome_is_unknown() {
        assert_eq!(shown(&event("intent", Some("c_1"), None, "{}")).result, "unknown");
    }

    #[test]
    fn what_agents_wrote_cannot_leave_its_cell() {
        let mut event = event("refusal", None, Some("refused"), "{}");
        event.action = Some("a\u{1b}[2J\nb".into());
        assert_eq!(shown(&event).action, "a\\u{1b}[2J\\u{a}b");
    }
}
