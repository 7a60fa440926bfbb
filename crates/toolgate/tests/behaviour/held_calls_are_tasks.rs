//! A client of the newest version that takes tasks gets one for a held call: the approval's row, told in the extension's
//! words. Nobody else's, and an upstream's own tasks are its own.

use serde_json::{Value, json};

use crate::harness::*;

const DONE: &str = r#"{"content":[{"type":"text","text":"done"}]}"#;

/// `laptop` at `web`, as a client that takes tasks.
fn at_web(stage: &HeldStage) -> Modern {
    stage.gateway.modern(&stage.key, "web").with_tasks()
}

/// The task that a call became.
fn task_of(reply: &Reply) -> String {
    let json = reply.json();
    assert_eq!((reply.status, &json["result"]["resultType"]), (200, &json!("task")), "{json}");
    json["result"]["taskId"].as_str().unwrap().to_owned()
}

/// A task as soon as it has this status.
fn reached(agent: &Modern, id: &str, status: &str) -> Reply {
    eventually(&format!("{id} to be {status}"), || {
        let reply = agent.task("tasks/get", id);
        assert_eq!(reply.status, 200, "{}", reply.text());
        (reply.json()["result"]["status"] == status).then_some(reply)
    })
}

/// The approval of a call to the HTTP service.
fn held_refund(stage: &HeldStage) -> String {
    let before = stage.pending();
    // Its client stays until then.
    let _client = stage.gateway.begin(&stage.refund(5000));
    eventually("the refund to be held", || stage.pending().into_iter().find(|id| !before.contains(id)))
}

fn hits(web: &Upstream, method: &str) -> usize {
    web.hits().iter().filter(|hit| hit.rpc_method() == method).count()
}

/// A stage whose `web` answers calls with these bytes.
fn answering(policy: &str, steps: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static) -> HeldStage {
    let web = Upstream::start(move |hit| steps(&hit.id().unwrap_or_default()));
    HeldStage::with(Home::new(policy).set(LONG), web, Upstream::mcp())
}

#[test]
fn a_held_call_is_a_task_for_a_client_that_takes_one() {
    // It waits for nobody: the connection would be held for longer than this test takes.
    let stage = HeldStage::new(LONG);
    let web = at_web(&stage);
    let reply = web.call("write_note", r#"{"text":"a"}"#);
    let id = task_of(&reply);
    assert_eq!(reply.proxy_status(), "held");
    assert_eq!(stage.waiting(), id, "the task is the approval");
    let task = reply.json()["result"].clone();
    let due = stage.state(&id)["expires_at"].as_str().unwrap().to_owned();
    assert_eq!(
        task["statusMessage"],
        format!(
            "Rule `writes` wants a person's approval for `write_note` on `web`. Nothing was sent yet. Decision due by {due}."
        )
    );
    assert_eq!((&task["status"], &task["pollIntervalMs"]), (&json!("working"), &json!(5000)));
    assert_eq!(task["createdAt"], task["lastUpdatedAt"]);
    // A day to decide, 15 minutes to execute, a day to fetch.
    assert_eq!(task["ttlMs"], (24 * 60 + 15 + 24 * 60) * 60 * 1000);

    let pending = web.task("tasks/get", &id).json()["result"].clone();
    assert_eq!((&pending["resultType"], &pending["status"]), (&json!("complete"), &json!("working")));
    assert_eq!(pending["statusMessage"], task["statusMessage"]);
    assert_eq!(task_of(&web.call("write_note", r#"{"text":"a"}"#)), id, "the same call is the same task");
    assert_eq!(stage.web.count(), 0);

    stage.desk.approve(&id);
    let done = reached(&web, &id, "completed");
    assert!(done.text().ends_with(&format!(",\"result\":{DONE}}}}}")), "{}", done.text());
    assert_eq!(done.json()["result"]["resultType"], "complete");
    assert_eq!(web.task("tasks/get", &id).json()["result"], done.json()["result"], "it can be had again");
    assert_eq!(hits(&stage.web, "tools/call"), 1);
    assert_eq!(hits(&stage.web, "tasks/get"), 0, "nothing of ours travels on");
    // That delivered it, so an identical call is a new one.
    assert_ne!(task_of(&web.call("write_note", r#"{"text":"a"}"#)), id);
}

#[test]
fn a_client_that_declares_no_tasks_is_held_as_before() {
    let stage = HeldStage::new(SHORT);
    let plain = stage.gateway.modern(&stage.key, "web");
    for capabilities in
        ["{}", r#"{"extensions":{}}"#, r#"{"extensions":{"io.modelcontextprotocol/tasks":true}}"#]
    {
        let reply = plain.clone().declaring(capabilities).call("write_note", r#"{"n":1}"#);
        assert_eq!(reply.code(), 428, "{}", reply.text());
    }
    // In the older versions the extension does not exist, whatever is declared.
    let older = stage.at_web().send(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write_note","arguments":{},"_meta":{"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}"#,
    );
    assert_eq!(older.code(), 428, "{}", older.text());
    let id = task_of(&at_web(&stage).call("write_note", r#"{"n":2}"#));
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let reply = plain.task(method, &id);
        assert_eq!((reply.status, reply.code()), (400, -32021), "{method}: {}", reply.text());
        let wants = &reply.json()["error"]["data"]["requiredCapabilities"]["extensions"];
        assert_eq!(wants, &json!({"io.modelcontextprotocol/tasks": {}}));
    }
    assert_eq!(stage.state(&id)["status"], "pending");
    assert_eq!(stage.web.count(), 0);
}

#[test]
fn a_task_ends_as_the_call_would_have() {
    let stage = HeldStage::new(LONG);
    let web = at_web(&stage);
    let denied = task_of(&web.call("write_note", r#"{"n":1}"#));
    stage.desk.deny(&denied, "wrong folder");
    let task = reached(&web, &denied, "failed").json()["result"].clone();
    assert_eq!(task["error"]["code"], 403, "{task}");
    let said = task["error"]["message"].as_str().unwrap();
    assert!(
        said.starts_with(&format!("Denied (403): an operator denied {denied}: \"wrong folder\".")),
        "{said}"
    );
    assert_eq!(task["statusMessage"], said);

    let cancelled = task_of(&web.call("write_note", r#"{"n":2}"#));
    let reply = web.task("tasks/cancel", &cancelled);
    assert_eq!(reply.text(), rpc("1", r#"{"resultType":"complete"}"#));
    let task = reached(&web, &cancelled, "cancelled").json()["result"].clone();
    assert_eq!((task.get("result"), task.get("error")), (None, None), "{task}");
    assert_eq!(stage.state(&cancelled)["status"], "cancelled");

    // Too late is acknowledged all the same, and what is no answer to anything too.
    let sent = task_of(&web.call("write_note", r#"{"n":3}"#));
    let answers = format!(r#""taskId":"{sent}","inputResponses":{{"x":{{"action":"accept"}}}}"#);
    assert_eq!(web.request("tasks/update", &answers).text(), rpc("1", r#"{"resultType":"complete"}"#));
    assert_eq!(stage.state(&sent)["status"], "pending");
    stage.desk.approve(&sent);
    reached(&web, &sent, "completed");
    assert_eq!(web.task("tasks/cancel", &sent).text(), rpc("1", r#"{"resultType":"complete"}"#));
    reached(&web, &sent, "completed");
    assert_eq!(hits(&stage.web, "tools/call"), 1);
}

#[test]
fn nobody_decides_and_the_task_fails() {
    let policy = HELD_POLICY.replace("tools: [write_note] }", "tools: [write_note], decide_within: 2s }");
    let stage = HeldStage::with(Home::new(&policy).set(LONG), Upstream::mcp(), Upstream::mcp());
    let web = at_web(&stage);
    let id = task_of(&web.call("write_note", "{}"));
    let task = reached(&web, &id, "failed").json()["result"].clone();
    assert_eq!(task["error"]["code"], 410, "{task}");
    assert_eq!(stage.web.count(), 0);
}

#[test]
fn what_the_upstream_said_is_told_byte_for_byte() {
    type Case = (&'static str, fn(&str) -> Vec<Step>, &'static str, &'static str);
    let cases: [Case; 3] = [
        (
            "an error",
            |id| {
                json(format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32001.0,"message":"no","data":1E5}}}}"#
                ))
            },
            "failed",
            r#","error":{"code":-32001.0,"message":"no","data":1E5}}}"#,
        ),
        (
            "a tool's error",
            |id| json(rpc(id, r#"{"isError":true, "n":12345678901234567890123,"content":[]}"#)),
            "completed",
            r#","result":{"isError":true, "n":12345678901234567890123,"content":[]}}}"#,
        ),
        (
            "a stream",
            |id| events(&format!("data: {}\n\n", rpc(id, r#"{"content":[],"z":1.0}"#))),
            "completed",
            r#","result":{"content":[],"z":1.0}}}"#,
        ),
    ];
    for (what, steps, status, ending) in cases {
        let stage = answering(HELD_POLICY, steps);
        let web = at_web(&stage);
        let id = task_of(&web.call("write_note", "{}"));
        stage.desk.approve(&id);
        let text = reached(&web, &id, status).text();
        assert!(text.ends_with(ending), "{what}: {text}");
    }
    let stage = answering(HELD_POLICY, |_| answer("200 OK", "Content-Type: text/html\r\n", "<h1>no</h1>"));
    let web = at_web(&stage);
    let id = task_of(&web.call("write_note", "{}"));
    stage.desk.approve(&id);
    let task = reached(&web, &id, "failed").json()["result"].clone();
    assert_eq!(task["error"]["code"], 502, "{task}");
}

#[test]
fn a_task_of_others_is_not_ours_to_tell() {
    let stage = HeldStage::new(LONG);
    let web = at_web(&stage);
    let id = task_of(&web.call("write_note", "{}"));
    let stranger = stage.other_key("desktop", "user", "web");
    let stranger = stage.gateway.modern(&stranger, "web").with_tasks();
    let elsewhere = held_refund(&stage);
    // Another agent's, an HTTP call's, nobody's: whatever the upstream says of ids that are its own, and nothing of ours.
    for (agent, task) in
        [(&stranger, id.as_str()), (&web, &elsewhere), (&web, "ap_0000000000"), (&web, "their-7")]
    {
        for method in ["tasks/get", "tasks/cancel"] {
            let before = stage.web.count();
            let reply = agent.task(method, task);
            assert_eq!(reply.text(), rpc("1", DONE), "{method} {task}");
            let hit = stage.web.last();
            assert_eq!(stage.web.count(), before + 1);
            assert_eq!((hit.rpc_method(), hit.header("mcp-name")), (method.to_owned(), Some(task)));
        }
    }
    assert_eq!(stage.state(&id)["status"], "pending");
    // Who has lost the service, or has no key, is told so.
    let outside = stage.other_key("outsider", "user", "api");
    assert_eq!(stage.gateway.modern(&outside, "web").with_tasks().task("tasks/get", &id).code(), 403);
    assert_eq!(stage.gateway.modern("agt_nobody", "web").with_tasks().task("tasks/get", &id).status, 401);
}

#[test]
fn a_task_outlives_the_gateway() {
    let mut stage = HeldStage::new(LONG);
    let id = task_of(&at_web(&stage).call("write_note", "{}"));
    stage.gateway.crash_and_restart();
    assert_eq!(at_web(&stage).task("tasks/get", &id).json()["result"]["status"], "working");
    stage.desk.approve(&id);
    let web = at_web(&stage);
    reached(&web, &id, "completed");
    assert_eq!(hits(&stage.web, "tools/call"), 1);
}

#[test]
fn tasks_are_offered_only_where_calls_can_be_held() {
    const SAID: &str = r#"{"supportedVersions":["2026-07-28"] ,"capabilities":{"tools":{ }},"ttlMs":1.0,"cacheScope":"public"}"#;
    let stage = answering(HELD_POLICY, |id| json(rpc(id, SAID)));
    let offered = stage.gateway.modern(&stage.key, "web").request("server/discover", "");
    assert_eq!(
        offered.text(),
        rpc(
            "1",
            r#"{"supportedVersions":["2026-07-28"] ,"capabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}},"tools":{ }},"ttlMs":1.0,"cacheScope":"private"}"#
        )
    );
    let reader = stage.other_key("reader", "reader", "web");
    assert_eq!(stage.gateway.modern(&reader, "web").request("server/discover", "").text(), rpc("1", SAID));
    // What an upstream says of its own tasks stays.
    let own = r#"{"capabilities":{"extensions":{"io.modelcontextprotocol/tasks":{"x":1.0}}}}"#;
    let stage = answering(HELD_POLICY, move |id| events(&format!("data: {}\n\n", rpc(id, own))));
    let kept = stage.gateway.modern(&stage.key, "web").request("server/discover", "");
    assert_eq!(kept.text(), format!("data: {}\n\n", rpc("1", own)));
}

#[test]
fn a_service_that_wants_refusals_as_results_gets_them_in_tasks_too() {
    let web = Upstream::mcp();
    let api = Upstream::mcp();
    let home = Home::new(HELD_POLICY).set(LONG);
    let home = home
        .services(&[web.declare("web").replace(" }", ", refusals: result }"), api.declare_api("api", "")]);
    let key = home.key("laptop", "user", "web,api");
    let desk = Desk::of(&home);
    let stage = HeldStage { gateway: home.serve(), web, api, key, desk };
    let agent = at_web(&stage);
    let id = task_of(&agent.call("write_note", "{}"));
    stage.desk.deny(&id, "no");
    let task: Value = reached(&agent, &id, "completed").json()["result"].clone();
    assert_eq!(task["result"]["isError"], true, "{task}");
    assert!(task["result"]["content"][0]["text"].as_str().unwrap().starts_with("Denied (403): "), "{task}");
}
