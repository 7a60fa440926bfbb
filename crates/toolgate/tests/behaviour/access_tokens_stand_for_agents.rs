//! With an issuer configured, its access tokens stand for agents that exist, each at the endpoint that it is for. They go
//! nowhere: not upstream, not into the log, not onto the disk. Whoever has none is told where to get one.

use std::{path::Path, sync::Arc};

use domain::approval::Status;
use serde_json::{Value, json};

use crate::harness::*;

/// MCP, HTTP, an agent `laptop` in the role `user`, and an issuer.
struct Gate {
    stage: HeldStage,
    issuer: Issuer,
}

impl Gate {
    fn new() -> Self {
        Self::on("agent_claim: client_id")
    }

    fn on(more: &str) -> Self {
        let issuer = Issuer::start();
        let home = Home::new(HELD_POLICY).set(SHORT).set(&issuer.setting(more));
        let api = Upstream::start(|_| answer("201 Created", "Content-Type: application/json\r\n", "{}"));
        Self { stage: HeldStage::with(home, Upstream::mcp(), api), issuer }
    }

    /// The URL of an endpoint.
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.stage.gateway.address())
    }

    /// A good token for an endpoint.
    fn token(&self, path: &str) -> String {
        self.issuer.good(&self.url(path))
    }

    fn send(&self, request: &Request) -> Reply {
        self.stage.gateway.send(request)
    }

    /// A call that the policy allows, with this token.
    fn read(&self, token: &str) -> Reply {
        self.send(&reading(token))
    }
}

fn reading(token: &str) -> Request {
    Request::post("/mcp/web", call(1, "read_note", "{}")).key(token)
}

fn get(target: &str) -> Request {
    Request::new("GET", target)
}

/// What a refusal says but for its call's id.
fn said(reply: &Reply) -> String {
    reply.text().replace(reply.call_id(), "c_")
}

#[test]
fn a_token_stands_for_its_agent_and_goes_nowhere() {
    let gate = Gate::new();
    let [at_web, at_api] = ["/mcp/web", "/http/api"].map(|path| gate.token(path));
    let reply = gate.read(&at_web);
    assert_eq!(reply.verdict(), 200, "{}", reply.text());
    let refund = gate.stage.refund(7).without("Authorization").key(&at_api);
    assert_eq!(gate.send(&refund).status, 201);
    assert_eq!(gate.read(&gate.stage.key).verdict(), 200, "keys are taken as before");

    // One subject has one id, whatever token it comes with; it is told apart from keys.
    let again = gate.read(&gate.token("/mcp/web"));
    let [first, second] =
        [&reply, &again].map(|reply| gate.stage.gateway.recorded(reply.call_id(), 2)[0].clone());
    assert_eq!((&first["agent"], &first["role"]), (&json!("laptop"), &json!("user")));
    assert_eq!(first["key_id"], second["key_id"]);
    assert!(first["key_id"].as_str().is_some_and(|id| id.starts_with('o') && id.len() == 8), "{first}");
    // The policy judges it as it judges any call of the agent.
    let denied = Request::post("/mcp/web", call(1, "delete_note", "{}")).key(&at_web);
    assert_eq!(gate.send(&denied).verdict(), 403);
    // A large body is read for whoever has a good token, and for nobody else.
    let large = call(1, "read_note", &json!({ "a": "x".repeat(100_000) }).to_string());
    assert_eq!(gate.send(&Request::post("/mcp/web", large.clone()).key(&at_web)).verdict(), 200);
    let forged = format!("{}AAAA", &at_web[..at_web.len() - 4]);
    assert_eq!(gate.send(&Request::post("/mcp/web", large).key(&forged)).status, 401);

    let hits = [gate.stage.web.hits(), gate.stage.api.hits()].concat();
    assert!(hits.len() > 4);
    for hit in hits {
        assert!(hit.header("authorization").is_none(), "{}", hit.head);
        assert!(!hit.head.contains("eyJ"), "{}", hit.head);
    }
    for token in [&at_web, &at_api] {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!gate.stage.gateway.said().contains(signature), "a token is in the log");
        assert!(!is_below(gate.stage.gateway.path(), signature.as_bytes()), "a token is on the disk");
    }
    assert!(gate.stage.gateway.said().contains("subject-77"), "who came is told once");
}

fn is_below(folder: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return is_below(&path, needle);
        }
        std::fs::read(path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    })
}

#[test]
fn a_token_is_good_at_the_endpoint_that_it_is_for() {
    let gate = Gate::new();
    let envelope = r#"{"service":"api","method":"GET","path":"/v1/balance"}"#;
    let endpoints: [(&str, Request); 4] = [
        ("/mcp/web", Request::post("/mcp/web", call(1, "read_note", "{}"))),
        ("/http/api", get("/http/api/v1/balance")),
        ("", Request::post("/proxy", envelope)),
        ("", get("/v1/services")),
    ];
    for path in ["/mcp/web", "/http/api", ""] {
        let token = gate.token(path);
        for (of, request) in &endpoints {
            let reply = gate.send(&request.clone().key(&token));
            let good = reply.verdict() != 401;
            assert_eq!(good, *of == path, "a token for `{path}` at `{of}`: {}", reply.text());
        }
    }
    for other in ["/mcp/api", "/mcp", "/mcp/we", "/mcp/web/x"] {
        assert_eq!(gate.read(&gate.token(other)).status, 401, "{other}");
    }
    assert_eq!(gate.read(&gate.issuer.good("http://localhost/mcp/web")).status, 401);
}

#[test]
fn one_audience_for_the_whole_gateway_may_be_configured() {
    let gate = Gate::on("agent_claim: sub, agents: {subject-77: laptop}, audience: our-gate");
    let token = gate.issuer.good("our-gate");
    assert_eq!(gate.read(&token).verdict(), 200);
    assert_eq!(gate.send(&get("/http/api/v1/balance").key(&token)).status, 201);
    assert_eq!(gate.send(&get("/v1/services").key(&token)).status, 200);
    assert_eq!(gate.read(&gate.token("/mcp/web")).status, 401);
}

#[test]
fn whatever_is_wrong_the_answer_is_one() {
    let gate = Gate::new();
    let audience = gate.url("/mcp/web");
    let with = |name: &str, value: Value| {
        let mut claims = gate.issuer.claims(&audience);
        claims[name] = value;
        gate.issuer.token(&claims)
    };
    let good = gate.token("/mcp/web");
    let forger = Issuer::start();
    let mut of_forger = forger.claims(&audience);
    of_forger["iss"] = json!(gate.issuer.url());
    let expected = said(&gate.read("agt_guessed"));
    for (what, token, cause) in [
        ("expired", with("exp", json!(1_000)), "token expired"),
        ("not yet", with("nbf", json!(9_999_999_999_i64)), "token not good yet"),
        ("no such agent", with("client_id", json!("nobody")), "token of no agent"),
        ("an ID token", with("nonce", json!("n")), "not an access token"),
        ("bound to a proof", with("cnf", json!({})), "token that needs a proof"),
        ("another issuer", forger.good(&audience), "token of an unknown issuer"),
        ("another issuer's key", forger.token(&of_forger), "token with a wrong signature"),
        ("another place", gate.token("/mcp/other"), "token for another endpoint"),
        ("altered", format!("{}AAAA", &good[..good.len() - 4]), "token with a wrong signature"),
        ("no token at all", "a.b.c".to_owned(), "token cannot be read"),
    ] {
        let reply = gate.read(&token);
        assert_eq!((reply.status, said(&reply)), (401, expected.clone()), "{what}");
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains(r#"error="invalid_token""#), "{what}: {challenge}");
        let event = gate.stage.gateway.recorded(reply.call_id(), 1)[0].clone();
        assert_eq!(event["decision"]["reason"], cause, "{what}: {event}");
    }
    assert_eq!(gate.stage.web.count(), 0);
    assert_eq!(gate.read(&good).verdict(), 200);
}

#[test]
fn a_token_stands_in_the_authorization_header_alone_and_with_no_other() {
    let gate = Gate::new();
    let (token, key) = (gate.token("/mcp/web"), &gate.stage.key);
    let body = call(1, "read_note", "{}");
    let in_meta =
        body.replacen(r#""params":{"#, &format!(r#""params":{{"_meta":{{"toolgate/key":"{token}"}},"#), 1);
    assert_ne!(in_meta, body);
    for request in [
        Request::post("/mcp/web", body.clone()).header("X-API-Key", &token),
        Request::post(&format!("/mcp/web?access_token={token}"), body.clone()),
        Request::post(&format!("/mcp/web?api_key={token}"), body.clone()),
        Request::post("/mcp/web", in_meta.clone()),
    ] {
        assert_eq!(gate.send(&request).status, 401);
    }
    for request in [
        reading(&token).header("X-API-Key", key),
        reading(&token).header("X-API-Key", &token),
        reading(key).header("Authorization", &format!("Bearer {token}")),
        reading(&token).header("Authorization", &format!("Bearer {}", gate.token("/http/api"))),
        Request::post("/mcp/web", in_meta).key(key),
    ] {
        let reply = gate.send(&request);
        assert_eq!(reply.status, 400, "{}", reply.text());
    }
    assert_eq!(gate.stage.web.count(), 0);
}

#[test]
fn strangers_are_told_where_tokens_are_to_be_had() {
    let gate = Gate::on("agent_claim: client_id, scope: tools");
    let base = gate.url("");
    for (request, resource) in [
        (Request::post("/mcp/web", call(1, "read_note", "{}")), "/mcp/web"),
        (Request::post("/mcp/no-such", call(1, "read_note", "{}")), "/mcp/no-such"),
        (get("/http/api/v1/a"), "/http/api"),
        (get("/v1/services"), ""),
    ] {
        let reply = gate.send(&request);
        assert_eq!(reply.status, 401);
        let at = format!("{base}/.well-known/oauth-protected-resource{resource}");
        let expected = format!(r#"Bearer realm="toolgate", scope="tools", resource_metadata="{at}""#);
        assert_eq!(reply.all("www-authenticate"), [expected]);
        let told = gate.send(&get(at.strip_prefix(&base).unwrap()));
        assert_eq!((told.status, told.header("content-type")), (200, Some("application/json")));
        assert_eq!(
            told.json(),
            json!({
                "resource": format!("{base}{resource}"),
                "resource_name": "Toolgate",
                "authorization_servers": [gate.issuer.url()],
                "bearer_methods_supported": ["header"],
                "scopes_supported": ["tools"],
            })
        );
    }
    let metadata = "/.well-known/oauth-protected-resource";
    for (method, path, status) in [
        ("GET", "/mcp", 200),
        ("GET", "/http/api/v1/a", 404),
        ("GET", "/mcp/No", 404),
        ("GET", "/", 404),
        ("GET", "x", 404),
        ("POST", "/mcp/web", 405),
    ] {
        let reply = gate.send(&Request::new(method, &format!("{metadata}{path}")));
        assert_eq!(reply.status, status, "{method} {path}");
    }
    let foreign = get(metadata).header("Origin", "https://evil.test");
    assert_eq!(gate.send(&foreign).status, 403);

    // A good token without the scope is told which one it lacks.
    let reply = gate.read(&gate.token("/mcp/web"));
    assert_eq!(reply.status, 403, "{}", reply.text());
    let challenge = reply.header("www-authenticate").unwrap();
    assert!(challenge.contains(r#"error="insufficient_scope", scope="tools""#), "{challenge}");
    let mut claims = gate.issuer.claims(&gate.url("/mcp/web"));
    claims["scope"] = json!("openid tools");
    assert_eq!(gate.read(&gate.issuer.token(&claims)).verdict(), 200);
}

#[test]
fn without_an_issuer_a_token_is_nothing_and_there_is_no_metadata() {
    let stage = Stage::new();
    let issuer = Issuer::start();
    let url = format!("http://{}/mcp/web", stage.gateway.address());
    let reply = stage.gateway.send(&reading(&issuer.good(&url)));
    assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer realm=\"toolgate\"")));
    let told = stage.gateway.send(&get("/.well-known/oauth-protected-resource/mcp/web"));
    assert_eq!((told.status, issuer.asked()), (404, 0));
}

#[test]
fn an_upstreams_own_challenge_is_left_as_it_is() {
    let issuer = Issuer::start();
    let api =
        Upstream::start(|_| answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"theirs\"\r\n", ""));
    let home = Home::new(HELD_POLICY).set(&issuer.setting("agent: laptop"));
    let stage = HeldStage::with(home, Upstream::mcp(), api);
    let url = format!("http://{}/http/api", stage.gateway.address());
    let reply = stage.gateway.send(&get("/http/api/v1/a").key(&issuer.good(&url)));
    assert_eq!((reply.status, reply.proxy_status()), (401, "forwarded"));
    assert_eq!(reply.all("www-authenticate"), ["Basic realm=\"theirs\""]);
}

#[test]
fn a_disabled_agent_and_the_kill_switch_stop_its_tokens() {
    let gate = Gate::new();
    let token = gate.token("/mcp/web");
    assert_eq!(gate.read(&token).verdict(), 200);
    gate.stage.gateway.ok(&["kill", "on", "--reason", "test"]);
    until("the kill switch to be noticed", || gate.read(&token).verdict() == 503);
    gate.stage.gateway.ok(&["kill", "off"]);
    until("it to be off", || gate.read(&token).verdict() == 200);
    gate.stage.gateway.ok(&["agents", "disable", "laptop"]);
    until("the agent to be disabled", || gate.read(&token).status == 401);
    let hits = gate.stage.web.count();
    assert_eq!(gate.read(&token).status, 401);
    assert_eq!(gate.stage.web.count(), hits);
}

#[test]
fn a_stream_ends_with_its_token() {
    let latch = Latch::new();
    let held = Arc::clone(&latch);
    let web = Upstream::start(move |hit| match hit.method.as_str() {
        "GET" => vec![stream_head(), say("data: {}\n\n"), Step::Wait(Arc::clone(&held)), Step::HangUp],
        _ => mcp(hit),
    });
    let issuer = Issuer::start();
    let home = Home::new(POLICY).set(&issuer.setting("agent_claim: client_id"));
    let stage = Stage::behind(home, web);
    let url = format!("http://{}/mcp/web", stage.gateway.address());
    // A machine that is too slow to open a stream before its token has expired is given a longer-lived one.
    let mut stream = [3, 9, 40]
        .into_iter()
        .find_map(|seconds| {
            let agent = stage.gateway.agent(&issuer.brief(&url, seconds), "web");
            let answer = stage.gateway.open(&agent.listen());
            (answer.status == 200).then_some(answer)
        })
        .expect("a good token opens a stream");
    assert!(stream.event().is_some());
    assert_eq!(stream.event(), None);
    latch.release();
}

/// A call that is held under a token which has expired since, or none when the machine was too slow for that.
fn held_under_a_token(gate: &Gate) -> String {
    let (web, gateway) = (gate.url("/mcp/web"), &gate.stage.gateway);
    let write =
        |token: &str| gateway.send(&Request::post("/mcp/web", call(1, "write_note", "{}")).key(token));
    let (token, reply) = [4, 12, 45]
        .into_iter()
        .find_map(|seconds| {
            let token = gate.issuer.brief(&web, seconds);
            let reply = write(&token);
            (reply.verdict() == 428).then_some((token, reply))
        })
        .expect("a good token has its call held");
    until("the token to expire", || gate.read(&token).status == 401);
    // Another token of the agent meets the same row.
    let again = write(&gate.token("/mcp/web"));
    assert_eq!((again.verdict(), approval(&again)), (428, approval(&reply)));
    approval(&reply)
}

#[test]
fn a_held_call_outlives_its_token() {
    let gate = Gate::new();
    let id = held_under_a_token(&gate);
    let hits = gate.stage.web.count();
    gate.stage.desk.approve(&id);
    gate.stage.reached(&id, "executed");
    assert_eq!(gate.stage.web.count(), hits + 1);
    // The answer is the agent's, with a token for the gateway itself.
    let asked = |token: &str| gate.send(&get(&format!("/v1/approvals/{id}/result")).key(token));
    assert_eq!(asked(&gate.token("/mcp/web")).status, 401);
    let result = asked(&gate.token(""));
    assert_eq!((result.status, result.proxy_status()), (200, "executed-approved"));
}

#[test]
fn a_held_call_does_not_outlive_its_issuer() {
    let issuer = Issuer::start();
    let home = Home::new(HELD_POLICY).set(SHORT);
    let setting =
        |more: &str| issuer.setting(more).replacen("gateway.issuers=", "gateway: { issuers: ", 1) + " }\n";
    home.write("toolgate.yaml", &setting("agent_claim: client_id"));
    let mut stage = HeldStage::with(home, Upstream::mcp(), Upstream::mcp());
    let url = format!("http://{}/mcp/web", stage.gateway.address());
    let write = Request::post("/mcp/web", call(1, "write_note", "{}")).key(&issuer.good(&url));
    let reply = stage.gateway.send(&write);
    assert_eq!(reply.verdict(), 428, "{}", reply.text());
    let id = approval(&reply);
    assert!(stage.gateway.stop().success());
    // The same issuer, but its tokens must have a scope now: whether that one had it, nobody knows any more.
    stage.gateway.write("toolgate.yaml", &setting("agent_claim: client_id, scope: tools"));
    stage.gateway.restart();
    stage.desk.approve(&id);
    let ended = stage.desk.sees(&domain::names::ApprovalId::parse(&id).unwrap(), Status::Failed);
    assert_eq!(ended.http_status, Some(401));
    assert_eq!(stage.web.count(), 0, "nothing was sent");
    let events = stage.gateway.events();
    let outcome = events.iter().find(|event| event["kind"] == "outcome").unwrap();
    assert_eq!(outcome["error"]["code"], "unauthorized", "{outcome}");
}

#[test]
fn while_no_keys_can_be_had_the_answer_is_to_come_back() {
    let issuer = Issuer::start();
    issuer.set_down(true);
    let home = Home::new(HELD_POLICY).set(&issuer.setting("agent_claim: client_id"));
    let stage = HeldStage::with(home, Upstream::mcp(), Upstream::mcp());
    let url = format!("http://{}/mcp/web", stage.gateway.address());
    let token = issuer.good(&url);
    let reply = stage.gateway.send(&reading(&token));
    assert_eq!((reply.verdict(), reply.proxy_status()), (503, "fault"), "{}", reply.text());
    assert!(reply.header("retry-after").is_some() && reply.text().contains("Nothing was sent."));
    assert_eq!(stage.gateway.send(&reading(&stage.key)).verdict(), 200, "keys need no issuer");
    until("the log to tell of it", || stage.gateway.said().contains("cannot be fetched"));
    issuer.set_down(false);
    until("the keys to be fetched", || stage.gateway.send(&reading(&token)).verdict() == 200);
    issuer.set_down(true);
    assert_eq!(stage.gateway.send(&reading(&issuer.good(&url))).verdict(), 200, "they are kept");
}

#[test]
fn doctor_says_whether_an_issuers_keys_can_be_fetched() {
    let issuer = Issuer::start();
    let home = Home::new(HELD_POLICY);
    let setting =
        issuer.setting("agent: laptop").replacen("gateway.issuers=", "gateway: { issuers: ", 1) + " }\n";
    home.write("toolgate.yaml", &setting);
    let looked = |home: &Home| {
        let json: Value = serde_json::from_str(&home.run(&["doctor", "--json"]).stdout).unwrap();
        (json["issuers"][issuer.url()].clone(), home.run(&["doctor"]))
    };
    let (works, said) = looked(&home);
    assert_eq!((works, said.code), (json!(true), 0), "{}", said.stdout);
    assert!(said.stdout.contains("issuer, 1 key"), "{}", said.stdout);
    issuer.set_down(true);
    let (works, said) = looked(&home);
    assert_eq!((works, said.code), (json!(false), 1), "{}", said.stdout);
    assert!(said.stdout.contains("it answered 500: check gateway.issuers"), "{}", said.stdout);
    home.write("toolgate.yaml", &setting.replace("network: private, ", ""));
    let refused = home.run(&["config", "show"]);
    assert!(refused.code == 1 && refused.stderr.contains("without TLS"), "{}", refused.stderr);
}
