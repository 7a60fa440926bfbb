//! The JSON API: agents, services, held calls, the trail; edits that agree with what was seen, and pages of lists.

use serde_json::{Value, json};

use crate::harness::{ApiStage, Browser, Gateway, HeldStage, Home, POLICY, Request, SHORT, send, until};

fn with_ada() -> (Gateway, Browser) {
    let home = Home::new(POLICY);
    let ada = home.operator("ada", "owner");
    let gateway = home.serve();
    let browser = Browser::of(&gateway, &ada);
    (gateway, browser)
}

/// Whether a `POST` there must have a body, as the description says.
fn needs_a_body(browser: &mut Browser, path: &str) -> Value {
    browser.get("/api/openapi.json").json()["paths"][path]["post"]["requestBody"]["required"].clone()
}

#[test]
fn an_agent_is_made_given_a_key_changed_and_deleted() {
    let stage = ApiStage::new();
    let ada = stage.gateway.operator("ada", "owner");
    let mut browser = Browser::of(&stage.gateway, &ada);
    let new = json!({ "agent": "robot", "role": "user", "scope": ["api"] });
    let made = browser.write("POST", "/api/agents", &new);
    assert_eq!((made.status, made.header("location")), (201, Some("/api/agents/robot")), "{}", made.text());
    assert_eq!(browser.write("POST", "/api/agents", &new).status, 409);
    let unknown = json!({ "agent": "other", "scope": ["nowhere"] });
    assert_eq!(browser.write("POST", "/api/agents", &unknown).status, 422);

    let keys = "/api/agents/robot/keys";
    let body = |path: &str| needs_a_body(&mut browser, path);
    assert_eq!(["/api/agents/{name}/keys", "/api/agents"].map(body), [json!(false), json!(true)]);
    let until_then = browser.write("POST", keys, &json!({ "expires_at": "2100-01-01T00:00:00Z" }));
    assert_eq!(until_then.json()["expires_at"], "2100-01-01T00:00:00Z");
    // Whoever has nothing to say sends no body.
    let key = browser.post(keys);
    assert_eq!((key.status, &key.json()["expires_at"]), (201, &Value::Null), "{}", key.text());
    let key = key.json();
    let secret = key["key"].as_str().unwrap().to_owned();
    until("the key to be known", || {
        stage.gateway.send(&Request::new("GET", "/http/api/v1/x").key(&secret)).status == 200
    });
    let shown = browser.get("/api/agents/robot");
    assert!(!shown.text().contains(&secret), "a key is shown once");
    assert!(shown.json()["keys"].as_array().unwrap().iter().any(|one| one["key_id"] == key["key_id"]));
    assert_eq!(browser.write("POST", "/api/agents/nobody/keys", &json!({})).status, 404);

    let id = key["key_id"].as_str().unwrap();
    assert_eq!(browser.write("DELETE", &format!("/api/keys/{id}"), &json!({})).status, 204);
    until("the key to be refused", || {
        stage.gateway.send(&Request::new("GET", "/http/api/v1/x").key(&secret)).status == 401
    });
    assert_eq!(browser.write("DELETE", "/api/agents/robot", &json!({})).status, 204);
    assert_eq!(browser.get("/api/agents/robot").json()["state"], "deleted");
    assert_eq!(
        browser.write("DELETE", "/api/agents/robot", &json!({})).status,
        204,
        "it is what was asked for"
    );
    assert_eq!(browser.write("POST", "/api/agents", &new).status, 409, "its name is not given again");
}

#[test]
fn an_edit_of_what_somebody_else_changed_is_refused() {
    let (gateway, mut browser) = with_ada();
    browser.write("POST", "/api/agents", &json!({ "agent": "robot", "role": "user" }));
    let seen = browser.get("/api/agents/robot").header("etag").unwrap().to_owned();
    let csrf = browser.csrf.clone().unwrap();
    let mut edit = |role: &str, tag: Option<&str>| {
        let mut request = Request::new("PATCH", "/api/agents/robot")
            .header("Content-Type", "application/json")
            .header("X-CSRF-Token", &csrf)
            .body(json!({ "role": role }).to_string());
        if let Some(tag) = tag {
            request = request.header("If-Match", tag);
        }
        browser.send(request)
    };
    assert_eq!(edit("readonly", Some(&seen)).status, 200);
    let late = edit("admin", Some(&seen));
    assert_eq!(late.status, 412, "{}", late.text());
    assert_eq!(edit("admin", Some("\"other\", *")).status, 200, "any will do");
    assert_eq!(edit("user", None).status, 200, "who does not say does not care");

    let service = |url: &str| json!({ "kind": "http", "url": url });
    let made = browser.write("PUT", "/api/services/billing", &service("https://api.example.com"));
    assert_eq!(made.status, 201, "it was not there: {}", made.text());
    let tag = made.header("etag").unwrap().to_owned();
    let put = |url: &str| {
        Request::new("PUT", "/api/services/billing")
            .header("Content-Type", "application/json")
            .header("X-CSRF-Token", &csrf)
            .header("If-Match", &tag)
            .body(service(url).to_string())
    };
    assert_eq!(browser.send(put("https://api.example.org")).status, 200);
    assert_eq!(browser.send(put("https://api.example.net")).status, 412);
    assert_eq!(browser.get("/api/services/billing").json()["url"], "https://api.example.org");
    drop(gateway);
}

#[test]
fn who_has_seen_what_is_there_is_not_told_it_again() {
    let (gateway, mut browser) = with_ada();
    browser.write("POST", "/api/agents", &json!({ "agent": "robot", "role": "user" }));
    let tag = browser.get("/api/agents/robot").header("etag").unwrap().to_owned();
    let mut look =
        |seen: &str| browser.send(Request::new("GET", "/api/agents/robot").header("If-None-Match", seen));
    for seen in [&*tag, &format!("\"other\", W/{tag}"), "*"] {
        let same = look(seen);
        assert_eq!((same.status, same.header("etag"), &*same.text()), (304, Some(&*tag), ""), "{seen}");
    }
    let other = look("\"other\"");
    assert_eq!((other.status, &other.json()["agent"]), (200, &json!("robot")));
    drop(gateway);
}

#[test]
fn a_service_comes_with_its_credentials_and_never_with_their_values() {
    let (gateway, mut browser) = with_ada();
    let service = json!({
        "name": "billing", "kind": "http", "url": "https://api.example.com",
        "credentials": [{ "name": "key", "kind": "bearer" }, { "name": "other", "kind": "header", "header": "X-Other" }]
    });
    let made = browser.write("POST", "/api/services", &service);
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(browser.write("POST", "/api/services", &service).status, 409);
    let values = json!({ "key": "sk_live_4711_secret", "other": "another-secret-0815" });
    let set = browser.write("PUT", "/api/services/billing/credentials", &values);
    assert_eq!(set.status, 200, "{}", set.text());
    assert!(!set.text().contains("secret-0815") && !set.text().contains("4711"), "{}", set.text());
    let versions = |reply: &Value| -> Vec<Value> {
        reply["credentials"].as_array().unwrap().iter().map(|one| one["version"].clone()).collect()
    };
    assert_eq!(versions(&set.json()), [json!(1), json!(1)]);
    let one =
        browser.write("PUT", "/api/services/billing/credentials", &json!({ "key": "sk_live_4712_secret" }));
    assert_eq!(versions(&one.json()), [json!(2), json!(null)], "what is not named has none any more");
    let bad = browser.write("PUT", "/api/services/billing/credentials", &json!({ "key": "two words" }));
    assert_eq!(bad.status, 400, "{}", bad.text());
    let text = json!({ "text": "# Billing" });
    assert_eq!(browser.write("PUT", "/api/services/billing/documentation", &text).status, 200);
    assert_eq!(browser.get("/api/services/billing").json()["documentation"]["bytes"], 9);
    // What runs on the machine is made by whoever owns it.
    let child = json!({ "name": "child", "kind": "mcp", "command": ["sh"] });
    assert_eq!(browser.write("POST", "/api/services", &child).status, 403);
    assert_eq!(browser.write("DELETE", "/api/services/billing", &json!({})).status, 204);
    assert_eq!(browser.get("/api/services/billing").status, 404);
    drop(gateway);
}

#[test]
fn a_decision_is_about_what_was_shown() {
    let stage = HeldStage::new(SHORT);
    let bob = stage.gateway.operator("bob", "approver");
    let mut browser = Browser::of(&stage.gateway, &bob);
    let id = stage.held_refund(5_000);
    let listed = browser.get("/api/approvals?status=pending").json();
    assert_eq!(listed["items"][0]["id"], json!(id), "{listed}");
    let digest = listed["items"][0]["digest"].as_str().unwrap().to_owned();
    let approve = format!("/api/approvals/{id}/approve");
    assert_eq!(browser.write("POST", &approve, &json!({})).status, 400, "without a digest");
    let other = browser.write("POST", &approve, &json!({ "digest": "0".repeat(64) }));
    assert_eq!(other.status, 409, "{}", other.text());
    assert_eq!(stage.state(&id)["status"], "pending");
    let yes = browser.write("POST", &approve, &json!({ "digest": digest, "reason": "ordered" }));
    assert_eq!((yes.status, &yes.json()["decided_by"]), (200, &json!(bob)), "{}", yes.text());
    stage.reached(&id, "executed");
    let again = browser.write("POST", &approve, &json!({ "digest": digest }));
    assert_eq!(again.status, 409, "{}", again.text());
    assert!(again.text().contains("bob@example.com"), "who was quicker is told: {}", again.text());

    let id = stage.held_refund(5_001);
    let deny = format!("/api/approvals/{id}/deny");
    assert_eq!(browser.write("POST", &deny, &json!({ "reason": " " })).status, 422);
    assert_eq!(browser.write("POST", &deny, &json!({ "reason": "not ordered" })).json()["status"], "denied");
    let resolve = browser.write(
        "POST",
        &format!("/api/approvals/{id}/resolve"),
        &json!({ "outcome": "failed", "reason": "x" }),
    );
    assert_eq!(resolve.status, 409);
    let whole = browser.get("/api/approvals?agent=laptop").json()["items"].as_array().unwrap().clone();
    assert_eq!((whole.len(), &whole[0]["id"]), (2, &json!(id)), "the newest first: {whole:?}");
    let one = browser.get("/api/approvals?agent=laptop&limit=1").json();
    let next = one["next"].as_str().unwrap();
    let rest = browser.get(&format!("/api/approvals?agent=laptop&limit=1&cursor={next}")).json();
    assert_eq!(
        [&one["items"][0]["id"], &rest["items"][0]["id"]],
        [&whole[0]["id"], &whole[1]["id"]],
        "{rest}"
    );
    assert_eq!(rest["next"], Value::Null);
    assert_eq!(browser.get(&format!("/api/approvals?cursor=0{next}")).status, 400, "no page gave this one");
}

#[test]
fn the_trail_is_read_page_by_page_exported_and_verified() {
    let stage = ApiStage::new();
    let ada = stage.gateway.operator("ada", "viewer");
    let mut browser = Browser::of(&stage.gateway, &ada);
    let calls: Vec<String> =
        (0..5).map(|n| stage.send("GET", &format!("/http/api/v1/{n}")).call_id().to_owned()).collect();
    let refused = stage.send("DELETE", "/http/api/v1/x");
    for call in &calls {
        stage.gateway.recorded(call, 2);
    }
    stage.gateway.recorded(refused.call_id(), 1);

    let mut found = Vec::new();
    let mut cursor = String::new();
    for _ in 0..100 {
        let page = browser.get(&format!("/api/audit?agent=laptop&limit=3{cursor}")).json();
        found.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    // The agent, its key, five calls of two events, one refusal.
    assert_eq!(found.len(), 13, "{found:?}");
    assert!(found.windows(2).all(|pair| pair[0]["seq"].as_i64() > pair[1]["seq"].as_i64()));
    let refusals = browser.get("/api/audit?decision=refused&agent=laptop").json();
    assert_eq!(refusals["items"][0]["call_id"], json!(refused.call_id()), "{refusals}");
    let one = browser.get(&format!("/api/audit/{}", calls[0])).json();
    assert_eq!(one["items"].as_array().unwrap().len(), 2);

    let export = browser.get("/api/audit/export?agent=laptop");
    assert_eq!(export.text().lines().count(), 13);
    assert_eq!(export.header("content-disposition"), Some("attachment; filename=\"toolgate-trail.jsonl\""));
    let csv = browser.get("/api/audit/export?format=csv&agent=laptop").text();
    assert_eq!(csv.lines().count(), 14, "with its head");
    let verified = browser.get("/api/audit/verify").json();
    assert_eq!((&verified["ok"], &verified["first_broken"]), (&json!(true), &json!(null)), "{verified}");

    for bad in [
        "limit=0",
        "limit=501",
        "limit=x",
        "cursor=x",
        "since=yesterday",
        "decision=maybe",
        "strange=1",
        "limit=1&limit=2",
        "until=",
    ] {
        assert_eq!(browser.get(&format!("/api/audit?{bad}")).status, 400, "{bad}");
    }
    assert_eq!(browser.get("/api/audit/c_zzzzzzzzzzzz").status, 404);
    let overview = browser.get("/api/overview?range=day").json();
    assert_eq!(
        (&overview["calls"]["forwarded"], &overview["calls"]["refused"]),
        (&json!(5), &json!(1)),
        "{overview}"
    );
}

#[test]
fn the_policy_is_shown_and_explained() {
    let stage = ApiStage::new();
    let ada = stage.gateway.operator("ada", "viewer");
    let mut browser = Browser::of(&stage.gateway, &ada);
    let policy = browser.get("/api/policy").json();
    assert!(policy["text"].as_str().unwrap().contains("name: noting"), "{policy}");
    let csrf = browser.csrf.clone().unwrap();
    let mut explain = |body: Value| {
        let request = Request::post("/api/policy/explain", body.to_string()).header("X-CSRF-Token", &csrf);
        browser.send(request)
    };
    let allowed = explain(json!({ "agent": "laptop", "service": "api", "request": "GET /v1/x" })).json();
    assert_eq!((&allowed["effect"], &allowed["rule"]), (&json!("allow"), &json!("reading")), "{allowed}");
    let denied = explain(json!({ "agent": "laptop", "service": "api", "request": "DELETE /v1/x" })).json();
    assert_eq!(denied["effect"], "deny");
    assert_eq!(explain(json!({ "agent": "nobody", "service": "api", "request": "GET /x" })).status, 404);
    assert_eq!(explain(json!({ "agent": "laptop", "service": "api" })).status, 400);
    assert_eq!(
        explain(json!({ "agent": "laptop", "service": "api", "tool": "a", "request": "GET /x" })).status,
        400
    );
}

#[test]
fn operators_are_added_let_out_and_given_another_password() {
    let (gateway, mut browser) = with_ada();
    let new =
        json!({ "operator": "eve@example.com", "role": "viewer", "password": "copper otter violet 37" });
    let made = browser.write("POST", "/api/operators", &new);
    assert_eq!((made.status, &made.json()["role"]), (201, &json!("viewer")), "{}", made.text());
    assert_eq!(browser.write("POST", "/api/operators", &new).status, 409);
    assert!(!made.text().contains("copper"), "a password is never shown");
    let short = json!({ "operator": "bob@example.com", "role": "viewer", "password": "short" });
    assert_eq!(browser.write("POST", "/api/operators", &short).status, 422);
    let mut eve = Browser::of(&gateway, "eve@example.com");
    let patch = |body: Value| ("/api/operators/eve%40example.com", body);
    let (path, body) = patch(json!({ "password": "another otter violet 37" }));
    assert_eq!(browser.write("PATCH", path, &body).status, 200);
    assert_eq!(eve.get("/api/me").status, 401, "it ends their logins");
    assert_eq!(eve.log_in("eve@example.com", "another otter violet 37").status, 200);
    let (path, body) = patch(json!({ "state": "disabled" }));
    assert_eq!(browser.write("PATCH", path, &body).json()["state"], "disabled");
    assert_eq!(eve.get("/api/me").status, 401);
    for two in [
        json!({ "role": "owner", "state": "active" }),
        json!({ "role": "owner", "password": "short" }),
        json!({ "state": "active", "password": "short" }),
    ] {
        let half = browser.write("PATCH", path, &two);
        assert_eq!(half.status, 400, "{}", half.text());
        let all = browser.get("/api/operators").json();
        let eve = all["items"].as_array().unwrap().iter().find(|one| one["operator"] == "eve@example.com");
        let eve = eve.unwrap();
        assert_eq!(
            (&eve["role"], &eve["state"]),
            (&json!("viewer"), &json!("disabled")),
            "nothing of it is done"
        );
    }
    let long = json!({ "operator": "bob@example.com", "role": "viewer", "password": "x".repeat(1_025) });
    assert_eq!(browser.write("POST", "/api/operators", &long).status, 422, "it could never log in");
    assert_eq!(send(gateway.console(), &Request::new("GET", "/api/operators")).status, 401);
}

#[test]
fn a_condition_holds_at_the_write_or_the_write_is_refused() {
    let (gateway, mut browser) = with_ada();
    let agent = json!({ "agent": "robot", "role": "user" });
    let seen_agent = browser.write("POST", "/api/agents", &agent).header("etag").unwrap().to_owned();
    let service = json!({
        "name": "billing", "kind": "http", "url": "https://api.example.com",
        "credentials": [{ "name": "key", "kind": "bearer" }]
    });
    let made = browser.write("POST", "/api/services", &service);
    let seen = made.header("etag").unwrap().to_owned();
    let csrf = browser.csrf.clone().unwrap();
    let mut ask = |method: &str, path: &str, condition: (&str, &str), body: Value| {
        let request = Request::new(method, path)
            .header("Content-Type", "application/json")
            .header("X-CSRF-Token", &csrf)
            .header(condition.0, condition.1)
            .body(body.to_string());
        browser.send(request)
    };
    let values = |value: &str| json!({ "key": value });
    let credentials = "/api/services/billing/credentials";
    let first = ask("PUT", credentials, ("If-Match", &seen), values("sk_first_secret"));
    assert_eq!(first.status, 200, "{}", first.text());
    let now = first.header("etag").unwrap().to_owned();
    assert_ne!(now, seen, "another value is another service");
    let late = ask("PUT", credentials, ("If-Match", &seen), values("sk_second_secret"));
    assert_eq!(late.status, 412, "{}", late.text());
    assert_eq!(ask("PUT", credentials, ("If-Match", ""), values("sk_second_secret")).status, 400);
    let documented = json!({ "text": "# Billing" });
    let documentation = "/api/services/billing/documentation";
    assert_eq!(ask("PUT", documentation, ("If-Match", &seen), documented.clone()).status, 412);
    assert_eq!(ask("DELETE", "/api/services/billing", ("If-Match", &seen), json!({})).status, 412);
    assert_eq!(ask("PUT", documentation, ("If-Match", &now), documented).status, 200);

    let disabled = json!({ "state": "disabled" });
    let robot = "/api/agents/robot";
    assert_eq!(ask("PATCH", robot, ("If-Match", &seen_agent), disabled.clone()).status, 200);
    assert_eq!(ask("PATCH", robot, ("If-Match", &seen_agent), json!({ "state": "active" })).status, 412);
    assert_eq!(ask("DELETE", robot, ("If-Match", &seen_agent), json!({})).status, 412);
    let both = json!({ "role": "admin", "state": "active" });
    assert_eq!(ask("PATCH", robot, ("If-Match", "*"), both).status, 400, "one event each");

    // What nobody looks at is not passed over.
    let kill = json!({ "on": true, "reason": "a test" });
    for (method, path, condition, body) in [
        ("PUT", "/api/kill", "If-Match", kill),
        ("PATCH", "/api/operators/ada%40example.com", "If-Match", json!({ "role": "viewer" })),
        ("POST", "/api/agents", "If-Match", json!({ "agent": "other" })),
        ("PUT", "/api/services/billing", "If-None-Match", service.clone()),
    ] {
        let refused = ask(method, path, (condition, "*"), body);
        assert_eq!(refused.status, 400, "{method} {path}: {}", refused.text());
        assert!(refused.text().contains(condition), "{}", refused.text());
    }
    assert_eq!(ask("DELETE", "/api/services/billing", ("If-Match", "*"), json!({})).status, 204);
    assert_eq!(browser.get("/api/kill").json()["on"], false);
    let shown = browser.get(robot).json();
    assert_eq!((&shown["role"], &shown["state"]), (&json!("user"), &json!("disabled")), "{shown}");
    drop(gateway);
}

#[test]
fn a_trust_anchor_that_cannot_be_read_is_not_taken() {
    let (gateway, mut browser) = with_ada();
    for inside in ["not base64 at all!", "bm90IGEgY2VydGlmaWNhdGU=", ""] {
        let pem = format!("-----BEGIN CERTIFICATE-----\n{inside}\n-----END CERTIFICATE-----\n");
        let service = json!({ "name": "own", "kind": "http", "url": "https://api.example.com", "ca": pem });
        let reply = browser.write("POST", "/api/services", &service);
        assert_eq!(reply.status, 400, "{inside}: {}", reply.text());
    }
    assert_eq!(browser.get("/api/services").json()["items"], json!([]));
    drop(gateway);
}

#[test]
fn names_are_taken_by_the_word_that_the_login_and_services_use_too() {
    let (gateway, mut browser) = with_ada();
    let bob = json!({ "email": "bob@example.com", "role": "viewer", "password": "copper-otter-violet-37" });
    let made = browser.write("POST", "/api/operators", &bob);
    assert_eq!((made.status, &made.json()["operator"]), (201, &json!("bob@example.com")), "{}", made.text());
    let made = browser.write("POST", "/api/agents", &json!({ "name": "crane" }));
    assert_eq!((made.status, &made.json()["agent"]), (201, &json!("crane")), "{}", made.text());
    let both = browser.write("POST", "/api/agents", &json!({ "name": "a", "agent": "b" }));
    assert_eq!(both.status, 400, "{}", both.text());
    drop(gateway);
}
