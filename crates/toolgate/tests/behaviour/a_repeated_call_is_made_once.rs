//! A call under an idempotency key is made at most once: repeated, it is answered as the first one was, after a restart
//! too. On HTTP: `a_repeated_request_is_made_once`. What was cut in the middle is unknown and never made again.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::harness::{keyed::*, *};

/// Calls `echo` at `web` under a key, as the request with this JSON-RPC id.
fn keyed(agent: &Agent, key: &str, id: u32, arguments: &str) -> Reply {
    send(agent.address(), &agent.post(call(id, "echo", arguments)).header(KEY, key))
}

/// A server whose answers tell how many calls it has had.
fn counting() -> Upstream {
    let calls = AtomicU64::new(0);
    Upstream::start(move |hit| {
        if hit.rpc_method() != "tools/call" {
            return mcp(hit);
        }
        let number = calls.fetch_add(1, Ordering::SeqCst) + 1;
        json(rpc(&hit.id().unwrap(), &format!(r#"{{"content":[{{"type":"text","text":"call {number}"}}]}}"#)))
    })
}

fn stage() -> Stage {
    Stage::behind(Home::new(POLICY), counting())
}

#[test]
fn a_repeated_call_gets_the_first_answer_under_its_own_id() {
    let stage = stage();
    let agent = stage.at_web();
    let first = keyed(&agent, "k", 1, r#"{"a":1}"#);
    assert_eq!((first.status, status(&first), first.proxy_status()), (200, "stored", "forwarded"));
    // The outcome is on the disk before the answer is handed out: nobody has to wait for it.
    let kinds: Vec<_> =
        stage.gateway.events_of(first.call_id()).iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["intent", "outcome"]);

    let again = keyed(&agent, "k", 77, r#"{"a":1}"#);
    assert_eq!((again.status, status(&again), again.proxy_status()), (200, "replayed", "replayed"));
    assert_eq!(again.text(), first.text().replace("\"id\":1,", "\"id\":77,"));
    assert_eq!(again.header("content-type"), first.header("content-type"));
    assert_ne!(again.call_id(), first.call_id());
    let event = stage.gateway.recorded(again.call_id(), 1).remove(0);
    assert_eq!((&event["result"], &event["status"]), (&"replayed".into(), &200.into()), "{event}");
    let listed = stage.gateway.ok(&["audit", "list", "--decision", "replayed", "--json"]).stdout;
    assert!(listed.lines().count() == 1 && listed.contains(again.call_id()), "{listed}");

    // In `_meta` it is the same key.
    let inside = r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"echo","arguments":{"a":1},"_meta":{"toolgate/idempotency-key":"k"}}}"#;
    let other = r#"{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"echo","arguments":{"a":1},"_meta":{}}}"#;
    let reply = send(agent.address(), &agent.post(inside).header(KEY, "k"));
    assert_eq!(status(&reply), "mismatch", "an empty `_meta` is another request: {}", reply.text());
    let stored = send(agent.address(), &agent.post(inside.replace("key\":\"k\"", "key\":\"m\"")));
    assert_eq!(status(&stored), "stored", "{}", stored.text());
    assert_eq!(status(&send(agent.address(), &agent.post(other).header(KEY, "m"))), "replayed");
    assert_eq!(stage.web.count(), 2);
    assert!(
        !String::from_utf8_lossy(&stage.web.last().body).contains("idempotency"),
        "our member stays here"
    );
    assert!(stage.web.last().header(KEY).is_none(), "our header too");
}

#[test]
fn a_hundred_duplicates_reach_the_upstream_once() {
    let stage = stage();
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let calling: Vec<_> = (0..100)
            .map(|id| {
                let agent = stage.at_web();
                scope.spawn(move || keyed(&agent, "once", id, "{}"))
            })
            .collect();
        calling.into_iter().map(|calling| calling.join().unwrap()).collect()
    });
    let count = |wanted: &str| replies.iter().filter(|reply| status(reply) == wanted).count();
    assert_eq!((count("stored"), stage.web.count()), (1, 1));
    assert_eq!(count("replayed") + count("in-progress"), 99);
    for reply in replies.iter().filter(|reply| status(reply) == "in-progress") {
        assert_eq!((reply.verdict(), reply.header("retry-after")), (409, Some("1")), "{}", reply.text());
    }
    let last = keyed(&stage.at_web(), "once", 5, "{}");
    assert_eq!(
        (status(&last), last.json()["result"]["content"][0]["text"].as_str()),
        ("replayed", Some("call 1"))
    );
}

#[test]
fn whoever_prefers_to_wait_gets_the_answer_of_the_first() {
    let latch = Latch::new();
    let held = Arc::clone(&latch);
    let web = Upstream::start(move |hit| {
        [vec![Step::Wait(Arc::clone(&held))], mcp(hit)].into_iter().flatten().collect()
    });
    let stage = Stage::behind(Home::new(POLICY), web);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| keyed(&stage.at_web(), "k", 1, "{}"));
        until("the upstream to be reached", || stage.web.count() == 1);
        assert_eq!(keyed(&stage.at_web(), "k", 2, "{}").verdict(), 409, "without waiting");
        assert_eq!(keyed(&stage.at_web(), "k", 2, "[1]").verdict(), 422, "another request does not wait");
        let waiting = scope.spawn(|| {
            eventually("the wait to be worth it", || {
                let agent = stage.at_web();
                let request = agent.post(call(3, "echo", "{}")).header(KEY, "k").header("Prefer", "wait=10");
                let reply = send(agent.address(), &request);
                (status(&reply) != "in-progress").then_some(reply)
            })
        });
        latch.release();
        assert_eq!(status(&first.join().unwrap()), "stored");
        let waited = waiting.join().unwrap();
        assert_eq!((status(&waited), waited.json()["id"].as_i64()), ("replayed", Some(3)));
    });
    assert_eq!(stage.web.count(), 1);
}

#[test]
fn a_key_belongs_to_one_request_of_one_agent() {
    let stage = stage();
    let other = stage.gateway.key("other", "user", "web");
    let agent = stage.at_web();
    assert_eq!(status(&keyed(&agent, "k", 1, r#"{"a":1}"#)), "stored");
    let mismatch = keyed(&agent, "k", 1, r#"{"a":2}"#);
    assert_eq!((mismatch.verdict(), status(&mismatch)), (422, "mismatch"), "{}", mismatch.text());
    assert_eq!(stage.web.count(), 1);
    let theirs = keyed(&stage.gateway.agent(&other, "web"), "k", 1, r#"{"a":2}"#);
    assert_eq!((status(&theirs), stage.web.count()), ("stored", 2));
    let again = keyed(&stage.gateway.agent(&other, "web"), "k", 1, r#"{"a":2}"#);
    assert_eq!(again.body, theirs.body);
    assert_eq!(stage.web.count(), 2);
}

#[test]
fn a_replay_is_for_those_who_may_still_call() {
    let mut stage = stage();
    let first = keyed(&stage.at_web(), "k", 1, "{}");
    assert!(stage.gateway.stop().success());
    stage.gateway.restart();
    let again = keyed(&stage.at_web(), "k", 1, "{}");
    assert_eq!((status(&again), &again.body), ("replayed", &first.body));
    stage.gateway.ok(&["vault", "rotate"]);
    until("the answer to open under the new term too", || {
        let again = keyed(&stage.at_web(), "k", 1, "{}");
        status(&again) == "replayed" && again.body == first.body
    });
    stage.gateway.ok(&["agents", "update", "laptop", "--scope", "child"]);
    until("the scope to be noticed", || keyed(&stage.at_web(), "k", 1, "{}").verdict() == 403);
    assert_eq!(status(&keyed(&stage.at_web(), "k", 1, "{}")), "");
    assert_eq!(stage.web.count(), 1);
}

#[test]
fn an_event_stream_is_replayed_as_its_response() {
    let web = Upstream::start(|hit| {
        let response = rpc(&hit.id().unwrap(), r#"{"content":[{"type":"text","text":"streamed"}]}"#);
        events(&format!(
            "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{}}}}\n\n\
             event: message\ndata: {response}\n\n"
        ))
    });
    let stage = Stage::behind(Home::new(POLICY), web);
    let first = keyed(&stage.at_web(), "k", 1, "{}");
    assert_eq!((first.header("content-type"), status(&first)), (Some("text/event-stream"), "stored"));
    assert!(first.text().contains("notifications/progress"), "the first answer is as it came");
    let again = keyed(&stage.at_web(), "k", 9, "{}");
    assert_eq!((again.header("content-type"), status(&again)), (Some("application/json"), "replayed"));
    assert_eq!(again.text(), rpc("9", r#"{"content":[{"type":"text","text":"streamed"}]}"#));
    assert_eq!(stage.web.count(), 1);
}

#[test]
fn a_stream_that_ends_without_its_response_is_unknown() {
    let web =
        Upstream::start(|_| events("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n"));
    let stage = Stage::behind(Home::new(POLICY), web);
    let first = keyed(&stage.at_web(), "k", 1, "{}");
    assert_eq!((first.status, status(&first)), (200, "unknown"));
    assert_eq!(keyed(&stage.at_web(), "k", 1, "{}").verdict(), 409);
    assert_eq!(stage.web.count(), 1);
}

#[test]
fn a_call_to_a_child_is_made_once_too() {
    let stage = Stage::new();
    let agent = stage.at_child();
    let params =
        r#"{"name":"progress","arguments":{},"_meta":{"progressToken":7,"toolgate/idempotency-key":"k"}}"#;
    let first = agent.request("tools/call", params);
    assert_eq!(status(&first), "stored", "{}", first.text());
    let lines = stage.child.count();
    let again = agent.request("tools/call", &params.replace(":7,", ":8,"));
    assert_eq!((again.verdict(), status(&again)), (200, "replayed"), "{}", again.text());
    assert_eq!(stage.child.count(), lines);
}

#[test]
fn housekeeping_takes_no_key() {
    let stage = stage();
    let agent = stage.at_web();
    for _ in 0..2 {
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#;
        let reply = send(agent.address(), &agent.post(list).header(KEY, "k"));
        assert_eq!((reply.verdict(), status(&reply)), (200, ""));
    }
    assert_eq!(stage.web.count(), 2);
    assert_eq!(status(&keyed(&agent, "k", 1, "{}")), "stored", "the key is still free");
}

#[test]
fn a_key_that_cannot_be_read_in_one_way_is_refused() {
    let stage = stage();
    let agent = stage.at_web();
    let body = call(1, "echo", "{}");
    let inside = |key: &str| {
        body.replace(
            "\"arguments\"",
            &format!("\"_meta\":{{\"toolgate/idempotency-key\":{key}}},\"arguments\""),
        )
    };
    let long = "x".repeat(256);
    for request in [
        agent.post(&*body).header(KEY, ""),
        agent.post(&*body).header(KEY, "a b"),
        agent.post(&*body).header(KEY, &long),
        agent.post(&*body).header(KEY, "a").header(KEY, "b"),
        agent.post(inside("\"\"")),
        agent.post(inside("7")),
        agent.post(inside("\"a\"")).header(KEY, "b"),
    ] {
        let reply = send(agent.address(), &request);
        assert_eq!(reply.status, 400, "{}", reply.text());
    }
    assert_eq!(stage.web.count(), 0);
    let request = agent.post(inside("\"a\"")).header(KEY, "a").header(KEY, "a");
    assert_eq!(status(&send(agent.address(), &request)), "stored");
}

#[test]
fn a_call_that_was_not_sent_leaves_its_key_free() {
    let home = Home::new(POLICY);
    let down = ClosedPort::new();
    home.apply(&[format!(
        "  - {{ name: web, kind: mcp, url: \"http://{}/mcp\", pins: off, network: private }}\n",
        down.address()
    )]);
    let key = home.key("laptop", "user", "web");
    let gateway = home.serve();
    let agent = gateway.agent(&key, "web");
    for _ in 0..2 {
        let reply = keyed(&agent, "k", 1, "{}");
        assert_eq!((reply.verdict(), reply.proxy_status(), status(&reply)), (502, "upstream-error", ""));
        let kinds: Vec<_> =
            gateway.events_of(reply.call_id()).iter().map(|event| event["kind"].clone()).collect();
        assert_eq!(kinds, ["intent", "outcome"]);
    }
    let web = Upstream::mcp();
    gateway.apply(&[web.declare("web")]);
    until("the change to be noticed", || status(&keyed(&agent, "k", 1, "{}")) == "stored");
    assert_eq!(status(&keyed(&agent, "k", 1, "{}")), "replayed");
    assert_eq!(web.count(), 1);
    // Another request may take a key that was never spent.
    gateway.apply(&[format!(
        "  - {{ name: web, kind: mcp, url: \"http://{}/mcp\", pins: off, network: private }}\n",
        down.address()
    )]);
    until("the change to be noticed", || agent.call("echo", "{}").verdict() == 502);
    assert_eq!(keyed(&agent, "l", 1, "{}").verdict(), 502);
    gateway.apply(&[web.declare("web")]);
    until("the change to be noticed", || status(&keyed(&agent, "l", 1, r#"{"b":1}"#)) == "stored");
}

#[test]
fn an_answer_that_was_lost_is_never_asked_for_again() {
    type Steps = fn(Arc<Latch>) -> Vec<Step>;
    let breaking: [(Steps, i64); 4] = [
        (|_| vec![Step::HangUp], 502),
        (
            |_| {
                vec![
                    say("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"),
                    Step::HangUp,
                ]
            },
            502,
        ),
        (|held| vec![Step::Wait(held)], 504),
        (|_| json(vec![b' '; 200_000]), 502),
    ];
    for (steps, verdict) in breaking {
        let latch = Latch::new();
        let held = Arc::clone(&latch);
        let mut home = Home::new(POLICY).set("gateway.body_limit=100KB");
        if verdict == 504 {
            home = home.set("gateway.upstream_timeout=1s");
        }
        let stage = Stage::behind(home, Upstream::start(move |_| steps(Arc::clone(&held))));
        let reply = keyed(&stage.at_web(), "k", 1, "{}");
        assert_eq!((reply.verdict(), status(&reply)), (verdict, "unknown"), "{}", reply.text());
        let again = keyed(&stage.at_web(), "k", 1, "{}");
        assert_eq!((again.verdict(), status(&again)), (409, "unknown"), "{}", again.text());
        assert!(again.message().contains("Do not repeat it"), "{}", again.message());
        assert_eq!(keyed(&stage.at_web(), "k", 1, "[1]").verdict(), 422);
        assert_eq!(stage.web.count(), 1);
        latch.release();
    }
}

#[test]
fn a_client_that_hangs_up_finds_its_answer_later() {
    let latch = Latch::new();
    let held = Arc::clone(&latch);
    let web = Upstream::start(move |hit| {
        [vec![Step::Wait(Arc::clone(&held))], mcp(hit)].into_iter().flatten().collect()
    });
    let stage = Stage::behind(Home::new(POLICY), web);
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{}},"_meta":{meta}}}}}"#
    );
    let request = stage.at_web().post(body);
    let request = request.header("MCP-Protocol-Version", "2026-07-28").header("Mcp-Method", "tools/call");
    let request = request.header("Mcp-Name", "echo").header(KEY, "k");
    let connection = stage.gateway.begin(&request);
    until("the upstream to be reached", || stage.web.count() == 1);
    drop(connection);
    latch.release();
    let found = eventually("the answer to be there", || {
        let reply = stage.gateway.send(&request);
        (status(&reply) != "in-progress").then_some(reply)
    });
    assert_eq!((found.verdict(), status(&found)), (200, "replayed"), "{}", found.text());
    assert_eq!(stage.web.count(), 1);
}

#[test]
fn stored_answers_are_sealed() {
    let marker = "violet-otter-marker-57";
    let web =
        Upstream::start(move |hit| json(rpc(&hit.id().unwrap(), &format!("{{\"text\":\"{marker}\"}}"))));
    let mut stage = Stage::behind(Home::new(POLICY), web);
    assert!(keyed(&stage.at_web(), "k", 1, "{}").text().contains(marker));
    assert!(stage.gateway.stop().success());
    for file in std::fs::read_dir(stage.gateway.path()).unwrap() {
        let file = file.unwrap().path();
        let bytes = std::fs::read(&file).unwrap_or_default();
        let found = bytes.windows(marker.len()).any(|window| window == marker.as_bytes());
        assert!(!found, "the answer is in {}", file.display());
    }
    stage.gateway.restart();
    assert!(keyed(&stage.at_web(), "k", 1, "{}").text().contains(marker));
}

#[test]
fn a_crash_in_the_middle_is_unknown_and_never_made_again() {
    let latch = Latch::new();
    let held = Arc::clone(&latch);
    let web = Upstream::start(move |_| vec![Step::Wait(Arc::clone(&held)), Step::HangUp]);
    let mut stage = Stage::behind(Home::new(POLICY), web);
    for turn in 1..=4 {
        let key = format!("k{turn}");
        let agent = stage.at_web();
        let connection = stage.gateway.begin(&agent.post(call(1, "echo", "{}")).header(KEY, &key));
        until("the upstream to be reached", || stage.web.count() == turn);
        stage.gateway.crash_and_restart();
        drop(connection);
        for _ in 0..2 {
            let reply = ended(|| keyed(&stage.at_web(), &key, 1, "{}"));
            assert_eq!((reply.verdict(), status(&reply)), (409, "unknown"), "{}", reply.text());
        }
        assert_eq!(stage.web.count(), turn);
    }
    latch.release();
}

/// Repeats a call until it is not in progress any more: on a shared store a gateway that starts does not know at once
/// whether the one that makes it lives.
fn ended(make: impl Fn() -> Reply) -> Reply {
    eventually("the call to end", || Some(make()).filter(|reply| status(reply) != "in-progress"))
}

/// The number in the arguments of each call that arrived.
fn numbers(web: &Upstream) -> Vec<u64> {
    web.hits().iter().filter_map(|hit| hit.json()["params"]["arguments"]["n"].as_u64()).collect()
}

#[test]
fn crashes_at_odd_moments_make_no_call_twice() {
    const KILLS: u64 = 12;
    let mut stage = stage();
    let (next, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let address: Mutex<SocketAddr> = Mutex::new(stage.gateway.address());
    let answered: Mutex<BTreeMap<u64, String>> = Mutex::default();
    let key = stage.key.clone();
    let request = |n: u64| {
        let body = call(1, "echo", &format!(r#"{{"n":{n}}}"#));
        Request::post("/mcp/web", body).key(&key).header(KEY, &format!("key-{n}"))
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    // An agent that insists: the gateway may die at any moment.
                    for _ in 0..3 {
                        let to = *address.lock().unwrap();
                        let Ok(reply) = attempt(to, &request(n)) else { continue };
                        if !reply.cut_off && reply.verdict() == 200 {
                            let before = answered.lock().unwrap().insert(n, reply.text());
                            assert!(before.is_none_or(|before| before == reply.text()));
                        }
                    }
                }
            });
        }
        for turn in 0..KILLS {
            let before = answered.lock().unwrap().len();
            until("calls to be answered", || answered.lock().unwrap().len() > before);
            std::thread::sleep(Duration::from_millis(20 + turn * 37 % 120));
            stage.gateway.crash_and_restart();
            *address.lock().unwrap() = stage.gateway.address();
        }
        over.store(true, Ordering::SeqCst);
    });

    // Whatever became of it, a repetition changes nothing.
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for n in numbers(&stage.web) {
        *counts.entry(n).or_default() += 1;
    }
    let twice: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "made twice: {twice:?}");
    let answered = answered.into_inner().unwrap();
    let before = stage.web.count();
    for n in counts.keys() {
        let reply = ended(|| stage.gateway.send(&request(*n)));
        match answered.get(n) {
            Some(text) => assert_eq!((status(&reply), &reply.text()), ("replayed", text), "an answer stays"),
            None => assert!(matches!(status(&reply), "replayed" | "unknown"), "{n}: {}", reply.text()),
        }
    }
    assert_eq!(stage.web.count(), before);
}

#[test]
fn an_answer_that_cannot_be_kept_is_not_handed_out() {
    let web = Upstream::start(|hit| json(rpc(&hit.id().unwrap(), &format!("\"{}\"", "x".repeat(2_000_000)))));
    let stage = Stage::behind(Home::on_file(POLICY).cramped(), web);
    let reply = keyed(&stage.at_web(), "k", 1, "{}");
    assert_eq!((reply.verdict(), status(&reply)), (409, "unknown"), "{}", reply.text());
    stage.gateway.give_room();
    until("the store to be written again", || {
        stage.gateway.send(&Request::new("GET", "/readyz")).status == 200
            && stage.gateway.events_of(reply.call_id()).len() == 2
    });
    let again = keyed(&stage.at_web(), "k", 1, "{}");
    assert_eq!((again.verdict(), status(&again)), (409, "unknown"), "{}", again.text());
    assert_eq!(stage.web.count(), 1);
}
