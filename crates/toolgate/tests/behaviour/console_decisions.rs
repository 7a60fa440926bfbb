//! Held calls are decided on the console's pages: by a form that carries the digest of what was shown, and once.

use crate::harness::{pages::*, *};

#[test]
fn a_held_call_is_approved_with_a_form_and_sent_once() {
    let stage = PagesStage::new();
    let path = stage.hold(r#"{"amount":89,"charge":"ch_1"}"#);
    let mut ada = stage.browser("ada");
    let shown = page(&mut ada, &path);
    assert!(page(&mut ada, "/approvals").contains(&path));
    assert!(shown.find("ch_1").unwrap() < shown.find("Your decision").unwrap(), "the form is below the call");
    assert!(ada.get("/").text().contains("<title>(1) "));
    let decide = format!("{path}/decide");
    let digest = field(&shown, "digest");
    let choose =
        |decision: &'static str| [("decision", decision), ("digest", digest.as_str()), ("reason", "")];
    // A reason is needed to deny; what is wrong is told on the page of the call.
    let reply = form(&mut ada, &decide, &choose("deny"));
    assert!(reply.status == 422 && reply.text().contains("Not recorded"), "{}", reply.text());
    let reply = form(&mut ada, &decide, &choose("approve"));
    assert_eq!(reply.header("location"), Some(format!("{path}?done=approved").as_str()), "{}", reply.text());
    until("the call is sent", || stage.api.count() == 1);
    let result = until_page(&mut ada, &path, "Executed, 201");
    assert!(result.contains("re_&lt;b&gt;1&lt;/b&gt;") && result.contains("Approved by ada@example.com"));
    // Somebody else comes too late, and is told who was first.
    let mut grace = stage.browser("grace");
    let late = form(&mut grace, &decide, &choose("approve"));
    assert_eq!(late.status, 409);
    assert!(late.text().contains("by ada@example.com"), "{}", late.text());
    assert_eq!((stage.post(r#"{"amount":89,"charge":"ch_1"}"#).status, stage.api.count()), (201, 1));
    assert!(page(&mut ada, "/approvals?show=decided").contains(&path));
}

#[test]
fn two_people_must_approve_where_the_rule_says_so() {
    let stage = PagesStage::new();
    let path = stage.hold(r#"{"amount":5000}"#);
    for (name, before) in [("ada", "0 of 2 people have approved"), ("grace", "1 of 2 people have approved")] {
        let mut browser = stage.browser(name);
        let shown = page(&mut browser, &path);
        assert!(shown.contains(before), "{name}");
        let digest = field(&shown, "digest");
        let fields = [("decision", "approve"), ("digest", digest.as_str())];
        assert_eq!(form(&mut browser, &format!("{path}/decide"), &fields).status, 303);
        if name == "ada" {
            assert!(page(&mut browser, &path).contains("Another operator must approve it too"));
            assert_eq!(form(&mut browser, &format!("{path}/decide"), &fields).status, 409);
            assert_eq!(stage.api.count(), 0);
        }
    }
    until("the call is sent", || stage.api.count() == 1);
}

#[test]
fn a_decision_counts_for_what_was_shown_and_for_nothing_else() {
    let stage = PagesStage::new();
    let path = stage.hold(r#"{"amount":7}"#);
    let decide = format!("{path}/decide");
    let mut ada = stage.browser("ada");
    let digest = field(&page(&mut ada, &path), "digest");
    let other = "ab".repeat(32);
    for (fields, status) in [
        (vec![("decision", "approve")], 400),
        (vec![("decision", "approve"), ("digest", "x")], 400),
        (vec![("decision", "approve"), ("digest", other.as_str())], 409),
        (vec![("decision", "maybe"), ("digest", digest.as_str())], 400),
    ] {
        assert_eq!(form(&mut ada, &decide, &fields).status, status, "{fields:?}");
    }
    // Without the token of the session, or as a viewer, nothing happens either.
    let fields = [("decision", "approve"), ("digest", digest.as_str())];
    assert_eq!(send_form(&mut ada, &decide, &fields).status, 403);
    assert_eq!(form(&mut stage.browser("vera"), &decide, &fields).status, 403);
    assert_eq!(stage.post(r#"{"amount":7}"#).status, 428);
    assert_eq!(stage.api.count(), 0);
}

#[test]
fn what_stands_in_the_way_of_a_decision_is_told_without_the_command_line() {
    let stage = PagesStage::new();
    let path = stage.hold(r#"{"amount":8}"#);
    let decide = format!("{path}/decide");
    let mut ada = stage.browser("ada");
    let digest = field(&page(&mut ada, &path), "digest");
    let (other, long) = ("ab".repeat(32), "x".repeat(501));
    let mut answers = Vec::new();
    for (fields, words) in [
        (vec![("decision", "approve"), ("digest", other.as_str())], "look at it again, then decide."),
        (
            vec![("decision", "deny"), ("digest", digest.as_str())],
            "There is no reason; say in a few words why",
        ),
        (
            vec![("decision", "deny"), ("digest", digest.as_str()), ("reason", long.as_str())],
            "501 characters; use",
        ),
    ] {
        let reply = form(&mut ada, &decide, &fields);
        assert!(reply.text().contains(words), "{words}: {}", reply.text());
        answers.push(reply.text());
    }
    let fields = [("decision", "deny"), ("digest", digest.as_str()), ("reason", "no")];
    assert_eq!(form(&mut ada, &decide, &fields).status, 303);
    let late = form(&mut ada, &decide, &fields).text();
    // An id is written as it is, where a sentence begins with it too.
    assert!(late.contains("</b> ap_") || late.contains(": </b>ap_"), "{late}");
    answers.push(late);
    for answer in answers {
        let note = answer.split("Not recorded: ").nth(1).unwrap().split("</div>").next().unwrap().to_owned();
        assert!(!note.contains("--") && !note.contains("toolgate ") && !note.contains("Ap_"), "{note}");
    }
}

#[test]
fn several_calls_are_decided_together_each_by_its_own_digest() {
    let stage = PagesStage::new();
    let mut ada = stage.browser("ada");
    let paths: Vec<String> = (1..=3).map(|amount| stage.hold(&format!(r#"{{"amount":{amount}}}"#))).collect();
    let digests: Vec<String> = paths.iter().map(|path| field(&page(&mut ada, path), "digest")).collect();
    let names: Vec<String> =
        paths.iter().map(|path| format!("call.{}", path.trim_start_matches("/approvals/"))).collect();
    let fields = [
        ("decision", "approve"),
        (names[0].as_str(), digests[0].as_str()),
        (names[1].as_str(), digests[1].as_str()),
        // One that carries another's digest is left waiting.
        (names[2].as_str(), digests[0].as_str()),
    ];
    let reply = form(&mut ada, "/approvals/batch", &fields);
    assert_eq!(reply.header("location"), Some("/approvals?done=approved&calls=2&left=1"), "{}", reply.text());
    until("two calls are sent", || stage.api.count() == 2);
    assert!(page(&mut ada, &paths[2]).contains("It waits for one person"));
    assert_eq!(form(&mut ada, "/approvals/batch", &[("decision", "approve")]).status, 400);
}
