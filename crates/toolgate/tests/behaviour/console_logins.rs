//! Logging in to the console: who they are, for how long, and what happens to stolen tokens.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Browser, Gateway, Home, PASSWORD, POLICY, Request, eventually, send, until};

const ACCESS: &str = "toolgate-access";
const REFRESH: &str = "toolgate-refresh";

/// What takes longer than this does not happen at once.
const SLOW: Duration = Duration::from_secs(5);

fn begun() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test has no other clock")]
    Instant::now()
}

fn with_ada() -> (Gateway, String) {
    let home = Home::new(POLICY);
    let ada = home.operator("ada", "owner");
    (home.serve(), ada)
}

#[test]
fn a_login_gives_an_access_token_and_two_cookies_that_scripts_cannot_read() {
    let (gateway, ada) = with_ada();
    let mut browser = Browser::new(&gateway);
    let reply = browser.log_in(&ada, PASSWORD);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let login = reply.json();
    assert_eq!((&login["operator"], &login["role"]), (&json!(ada), &json!("owner")));
    assert_eq!((&login["expires_in"], &login["token_type"]), (&json!(900), &json!("Bearer")));
    let cookies = reply.all("set-cookie");
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    for cookie in cookies {
        assert!(cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"), "{cookie}");
        assert!(cookie.contains("; Path=/;") && !cookie.contains("Domain"), "{cookie}");
    }
    let access = login["access_token"].as_str().unwrap();
    assert_eq!(access.split('.').count(), 3, "a JWT");
    let me = send(gateway.console(), &Request::new("GET", "/api/me").key(access));
    assert_eq!((me.status, &me.json()["operator"]), (200, &json!(ada)));
    assert!(me.json().get("csrf_token").is_none(), "who sends a header needs none");
    let refresh = &browser.cookies[REFRESH];
    let as_access = send(gateway.console(), &Request::new("GET", "/api/me").key(refresh));
    assert_eq!(as_access.status, 401, "a refresh token renews, and opens nothing");
}

#[test]
fn every_failure_to_log_in_says_the_same() {
    let (gateway, ada) = with_ada();
    let off = gateway.operator("off", "owner");
    gateway.ok(&["operators", "disable", &off]);
    let mut browser = Browser::new(&gateway);
    let mut said = Vec::new();
    for (email, password) in [
        (&*ada, "copper otter violet 38"),
        ("nobody@example.com", PASSWORD),
        (&*off, PASSWORD),
        ("no address", PASSWORD),
        (&*ada, ""),
    ] {
        let reply = browser.log_in(email, password);
        assert_eq!(reply.status, 401, "{email}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert!(reply.all("set-cookie").is_empty());
        said.push(reply.text());
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("\"detail\":\"invalid credentials\""), "{said:?}");
    until("the trail to have them", || {
        let events = gateway.events();
        let denied = |event: &&serde_json::Value| {
            event["kind"] == "refusal" && event["action"] == "POST /api/login" && event["status"] == 401
        };
        events.iter().filter(denied).count() == 5
    });
}

#[test]
fn guessing_at_one_address_waits() {
    let (gateway, ada) = with_ada();
    // An address that nobody has waits like one that somebody has.
    for (email, right) in [(&*ada, PASSWORD), ("nobody@example.com", "wrong wrong wrong")] {
        let mut browser = Browser::new(&gateway);
        let begun = begun();
        for _ in 0..3 {
            assert_eq!(browser.log_in(email, "wrong wrong wrong").status, 401);
        }
        let reply = browser.log_in(email, right);
        // After ten seconds the wait is over, however slow the machine is.
        assert!(reply.status == 429 || begun.elapsed() > SLOW, "the right one waits too: {}", reply.text());
        if reply.status == 429 {
            assert!(reply.header("retry-after").unwrap().parse::<u64>().unwrap() <= 10);
            until("the trail to have it", || {
                gateway.events().iter().any(|event| {
                    (&event["action"], &event["status"]) == (&json!("POST /api/login"), &json!(429))
                })
            });
        }
    }
}

#[test]
fn a_refresh_token_that_comes_twice_ends_the_login() {
    let (gateway, ada) = with_ada();
    let mut browser = Browser::of(&gateway, &ada);
    let stolen = browser.cookies.clone();
    let reply = browser.write("POST", "/api/refresh", &json!({}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_ne!(browser.cookies[REFRESH], stolen[REFRESH], "it is another one each time");
    assert_eq!(browser.get("/api/me").status, 200);

    let mut thief = Browser::new(&gateway);
    thief.cookies = stolen;
    assert_eq!(thief.write("POST", "/api/refresh", &json!({})).status, 401);
    assert_eq!(browser.get("/api/me").status, 401, "neither of the two goes on");
    assert_eq!(browser.write("POST", "/api/refresh", &json!({})).status, 401);
    let reused = |event: &serde_json::Value| event["action"] == "operators.session.reused";
    assert_eq!(gateway.events().iter().filter(|event| reused(event)).count(), 1);
    // Another login goes on.
    let mut other = Browser::of(&gateway, &ada);
    assert_eq!(other.get("/api/me").status, 200);
}

#[test]
fn an_expired_access_token_is_renewed_on_the_way_and_pages_that_load_at_once_do_no_harm() {
    let home = Home::new(POLICY).set("console.session.access=1s");
    let ada = home.operator("ada", "owner");
    let gateway = home.serve();
    let (mut tabs, old) = eventually("three pages to load at once", || {
        let browser = Browser::of(&gateway, &ada);
        let old = browser.cookies.clone();
        until("the access token to expire", || {
            let request = Request::new("GET", "/api/me").key(&old[ACCESS]);
            send(gateway.console(), &request).status == 401
        });
        let mut tabs: Vec<Browser> = (0..3)
            .map(|_| {
                let mut tab = Browser::new(&gateway);
                tab.cookies = old.clone();
                tab
            })
            .collect();
        let begun = begun();
        let replies: Vec<_> = tabs.iter_mut().map(|tab| tab.get("/api/me").status).collect();
        // On a machine that stood still they did not load at once.
        let at_once = begun.elapsed() < SLOW;
        assert!(!at_once || replies == [200; 3], "{replies:?}");
        at_once.then_some((tabs, old))
    });
    let refreshed = |tab: &&Browser| tab.cookies[REFRESH] != old[REFRESH];
    assert_eq!(tabs.iter().filter(refreshed).count(), 1, "one of them was given the new refresh token");
    // A script with the spent token is a thief.
    let mut thief = Browser::new(&gateway);
    thief.cookies = old;
    assert_eq!(thief.write("POST", "/api/refresh", &json!({})).status, 401);
    assert!(tabs.iter_mut().all(|tab| {
        tab.cookies.remove(ACCESS);
        tab.get("/api/me").status == 401
    }));
}

#[test]
fn a_login_ends_unused_by_a_logout_by_an_owner_and_with_its_operator() {
    let home = Home::new(POLICY).set("console.session.idle=3s").set("console.session.access=1s");
    let ada = home.operator("ada", "owner");
    let gateway = home.serve();
    let mut idle = Browser::of(&gateway, &ada);
    std::thread::sleep(std::time::Duration::from_millis(3_100));
    assert_eq!(idle.get("/api/me").status, 401);
    drop(gateway);

    let (gateway, ada) = with_ada();
    let eve = gateway.operator("eve", "viewer");
    let mut out = Browser::of(&gateway, &ada);
    let kept = out.cookies.clone();
    assert_eq!(out.write("POST", "/api/logout", &json!({})).status, 204);
    assert!(out.cookies.is_empty(), "the browser forgets it");
    out.cookies = kept;
    assert_eq!(out.get("/api/me").status, 401, "so does the gateway");

    let (mut owner, mut viewer) = (Browser::of(&gateway, &ada), Browser::of(&gateway, &eve));
    let seen = viewer.get("/api/sessions").json();
    assert_eq!(seen["items"].as_array().unwrap().len(), 1, "only one's own: {seen}");
    let (own, address) = (seen["items"][0]["id"].as_str().unwrap(), &seen["items"][0]["address"]);
    assert_eq!(address, "127.0.0.1");
    let all = owner.get("/api/sessions").json();
    assert_eq!(all["items"].as_array().unwrap().len(), 2, "{all}");
    let owners = all["items"].as_array().unwrap().iter().find(|session| session["operator"] == ada).unwrap();
    let owners = format!("/api/sessions/{}", owners["id"].as_str().unwrap());
    assert_eq!(viewer.write("DELETE", &owners, &json!({})).status, 404, "somebody else's");
    until("the trail to have who tried", || {
        gateway.events().iter().any(|event| {
            event["action"] == "DELETE /api/sessions/{id}"
                && event["operator"] == json!(eve)
                && event["status"] == 404
        })
    });
    assert_eq!(owner.write("DELETE", &format!("/api/sessions/{own}"), &json!({})).status, 204);
    assert_eq!(viewer.get("/api/me").status, 401);

    let mut again = Browser::of(&gateway, &eve);
    gateway.ok(&["operators", "disable", &eve]);
    assert_eq!(again.get("/api/me").status, 401);
    gateway.ok(&["operators", "enable", &eve]);
    assert_eq!(again.get("/api/me").status, 401, "enabling brings no login back");
}

#[test]
fn the_first_owner_comes_by_a_link_that_is_good_once() {
    let gateway = Home::new(POLICY).serve();
    let said = gateway.said();
    let line = said.lines().find(|line| line.starts_with("welcome")).unwrap();
    let token = line.split_once("/welcome?token=").unwrap().1.split_whitespace().next().unwrap();
    let mut browser = Browser::new(&gateway);
    let mut accept = |token: &str, password: &str| {
        let body = json!({ "token": token, "email": "ada@example.com", "password": password });
        browser.send(Request::post("/api/welcome", body.to_string()))
    };
    assert_eq!(accept(&"0".repeat(64), PASSWORD).status, 403);
    assert_eq!(accept(token, "too short").status, 422, "it stays good");
    let reply = accept(token, PASSWORD);
    assert_eq!((reply.status, &reply.json()["role"]), (201, &json!("owner")), "{}", reply.text());
    assert_eq!(accept(token, PASSWORD).status, 403, "it is spent");
    assert_eq!(browser.get("/api/me").json()["operator"], "ada@example.com");
    drop(gateway);

    let (gateway, _) = with_ada();
    assert!(!gateway.said().contains("welcome"), "there is an operator");
}

#[test]
fn behind_tls_cookies_are_bound_to_this_host() {
    let home = Home::new(POLICY).set("console.public_url=https://console.example.com");
    let ada = home.operator("ada", "owner");
    let gateway = home.serve();
    let mut browser = Browser::new(&gateway);
    let reply = browser.log_in(&ada, PASSWORD);
    for cookie in reply.all("set-cookie") {
        assert!(cookie.starts_with("__Host-toolgate-") && cookie.ends_with("; Secure"), "{cookie}");
    }
    let me = browser.get("/api/me");
    assert_eq!((me.status, me.header("strict-transport-security")), (200, Some("max-age=31536000")));
    let health = send(gateway.console(), &Request::new("GET", "/healthz"));
    assert!(health.header("strict-transport-security").is_some());
    // A cookie of the plain name may have been set by a page of another port.
    let planted = browser.cookies.iter().map(|(name, value)| (name.replace("__Host-", ""), value.clone()));
    browser.cookies = planted.collect();
    assert_eq!(browser.get("/api/me").status, 401);
}
