//! `audit list`: one row a call, merged from its events.

use std::{collections::HashMap, ops::ControlFlow};

use admin::CallFilter;
use jiff::Timestamp;
use serde_json::Value;
use store::{EventRow, Order, Query, Store};

use super::{
    super::{Context, Verdict, context::Desk},
    Filters,
};
use crate::output::{Column, Table, count, escape_foreign, milliseconds, short_time};

pub async fn list(context: &Context, desk: &Desk, filters: &Filters, limit: u32) -> anyhow::Result<Verdict> {
    let now = context.now();
    let filter = filters.filter(now);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if filter.is_of_whole_calls() {
        let calls = whole_calls(desk, now.wall, &filter, limit).await?;
        if context.output.json {
            for newest in calls.iter().filter_map(|events| events.last()) {
                context.output.raw(&newest.json())?;
            }
            return Ok(Verdict::Done);
        }
        return print(context, &calls.iter().filter_map(|events| Call::of_all(events)).collect::<Vec<_>>());
    }
    if context.output.json {
        for event in events(desk, now.wall, &filter, limit).await?.iter().rev() {
            context.output.raw(&event.json())?;
        }
        return Ok(Verdict::Done);
    }
    print(context, &calls(desk.store(), &filter, limit).await?)
}

fn print(context: &Context, rows: &[Call]) -> anyhow::Result<Verdict> {
    if rows.is_empty() {
        context
            .output
            .talk(context.invocation.adapt("nothing is recorded that fits; all: toolgate audit list"));
        return Ok(Verdict::Done);
    }
    for line in table(rows, context.now().wall).lines(&context.output.stdout) {
        context.output.answer(line)?;
    }
    Ok(Verdict::Done)
}

/// The newest `limit` events that fit, the newest first.
async fn events(
    desk: &Desk,
    now: Timestamp,
    filter: &CallFilter,
    limit: usize,
) -> anyhow::Result<Vec<EventRow>> {
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let (more, next) = desk.admin.events(now, filter, before, limit - found.len()).await?;
        found.extend(more);
        before = next;
        if before.is_none() || found.len() >= limit {
            return Ok(found);
        }
    }
}

/// The newest `limit` calls that stand so or have a text in one of their events, the oldest of them first: each with its
/// events in their order.
async fn whole_calls(
    desk: &Desk,
    now: Timestamp,
    filter: &CallFilter,
    limit: usize,
) -> anyhow::Result<Vec<Vec<EventRow>>> {
    let (mut calls, mut before) = (Vec::new(), None);
    loop {
        let page = desk.admin.calls(now, filter, before, limit - calls.len()).await?;
        for found in page.rows {
            calls.push(match &found.call_id {
                Some(id) => desk.admin.call(id).await?,
                None => desk.admin.events_after(&Query::default(), found.seq.saturating_sub(1), 1).await?,
            });
        }
        before = page.next;
        if before.is_none() || calls.len() >= limit {
            calls.reverse();
            return Ok(calls);
        }
    }
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
async fn calls(store: &Store, filter: &CallFilter, limit: usize) -> anyhow::Result<Vec<Call>> {
    let mut rows: Vec<Call> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let newest_first = Query { order: Order::NewestFirst, ..filter.columns() };
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

    /// The row of a call with all its events; `None` where there is none.
    fn of_all(events: &[EventRow]) -> Option<Self> {
        let record = |event: &EventRow| serde_json::from_str(&event.rec).unwrap_or_default();
        let (newest, earlier) = events.split_last()?;
        let mut row = Self::of(newest, &record(newest));
        earlier.iter().rev().for_each(|event| row.complete(event, &record(event)));
        Some(row)
    }

    /// Takes what only an earlier event of the call knows.
    fn complete(&mut self, event: &EventRow, record: &Value) {
        // A call that people decided on stands where it was sent, or decided, not where it was held.
        if event.kind == "intent" {
            self.at = event.at;
        }
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

/// How it ended: an intent without its outcome is `unknown`; a call that people decide on is held until it is sent.
pub(super) fn result(event: &EventRow, record: &Value) -> String {
    let code = record.get("error").and_then(|error| error.get("code")).and_then(Value::as_str);
    let word = match (event.kind.as_str(), event.result.as_deref()) {
        (_, Some("fault")) if code == Some("outcome-unknown") => "unknown",
        (_, Some(word)) => word,
        ("intent", None) => "unknown",
        ("operator", None) => "changed",
        ("decision", None) => decided(record),
        (kind, None) => kind,
    };
    match record.get("count").and_then(Value::as_u64) {
        Some(number) if number > 1 => format!("{word} × {}", count(number)),
        _ => word.to_owned(),
    }
}

/// What a decision means for a call that nothing followed: a yes leaves it held until it is sent.
fn decided(record: &Value) -> &'static str {
    let decision = |member: &str| record.get("decision")?.get(member)?.as_str();
    match (decision("reason").unwrap_or_default(), decision("effect")) {
        ("resolved as executed", _) => "executed-approved",
        ("resolved as failed", _) => "upstream-error",
        (_, Some("deny")) => "refused",
        _ => "held",
    }
}

/// Why in one or two words: the rule, the limit, or the reason.
fn why(record: &Value) -> String {
    let fault = record.get("error").and_then(|error| error.get("code")).and_then(Value::as_str);
    // A rule may have allowed what then failed.
    let has_failed = record.get("result").and_then(Value::as_str) == Some("fault");
    let decision = record.get("decision").filter(|_| !(has_failed && fault.is_some()));
    let Some(decision) = decision else {
        return fault.map(|code| escape_foreign(code).into_owned()).unwrap_or_default();
    };
    let text = |member: &str| decision.get(member).and_then(Value::as_str);
    let said = record.get("kind").and_then(Value::as_str) == Some("decision");
    let short = match (text("rule"), text("reason")) {
        // People's word, or that nobody spoke, says more than the rule that asked them.
        (_, Some(reason)) if said && text("effect") == Some("deny") => reason,
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
    fn a_held_call_tells_how_far_it_is() {
        let decision = |effect: &str, reason: &str| {
            let decision = format!(r#"{{"effect":"{effect}","rule":"big refunds","reason":"{reason}"}}"#);
            let rec = format!(r#"{{"kind":"decision","decision":{decision}}}"#);
            let call = shown(&event("decision", Some("c_1"), None, &rec));
            (call.result, call.why)
        };
        let words = |result: &str, why: &str| (result.to_owned(), why.to_owned());
        assert_eq!(decision("hold", "approved, 1 of 2"), words("held", "big refunds"));
        assert_eq!(decision("allow", "approved, 2 of 2"), words("held", "big refunds"));
        assert_eq!(decision("deny", "denied"), words("refused", "denied"));
        assert_eq!(decision("deny", "nobody decided in time"), words("refused", "nobody decided in time"));
        assert_eq!(decision("allow", "resolved as executed"), words("executed-approved", "big refunds"));
        let held =
            r#"{"kind":"held","status":428,"count":3,"decision":{"effect":"hold","rule":"big refunds"}}"#;
        let held = shown(&event("held", Some("c_1"), Some("held"), held));
        assert_eq!(
            (held.result.as_str(), held.why.as_str(), held.code.as_str()),
            ("held × 3", "big refunds", "428")
        );
    }

    #[test]
    fn an_executed_call_stands_where_it_was_sent_and_names_the_rule_that_held_it() {
        let mut outcome = event(
            "outcome",
            Some("c_2h5tbn80ry6k"),
            Some("executed-approved"),
            r#"{"status":200,"latency_ms":118.2}"#,
        );
        outcome.at = "2026-11-23T14:07:11.149Z".parse().unwrap();
        let mut row = shown(&outcome);
        let held = r#"{"decision":{"effect":"hold","rule":"big refunds","reason":"x"},"status":428}"#;
        for (kind, at, rec) in [
            ("intent", "2026-11-23T14:07:11.031Z", "{}"),
            ("decision", "2026-11-23T14:05:47.902Z", held),
            ("held", "2026-11-23T14:03:02.114Z", held),
        ] {
            let mut event = event(kind, Some("c_2h5tbn80ry6k"), None, rec);
            event.at = at.parse().unwrap();
            row.complete(&event, &serde_json::from_str(rec).unwrap());
        }
        let table = table(&[row], "2026-11-23T18:00:00Z".parse().unwrap()).lines(&Stream::plain());
        assert_eq!(
            table[1],
            "14:07:11  c_2h5tbn80ry6k  laptop  files    read_text_file  executed-approved   200  118  big refunds"
        );
    }

    #[test]
    fn what_agents_wrote_cannot_leave_its_cell() {
        let mut event = event("refusal", None, Some("refused"), "{}");
        event.action = Some("a\u{1b}[2J\nb".into());
        assert_eq!(shown(&event).action, "a\\u{1b}[2J\\u{a}b");
    }
}
