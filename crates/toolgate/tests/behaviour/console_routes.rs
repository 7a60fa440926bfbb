//! Every route of the console and of the gateway, for everybody it is not for; the trail tells who tried. The console's come from
//! docs/console-routes.md, which a test of the console's own keeps complete.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{Browser, Gateway, Home, PASSWORD, POLICY, Reply, Request, Stage, attempt, send, until};

/// One row of the table.
struct Row {
    method: &'static str,
    path: &'static str,
    least: &'static str,
}

const RANKS: [&str; 3] = ["viewer", "approver", "owner"];

/// What anybody may ask for: logging in and out, files, what the API is. This list may only shrink.
const FOR_ANYONE: [&str; 12] = [
    "POST /api/login",
    "POST /api/refresh",
    "POST /api/logout",
    "POST /api/welcome",
    "GET /api/openapi.json",
    "GET /login",
    "POST /login",
    "GET /welcome",
    "POST /welcome",
    "POST /logout",
    "GET /assets/{file}",
    "GET /favicon.ico",
];

/// Where an agent's key would open something, and nothing else does.
const GATEWAY: [(&str, &str); 14] = [
    ("POST", "/mcp/web"),
    ("GET", "/mcp/web"),
    ("DELETE", "/mcp/web"),
    ("GET", "/http/api/v1"),
    ("POST", "/http/api/v1"),
    ("PUT", "/http/api/v1"),
    ("PATCH", "/http/api/v1"),
    ("DELETE", "/http/api/v1"),
    ("POST", "/proxy"),
    ("POST", "/v1/explain"),
    ("GET", "/v1/services"),
    ("GET", "/v1/approvals/ap_0000000000"),
    ("GET", "/v1/approvals/ap_0000000000/result"),
    ("DELETE", "/v1/approvals/ap_0000000000"),
];

fn rows() -> Vec<Row> {
    let table = include_str!("../../../../docs/console-routes.md");
    let rows: Vec<Row> = table
        .lines()
        .filter_map(|line| {
            let [method, path, least] = line
                .strip_prefix("| ")?
                .strip_suffix(" |")?
                .split(" | ")
                .collect::<Vec<_>>()
                .try_into()
                .ok()?;
            Some(Row { method, path: path.strip_prefix('`')?.strip_suffix('`')?, least })
        })
        .collect();
    assert!(rows.len() > 60, "{}", rows.len());
    rows
}

/// A request that a row takes, with something in the place of its braces, and nothing in its body.
fn request(row: &Row) -> Request {
    let path = row.path.replace("{id}", "ap_0000000000").replace("{call}", "c_000000000000");
    let path = path.replace("{name}", "nothing").replace("{email}", "x%40example.com");
    let request = Request::new(row.method, &path.replace("{file}", "nothing.css"));
    match row.method {
        "GET" => request,
        _ if row.path.starts_with("/api/") => request.header("Content-Type", "application/json").body("{}"),
        _ => request.header("Content-Type", "application/x-www-form-urlencoded").body(""),
    }
}

/// Denials as the trail is to have them: route, status, who, why.
type Denials = BTreeMap<(String, u64, String, String), usize>;

/// Waits until the trail has these denials, and no others.
fn denied_are(gateway: &Gateway, wanted: &Denials) {
    until("the trail to have as many denials", || {
        found(gateway).values().sum::<usize>() >= wanted.values().sum::<usize>()
    });
    let found = found(gateway);
    let differ = |one: &Denials, other: &Denials| {
        one.iter()
            .filter(|(cause, count)| other.get(cause) != Some(count))
            .map(|(cause, _)| cause.clone())
            .collect()
    };
    let (missing, strange): (Vec<_>, Vec<_>) = (differ(wanted, &found), differ(&found, wanted));
    assert!(missing.is_empty() && strange.is_empty(), "missing: {missing:#?}\nstrange: {strange:#?}");
}

fn found(gateway: &Gateway) -> Denials {
    let mut found = Denials::new();
    for event in gateway.events().iter().filter(|event| event["method"] == "console") {
        assert_eq!(
            (&event["kind"], &event["args"]["from"]),
            (&"refusal".into(), &"127.0.0.1".into()),
            "{event}"
        );
        let text = |member: &Value| member.as_str().unwrap_or_default().to_owned();
        let (who, why) = (text(&event["operator"]), text(&event["error"]["message"]));
        let cause = (text(&event["action"]), event["status"].as_u64().unwrap(), who, why);
        *found.entry(cause).or_default() += 1;
    }
    found
}

#[test]
fn nobody_comes_in_but_people_with_the_role_and_the_trail_tells_who_tried() {
    let stage = Stage::with(Home::new(POLICY).set("console.session.access=1s"));
    let gateway = &stage.gateway;
    let people = RANKS.map(|role| gateway.operator(role, role));
    let tokens = people.clone().map(|email| gateway.operator_token(&email));
    let replayed = {
        let mut browser = Browser::of(gateway, &people[2]);
        let kept = browser.cookies.clone();
        assert_eq!(browser.write("POST", "/api/logout", &serde_json::json!({})).status, 204);
        browser.cookies = kept;
        browser
    };
    let mut forged = Browser::new(gateway);
    forged.cookies.insert("toolgate-access".into(), "e30.e30.e30".into());
    let login = Browser::new(gateway).log_in(&people[2], PASSWORD).json();
    let expired = login["access_token"].as_str().unwrap();
    // Its signature and its session stay good.
    until("the access token to expire", || {
        // It leads on whoever is logged in.
        send(gateway.console(), &Request::new("GET", "/login").key(expired)).status == 200
    });

    let mut denials = Denials::new();
    let mut deny = |row: &str, status: u64, who: &str, why: &str| {
        *denials.entry((row.into(), status, who.into(), why.into())).or_default() += 1;
    };
    const NO_SESSION: &str = "no such session, or one that has ended";
    let mut for_anyone = Vec::new();
    for row in rows() {
        let shown = format!("{} {}", row.method, row.path);
        let ask = |request: Request| send(gateway.console(), &request);
        let foreign = ask(request(&row).header("Sec-Fetch-Site", "cross-site"));
        assert_eq!(foreign.status, 403, "{shown} for another site");
        deny(&shown, 403, "", "the request comes from another site's page; open the console itself");
        if row.least == "anyone" {
            for_anyone.push(shown);
            continue;
        }
        let least = RANKS.iter().position(|role| *role == row.least).unwrap();
        let to_login = |reply: &Reply| {
            let login = reply.header("location").unwrap_or_default();
            reply.status == 303 && login.starts_with("/login")
        };

        let nobody = ask(request(&row));
        if row.method == "GET" && !row.path.starts_with("/api/") && row.path != "/metrics" {
            assert!(to_login(&nobody), "{shown}: {}", nobody.status);
        } else {
            assert_eq!(nobody.status, 401, "{shown}");
            deny(&shown, 401, "", "no session and no token");
        }
        for key in [&*stage.key, expired] {
            assert_eq!(ask(request(&row).key(key)).status, 401, "{shown} with `{key}`");
            deny(&shown, 401, "", NO_SESSION);
        }
        for browser in [&forged, &replayed] {
            let stale = ask(browser.dressed(request(&row)));
            assert!(stale.status == 401 || to_login(&stale), "{shown} with old cookies: {}", stale.status);
            deny(&shown, 401, "", NO_SESSION);
        }
        for (rank, token) in tokens.iter().enumerate() {
            // A stream has no end that could be waited for; whom it is kept from is known from its head.
            if row.path == "/api/events" && rank >= least {
                continue;
            }
            let reply = ask(request(&row).key(token));
            let too_low = reply.status == 403 && reply.text().contains("akes the role");
            assert_eq!(
                too_low,
                rank < least,
                "{shown} as {}: {} {}",
                RANKS[rank],
                reply.status,
                reply.text()
            );
            if too_low {
                let why =
                    format!("this takes the role {}, and yours is {}; ask an owner", row.least, RANKS[rank]);
                deny(&shown, 403, &people[rank], &why);
            }
            if reply.status == 403 && !too_low {
                let undone = match shown.as_str() {
                    "POST /settings/tokens" => "made",
                    "POST /settings/password" => "changed",
                    _ => panic!("{shown}: {}", reply.text()),
                };
                let why = format!("this is not your password; nothing was {undone}");
                deny(&shown, 403, &people[rank], &why);
            }
            assert_ne!(reply.status, 401, "{shown} as {}", RANKS[rank]);
            assert!(reply.status < 500, "{shown} as {}: {}", RANKS[rank], reply.text());
        }
    }
    assert_eq!(for_anyone, FOR_ANYONE);
    denied_are(gateway, &denials);
}

#[test]
fn a_browser_does_nothing_without_the_token_of_its_session_or_for_another_site() {
    let stage = Stage::new();
    let ada = stage.gateway.operator("ada", "owner");
    let browser = Browser::of(&stage.gateway, &ada);
    let address = stage.gateway.console();
    let mut denials = Denials::new();
    let mut deny = |row: &str, who: &str, why: &str| {
        *denials.entry((row.into(), 403, who.into(), why.into())).or_default() += 1;
    };
    for row in rows().iter().filter(|row| row.method != "GET") {
        let shown = format!("{} {}", row.method, row.path);
        let foreign = browser.dressed(request(row)).header("Origin", "https://evil.test");
        assert_eq!(send(address, &foreign).status, 403, "{shown} for another site");
        deny(&shown, "", "the request comes from another site's page; open the console itself");
        let rebound = browser.dressed(request(row)).header("Host", "evil.test");
        assert_eq!(send(address, &rebound).status, 403, "{shown} by another name");
        deny(
            &shown,
            "",
            "the Host is not one of this console's names (console.allowed_hosts); open it under one of them",
        );
        if row.least != "anyone" {
            let bare = browser.dressed(request(row));
            let wrong = browser.dressed(request(row)).header("X-CSRF-Token", "wrong");
            for forged in [bare, wrong] {
                assert_eq!(send(address, &forged).status, 403, "{shown} without its token");
                deny(
                    &shown,
                    &ada,
                    "the request lacks the token of its session; reload the page, then repeat",
                );
            }
        }
    }
    assert_eq!(send(address, &browser.dressed(Request::new("GET", "/api/me"))).status, 200);
    denied_are(&stage.gateway, &denials);
}

#[test]
fn no_token_of_a_person_opens_a_door_of_the_gateway() {
    let stage = Stage::with(Home::new(POLICY).set("gateway.trusted_proxies=127.0.0.0/8"));
    let ada = stage.gateway.operator("ada", "owner");
    let token = stage.gateway.operator_token(&ada);
    let mut browser = Browser::of(&stage.gateway, &ada);
    let access = browser.log_in(&ada, PASSWORD).json()["access_token"].as_str().unwrap().to_owned();
    let mut sources = 0;
    for (method, path) in GATEWAY {
        // Each request comes from a source of its own: who guesses keys is limited.
        let mut request = || {
            sources += 1;
            let request =
                Request::new(method, path).header("X-Forwarded-For", &format!("203.0.113.{sources}"));
            if method == "GET" {
                return request;
            }
            request.header("Content-Type", "application/json").body("{}")
        };
        let mut requests = vec![browser.dressed(request())];
        for secret in [&token, &access, &browser.cookies["toolgate-refresh"]] {
            requests.extend([request().key(secret), request().header("X-API-Key", secret)]);
        }
        for request in requests {
            let reply = attempt(stage.gateway.address(), &request).unwrap();
            assert_eq!(reply.status, 401, "{method} {path}: {}", reply.text());
        }
    }
    assert_eq!(stage.web.count(), 0);
}
