//! The trail as a table for spreadsheets: comma-separated values (RFC 4180) with a head.

use serde_json::Value;
use store::EventRow;

/// The columns of the CSV, in the words of the record.
const COLUMNS: [&str; 31] = [
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
    "risk",
    "policy_hash",
    "approval_id",
    "digest",
    "body_sha256",
    "status",
    "error_code",
    "error_message",
    "bytes",
    "latency_ms",
    "count",
    "operator",
    "args",
    "writer",
    "prev",
    "hash",
];

/// The head, with its line break.
#[must_use]
pub fn csv_head() -> String {
    format!("{}\r\n", COLUMNS.join(","))
}

/// One event, with its line break.
#[must_use]
pub fn csv_line(event: &EventRow) -> String {
    format!("{}\r\n", csv_cells(&serde_json::from_str(&event.json()).unwrap_or_default()))
}

fn csv_cells(record: &Value) -> String {
    let cells = COLUMNS.iter().map(|column| {
        let value = match *column {
            "gate" | "effect" | "rule" | "reason" | "risk" | "policy_hash" => {
                record.get("decision").and_then(|decision| decision.get(column))
            }
            "error_code" => record.pointer("/error/code"),
            "error_message" => record.pointer("/error/message"),
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
    fn every_member_of_a_record_has_its_column() {
        let record = json!({
            "seq": 1, "at": "t", "kind": "k", "result": "r", "call_id": "c", "agent": "a", "key_id": "i", "role": "o",
            "service": "s", "method": "m", "action": "n", "approval_id": "p", "digest": "d", "body_sha256": "b",
            "decision": {"gate": 20, "effect": "e", "rule": "u", "reason": "w", "risk": 0.3, "policy_hash": "h"},
            "status": 502, "error": {"code": "x", "message": "y"}, "bytes": 2, "latency_ms": 3.5, "count": 4,
            "operator": "z", "args": {"q": 1}, "writer": "gw", "prev": "0", "hash": "f"
        });
        let line = csv_cells(&record);
        assert_eq!(
            line,
            "1,t,k,r,c,a,i,o,s,m,n,20,e,u,w,0.3,h,p,d,b,502,x,y,2,3.5,4,z,\"{\"\"q\"\":1}\",gw,0,f"
        );
    }

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
