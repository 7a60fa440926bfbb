//! Deciding in a terminal: the whole call is shown, a person who proved who they are decides, and their word is about
//! exactly what was shown.

use serde_json::{Value, json};

use crate::{
    harness::{ApiStage, Home, Ran, SECRET, answer, eventually, until},
    screen::Screen,
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

#[test]
fn dump() {
    let stage = stage();
    let id = held(&stage, "/v1/refunds", "{\"amount\":5000,\"charge\":\"ch_1042\u{202e}\"}");
    let note = held(&stage, "/v1/notes", "{\"text\":\"hi\"}");
    eprintln!("{}", stage.gateway.ok(&["approvals", "list"]).stdout);
    eprintln!("{}", stage.gateway.ok(&["approvals", "show", &id]).stdout);
    let page: Value =
        serde_json::from_str(&stage.gateway.ok(&["approvals", "show", &id, "--json"]).stdout).unwrap();
    eprintln!("{page}");
    for who in ["ada", "grace"] {
        let ran = as_operator(
            &stage,
            who,
            &["approvals", "approve", &id, "--digest", page["digest"].as_str().unwrap()],
        );
        eprintln!("{}{}", ran.stdout, ran.stderr);
    }
    let ran = as_operator(
        &stage,
        "ada",
        &["approvals", "deny", &note, "--reason", "no", "--digest", &digest(&stage, &note)],
    );
    eprintln!("{}{}", ran.stdout, ran.stderr);
    eprintln!("{}", stage.gateway.ok(&["approvals", "list", "--status", "all"]).stdout);
    eprintln!("{}", stage.gateway.ok(&["approvals", "show", &id]).stdout);
    eprintln!("{}", stage.gateway.ok(&["audit", "list"]).stdout);
    eprintln!("{}", stage.gateway.ok(&["audit", "list", "--json"]).stdout);
    eprintln!("{}", stage.gateway.ok(&["audit", "show", page["call_id"].as_str().unwrap()]).stdout);
    panic!();
}
const PASSWORD: &str = "correct horse battery";

/// `api` behind the policy, with three operators: ada (owner), grace (approver), vera (viewer).
fn stage() -> ApiStage {
    let home = Home::new(POLICY).set("gateway.hold=1s");
    for (name, role) in [("ada", "owner"), ("grace", "approver"), ("vera", "viewer")] {
        let email = format!("{name}@example.com");
        let create = ["operators", "create", &email, "--role", role, "--password-stdin"];
        assert_eq!(home.run_with(&create, PASSWORD.as_bytes()).code, 0);
    }
    ApiStage::with(home, "", |_| answer("200 OK", "Content-Type: application/json\r\n", "{\"ok\":true}"))
}

/// A call that is held: its approval's id.
fn held(stage: &ApiStage, target: &str, body: &str) -> String {
    let request = stage.request("POST", target).header("Content-Type", "application/json");
    let reply = stage.gateway.send(&request.header("X-Toolgate-Intent", "charged\u{202e} twice").body(body));
    assert_eq!(reply.proxy_status(), "held", "{}", reply.text());
    reply.json()["approval"]["id"].as_str().unwrap().to_owned()
}

fn token(home: &Home, name: &str) -> String {
    let email = format!("{name}@example.com");
    let ran = home.run_with(&["operators", "token", &email, "--password-stdin"], PASSWORD.as_bytes());
    ran.stdout.trim_end().to_owned()
}

fn as_operator(stage: &ApiStage, name: &str, arguments: &[&str]) -> Ran {
    let token = token(&stage.gateway, name);
    let mut command = stage.gateway.command(arguments);
    ran(command.env("TOOLGATE_OPERATOR_TOKEN", token).stdin(std::process::Stdio::null()).output().unwrap())
}

fn ran(output: std::process::Output) -> Ran {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn show(stage: &ApiStage, id: &str) -> Value {
    serde_json::from_str(&stage.gateway.ok(&["approvals", "show", id, "--json"]).stdout).unwrap()
}

fn digest(stage: &ApiStage, id: &str) -> String {
    show(stage, id)["digest"].as_str().unwrap().to_owned()
}
