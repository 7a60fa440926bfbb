//! Deciding in a terminal: the whole call is shown, a person who proved who they are decides, and their word is about
//! exactly what was shown.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    harness::{ApiStage, Home, Ran, SECRET, Stage, answer, eventually, until},
    terminal::sit_at,
};

const POLICY: &str = r#"
version: 1
roles:
  user:
    approve:
      - name: big refunds
        service: api
        requests: ["POST /v1/refunds"]
        when: args.amount > 1000
        approvals: 2
      - { name: notes, service: api, requests: ["POST /v1/notes"] }
limits: { per_key: 100000/1s, per_tool: 100000/1s, refusals: 100000/1s }
"#;

const PASSWORD: &str = "correct horse battery";

/// `api` behind the policy, with three operators: ada (owner), grace (approver), vera (viewer).
pub(super) fn stage() -> ApiStage {
    let home = Home::new(POLICY).set("gateway.hold=1s");
    for (name, role) in [("ada", "owner"), ("grace", "approver"), ("vera", "viewer")] {
        let email = format!("{name}@example.com");
        let create = ["operators", "create", &email, "--role", role, "--password-stdin"];
        assert_eq!(home.run_with(&create, PASSWORD.as_bytes()).code, 0);
    }
    ApiStage::with(home, "", |_| answer("200 OK", "Content-Type: application/json\r\n", "{\"ok\":true}"))
}

/// A call that is held: its approval's id.
pub(super) fn held(stage: &ApiStage, target: &str, body: &str) -> String {
    let request =
        stage.request("POST", &format!("/http/api{target}")).header("Content-Type", "application/json");
    let reply = stage.gateway.send(&request.header("X-Toolgate-Intent", "charged\u{202e} twice").body(body));
    assert_eq!(reply.proxy_status(), "held", "{}", reply.text());
    let listed = listed(stage, &[]);
    let ours = listed.iter().find(|approval| approval["call_id"] == reply.call_id()).unwrap();
    ours["id"].as_str().unwrap().to_owned()
}

pub(super) fn listed(stage: &ApiStage, filters: &[&str]) -> Vec<Value> {
    let listed = stage.gateway.ok(&[&["approvals", "list", "--json"], filters].concat()).stdout;
    serde_json::from_str(&listed).unwrap()
}

pub(super) fn token(home: &Home, name: &str) -> String {
    let email = format!("{name}@example.com");
    let ran = home.run_with(&["operators", "token", &email, "--password-stdin"], PASSWORD.as_bytes());
    ran.stdout.trim_end().to_owned()
}

pub(super) fn as_operator(stage: &ApiStage, name: &str, arguments: &[&str]) -> Ran {
    let token = token(&stage.gateway, name);
    let mut command = stage.gateway.command(arguments);
    ran(command.env("TOOLGATE_OPERATOR_TOKEN", token).stdin(std::process::Stdio::null()).output().unwrap())
}

fn ran(output: std::process::Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

pub(super) fn show(stage: &ApiStage, id: &str) -> Value {
    serde_json::from_str(&stage.gateway.ok(&["approvals", "show", id, "--json"]).stdout).unwrap()
}

pub(super) fn digest(stage: &ApiStage, id: &str) -> String {
    show(stage, id)["digest"].as_str().unwrap().to_owned()
}

fn refund(stage: &ApiStage) -> String {
    held(stage, "/v1/refunds", "{\"amount\":5000,\"charge\":\"ch_1042\u{202e}\"}")
}

pub(super) fn note(stage: &ApiStage, text: &str) -> String {
    held(stage, "/v1/notes", &json!({ "text": text }).to_string())
}

#[test]
fn two_people_approve_one_call_and_it_is_executed_once() {
    let stage = stage();
    let id = refund(&stage);
    let list = stage.gateway.ok(&["approvals", "list"]).stdout;
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines[0], "ID             WAITS         LEFT  AGENT   SERVICE  ACTION            RISK  RULE");
    assert!(lines[1].starts_with(&id) && lines[1].ends_with("big refunds, 0 of 2"), "{list}");

    let digest = digest(&stage, &id);
    let approve = ["approvals", "approve", &id, "--digest", &digest];
    let first = as_operator(&stage, "ada", &approve);
    let last = first.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("✓ approved by ada@example.com, 1 of 2; another operator must approve within 23 h "),
        "{last}"
    );
    assert!(first.stdout.contains(&format!("digest      {digest}\n")), "the page comes first");
    assert_eq!(stage.api.count(), 0, "nobody sends it before the second one");
    let again = as_operator(&stage, "ada", &approve);
    assert_eq!(again.code, 1);
    assert!(again.stderr.starts_with("error: `ada@example.com` has approved "), "{}", again.stderr);

    let second = as_operator(&stage, "grace", &approve);
    let executed = eventually("the execution", || {
        let approval = show(&stage, &id);
        (approval["status"] == "executed").then_some(approval)
    });
    let call = executed["call_id"].as_str().unwrap();
    let last = second.stdout.lines().last().unwrap();
    assert!(last.starts_with("✓ approved by grace@example.com, 2 of 2; "), "{last}");
    assert!(
        last.contains("executed once: 200 in ") && last.ends_with(call)
            || last.contains("it is executed when"),
        "{last}"
    );
    assert_eq!(stage.api.count(), 1);
    assert_eq!(
        (&executed["result"]["status"], &executed["decided_by"]),
        (&json!(200), &json!("grace@example.com"))
    );
    let shown = stage.gateway.ok(&["approvals", "show", &id]).stdout;
    assert!(shown.lines().next().unwrap().ends_with("executed · 2 of 2"), "{shown}");
    assert!(shown.contains("\nended       executed once: 200 in "), "{shown}");
    let late = as_operator(&stage, "ada", &["approvals", "deny", &id, "--reason", "no", "--digest", &digest]);
    assert_eq!((late.code, late.stdout.as_str()), (1, ""));
    assert!(late.stderr.contains(&format!("{id} was approved ")), "{}", late.stderr);
    assert!(late.stderr.ends_with(" ago by grace@example.com (status executed); nothing was changed\n"));
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn the_trail_tells_who_approved_what_was_sent() {
    let stage = stage();
    let id = refund(&stage);
    let digest = digest(&stage, &id);
    for who in ["ada", "grace"] {
        as_operator(
            &stage,
            who,
            &["approvals", "approve", &id, "--digest", &digest, "--reason", "`looks` right"],
        );
    }
    let call = show(&stage, &id)["call_id"].as_str().unwrap().to_owned();
    stage.gateway.recorded(&call, 5);
    let shown = stage.gateway.ok(&["audit", "show", &call]).stdout;
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("POST /v1/refunds on api by laptop (user, key "), "{shown}");
    assert!(lines[0].ends_with("): executed-approved, 200"), "{shown}");
    assert!(lines[2].contains("  held      gate 60, big refunds, ") && lines[2].contains(&id), "{shown}");
    assert!(
        lines[3].contains("  decision  approved by ada@example.com, 1 of 2: \"`looks` right\""),
        "{shown}"
    );
    assert!(lines[4].contains("  decision  approved by grace@example.com, 2 of 2: "), "{shown}");
    assert!(
        lines[5].contains("  intent    policy ") && lines[6].contains("  outcome   200, 11 B, "),
        "{shown}"
    );
    assert_eq!(lines[7], "args  {\"amount\":5000,\"charge\":\"ch_1042\\u{202e}\"}");
    let list = stage.gateway.ok(&["audit", "list", "--limit", "1"]).stdout;
    let row = list.lines().last().unwrap();
    assert!(row.contains("executed-approved   200  ") && row.ends_with("big refunds"), "{list}");
    let filtered = stage.gateway.ok(&["audit", "list", "--decision", "executed-approved", "--json"]).stdout;
    assert_eq!(filtered.lines().count(), 1, "{filtered}");
    let filtered = stage.gateway.ok(&["audit", "list", "--decision", "executed-approved"]).stdout;
    assert!(filtered.lines().count() == 2 && filtered.trim_end().ends_with("big refunds"), "{filtered}");
    let csv = stage.gateway.ok(&["audit", "export", "--format", "csv"]).stdout;
    assert!(csv.lines().filter(|line| line.contains(&id)).count() == 5, "{csv}");
    let newest = stage.gateway.ok(&["audit", "export", "--format", "csv", "--limit", "2"]).stdout;
    let all: Vec<&str> = csv.lines().collect();
    let expected = [&all[..1], &all[all.len() - 2..]].concat();
    assert_eq!(newest.lines().collect::<Vec<_>>(), expected, "the head and the newest two, the oldest first");
}

#[test]
fn without_a_terminal_a_decision_needs_the_digest_of_exactly_that_call() {
    let stage = stage();
    let (id, other) = (note(&stage, "one"), note(&stage, "two"));
    let denied = as_operator(&stage, "ada", &["approvals", "deny", &id, "--reason", "no"]);
    assert_eq!((denied.code, denied.stdout.as_str()), (1, ""));
    assert!(
        denied.stderr.starts_with("error: nobody can be asked here (--digest); give the digest of the call")
    );
    assert!(denied.stderr.contains(&format!("approvals show {id}")), "{}", denied.stderr);
    let wrong = digest(&stage, &other);
    for decide in [&["approve"][..], &["deny", "--reason", "no"]] {
        let decide = [&["approvals"], decide, &[&id, "--digest", &wrong]].concat();
        let ran = as_operator(&stage, "ada", &decide);
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        assert!(
            ran.stderr
                .starts_with(&format!("error: the digest is not that of {id} (--digest); look at it again"))
        );
    }
    let short = as_operator(&stage, "ada", &["approvals", "approve", &id, "--digest", &wrong[..8]]);
    assert_eq!(short.code, 2);
    assert!(
        short
            .stderr
            .starts_with("error: a digest has 64 hexadecimal digits (--digest); give all of them; see")
    );
    let digest = digest(&stage, &id);
    let nobody = stage.gateway.run(&["approvals", "approve", &id, "--digest", &digest]);
    assert_eq!(nobody.code, 1);
    assert!(nobody.stderr.starts_with(
        "error: this needs an operator, and nobody can be asked here; set TOOLGATE_OPERATOR_TOKEN"
    ));
    let mut command = stage.gateway.command(&["approvals", "approve", &id, "--digest", &digest]);
    let agent = ran(command.env("TOOLGATE_OPERATOR_TOKEN", &stage.key).output().unwrap());
    assert_eq!(agent.code, 1);
    assert!(
        agent.stderr.starts_with("error: this is an agent's key, which decides nothing"),
        "{}",
        agent.stderr
    );
    let viewer = as_operator(&stage, "vera", &["approvals", "approve", &id, "--digest", &digest]);
    assert_eq!(viewer.code, 1);
    assert_eq!(
        viewer.stderr,
        "error: `vera@example.com` is a viewer and may not decide; ask an approver or an owner\n"
    );
    for id in [&id, &other] {
        assert_eq!(show(&stage, id)["status"], "pending");
    }
    assert_eq!(stage.api.count(), 0);
    let json = as_operator(
        &stage,
        "ada",
        &["approvals", "deny", &id, "--reason", "no", "--digest", &digest, "--json"],
    );
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&json["status"], &json["decided_by"], &json["reason"]),
        (&json!("denied"), &json!("ada@example.com"), &json!("no"))
    );
}

#[test]
fn a_viewer_sees_the_arguments_as_the_trail_keeps_them() {
    let stage = stage();
    let id = held(&stage, "/v1/notes?token=t1", "{\"password\":\"hunter2\",\"text\":\"hi\"}");
    let viewer = as_operator(&stage, "vera", &["approvals", "show", &id]);
    assert!(
        viewer.stdout.contains("args        as the trail keeps them; the whole call is for approvers"),
        "{}",
        viewer.stdout
    );
    assert!(!viewer.stdout.contains("hunter2") && viewer.stdout.contains("\"hi\""), "{}", viewer.stdout);
    let json = as_operator(&stage, "vera", &["approvals", "show", &id, "--json"]).stdout;
    assert!(!json.contains("hunter2") && !json.contains("\"sends\""), "{json}");
    let approver = as_operator(&stage, "grace", &["approvals", "show", &id]).stdout;
    assert!(
        approver.contains("{ \"password\": \"hunter2\",") && approver.contains("/v1/notes?token=t1 "),
        "{approver}"
    );
    assert!(!approver.contains(SECRET), "a credential's value is nobody's to see");
}

#[test]
fn at_a_terminal_the_page_is_shown_before_anybody_is_asked() {
    let stage = stage();
    let id = note(&stage, "one");
    let digest = digest(&stage, &id);
    let mut sitting = sit_at(stage.gateway.command(&["approvals", "approve", &id]));
    sitting.answer("Operator: ", "ada@example.com");
    sitting.answer_unseen("Password (not shown): ", PASSWORD);
    let question = format!("Approve exactly this, digest {}…? [y/N]", &digest[..8]);
    sitting.answer(&question, "n");
    let done = sitting.done();
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stdout.starts_with("POST /v1/notes on api, asked by laptop (user) "), "{done:?}");
    assert!(done.stderr.contains(&format!("nothing was decided, {id} stays as it is")), "{done:?}");
    assert_eq!(show(&stage, &id)["status"], "pending");

    let mut sitting = sit_at(stage.gateway.command(&["approvals", "approve", &id]));
    sitting.answer("Operator: ", "ada@example.com");
    sitting.answer_unseen("Password (not shown): ", PASSWORD);
    sitting.answer(&question, "y");
    let done = sitting.done();
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("\n✓ approved by ada@example.com; "), "{done:?}");
    until("the execution", || show(&stage, &id)["status"] == "executed");
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn what_is_approved_without_a_gateway_is_executed_by_the_next_one() {
    let mut stage = stage();
    let id = note(&stage, "one");
    let said = || stage.gateway.said();
    until("the held call to be logged", || {
        said().lines().any(|line| line.contains(" api POST /v1/notes held 428 ") && line.ends_with(&id))
    });
    stage.gateway.signal(Signal::SIGTERM);
    until("the stop to be told", || {
        stage.gateway.said().contains("stopped: 0 finished, 0 unknown; 1 approval stays pending\n")
    });
    assert!(stage.gateway.ended().success());
    let approve = ["approvals", "approve", &id, "--digest", &digest(&stage, &id)];
    let ran = as_operator(&stage, "ada", &approve);
    let last = ran.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("✓ approved by ada@example.com; it is executed when a gateway runs, within 1"),
        "{last}"
    );
    assert_eq!((ran.code, stage.api.count()), (0, 0));
    stage.gateway.restart();
    until("the execution", || show(&stage, &id)["status"] == "executed");
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn what_is_approved_while_all_is_stopped_is_executed_once_the_switch_is_off() {
    let stage = stage();
    let id = note(&stage, "one");
    stage.gateway.ok(&["kill", "on", "--reason", "drill"]);
    until("the gateway to notice", || stage.gateway.said().contains("kill switch on, by"));
    let ran = as_operator(&stage, "ada", &["approvals", "approve", &id, "--digest", &digest(&stage, &id)]);
    let last = ran.stdout.lines().last().unwrap();
    let told = "! approved by ada@example.com; it is executed once the kill switch is off, within 1";
    assert!(last.starts_with(told), "{last}");
    assert_eq!((ran.code, stage.api.count()), (0, 0));
    stage.gateway.ok(&["kill", "off"]);
    until("the execution", || show(&stage, &id)["status"] == "executed");
    assert_eq!(stage.api.count(), 1);
}

#[test]
fn a_call_that_is_not_allowed_any_more_is_said_to_be_not_sent() {
    let stage = stage();
    let id = note(&stage, "one");
    let agent = show(&stage, &id)["agent"].as_str().unwrap().to_owned();
    stage.gateway.ok(&["agents", "update", &agent, "--role", "readonly"]);
    let question = r#"{"service":"api","method":"POST","path":"/v1/notes"}"#;
    until("the gateway to notice", || {
        stage.gateway.send(&stage.request("POST", "/v1/explain").body(question)).json()["effect"] == "deny"
    });
    let ran = as_operator(&stage, "ada", &["approvals", "approve", &id, "--digest", &digest(&stage, &id)]);
    let last = ran.stdout.lines().last().unwrap();
    let told = "not sent: key, scope, policy or credential have changed since it was held";
    assert_eq!(last, format!("✗ approved by ada@example.com; {told}"));
    assert_eq!((ran.code, stage.api.count()), (1, 0));
}

#[test]
fn a_number_that_readers_refuse_hides_no_held_call() {
    let stage = stage();
    let id = held(&stage, "/v1/refunds", "{\"amount\":1e400}");
    until("the trail to tell", || {
        let list = stage.gateway.ok(&["audit", "list", "--limit", "1"]).stdout;
        list.contains("held") && list.contains("428") && list.contains("big refunds")
    });
    assert_eq!(show(&stage, &id)["args"]["amount"], "1e400");
    let sends = show(&stage, &id)["sends"]["body"].to_string();
    assert!(sends.contains("1e400") && !sends.contains("\\\"1e400"), "{sends}");
}

#[test]
fn a_call_that_cannot_be_shown_cannot_be_decided_on() {
    let stage = stage();
    let id = note(&stage, "one");
    let digest = digest(&stage, &id);
    let zeros =
        if stage.gateway.is_on_postgres() { "decode(repeat('00', 200), 'hex')" } else { "zeroblob(200)" };
    stage.gateway.edit(&[format!("UPDATE approval_bodies SET sealed = {zeros}")]);
    let sentence = format!(
        "error: the sealed call of {id} does not open, and nobody can decide on what they cannot see"
    );
    for command in
        [&["show"][..], &["approve", "--digest", &digest], &["deny", "--reason", "no", "--digest", &digest]]
    {
        let ran = as_operator(&stage, "ada", &[&["approvals", command[0], &id], &command[1..]].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
        assert!(ran.stderr.starts_with(&sentence), "{}", ran.stderr);
    }
    assert_eq!(listed(&stage, &[]).len(), 1);
    stage.gateway.edit(&["DELETE FROM approval_bodies".to_owned()]);
    assert!(stage.gateway.run(&["approvals", "show", &id]).stderr.starts_with(&sentence));
}

#[test]
fn a_lost_answer_is_resolved_by_a_person_and_nothing_is_sent_again() {
    let stage = stage();
    let id = note(&stage, "one");
    let digest = digest(&stage, &id);
    let resolve =
        ["approvals", "resolve", &id, "--failed", "--reason", "not in the ledger", "--digest", &digest];
    let early = as_operator(&stage, "ada", &resolve);
    assert_eq!(early.code, 1);
    assert!(
        early
            .stderr
            .contains(&format!("only a call with an unknown outcome can be resolved ({id} is pending)"))
    );
    // As a crash between sending and its answer leaves it.
    let lost = "UPDATE approvals SET approved = 1, status = 'unknown', claimed_at = created_at, \
                ended_at = created_at, executed_call = call_id";
    let decided =
        "INSERT INTO approval_decisions SELECT id, 'grace@example.com', 1, NULL, created_at FROM approvals";
    stage.gateway.edit(&[lost.to_owned(), decided.to_owned()]);
    let list = stage.gateway.ok(&["approvals", "list"]);
    assert!(list.stderr.contains("! 1 call with an unknown outcome: "), "{}", list.stderr);
    let page = stage.gateway.ok(&["approvals", "show", &id]);
    assert!(page.stdout.contains("ended       it was sent and its answer was lost: it may have happened\n"));
    assert!(
        page.stderr.contains(&format!("approvals resolve {id} --executed --reason TEXT")),
        "{}",
        page.stderr
    );
    let ran = as_operator(&stage, "ada", &resolve);
    assert_eq!(
        ran.stdout.lines().last().unwrap(),
        "✓ resolved as failed by ada@example.com: \"not in the ledger\"; nothing was sent again"
    );
    assert_eq!((ran.code, stage.api.count()), (0, 0));
    let both = ["approvals", "resolve", &id, "--failed", "--executed", "--reason", "x"];
    assert_eq!(stage.gateway.run(&both).code, 2);
    assert_eq!(stage.gateway.run(&["approvals", "resolve", &id, "--reason", "x"]).code, 2);
    assert_eq!(stage.gateway.run(&["approvals", "deny", &id]).code, 2, "a denial needs a reason");
}

#[test]
fn lists_are_filtered_and_ids_may_be_cut() {
    let stage = stage();
    let (id, other) = (note(&stage, "one"), note(&stage, "two"));
    as_operator(
        &stage,
        "ada",
        &["approvals", "deny", &id, "--reason", "no", "--digest", &digest(&stage, &id)],
    );
    let ids = |filters: &[&str]| -> Vec<String> {
        listed(&stage, filters).iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&[]), [other.as_str()]);
    assert_eq!(ids(&["--status", "denied"]), [id.as_str()]);
    assert_eq!(ids(&["--status", "all"]), [id.as_str(), other.as_str()]);
    assert_eq!(ids(&["--status", "all", "--limit", "1"]), [other.as_str()]);
    assert!(ids(&["--agent", "nobody"]).is_empty());
    assert_eq!(show(&stage, &other[3..])["id"], other.as_str());
    let none = stage.gateway.run(&["approvals", "show", "ap_zzzz"]);
    assert!(none.stderr.starts_with("error: there is no approval `ap_zzzz`; all: "), "{}", none.stderr);
    let empty = stage.gateway.ok(&["approvals", "list", "--status", "expired"]);
    assert_eq!(empty.stdout, "");
    assert!(empty.stderr.starts_with("no held call fits; all: "), "{}", empty.stderr);
}

#[test]
fn an_mcp_call_is_shown_with_its_parameters_and_foreign_text_stays_in_its_place() {
    let policy = "version: 1\nroles:\n  user:\n    approve:\n      - { name: echoes, service: web, tools: [echo] }\n      \
                  - { name: children, service: child, tools: [echo] }\n";
    let stage = Stage::with(Home::new(policy).set("gateway.hold=1s"));
    let arguments = r#"{"text":"a\u001b[2J\n`x`RLO","n":1.50,"p\u0430y":"pCYRypal"}"#;
    let arguments = arguments.replace("RLO", "\u{202e}").replace("CYR", "\u{430}");
    for agent in [stage.at_web(), stage.at_child()] {
        let reply = agent.call("echo", &arguments);
        assert_eq!(reply.proxy_status(), "held", "{}", reply.text());
    }
    let list = stage.gateway.ok(&["approvals", "list", "--json"]).stdout;
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let pages: Vec<String> = list
        .iter()
        .map(|one| stage.gateway.ok(&["approvals", "show", one["id"].as_str().unwrap()]).stdout)
        .collect();
    for (page, service) in pages.iter().zip(["web", "child"]) {
        assert!(page.starts_with(&format!("echo on {service}, asked by laptop (user) ")), "{page}");
        assert!(page.contains("\nsends       tools/call "), "{page}");
        for line in [
            r#"            { "name": "echo","#,
            r#"              "arguments": {"#,
            r#"                "text": "a\u001b[2J\n`x`\u{202e}","#,
            r#"                "n": 1.50,"#,
            r#"                "p\u0430y": "p\u{430}ypal" } }"#,
            "            ! 2 invisible characters, written out above",
            "            ! 2 characters that look like other letters, written out above",
            "adds        –",
        ] {
            assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
        }
        assert!(!page.contains(['\u{1b}', '\u{202e}', '\u{430}']), "{page}");
    }
    assert!(pages[0].contains("tools/call http://127.0.0.1:"), "{}", pages[0]);
    assert_eq!(stage.web.count(), 0);
}
