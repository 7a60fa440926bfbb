//! `audit tail`: what happens, as it happens.

use std::time::Duration;

use serde_json::Value;
use store::{EventRow, Order, Query, Store};

use super::{
    super::{Context, Verdict},
    Filters,
    show::what,
};
use crate::output::{escape_foreign, milliseconds};

/// How often the trail is looked at.
const EVERY: Duration = Duration::from_millis(300);
/// So many events are taken at once.
const PAGE: u32 = 500;

pub async fn tail(context: &Context, store: &Store, filters: &Filters) -> anyhow::Result<Verdict> {
    let query = filters.query(context.now());
    let newest = Query { order: Order::NewestFirst, limit: Some(1), ..Query::default() };
    let mut last = store.events(&newest).await?.first().map_or(0, |event| event.seq);
    context.output.talk("following the trail, Ctrl-C ends");
    loop {
        let next = Query { after: Some(last), limit: Some(PAGE), order: Order::OldestFirst, ..query.clone() };
        for event in store.events(&next).await? {
            last = last.max(event.seq);
            if context.output.json {
                context.output.raw(&event.json())?;
            } else {
                context.output.answer(line(&event))?;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Verdict::Done),
        }
    }
}

/// `14:02:31 laptop files read_text_file forwarded 200 3.1 ms c_9q4x7m2kd0pw`.
fn line(event: &EventRow) -> String {
    let record: Value = serde_json::from_str(&event.rec).unwrap_or_default();
    let at = event.at.to_string();
    let text = |text: &Option<String>| text.as_deref().map(|text| escape_foreign(text).into_owned());
    let operator =
        record.get("operator").and_then(Value::as_str).map(|text| escape_foreign(text).into_owned());
    let number = |member: &str| record.get(member).and_then(Value::as_u64).map(|number| number.to_string());
    let latency = record.get("latency_ms").and_then(Value::as_f64);
    let parts = [
        Some(at.get(11..19).unwrap_or(&at).to_owned()),
        text(&event.agent).or(operator),
        text(&event.service),
        text(&event.action),
        Some(match (&event.result, event.kind.as_str()) {
            (Some(result), _) => result.clone(),
            (None, "decision") => what(&record),
            (None, kind) => kind.to_owned(),
        }),
        number("status"),
        latency.map(|latency| format!("{} ms", milliseconds(latency))),
        event.call_id.clone(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_what_and_how_it_ended() {
        let event = EventRow {
            seq: 9,
            at: "2026-11-23T14:02:31.5Z".parse().unwrap(),
            kind: "outcome".into(),
            call_id: Some("c_9q4x7m2kd0pw".into()),
            agent: Some("laptop".into()),
            service: Some("files".into()),
            action: Some("read_text_file".into()),
            result: Some("forwarded".into()),
            rec: r#"{"status":200,"latency_ms":3.1}"#.into(),
            hash: [0; 32],
        };
        assert_eq!(line(&event), "14:02:31 laptop files read_text_file forwarded 200 3.1 ms c_9q4x7m2kd0pw");
    }
}
