//! The console's pages, as a browser without script gets them: links, forms, and what stands in them. What agents and
//! others wrote is text there, and nothing else.

use crate::harness::{pages::*, *};

#[test]
fn every_page_works_for_every_role_and_has_nothing_inline() {
    let stage = PagesStage::new();
    let held = stage.hold(r#"{"amount":1}"#);
    for name in ["olga", "ada", "vera"] {
        let mut browser = stage.browser(name);
        for path in PAGES.into_iter().chain([held.as_str(), "/agents/laptop", "/services/api"]) {
            let text = page(&mut browser, path);
            for inline in [" style=", "<style", "javascript:", " onclick=", " onload=", "<script>"] {
                assert!(!text.contains(inline), "{path} has {inline}");
            }
            for part in ["<main", "<h1>", "lang=\"en\"", "href=\"#main\"", "<nav"] {
                assert!(text.contains(part), "{path} has no {part}");
            }
            assert_eq!(
                text.contains("action=\"/agents#new\""),
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
    let stage = PagesStage::new();
    let mut browser = stage.browser("olga");
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
    let stage = PagesStage::new();
    let mut nobody = Browser::new(&stage.gateway);
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
    let mut browser = stage.browser("olga");
    assert_eq!(form(&mut browser, "/logout", &[]).status, 303);
    assert_eq!(browser.get("/").status, 303);
}

#[test]
fn an_empty_console_says_what_to_do_first() {
    let home = Home::new(PAGES_POLICY);
    let ada = home.operator("ada", "owner");
    let gateway = home.serve();
    let mut browser = logged_in(&gateway, &ada);
    let text = page(&mut browser, "/");
    for words in [
        "1 of 4 done",
        "Add a service",
        "toolgate services apply -f services.yaml --home ",
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
fn what_an_agent_writes_stays_text() {
    let stage = PagesStage::new();
    let evil = "\"><script>alert(1)</script>\u{202e}\u{200b}";
    let body = serde_json::json!({ "amount": 1, "note": evil }).to_string();
    let request = Request::new("POST", "/http/api/v1/refunds").key(&stage.key);
    let request = request
        .header("Content-Type", "application/json")
        .header("X-Toolgate-Intent", "<img src=x onerror=1>");
    let held = stage.gateway.send(&request.body(body));
    assert_eq!(held.status, 428, "{}", held.text());
    let call = held.call_id().to_owned();
    stage.gateway.send(&Request::new("GET", "/http/api/%3Cb%3E").key(&stage.key));
    stage.gateway.send(&Request::new("GET", "/http/%3Ci%3E/x").key(&stage.key));
    let mut ada = stage.browser("ada");
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
fn calls_are_found_followed_and_verified() {
    let stage = PagesStage::new();
    let mut ada = stage.browser("ada");
    for number in 0..60 {
        stage.gateway.send(&Request::new("GET", &format!("/http/api/v1/item/{number}")).key(&stage.key));
    }
    stage.gateway.send(&Request::new("DELETE", "/http/api/v1/item/1").key(&stage.key));
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
    let stage = PagesStage::new();
    let mut ada = stage.browser("ada");
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
    stage.gateway.write("policy.yaml", "version: 1\nroles: [");
    let told = until_page(&mut ada, "/policy", "the one below stays in force");
    assert!(told.contains("2 people approve"));
}

#[test]
fn the_first_owner_comes_by_the_link_that_serve_prints() {
    let gateway = Home::new(PAGES_POLICY).serve();
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
