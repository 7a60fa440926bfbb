//! `audit tail`: what happens, as it happens.

use std::time::Duration;

use serde_json::Value;
use store::EventRow;

use super::{
    super::{Context, Verdict, context::Desk, ends::Ends},
    Filters,
    export::newest,
    show::what,
};
use crate::output::{escape_foreign, milliseconds};

/// How often the trail is looked at.
const EVERY: Duration = Duration::from_millis(300);

pub async fn tail(context: &Context, desk: &Desk, filters: &Filters, limit: u32) -> anyhow::Result<Verdict> {
    let filter = filters.filter(context.now());
    let mut ends = Ends::listen()?;
    let mut last = desk.admin.newest_event().await?;
    context.output.talk("following the trail, Ctrl-C ends");
    if limit > 0 {
        for event in &newest(desk, context.now().wall, &filter, last, limit).await? {
            say(context, event)?;
        }
    }
    loop {
        let newest = desk.admin.newest_event().await?;
        let mut after = Some(last);
        while let Some(behind) = after {
            let found = desk.admin.export(context.now().wall, &filter, behind, newest).await?;
            for event in &found.events {
                say(context, event)?;
            }
            after = found.next;
        }
        last = newest;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = ends.next() => return Ok(Verdict::Done),
        }
    }
}

fn say(context: &Context, event: &EventRow) -> anyhow::Result<()> {
    if context.output.json {
        context.output.raw(&event.json())?
    } else {
        context.output.answer(line(event))?
    }
    Ok(())
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
