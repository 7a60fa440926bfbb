//! `audit show`: everything the trail knows about one call.

use anyhow::anyhow;
use domain::audit::push_hex;
use serde_json::Value;
use store::{EventRow, OfCall, Store};

use super::{
    super::{Context, Verdict},
    calls::result,
};
use crate::output::{Column, Table, count, escape_foreign, milliseconds, size};

pub async fn show(context: &Context, store: &Store, start: &str) -> anyhow::Result<Verdict> {
    let shown: String = start.chars().take(40).flat_map(char::escape_debug).collect();
    let events = match store.events_of_call(start).await? {
        OfCall::One(events) => events,
        OfCall::None => {
            let list = context.invocation.command("audit list");
            return Err(anyhow!("no call starts with `{shown}` (CALL); all: {list}"));
        }
        OfCall::Several(ids) => {
            return Err(anyhow!("`{shown}` is the start of several calls (CALL); one of {}", ids.join(", ")));
        }
    };
    if context.output.json {
        for event in &events {
            context.output.raw(&event.json())?;
        }
        return Ok(Verdict::Done);
    }
    for line in lines(&events, &context.output.stdout) {
        context.output.answer(line)?;
    }
    Ok(Verdict::Done)
}

fn lines(events: &[EventRow], stream: &crate::output::Stream) -> Vec<String> {
    let records: Vec<Value> =
        events.iter().map(|event| serde_json::from_str(&event.rec).unwrap_or_default()).collect();
    let mut lines = vec![headline(events, &records)];
    let mut table = Table::new([
        Column::right("SEQ"),
        Column::left("AT (UTC)"),
        Column::left("KIND"),
        Column::left("WHAT"),
        Column::left("HASH"),
    ]);
    for (event, record) in events.iter().zip(&records) {
        let mut hash = String::with_capacity(12);
        push_hex(&mut hash, event.hash.get(..4).unwrap_or_default());
        hash.push('…');
        let at = event.at.to_string();
        let time = at.get(11..23).unwrap_or(&at).trim_end_matches('Z').to_owned();
        table.row([event.seq.to_string(), time, event.kind.clone(), what(record), hash]);
    }
    lines.extend(table.lines(stream));
    // Those of a decision are its reason, which stands in its line.
    let of_the_call = |record: &&Value| text(record.get("kind")).as_deref() != Some("decision");
    let args = records.iter().filter(of_the_call).find_map(|record| record.get("args"));
    if let Some(args) = args {
        lines.push(format!("args  {}", escape_foreign(&args.to_string())));
    }
    lines
}

/// `read_text_file on files by laptop (user, key 7kq2m9xd): forwarded, 200`.
fn headline(events: &[EventRow], records: &[Value]) -> String {
    let text = |member: &str| {
        let found = records.iter().find_map(|record| record.get(member)?.as_str());
        found.map(|text| escape_foreign(text).into_owned())
    };
    let action = text("action").or_else(|| text("method")).unwrap_or_else(|| "a request".to_owned());
    let mut line = action;
    if let Some(service) = text("service") {
        line.push_str(&format!(" on {service}"));
    }
    let agent = text("agent").unwrap_or_else(|| "nobody known".to_owned());
    line.push_str(&format!(" by {agent}"));
    let holder: Vec<String> =
        [text("role"), text("key_id").map(|id| format!("key {id}"))].into_iter().flatten().collect();
    if !holder.is_empty() {
        line.push_str(&format!(" ({})", holder.join(", ")));
    }
    let ended = events.iter().zip(records).next_back();
    let result = ended.map_or_else(|| "unknown".to_owned(), |(event, record)| result(event, record));
    line.push_str(&format!(": {result}"));
    if let Some(status) = records.iter().rev().find_map(|record| record.get("status")?.as_u64()) {
        line.push_str(&format!(", {status}"));
    }
    line
}

/// What an event adds: the decision before the call, people's word about it, the figures after it.
pub(super) fn what(record: &Value) -> String {
    let decision = |member: &str| record.get("decision").and_then(|decision| decision.get(member));
    let short = |digest: String| format!("{}…", digest.get(..8).unwrap_or(&digest));
    let kind = text(record.get("kind")).unwrap_or_default();
    if kind == "decision" {
        return said(record);
    }
    let approval = text(record.get("approval_id"));
    let mut parts: Vec<String> = Vec::new();
    if kind == "refusal" || kind == "held" {
        parts.extend(decision("gate").and_then(Value::as_u64).map(|gate| format!("gate {gate}")));
    }
    if kind != "held" {
        parts.extend(record.get("status").and_then(Value::as_u64).map(|status| status.to_string()));
    }
    // Of a call that was held, its first event has told the rule already.
    if kind != "intent" || approval.is_none() {
        parts.extend(text(decision("rule")));
    }
    if kind == "held" {
        let risk = decision("risk").and_then(Value::as_f64);
        parts.extend(risk.map(|risk| format!("risk {risk:.2}")));
        parts.extend(approval);
    } else {
        if approval.is_none() {
            parts.extend(text(decision("reason")));
        }
        parts.extend(text(decision("policy_hash")).map(|hash| format!("policy {}", short(hash))));
        parts.extend(text(record.get("digest")).map(|digest| format!("digest {}", short(digest))));
    }
    parts.extend(record.get("bytes").and_then(Value::as_u64).map(size));
    if kind != "held" {
        parts.extend(
            record.get("latency_ms").and_then(Value::as_f64).map(|ms| format!("{} ms", milliseconds(ms))),
        );
    }
    parts.extend(text(record.get("error").and_then(|error| error.get("code"))));
    // A refusal's message may be its reason once more.
    let message = text(record.get("error").and_then(|error| error.get("message")));
    parts.extend(message.filter(|message| !parts.contains(message)));
    parts
        .extend(record.get("count").and_then(Value::as_u64).map(|number| format!("{} alike", count(number))));
    parts.extend(text(record.get("operator")).map(|operator| format!("by {operator}")));
    parts.join(", ")
}

/// `approved by ada@example.com, 1 of 2: "looks right"`.
fn said(record: &Value) -> String {
    let said = text(record.get("decision").and_then(|decision| decision.get("reason"))).unwrap_or_default();
    let (what, progress) =
        said.split_once(", ").map_or((said.as_str(), None), |(what, rest)| (what, Some(rest)));
    let by = match text(record.get("operator")) {
        Some(operator) => format!("{what} by {operator}"),
        None => what.to_owned(),
    };
    let progress = progress.map(|progress| format!(", {progress}")).unwrap_or_default();
    let reason = text(record.get("args").and_then(|args| args.get("reason")));
    format!("{by}{progress}{}", reason.map(|reason| format!(": \"{reason}\"")).unwrap_or_default())
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(|text| escape_foreign(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_from_its_decision_to_its_outcome() {
        let row = |seq: i64, kind: &str, result: Option<&str>, rec: &str| EventRow {
            seq,
            at: "2026-11-23T14:02:31.114Z".parse().unwrap(),
            kind: kind.into(),
            call_id: Some("c_9q4x7m2kd0pw".into()),
            agent: None,
            service: None,
            action: None,
            result: result.map(Into::into),
            rec: rec.into(),
            hash: [0xab; 32],
        };
        let events = [
            row(
                225,
                "intent",
                None,
                r#"{"kind":"intent","agent":"laptop","role":"user","key_id":"7kq2m9xd","service":"files",
                "action":"read_text_file","args":{"path":"a\u202e"},"digest":"5e1c09aa4d7f",
                "decision":{"gate":20,"rule":"roles.user.allow[0]","policy_hash":"77b0c1e9aaaa"}}"#,
            ),
            row(
                226,
                "outcome",
                Some("forwarded"),
                r#"{"kind":"outcome","status":200,"bytes":412,"latency_ms":118.2}"#,
            ),
        ];
        let lines = lines(&events, &crate::output::Stream::plain());
        assert_eq!(
            lines[..4],
            [
                "read_text_file on files by laptop (user, key 7kq2m9xd): forwarded, 200",
                "SEQ  AT (UTC)      KIND     WHAT                                                     HASH",
                "225  14:02:31.114  intent   roles.user.allow[0], policy 77b0c1e9…, digest 5e1c09aa…  abababab…",
                "226  14:02:31.114  outcome  200, 412 B, 118 ms                                       abababab…",
            ]
        );
        assert_eq!(lines[4], "args  {\"path\":\"a\\u{202e}\"}");
    }

    #[test]
    fn a_held_call_reads_as_the_experience_has_it() {
        let policy = "77b0c1e9aaaa";
        let decision = |gate: u8, reason: &str| {
            format!(
                r#"{{"gate":{gate},"rule":"big refunds","reason":"{reason}","risk":0.3,"policy_hash":"{policy}"}}"#
            )
        };
        let told = |kind: &str, more: &str, reason: &str| {
            let decision = decision(60, reason);
            let record =
                format!(r#"{{"kind":"{kind}","approval_id":"ap_7m2kd9q4xw","decision":{decision}{more}}}"#);
            what(&serde_json::from_str(&record).unwrap())
        };
        let ada = r#","operator":"ada@example.com","digest":"5e1c09aa4d7f""#;
        assert_eq!(
            told("held", r#","status":428,"digest":"5e1c09aa4d7f","latency_ms":1.5"#, "needs 2 operators"),
            "gate 60, big refunds, risk 0.30, ap_7m2kd9q4xw"
        );
        assert_eq!(told("decision", ada, "approved, 1 of 2"), "approved by ada@example.com, 1 of 2");
        let reason = format!(r#"{ada},"args":{{"reason":"wrong\u202e folder"}}"#);
        assert_eq!(
            told("decision", &reason, "denied"),
            "denied by ada@example.com: \"wrong\\u{202e} folder\""
        );
        assert_eq!(told("decision", "", "nobody decided in time"), "nobody decided in time");
        assert_eq!(
            told("intent", r#","digest":"5e1c09aa4d7f""#, "approved"),
            "policy 77b0c1e9…, digest 5e1c09aa…"
        );
    }
}
