//! Who asks too often is told how long to wait, and the upstream hears nothing of it. The limits here are so slow
//! that no time which a test takes can refill them.

use crate::harness::*;

/// The policy with other limits.
fn limited(limits: &str) -> Home {
    let (rules, _) = POLICY.split_once("limits:").unwrap();
    Home::new(&format!("{rules}limits:\n{limits}"))
}

/// Calls until the limit is reached, which must be after `count` calls.
fn spend(stage: &Stage, agent: &Agent, tool: &str, count: usize) -> Reply {
    for nth in 0..count {
        let reply = agent.call(tool, "{}");
        assert_eq!(reply.verdict(), 200, "call {nth}: {}", reply.text());
    }
    let (hits, lines) = (stage.web.count(), stage.child.count());
    let reply = agent.call(tool, "{}");
    assert_eq!(reply.verdict(), 429, "{}", reply.text());
    assert_eq!((stage.web.count(), stage.child.count()), (hits, lines), "an upstream was reached");
    assert_eq!(reply.proxy_status(), "refused");
    let event = &stage.gateway.recorded(reply.call_id(), 1)[0];
    assert_eq!((&event["kind"], &event["status"]), (&"refusal".into(), &429.into()));
    assert_eq!(event["decision"]["gate"], 30);
    reply
}

fn wait_of(reply: &Reply) -> u64 {
    reply.header("retry-after").unwrap().parse().unwrap()
}

#[test]
fn a_key_has_its_limit_over_all_services() {
    let stage = Stage::with(limited("  per_key: 4/4h\n  per_tool: 1000/1h\n"));
    let (web, child) = (stage.at_web(), stage.at_child());
    for agent in [&web, &child] {
        assert_eq!(agent.call("read_note", "{}").verdict(), 200);
    }
    let reply = spend(&stage, &web, "echo", 2);
    assert!((3_000..=3_600).contains(&wait_of(&reply)), "{}", wait_of(&reply));
    assert_eq!(reply.header("ratelimit-policy"), Some("\"per_key\";q=4;w=14400"));
    let limit = reply.header("ratelimit").unwrap();
    assert!(limit.starts_with("\"per_key\";r=0;t="), "{limit}");
    let message = reply.message();
    assert!(
        message.starts_with("Too many calls (429): everything is limited to 4/4h for this key."),
        "{message}"
    );
    assert!(message.contains(&format!("Wait {} s, then repeat", wait_of(&reply))), "{message}");
    assert_eq!(child.call("echo", "{}").verdict(), 429, "it is one limit for all services");
    assert_eq!(reply.json()["error"]["data"]["retry_after"], wait_of(&reply));
}

#[test]
fn each_tool_has_a_limit_of_its_own() {
    let stage = Stage::with(limited("  per_key: 1000/1h\n  per_tool: 2/1h\n"));
    for agent in [stage.at_web(), stage.at_child()] {
        let reply = spend(&stage, &agent, "read_note", 2);
        assert_eq!(reply.header("ratelimit-policy"), Some("\"per_tool\";q=2;w=3600"));
        assert!(reply.message().contains("`read_note` on `"), "{}", reply.message());
        assert_eq!(agent.call("echo", "{}").verdict(), 200, "another tool has its own");
    }
    let second = stage.gateway.key("laptop", "user", "web,child");
    let agent = stage.gateway.agent(&second, "web");
    until("the new key to be noticed", || agent.call("read_note", "{}").verdict() == 200);
}

#[test]
fn an_override_stands_in_place_of_the_tools_limit() {
    let overrides = "  per_key: 1000/1h\n  per_tool: 1000/1h\n  overrides:\n    - { service: web, tools: [\"read_*\"], limit: 2/1h }\n    - { service: child, tools: [\"read_*\"], limit: 3/1h }\n";
    let stage = Stage::with(limited(overrides));
    let web = stage.at_web();
    assert_eq!(web.call("read_all", "{}").verdict(), 200);
    let reply = spend(&stage, &web, "read_note", 1);
    assert_eq!(reply.header("ratelimit-policy"), Some("\"override\";q=2;w=3600"));
    assert_eq!(web.call("echo", "{}").verdict(), 200);
    spend(&stage, &stage.at_child(), "read_note", 3);
}

#[test]
fn housekeeping_has_a_limit_of_its_own() {
    let stage = Stage::with(limited("  per_key: 1/1h\n  per_tool: 1/1h\n  housekeeping: 5/1h\n"));
    let agent = stage.at_web();
    for _ in 0..5 {
        assert_eq!(agent.request("tools/list", "{}").verdict(), 200);
    }
    let hits = stage.web.count();
    let reply = agent.request("tools/list", "{}");
    assert_eq!(reply.verdict(), 429, "{}", reply.text());
    assert_eq!(reply.header("ratelimit-policy"), Some("\"housekeeping\";q=5;w=3600"));
    for request in
        [agent.listen(), agent.end(), agent.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)]
    {
        let reply = stage.gateway.send(&request);
        assert_eq!(reply.verdict(), 429, "{}", reply.text());
        assert!(reply.header("retry-after").is_some());
    }
    assert_eq!(stage.web.count(), hits, "the upstream was reached");
    assert_eq!(agent.call("read_note", "{}").verdict(), 200, "calls are counted elsewhere");
}

#[test]
fn who_keeps_asking_for_what_is_refused_is_slowed_down() {
    let stage = Stage::with(limited("  refusals: 3/1h\n"));
    let agent = stage.at_web();
    for _ in 0..3 {
        assert_eq!(agent.call("write_note", "{}").verdict(), 403);
    }
    let reply = agent.call("write_note", "{}");
    assert_eq!(reply.verdict(), 429, "{}", reply.text());
    assert_eq!(reply.header("ratelimit-policy"), Some("\"refusals\";q=3;w=3600"));
    assert_eq!(agent.call("read_note", "{}").verdict(), 200, "what is allowed stays allowed");
    assert_eq!(stage.web.count(), 1);
}

#[test]
fn guessing_keys_is_limited_and_good_keys_are_not() {
    let stage = Stage::new();
    let guess = || stage.gateway.send(&Request::post("/mcp/web", call(1, "echo", "{}")).key("guess"));
    let refused = eventually("guessing to be limited", || {
        let reply = guess();
        assert!(matches!(reply.verdict(), 401 | 429), "{}", reply.text());
        (reply.verdict() == 429).then_some(reply)
    });
    assert!(wait_of(&refused) >= 1);
    assert_eq!(refused.header("ratelimit-policy"), Some("\"failed_authentication\";q=20;w=60"));
    assert_eq!(stage.web.connections(), 0);
    assert_eq!(stage.at_web().call("read_note", "{}").verdict(), 200, "a good key is not locked out");
}

#[test]
fn a_burst_from_many_connections_admits_exactly_the_limit() {
    let stage = Stage::with(limited("  per_key: 25/10h\n  per_tool: 1000/1h\n"));
    let agent = stage.at_web();
    let verdicts: Vec<i64> = std::thread::scope(|scope| {
        let calling: Vec<_> = (0..8)
            .map(|_| {
                let agent = agent.clone();
                scope.spawn(move || (0..10).map(|_| agent.call("echo", "{}").verdict()).collect::<Vec<_>>())
            })
            .collect();
        calling.into_iter().flat_map(|calling| calling.join().unwrap()).collect()
    });
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == 200).count(), 25);
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == 429).count(), 55);
    assert_eq!(stage.web.count(), 25);
}

#[test]
fn a_service_may_want_refusals_as_results() {
    let web = Upstream::mcp();
    let child = ChildServer::new();
    let declaration = web.declare("web").replace(" }", ", refusals: result }");
    let home = limited("  per_tool: 1/1h\n").services(&[declaration, child.declare("child")]);
    let key = home.key("laptop", "user", "web,child");
    let gateway = home.serve();
    let agent = gateway.agent(&key, "web");
    assert_eq!(agent.call("echo", "{}").verdict(), 200);
    for (tool, code) in [("write_note", "Refused (403)"), ("echo", "Too many calls (429)")] {
        let reply = agent.call(tool, "{}");
        let json = reply.json();
        assert_eq!(json["result"]["isError"], true, "{json}");
        let text = json["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text.starts_with(code) && text.contains("Nothing was sent."), "{text}");
    }
    assert_eq!(agent.request("resources/read", r#"{"uri":"file:///secret/b"}"#).verdict(), 403);
    assert_eq!(web.count(), 1);
}
