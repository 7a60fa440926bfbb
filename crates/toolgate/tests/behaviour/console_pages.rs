//! The console's pages, as a browser without script gets them: links, forms, and what stands in them. What agents and
//! others wrote is text there, and nothing else.

use crate::harness::{Browser, Gateway, Home, PASSWORD, Reply, Request, Upstream, answer, send, until};

const POLICY: &str = r#"
version: 1
roles:
  user:
    allow:
      - { service: api, requests: ["GET /v1/**"] }
    approve:
      - { name: big refunds, service: api, requests: ["POST /v1/refunds"], when: args.amount > 1000, approvals: 2 }
      - { name: refunds, service: api, requests: ["POST /v1/refunds"] }
limits:
  per_key: 100000/1s
  per_tool: 100000/1s
  refusals: 100000/1s
"#;

/// Every page that needs no id.
const PAGES: [&str; 8] =
    ["/", "/approvals", "/approvals?show=decided", "/calls", "/agents", "/services", "/policy", "/settings"];

struct Scene {
    gateway: Gateway,
    api: Upstream,
    key: String,
}

impl Scene {
    fn new() -> Self {
        let api = Upstream::start(|_| {
            answer("201 Created", "Content-Type: application/json\r\n", "{\"id\":\"re_<b>1</b>\"}")
        });
        let home = Home::new(POLICY).set("gateway.hold=50ms").services(&[api.declare_api("api", "")]);
        let key = home.key("laptop", "user", "api");
        for (name, role) in
            [("olga", "owner"), ("ada", "approver"), ("grace", "approver"), ("vera", "viewer")]
        {
            home.operator(name, role);
        }
        Self { gateway: home.serve(), api, key }
    }

    fn browser(&self, name: &str) -> Browser {
        logged_in(&self.gateway, &format!("{name}@example.com"))
    }

    fn post(&self, body: &str) -> Reply {
        let request = Request::new("POST", "/http/api/v1/refunds").key(&self.key);
        self.gateway.send(&request.header("Content-Type", "application/json").body(body.as_bytes()))
    }

    /// A call that is held: the path of its page.
    fn hold(&self, body: &str) -> String {
        let reply = self.post(body);
        assert_eq!(reply.status, 428, "{}", reply.text());
        let text = reply.text();
        let start = text.find("ap_").unwrap();
        format!("/approvals/{}", &text[start..start + 13])
    }
}

/// A browser that logged in with the form.
fn logged_in(gateway: &Gateway, email: &str) -> Browser {
    let mut browser = Browser::new(gateway);
    let reply = form(&mut browser, "/login", &[("email", email), ("password", PASSWORD), ("next", "/calls")]);
    assert_eq!((reply.status, reply.header("location")), (303, Some("/calls")), "{}", reply.text());
    browser
}

/// Sends a form with the hidden token of the page that it stands on.
fn form(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Reply {
    let page = browser.get("/settings").text();
    let token =
        page.split("name=\"csrf\" value=\"").nth(1).map(|rest| rest[..rest.find('"').unwrap()].to_owned());
    let token = token.unwrap_or_default();
    let mut all = fields.to_vec();
    all.push(("csrf", &token));
    send_form(browser, path, &all)
}

fn send_form(browser: &mut Browser, path: &str, fields: &[(&str, &str)]) -> Reply {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
    let body: Vec<_> =
        fields.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    let request = Request::new("POST", path)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Sec-Fetch-Site", "same-origin")
        .body(body.join("&"));
    browser.send(request)
}

fn page(browser: &mut Browser, path: &str) -> String {
    let reply = browser.get(path);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    reply.text()
}

/// The value of a hidden field.
fn field(page: &str, name: &str) -> String {
    let mark = format!("name=\"{name}\" value=\"");
    let rest = &page[page.find(&mark).unwrap_or_else(|| panic!("no {name} in {page}")) + mark.len()..];
    rest[..rest.find('"').unwrap()].to_owned()
}

#[test]
fn every_page_works_for_every_role_and_has_nothing_inline() {
    let scene = Scene::new();
    let held = scene.hold(r#"{"amount":1}"#);
    for name in ["olga", "ada", "vera"] {
        let mut browser = scene.browser(name);
        for path in PAGES.into_iter().chain([held.as_str(), "/agents/laptop", "/services/api"]) {
            let text = page(&mut browser, path);
            for inline in [" style=", "<style", "javascript:", " onclick=", " onload=", "<script>"] {
                assert!(!text.contains(inline), "{path} has {inline}");
            }
            for part in ["<main", "<h1>", "lang=\"en\"", "href=\"#main\"", "<nav"] {
                assert!(text.contains(part), "{path} has no {part}");
            }
            assert_eq!(
                text.contains("action=\"/agents\""),
                name == "olga" && path == "/agents",
                "{name} {path}"
            );
        }
        let text = page(&mut browser, &held);
        assert_eq!(text.contains("/decide\""), name != "vera", "{name}");
    }
}

#[test]
fn a_page_is_small_and_its_files_are_kept_for_ever() {
    let scene = Scene::new();
    let mut browser = scene.browser("olga");
    let text = page(&mut browser, "/");
    let mut bytes = text.len();
    for rest in text.split("\"/assets/").skip(1) {
        let path = format!("/assets/{}", &rest[..rest.find('"').unwrap()]);
        let file = browser.get(&path);
        assert_eq!(file.status, 200, "{path}");
        assert!(file.header("cache-control").unwrap().contains("immutable"), "{path}");
        bytes += file.body.len();
    }
    assert!(bytes < 90 * 1024, "{bytes} bytes before compression");
    assert_eq!(browser.get("/assets/app-00000000.css").status, 404);
}

#[test]
fn nobody_sees_a_page_without_a_login_and_comes_back_to_it_after() {
    let scene = Scene::new();
    let mut nobody = Browser::new(&scene.gateway);
    for path in PAGES {
        let reply = nobody.get(path);
        assert_eq!(reply.status, 303, "{path}");
        assert!(reply.header("location").unwrap().starts_with("/login"), "{path}");
    }
    let reply = nobody.get("/calls?agent=a%26b");
    assert_eq!(reply.header("location"), Some("/login?next=%2Fcalls%3Fagent%3Da%2526b"));
    // A link in a chat comes without cookies; the page it leads to opens itself once more.
    let link = Request::new("GET", "/approvals/ap_0000000000").header("Sec-Fetch-Site", "cross-site");
    let reply = nobody.send(link.header("Sec-Fetch-Mode", "navigate"));
    assert!(
        reply.status == 200 && reply.text().contains("0;url=/approvals/ap_0000000000"),
        "{}",
        reply.text()
    );
    let wrong =
        form(&mut nobody, "/login", &[("email", "olga@example.com"), ("password", "not this one at all")]);
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("Invalid credentials") && !wrong.text().contains("not this one"));
    let mut browser = scene.browser("olga");
    assert_eq!(form(&mut browser, "/logout", &[]).status, 303);
    assert_eq!(browser.get("/").status, 303);
}

#[test]
fn an_empty_console_says_what_to_do_first() {
    let home = Home::new(POLICY);
    let ada = home.operator("ada", "owner");
    let gateway = home.serve();
    let mut browser = logged_in(&gateway, &ada);
    let text = page(&mut browser, "/");
    for words in [
        "1 of 4 done",
        "Add a service",
        "toolgate services apply -f services.yaml",
        "Waiting for the first call",
    ] {
        assert!(text.contains(words), "{words}");
    }
    for (path, words) in [
        ("/approvals", "Nothing waits for you"),
        ("/calls", "No call yet"),
        ("/agents", "Make the first agent"),
        ("/services", "Add the first service"),
        ("/policy", "There is nothing to explain yet"),
    ] {
        assert!(page(&mut browser, path).contains(words), "{path}");
    }
}

#[test]
fn a_held_call_is_approved_with_a_form_and_sent_once() {
    let scene = Scene::new();
    let path = scene.hold(r#"{"amount":89,"charge":"ch_1"}"#);
    let mut ada = scene.browser("ada");
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
    until("the call is sent", || scene.api.count() == 1);
    let result = until_page(&mut ada, &path, "Executed, 201");
    assert!(result.contains("re_&lt;b&gt;1&lt;/b&gt;") && result.contains("Approved by ada@example.com"));
    // Somebody else comes too late, and is told who was first.
    let mut grace = scene.browser("grace");
    let late = form(&mut grace, &decide, &choose("approve"));
    assert_eq!(late.status, 409);
    assert!(late.text().contains("by ada@example.com"), "{}", late.text());
    assert_eq!((scene.post(r#"{"amount":89,"charge":"ch_1"}"#).status, scene.api.count()), (201, 1));
    assert!(page(&mut ada, "/approvals?show=decided").contains(&path));
}

#[test]
fn two_people_must_approve_where_the_rule_says_so() {
    let scene = Scene::new();
    let path = scene.hold(r#"{"amount":5000}"#);
    for (name, before) in [("ada", "0 of 2 people have approved"), ("grace", "1 of 2 people have approved")] {
        let mut browser = scene.browser(name);
        let shown = page(&mut browser, &path);
        assert!(shown.contains(before), "{name}");
        let digest = field(&shown, "digest");
        let fields = [("decision", "approve"), ("digest", digest.as_str())];
        assert_eq!(form(&mut browser, &format!("{path}/decide"), &fields).status, 303);
        if name == "ada" {
            assert!(page(&mut browser, &path).contains("Another operator must approve it too"));
            assert_eq!(form(&mut browser, &format!("{path}/decide"), &fields).status, 409);
            assert_eq!(scene.api.count(), 0);
        }
    }
    until("the call is sent", || scene.api.count() == 1);
}

#[test]
fn a_decision_counts_for_what_was_shown_and_for_nothing_else() {
    let scene = Scene::new();
    let path = scene.hold(r#"{"amount":7}"#);
    let decide = format!("{path}/decide");
    let mut ada = scene.browser("ada");
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
    assert_eq!(form(&mut scene.browser("vera"), &decide, &fields).status, 403);
    assert_eq!(scene.post(r#"{"amount":7}"#).status, 428);
    assert_eq!(scene.api.count(), 0);
}

#[test]
fn several_calls_are_decided_together_each_by_its_own_digest() {
    let scene = Scene::new();
    let mut ada = scene.browser("ada");
    let paths: Vec<String> = (1..=3).map(|amount| scene.hold(&format!(r#"{{"amount":{amount}}}"#))).collect();
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
    until("two calls are sent", || scene.api.count() == 2);
    assert!(page(&mut ada, &paths[2]).contains("It waits for one person"));
    assert_eq!(form(&mut ada, "/approvals/batch", &[("decision", "approve")]).status, 400);
}

#[test]
fn what_an_agent_writes_stays_text() {
    let scene = Scene::new();
    let evil = "\"><script>alert(1)</script>\u{202e}\u{200b}";
    let body = serde_json::json!({ "amount": 1, "note": evil }).to_string();
    let request = Request::new("POST", "/http/api/v1/refunds").key(&scene.key);
    let request = request
        .header("Content-Type", "application/json")
        .header("X-Toolgate-Intent", "<img src=x onerror=1>");
    let held = scene.gateway.send(&request.body(body));
    assert_eq!(held.status, 428, "{}", held.text());
    let call = held.call_id().to_owned();
    scene.gateway.send(&Request::new("GET", "/http/api/%3Cb%3E").key(&scene.key));
    scene.gateway.send(&Request::new("GET", "/http/%3Ci%3E/x").key(&scene.key));
    let mut ada = scene.browser("ada");
    let text = held.text();
    let id = &text[text.find("ap_").unwrap()..][..13];
    until("the trail has the refusals", || page(&mut ada, "/calls").matches("/calls/c_").count() >= 3);
    for path in [
        format!("/approvals/{id}"),
        "/approvals".into(),
        "/calls".into(),
        format!("/calls/{call}"),
        "/".into(),
    ] {
        let text = page(&mut ada, &path);
        for raw in ["<script>alert", "<img src=x", "<b>", "<i>", "\u{202e}", "\u{200b}"] {
            let ours = raw == "<b>" && text.contains("<b>"); // our own emphasis
            assert!(ours || !text.contains(raw), "{path} has {raw}");
        }
    }
    let shown = page(&mut ada, &format!("/approvals/{id}"));
    assert!(
        shown.contains("<mark class=\"cp\">\\u{202e}</mark>") && shown.contains("2 characters do not show"),
        "{shown}"
    );
    assert!(shown.contains("&lt;img src=x onerror=1&gt;"));
}

#[test]
fn an_agent_is_made_and_its_key_is_shown_once() {
    let scene = Scene::new();
    let mut olga = scene.browser("olga");
    let fields = [("name", "docs-writer"), ("role", "user"), ("scope", "api"), ("expires", "30d")];
    let made = form(&mut olga, "/agents", &fields);
    assert_eq!(made.status, 201, "{}", made.text());
    let text = made.text();
    let key =
        text.split("id=\"new-key\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap().to_owned();
    assert!(key.starts_with("agt_"));
    assert_eq!(scene.gateway.send(&Request::new("GET", "/http/api/v1/x").key(&key)).status, 201);
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
    assert_eq!(form(&mut olga, "/agents/docs-writer", &[("role", "readonly"), ("scope", "")]).status, 303);
    assert!(page(&mut olga, "/agents/docs-writer").contains("Its scope is empty"));
    let revoked = form(&mut olga, &format!("/keys/{}/revoke", &key[4..12]), &[]);
    assert_eq!(revoked.header("location"), Some("/agents/docs-writer?done=revoked"), "{}", revoked.text());
    until("the key stops", || {
        scene.gateway.send(&Request::new("GET", "/http/api/v1/x").key(&key)).status == 401
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
    let scene = Scene::new();
    let mut olga = scene.browser("olga");
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
    let set = [("name", "secret_key"), ("kind", "bearer"), ("value", secret)];
    assert_eq!(form(&mut olga, "/services/tickets/credentials", &set).status, 303);
    let shown = page(&mut olga, "/services/tickets");
    assert!(shown.contains("secret_key") && !shown.contains(secret));
    // Another origin drops the value, and says so.
    let moved = [
        ("url", "https://elsewhere.example"),
        ("network", "public"),
        ("documentation", "How to <b>use</b> it"),
    ];
    let reply = form(&mut olga, "/services/tickets", &moved);
    assert_eq!(reply.header("location"), Some("/services/tickets?done=saved&lost=1"), "{}", reply.text());
    let shown = page(&mut olga, "/services/tickets?done=saved&lost=1");
    assert!(shown.contains("No value") && shown.contains("How to &lt;b&gt;use&lt;/b&gt; it"), "{shown}");
    assert_eq!(form(&mut olga, "/services/tickets/remove", &[("sure", "no")]).status, 400);
    assert_eq!(form(&mut olga, "/services/tickets/remove", &[("sure", "tickets")]).status, 303);
    assert_eq!(olga.get("/services/tickets").status, 404);
}

#[test]
fn the_kill_switch_takes_two_steps_and_shows_on_every_page() {
    let scene = Scene::new();
    let mut olga = scene.browser("olga");
    let first = [("on", "true"), ("reason", "agents loop")];
    assert_eq!(form(&mut olga, "/settings/kill", &first).status, 400);
    let both = [("on", "true"), ("reason", "agents <loop>"), ("confirm", "stop everything")];
    assert_eq!(form(&mut olga, "/settings/kill", &both).status, 303);
    for path in PAGES {
        let text = page(&mut olga, path);
        assert!(text.contains("class=\"killbar\"") && text.contains("agents &lt;loop&gt;"), "{path}");
    }
    let call = || scene.gateway.send(&Request::new("GET", "/http/api/v1/x").key(&scene.key)).status;
    until("calls stop", || call() == 503);
    assert_eq!(form(&mut olga, "/settings/kill", &[("on", "false")]).status, 400);
    assert_eq!(form(&mut olga, "/settings/kill", &[("on", "false"), ("sure", "yes")]).status, 303);
    until("calls go on", || call() == 201);
    assert!(!page(&mut olga, "/").contains("class=\"killbar\""));
}

#[test]
fn forms_are_for_their_role() {
    let scene = Scene::new();
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
        let mut browser = scene.browser(name);
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
    assert_eq!(send(scene.gateway.console(), &nobody).status, 401);
    let agent = Request::new("GET", "/agents").key(&scene.key);
    assert_eq!(send(scene.gateway.console(), &agent).status, 401);
}

#[test]
fn calls_are_found_followed_and_verified() {
    let scene = Scene::new();
    let mut ada = scene.browser("ada");
    for number in 0..60 {
        scene.gateway.send(&Request::new("GET", &format!("/http/api/v1/item/{number}")).key(&scene.key));
    }
    scene.gateway.send(&Request::new("DELETE", "/http/api/v1/item/1").key(&scene.key));
    let rows = |text: &str| text.matches("<a href=\"/calls/c_").count();
    until("the trail has all of it", || page(&mut ada, "/calls").contains("DELETE /v1/item/1"));
    let first = page(&mut ada, "/calls");
    assert_eq!(rows(&first), 50);
    let older = first.split("href=\"/calls?").find(|rest| rest.starts_with("before=")).unwrap();
    let older = page(&mut ada, &format!("/calls?{}", &older[..older.find('"').unwrap()]));
    assert_eq!(rows(&older), 11);
    for (query, count) in [
        ("q=item/7", 1),
        ("decision=refused", 1),
        ("agent=laptop&service=api", 50),
        ("agent=nobody", 0),
        ("q=ITEM/1&decision=forwarded", 11),
        ("q=%27%20OR%201%3D1%20--", 0),
    ] {
        assert_eq!(rows(&page(&mut ada, &format!("/calls?{query}"))), count, "{query}");
    }
    assert_eq!(ada.get("/calls?decision=nonsense").status, 400);
    let call = first.split("<a href=\"").find(|rest| rest.starts_with("/calls/c_")).unwrap();
    let one = page(&mut ada, &call[..call.find('"').unwrap()]);
    assert!(one.contains("Previous, then own hash") && one.contains("gw-1"), "{one}");
    let verified = form(&mut ada, "/calls/verify", &[]);
    assert!(verified.status == 200 && verified.text().contains("The trail is whole"), "{}", verified.text());
    let overview = page(&mut ada, "/?range=day");
    assert!(
        overview.contains("Busiest agents") && overview.contains("<svg viewBox=\"0 0 600 100\""),
        "{overview}"
    );
    assert!(overview.contains("href=\"/calls?time=day&amp;agent=laptop\""), "{overview}");
}

#[test]
fn the_policy_is_told_in_plain_words_and_explains_a_call() {
    let scene = Scene::new();
    let mut ada = scene.browser("ada");
    let text = page(&mut ada, "/policy");
    assert!(text.contains("2 people approve") && text.contains("args.amount &gt; 1000"), "{text}");
    let ask = |browser: &mut Browser, action: &str, args: &str| {
        let fields = [("agent", "laptop"), ("service", "api"), ("action", action), ("args", args)];
        form(browser, "/policy/explain", &fields).text()
    };
    assert!(ask(&mut ada, "GET /v1/x", "").contains("Forwarded."));
    assert!(ask(&mut ada, "POST /v1/refunds", r#"{"amount": 5000}"#).contains("Held for people."));
    assert!(ask(&mut ada, "DELETE /v1/x", "").contains("Refused."));
    assert!(ask(&mut ada, "POST /v1/refunds", "{").contains("cannot be read as JSON"));
    // A file that cannot be read is told of, and the old one stays.
    scene.gateway.write("policy.yaml", "version: 1\nroles: [");
    let told = until_page(&mut ada, "/policy", "the one below stays in force");
    assert!(told.contains("2 people approve"));
}

#[test]
fn the_first_owner_comes_by_the_link_that_serve_prints() {
    let gateway = Home::new(POLICY).serve();
    let said = gateway.said();
    let link = said
        .split_whitespace()
        .find(|word| word.contains("/welcome?token="))
        .unwrap_or_else(|| panic!("{said}"));
    let path = &link[link.find("/welcome").unwrap()..];
    let token = path.split('=').nth(1).unwrap();
    let mut browser = Browser::new(&gateway);
    assert!(browser.get(path).text().contains("The first owner"));
    assert_eq!(browser.get("/welcome?token=0000").status, 403);
    let fields = |password: &'static str, again: &'static str| {
        [("token", token), ("email", "ada@example.com"), ("password", password), ("again", again)]
    };
    assert_eq!(
        send_form(&mut browser, "/welcome", &fields("a long password", "another password")).status,
        400
    );
    assert_eq!(send_form(&mut browser, "/welcome", &fields("short", "short")).status, 422);
    assert_eq!(
        send_form(&mut browser, "/welcome", &fields("a long password", "a long password")).status,
        303
    );
    assert!(page(&mut browser, "/").contains("ada@example.com"));
    assert_eq!(Browser::new(&gateway).get(path).status, 403);
}

fn until_page(browser: &mut Browser, path: &str, words: &str) -> String {
    let mut text = String::new();
    until(words, || {
        text = page(browser, path);
        text.contains(words)
    });
    text
}
