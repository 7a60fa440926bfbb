//! Agents, services and the kill switch are changed with the console's forms: by owners, and never over what somebody
//! else has changed meanwhile.

use serde_json::json;

use crate::harness::{pages::*, *};

#[test]
fn an_agent_is_made_and_its_key_is_shown_once() {
    let stage = PagesStage::new();
    let mut olga = stage.browser("olga");
    let fields = [("name", "docs-writer"), ("role", "user"), ("scope", "api"), ("expires", "30d")];
    let made = form(&mut olga, "/agents", &fields);
    assert_eq!(made.status, 201, "{}", made.text());
    let text = made.text();
    let key =
        text.split("id=\"new-key\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap().to_owned();
    assert!(key.starts_with("agt_"));
    assert_eq!(stage.gateway.send(&Request::new("GET", "/http/api/v1/x").key(&key)).status, 201);
    let single = page(&mut olga, "/agents/docs-writer");
    assert!(!single.contains(&key) && single.contains(&key[..12]));
    // The same name again, an unknown role, an unknown service: told on the page, nothing made.
    for (fields, words) in [
        (vec![("name", "docs-writer"), ("role", "user"), ("expires", "never")], "already"),
        (vec![("name", "x"), ("role", "nobody"), ("expires", "never")], "has no role"),
        (vec![("name", "x"), ("role", "user"), ("scope", "apy"), ("expires", "never")], "did you mean `api`"),
        (vec![("name", "No Name!"), ("role", "user"), ("expires", "never")], "No Name!"),
    ] {
        let reply = form(&mut olga, "/agents", &fields);
        assert!(
            (400..500).contains(&reply.status) && reply.text().contains(words),
            "{fields:?} {}",
            reply.text()
        );
    }
    assert_eq!(edit(&mut olga, "/agents/docs-writer", &[("role", "readonly"), ("scope", "")]).status, 303);
    assert!(page(&mut olga, "/agents/docs-writer").contains("Its scope is empty"));
    let revoked = form(&mut olga, &format!("/keys/{}/revoke", &key[4..12]), &[]);
    assert_eq!(revoked.header("location"), Some("/agents/docs-writer?done=revoked"), "{}", revoked.text());
    until("the key stops", || {
        stage.gateway.send(&Request::new("GET", "/http/api/v1/x").key(&key)).status == 401
    });
    assert_eq!(
        form(&mut olga, "/agents/docs-writer/state", &[("state", "deleted"), ("sure", "x")]).status,
        400
    );
    assert_eq!(
        form(&mut olga, "/agents/docs-writer/state", &[("state", "deleted"), ("sure", "docs-writer")]).status,
        303
    );
    assert!(!page(&mut olga, "/agents").contains("/agents/docs-writer"));
}

#[test]
fn a_service_is_made_given_a_credential_and_removed() {
    let stage = PagesStage::new();
    let mut olga = stage.browser("olga");
    let secret = "sk_live_never_shown";
    let url = "https://api.tickets.example";
    let made = form(
        &mut olga,
        "/services",
        &[("name", "tickets"), ("kind", "http"), ("url", url), ("network", "public")],
    );
    assert_eq!(made.header("location"), Some("/services/tickets?done=made"), "{}", made.text());
    for (fields, words) in [
        (vec![("name", "tickets"), ("kind", "http"), ("url", url)], "already"),
        (vec![("name", "local"), ("kind", "http"), ("url", "http://127.0.0.1:1")], "network: private"),
        (vec![("name", "odd"), ("kind", "http"), ("url", "ftp://x")], "http://"),
        (vec![("name", "Bad Name"), ("kind", "mcp"), ("url", url)], "Bad Name"),
    ] {
        let reply = form(&mut olga, "/services", &fields);
        assert!(reply.status == 400 || reply.status == 409, "{fields:?}");
        assert!(reply.text().contains(words), "{fields:?} {}", reply.text());
    }
    for (value, words) in [("hunter2", "too short to be masked"), (secret, "nobody reads it back")] {
        let set = [("name", "secret_key"), ("kind", "bearer"), ("value", value)];
        let reply = form(&mut olga, "/services/tickets/credentials", &set);
        let there = reply.header("location").expect("it is set");
        assert!(page(&mut olga, there).contains(words), "{there}");
    }
    let shown = page(&mut olga, "/services/tickets");
    assert!(shown.contains("secret_key") && !shown.contains(secret));
    // Another origin drops the value, and says so.
    let moved = [
        ("url", "https://elsewhere.example"),
        ("network", "public"),
        ("documentation", "How to <b>use</b> it"),
    ];
    let reply = edit(&mut olga, "/services/tickets", &moved);
    assert_eq!(reply.header("location"), Some("/services/tickets?done=saved&lost=1"), "{}", reply.text());
    let shown = page(&mut olga, "/services/tickets?done=saved&lost=1");
    assert!(shown.contains("No value") && shown.contains("How to &lt;b&gt;use&lt;/b&gt; it"), "{shown}");
    assert_eq!(form(&mut olga, "/services/tickets/remove", &[("sure", "no")]).status, 400);
    assert_eq!(form(&mut olga, "/services/tickets/remove", &[("sure", "tickets")]).status, 303);
    assert_eq!(olga.get("/services/tickets").status, 404);
}

#[test]
fn a_page_that_is_old_undoes_nothing() {
    let stage = PagesStage::new();
    let mut olga = stage.browser("olga");
    olga.csrf = olga.get("/api/me").json()["csrf_token"].as_str().map(str::to_owned);
    let service = json!({ "kind": "http", "url": "https://api.tickets.example" });
    let made = olga.write("PUT", "/api/services/tickets", &service);
    assert!(made.status < 300, "{}", made.text());
    let scope = |names: &[&str]| json!({ "scope": names });
    assert_eq!(olga.write("PATCH", "/api/agents/laptop", &scope(&["api", "tickets"])).status, 200);

    // Olga has the page open while somebody takes a service away.
    let old = field(&page(&mut olga, "/agents/laptop"), "seen");
    assert_eq!(olga.write("PATCH", "/api/agents/laptop", &scope(&["api"])).status, 200);
    let fields = [("role", "readonly"), ("scope", "api, tickets"), ("seen", &old)];
    let late = form(&mut olga, "/agents/laptop", &fields);
    assert_eq!(late.status, 412, "{}", late.text());
    assert!(late.text().contains("was changed meanwhile"), "{}", late.text());
    let agent = olga.get("/api/agents/laptop").json();
    assert_eq!((&agent["scope"], &agent["role"]), (&json!(["api"]), &json!("user")), "{agent}");
    // The answer is the page as it is now: from there it goes on.
    let fresh = field(&late.text(), "seen");
    let fields = [("role", "readonly"), ("scope", "api"), ("seen", &fresh)];
    assert_eq!(form(&mut olga, "/agents/laptop", &fields).status, 303);
    assert_eq!(form(&mut olga, "/agents/laptop", &fields[..2]).status, 400, "a form that does not say");

    let old = field(&page(&mut olga, "/services/tickets"), "seen");
    let documented = json!({ "text": "How to use it" });
    assert_eq!(olga.write("PUT", "/api/services/tickets/documentation", &documented).status, 200);
    let fields = [("url", "https://api.tickets.example"), ("network", "private"), ("seen", &old)];
    let late = form(&mut olga, "/services/tickets", &fields);
    assert_eq!(late.status, 412, "{}", late.text());
    assert!(late.text().contains("How to use it"), "the page as it is now: {}", late.text());
    let service = olga.get("/api/services/tickets").json();
    assert_eq!((&service["documentation"]["bytes"], &service["network"]), (&json!(13), &json!("public")));
    assert_eq!(form(&mut olga, "/services/tickets", &fields[..2]).status, 400);
}

#[test]
fn a_token_lives_as_long_as_its_form_can_say() {
    let stage = PagesStage::new();
    let mut olga = stage.browser("olga");
    let make = |expires| [("password", PASSWORD), ("expires", expires)];
    let long = form(&mut olga, "/settings/tokens", &make("9999d"));
    assert_eq!(long.status, 400, "{}", long.text());
    assert!(!long.text().contains("opt_"), "nothing is made");
    assert_eq!(form(&mut olga, "/settings/tokens", &make("7d")).status, 201);
}

#[test]
fn the_kill_switch_takes_two_steps_and_shows_on_every_page() {
    let stage = PagesStage::new();
    let mut olga = stage.browser("olga");
    let first = [("on", "true"), ("reason", "agents loop")];
    assert_eq!(form(&mut olga, "/settings/kill", &first).status, 400);
    let both = [("on", "true"), ("reason", "agents <loop>"), ("confirm", "stop everything")];
    assert_eq!(form(&mut olga, "/settings/kill", &both).status, 303);
    for path in PAGES {
        let text = page(&mut olga, path);
        assert!(text.contains("class=\"killbar\"") && text.contains("agents &lt;loop&gt;"), "{path}");
    }
    let call = || stage.gateway.send(&Request::new("GET", "/http/api/v1/x").key(&stage.key)).status;
    until("calls stop", || call() == 503);
    assert_eq!(form(&mut olga, "/settings/kill", &[("on", "false")]).status, 400);
    assert_eq!(form(&mut olga, "/settings/kill", &[("on", "false"), ("sure", "yes")]).status, 303);
    until("calls go on", || call() == 201);
    assert!(!page(&mut olga, "/").contains("class=\"killbar\""));
}

#[test]
fn forms_are_for_their_role() {
    let stage = PagesStage::new();
    for (name, paths) in [
        (
            "vera",
            &["/approvals/batch", "/approvals/ap_0000000000/decide", "/approvals/ap_0000000000/resolve"][..],
        ),
        (
            "ada",
            &[
                "/agents",
                "/agents/laptop",
                "/agents/laptop/keys",
                "/agents/laptop/state",
                "/keys/aaaaaaaa/revoke",
                "/services",
                "/services/api",
                "/services/api/credentials",
                "/services/api/credentials/remove",
                "/services/api/remove",
                "/settings/kill",
                "/settings/operators",
                "/settings/operators/change",
            ],
        ),
    ] {
        let mut browser = stage.browser(name);
        for path in paths {
            let reply = form(&mut browser, path, &[("x", "y")]);
            assert_eq!(reply.status, 403, "{name} {path} {}", reply.text());
            assert!(
                reply.text().contains("takes the role") || reply.text().contains("This takes the role"),
                "{path}"
            );
        }
    }
    // Nobody at all, and an agent.
    let nobody = Request::new("POST", "/agents")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body("name=x");
    assert_eq!(send(stage.gateway.console(), &nobody).status, 401);
    let agent = Request::new("GET", "/agents").key(&stage.key);
    assert_eq!(send(stage.gateway.console(), &agent).status, 401);
}
