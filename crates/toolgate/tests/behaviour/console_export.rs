//! Exports hold what the page of calls lists: every filter of the page is one of the export, at the console and in the
//! terminal.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::{Browser, HeldStage, SHORT, eventually};

/// The calls of an export's lines.
fn calls(lines: &str) -> BTreeSet<String> {
    let call = |line: &str| -> Option<String> {
        let event: Value = serde_json::from_str(line).unwrap();
        event["call_id"].as_str().map(str::to_owned)
    };
    lines.lines().filter_map(call).collect()
}

#[test]
fn an_export_takes_every_filter_of_the_page() {
    let stage = HeldStage::new(SHORT);
    let forwarded = stage.send("GET", "/http/api/v1/needle").call_id().to_owned();
    let refused = stage.send("DELETE", "/http/api/v1/x").call_id().to_owned();
    let held = stage.gateway.send(&stage.refund(5_000)).call_id().to_owned();
    let denied_id = stage.held_refund(6_000);
    stage.desk.deny(&denied_id, "not this one");
    let denied = stage.desk.show(&denied_id).held.call_id.to_string();
    let approved_id = stage.held_refund(7_000);
    let approved = stage.desk.show(&approved_id).held.call_id.to_string();
    stage.desk.approve(&approved_id);
    stage.reached(&approved_id, "executed");
    for (call, events) in [(&forwarded, 2), (&refused, 1), (&held, 1), (&denied, 2)] {
        stage.gateway.recorded(call, events);
    }
    let viewer = stage.gateway.operator("vera", "viewer");
    let mut browser = Browser::of(&stage.gateway, &viewer);
    let mut exported = |filter: &str| {
        let reply = browser.get(&format!("/api/audit/export?{filter}"));
        assert_eq!(reply.status, 200, "{filter}: {}", reply.text());
        reply.text()
    };
    let of = |ids: &[&String]| -> BTreeSet<String> { ids.iter().map(|id| (*id).clone()).collect() };

    eventually("the approved call to have ended", || {
        let lines = exported("decision=executed-approved");
        (calls(&lines) == of(&[&approved])).then_some(())
    });
    // Held, decided on, sent, answered: all of a call is there, whichever of its events says how it stands.
    assert_eq!(exported("decision=executed-approved").lines().count(), 4);
    assert_eq!(calls(&exported("decision=held")), of(&[&held]), "decided calls are held no more");
    assert_eq!(calls(&exported("decision=denied")), of(&[&denied]));
    assert_eq!(calls(&exported("decision=refused")), of(&[&refused]));
    assert_eq!(calls(&exported("decision=rate-limited")), of(&[]));
    assert_eq!(exported("text=NeEdLe").lines().count(), 2, "both events of the call, letters of either case");
    assert_eq!(calls(&exported("text=needle&decision=refused")), of(&[]));
    assert_eq!(calls(&exported("action=DELETE%20/v1/x&agent=laptop&service=api")), of(&[&refused]));
    assert!(exported("decision=changed").lines().all(|line| line.contains("\"kind\":\"operator\"")));
    assert_eq!(exported("format=csv&decision=held").lines().count(), 2, "with its head");

    // The list of events has the same filter: what the export writes, the newest first, page by page.
    for filter in
        ["decision=denied", "decision=refused", "decision=executed-approved", "text=NeEdLe", "agent=laptop"]
    {
        let export = browser.get(&format!("/api/audit/export?{filter}")).text();
        let events: Vec<Value> = export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let (mut listed, mut cursor) = (Vec::new(), String::new());
        for _ in 0..20 {
            let page = browser.get(&format!("/api/audit?{filter}&limit=2{cursor}")).json();
            listed.extend(page["items"].as_array().unwrap().clone());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        listed.reverse();
        assert!(!events.is_empty() && listed == events, "{filter}: {listed:?}");
    }

    // The page's own links lead to the same.
    let page = browser.get("/calls?decision=denied&q=refunds&time=all").text();
    let link = page.split("href=\"").find(|rest| rest.starts_with("/api/audit/export?format=jsonl")).unwrap();
    let link = link.split('"').next().unwrap().replace("&amp;", "&");
    assert_eq!(calls(&browser.get(&link).text()), of(&[&denied]), "{link}");
    let cli = ["audit", "export", "--decision", "denied", "--text", "REFUNDS"];
    assert_eq!(calls(&stage.gateway.ok(&cli).stdout), of(&[&denied]));
}
