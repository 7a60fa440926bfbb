//! A rule with a condition matches only where it is true. What cannot be answered counts against the caller: MCP
//! arguments, HTTP bodies and queries alike.

use crate::harness::*;

const LIMITS: &str = "limits: { per_key: 100000/1s, per_tool: 100000/1s, refusals: 100000/1s }\n";

fn mcp_policy() -> String {
    format!(
        r#"version: 1
roles:
  user:
    allow:
      - {{ service: web, tools: [read_note, read_all, echo] }}
      - {{ name: own notes, service: web, tools: [write_note], when: args.path.startsWith("/home/laptop/") }}
      - {{ service: child, tools: [echo], when: args.n <= 9007199254740993 }}
deny:
  - {{ name: no secrets, service: web, tools: ["read_*"], when: args.id == "secret" }}
  - {{ name: strangers, service: web, tools: [delete_note], when: agent.name != "chief" }}
{LIMITS}"#
    )
}

fn api_policy() -> String {
    format!(
        r#"version: 1
roles:
  user:
    allow:
      - {{ name: small, service: api, requests: ["POST /v1/refunds"], when: args.amount <= 1000 }}
      - {{ name: pages, service: api, requests: ["GET /v1/list"], when: 'query.page != "0"' }}
      - {{ service: api, requests: ["POST /v1/open", "POST /v1/upload", "PUT /v1/upload"], risk: ignore }}
      - {{ service: api, requests: ["POST /v1/slow"], when: call.path == "/v1/slow" && query.a == "1" }}
deny:
  - {{ name: no moves, service: api, requests: ["* /v1/open"], when: args.to == "mallory" }}
  - {{ name: no marks, service: api, requests: ["POST /v1/upload"], when: args.mark != "ok" }}
{LIMITS}"#
    )
}

#[test]
fn tools_are_judged_by_their_arguments() {
    let stage = Stage::with(Home::new(&mcp_policy()));
    let web = stage.at_web();
    for (tool, arguments, verdict) in [
        ("read_note", r#"{"id":"q3"}"#, 200),
        ("read_note", r#"{"id":"secret"}"#, 403),
        ("read_note", r#"{"id":"s\u0065cret"}"#, 403),
        ("read_note", r#"{"id":7}"#, 200),
        // No such argument is no answer, and the deny counts.
        ("read_note", "{}", 403),
        ("read_note", r#"["secret"]"#, 403),
        ("echo", "{}", 200),
        ("write_note", r#"{"path":"/home/laptop/a"}"#, 200),
        ("write_note", r#"{"path":"/home/ada/a"}"#, 403),
        ("write_note", r#"{"path":["/home/laptop/a"]}"#, 403),
        ("write_note", "{}", 403),
    ] {
        let before = stage.web.count();
        let reply = web.call(tool, arguments);
        assert_eq!(reply.verdict(), verdict, "{tool} {arguments}: {}", reply.text());
        assert_eq!(stage.web.count() - before, usize::from(verdict == 200), "{tool} {arguments}");
    }
    let child = stage.at_child();
    for (arguments, verdict) in [
        (r#"{"n":9007199254740993}"#, 200),
        (r#"{"n":9007199254740994}"#, 403),
        (r#"{"n":1e3}"#, 200),
        (r#"{"n":1000.0000000000000001}"#, 403),
        (r#"{"n":"1"}"#, 403),
    ] {
        assert_eq!(child.call("echo", arguments).verdict(), verdict, "{arguments}");
    }
}

#[test]
fn refusals_name_the_rule_and_tell_no_argument() {
    let stage = Stage::with(Home::new(&mcp_policy()));
    let denied = stage.at_web().call("read_note", r#"{"id":"secret","x":"canary"}"#);
    assert_eq!(denied.json()["error"]["data"]["rule"], "no secrets");
    let unmet = stage.at_web().call("write_note", r#"{"path":"/canary"}"#);
    let data = unmet.json()["error"]["data"].clone();
    assert_eq!(data["reason"], "the condition of rule `own notes` is false");
    let failed = stage.at_web().call("write_note", r#"{"file":"/canary"}"#);
    let reason = "the condition of rule `own notes` has no answer for this call";
    assert_eq!(failed.json()["error"]["data"]["reason"], reason);
    for reply in [denied, unmet, failed] {
        assert!(!reply.text().contains("canary"), "{}", reply.text());
        let refusal = stage.gateway.recorded(reply.call_id(), 1).remove(0);
        assert_eq!(
            (&refusal["kind"], &refusal["decision"]["gate"]),
            (&"refusal".into(), &20.into()),
            "{refusal}"
        );
        assert!(!refusal["decision"].to_string().contains("canary"), "{refusal}");
    }
}

#[test]
fn lists_show_what_may_be_allowed() {
    let stage = Stage::with(Home::new(&mcp_policy()));
    let text = stage.at_web().request("tools/list", "{}").text();
    for shown in ["read_note", "write_note", "read_all", "echo"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(!text.contains("delete_note"), "nothing allows it: {text}");
}

#[test]
fn requests_are_judged_by_their_bodies() {
    let stage = ApiStage::with(Home::new(&api_policy()), "", |_| json("{}"));
    let form = "application/x-www-form-urlencoded";
    for (content_type, body, status) in [
        ("application/json", r#"{"amount":500}"#, 200),
        ("application/json; charset=utf-8", r#"{"amount":1000.0}"#, 200),
        ("application/vnd.api+json", r#"{"amount":1}"#, 200),
        ("application/json", r#"{"amount":1001}"#, 403),
        ("application/json", r#"{"amount":1000.0000000000000000001}"#, 403),
        ("application/json", r#"{"amount":"5"}"#, 403),
        ("application/json", r#"{"amount":5,"amount":5000}"#, 403),
        ("application/json", r#"{"amount":5"#, 403),
        ("application/json", "", 403),
        ("application/json; charset=utf-16", r#"{"amount":5}"#, 403),
        ("text/plain", r#"{"amount":5}"#, 403),
        // The fields of a form are texts: to compare this one as a number, the policy has to say so.
        (form, "amount=5", 403),
    ] {
        let before = stage.api.count();
        let request = stage.request("POST", "/http/api/v1/refunds").header("Content-Type", content_type);
        let reply = stage.gateway.send(&request.body(body));
        assert_eq!(reply.status, status, "{content_type} {body}: {}", reply.text());
        assert_eq!(stage.api.count() - before, usize::from(status == 200), "{content_type} {body}");
    }
    // A deny applies where nobody can tell.
    for (content_type, body, status) in [
        (form, "to=ada&x=1", 200),
        (form, "to=mallory", 403),
        (form, "%74o=mall%6fry", 403),
        (form, "to=ada&to=mallory", 403),
        (form, "x=1", 403),
        ("text/plain", "to=ada", 403),
        ("application/json", r#"{"to":"ada"}"#, 200),
        ("application/json", "null", 403),
    ] {
        let request = stage.request("POST", "/http/api/v1/open").header("Content-Type", content_type);
        let reply = stage.gateway.send(&request.body(body));
        assert_eq!(reply.status, status, "{content_type} {body}: {}", reply.text());
    }
    let compressed = stage
        .request("POST", "/http/api/v1/open")
        .header("Content-Type", "application/json")
        .header("Content-Encoding", "gzip");
    assert_eq!(stage.gateway.send(&compressed.body(r#"{"to":"ada"}"#)).status, 403);
}

#[test]
fn requests_are_judged_by_their_queries() {
    let stage = ApiStage::with(Home::new(&api_policy()), "", |_| json("[]"));
    for (query, status) in [
        ("?page=2", 200),
        ("?page=2&x=1", 200),
        ("?page=0", 403),
        ("?p%61ge=0", 403),
        ("?page=2&page=0", 403),
        ("?page=2&%70age=3", 403),
        ("?x=1", 403),
        ("", 403),
    ] {
        let reply = stage.send("GET", &format!("/http/api/v1/list{query}"));
        assert_eq!(reply.status, status, "{query}: {}", reply.text());
    }
}

#[test]
fn a_large_body_is_read_whole_where_a_condition_reads_it() {
    let stage = ApiStage::with(Home::new(&api_policy()), "", |_| json("{}"));
    let body = |mark: &str| format!(r#"{{"filler":"{}","mark":"{mark}"}}"#, "x".repeat(300_000));
    let upload = |method: &str, mark: &str| {
        let request = stage.request(method, "/http/api/v1/upload").header("Content-Type", "application/json");
        stage.gateway.send(&request.body(body(mark))).status
    };
    assert_eq!(upload("POST", "bad"), 403);
    assert_eq!(stage.api.count(), 0);
    assert_eq!(upload("POST", "ok"), 200);
    assert_eq!(stage.api.last().body, body("ok").as_bytes());
    // Nobody reads this one.
    assert_eq!(upload("PUT", "bad"), 200);
    assert_eq!(stage.api.last().body, body("bad").as_bytes());
}

#[test]
fn a_condition_that_reads_no_body_does_not_wait_for_one() {
    let stage = ApiStage::with(Home::new(&api_policy()), "", |_| json("{}"));
    // Announced as large, and never sent: the refusal must come all the same.
    let request = stage
        .request("POST", "/http/api/v1/slow?a=2")
        .header("Content-Type", "application/json")
        .header("Content-Length", "900000");
    assert_eq!(stage.gateway.open(&request).whole().status, 403);
    assert_eq!(stage.api.connections(), 0);
}

#[test]
fn a_body_over_the_limit_is_too_large_not_unanswered() {
    let home = Home::new(&api_policy()).set("gateway.body_limit=200KB");
    let stage = ApiStage::with(home, "", |_| json("{}"));
    let request = stage.request("POST", "/http/api/v1/upload").header("Content-Type", "application/json");
    let reply = stage.gateway.send(&request.body("x".repeat(300_000)));
    assert_eq!(reply.status, 413, "{}", reply.text());
}
