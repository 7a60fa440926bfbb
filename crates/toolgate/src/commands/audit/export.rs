//! `audit export`: every event to stdout, the oldest first, as it was hashed or as a table for spreadsheets.

use std::{
    io::{BufWriter, Write as _},
    ops::ControlFlow,
};

use clap::ValueEnum;
use serde_json::Value;
use store::{EventRow, Store};

use super::{
    super::{Context, Verdict},
    Filters,
};

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// One JSON object a line: the record's own bytes, its hash added as the last member.
    #[default]
    Jsonl,
    /// Comma-separated values (RFC 4180) with a head.
    Csv,
}

/// The columns of the CSV, in the words of the record.
const COLUMNS: [&str; 22] = [
    "seq",
    "at",
    "kind",
    "result",
    "call_id",
    "agent",
    "key_id",
    "role",
    "service",
    "method",
    "action",
    "gate",
    "effect",
    "rule",
    "reason",
    "status",
    "bytes",
    "latency_ms",
    "operator",
    "args",
    "writer",
    "hash",
];

pub async fn export(
    context: &Context,
    store: &Store,
    filters: &Filters,
    format: Format,
) -> anyhow::Result<Verdict> {
    let mut out = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    if format == Format::Csv {
        write!(out, "{}\r\n", COLUMNS.join(","))?;
    }
    let mut written = Ok(());
    store
        .for_each_event(&filters.query(context.now()), |event| {
            written = match format {
                Format::Jsonl => writeln!(out, "{}", event.json()),
                Format::Csv => write!(out, "{}\r\n", csv_line(&event)),
            };
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .await?;
    written.and_then(|()| out.flush())?;
    Ok(Verdict::Done)
}

fn csv_line(event: &EventRow) -> String {
    let record: Value = serde_json::from_str(&event.json()).unwrap_or_default();
    let cells = COLUMNS.iter().map(|column| {
        let value = match *column {
            "gate" | "effect" | "rule" | "reason" => {
                record.get("decision").and_then(|decision| decision.get(column))
            }
            _ => record.get(column),
        };
        csv_cell(value)
    });
    cells.collect::<Vec<_>>().join(",")
}

/// A cell that no spreadsheet reads as a formula: agents choose some of these texts.
fn csv_cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return String::new(),
        Some(Value::String(text)) => {
            let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
            if formula { format!("'{text}") } else { text.clone() }
        }
        Some(other) => other.to_string(),
    };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_must_be_and_is_never_a_formula() {
        for (value, cell) in [
            (json!("plain"), "plain"),
            (json!("a,b"), "\"a,b\""),
            (json!("say \"hi\""), "\"say \"\"hi\"\"\""),
            (json!("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\""),
            (json!(-1.5), "-1.5"),
            (json!(null), ""),
        ] {
            assert_eq!(csv_cell(Some(&value)), cell);
        }
        assert_eq!(csv_cell(None), "");
    }
}
