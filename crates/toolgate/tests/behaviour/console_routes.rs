//! Every route of the console and of the gateway, for everybody it is not for. The console's come from
//! docs/console-routes.md, which a test of the console's own keeps complete.

use crate::harness::{Browser, Gateway, Home, PASSWORD, POLICY, Reply, Request, Stage, attempt, send};

/// One row of the table.
struct Row {
    method: &'static str,
    path: &'static str,
    least: &'static str,
}

const RANKS: [&str; 3] = ["viewer", "approver", "owner"];

/// What anybody may ask for: logging in and out, files, what the API is. This list may only shrink.
const FOR_ANYONE: [&str; 13] = [
    "POST /api/login",
    "POST /api/refresh",
    "POST /api/logout",
    "POST /api/welcome",
    "GET /metrics",
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

/// What somebody gets who presents this.
fn ask(gateway: &Gateway, row: &Row, token: Option<&str>) -> Reply {
    let request = request(row);
    send(
        gateway.console(),
        &match token {
            Some(token) => request.key(token),
            None => request,
        },
    )
}

#[test]
fn nobody_comes_in_but_people_with_the_role() {
    let stage = Stage::new();
    let gateway = &stage.gateway;
    let tokens = RANKS.map(|role| gateway.operator_token(&gateway.operator(role, role)));
    let mut for_anyone = Vec::new();
    for row in rows() {
        let shown = format!("{} {}", row.method, row.path);
        if row.least == "anyone" {
            for_anyone.push(shown);
            continue;
        }
        let least = RANKS.iter().position(|role| *role == row.least).unwrap();

        let nobody = ask(gateway, &row, None);
        if row.method == "GET" && !row.path.starts_with("/api/") {
            let login = nobody.header("location").unwrap_or_default();
            assert!(nobody.status == 303 && login.starts_with("/login"), "{shown}: {}", nobody.status);
        } else {
            assert_eq!(nobody.status, 401, "{shown}");
        }
        let altered = format!("{}0", tokens[2]);
        for key in [&*stage.key, "opt_00000000_x_y", "nonsense", &altered] {
            assert_eq!(ask(gateway, &row, Some(key)).status, 401, "{shown} with `{key}`");
        }
        let mut forged = Browser::new(gateway);
        forged.cookies.insert("toolgate-access".into(), "e30.e30.e30".into());
        let stale = send(gateway.console(), &forged.dressed(request(&row)));
        assert!(matches!(stale.status, 401 | 303), "{shown} with a forged cookie: {}", stale.status);

        for (rank, token) in tokens.iter().enumerate() {
            // A stream has no end that could be waited for; whom it is kept from is known from its head.
            if row.path == "/api/events" && rank >= least {
                continue;
            }
            let reply = ask(gateway, &row, Some(token));
            let too_low = reply.status == 403 && reply.text().contains("akes the role");
            assert_eq!(
                too_low,
                rank < least,
                "{shown} as {}: {} {}",
                RANKS[rank],
                reply.status,
                reply.text()
            );
            assert_ne!(reply.status, 401, "{shown} as {}", RANKS[rank]);
            assert!(reply.status < 500, "{shown} as {}: {}", RANKS[rank], reply.text());
        }
    }
    assert_eq!(for_anyone, FOR_ANYONE);
}

#[test]
fn a_browser_does_nothing_without_the_token_of_its_session_or_for_another_site() {
    let stage = Stage::new();
    let ada = stage.gateway.operator("ada", "owner");
    let browser = Browser::of(&stage.gateway, &ada);
    let address = stage.gateway.console();
    for row in rows().iter().filter(|row| row.method != "GET") {
        let shown = format!("{} {}", row.method, row.path);
        let foreign = browser.dressed(request(row)).header("Origin", "https://evil.test");
        assert_eq!(send(address, &foreign).status, 403, "{shown} for another site");
        if row.least != "anyone" {
            assert_eq!(
                send(address, &browser.dressed(request(row))).status,
                403,
                "{shown} without the token"
            );
            let wrong = browser.dressed(request(row)).header("X-CSRF-Token", "wrong");
            assert_eq!(send(address, &wrong).status, 403, "{shown} with another token");
        }
    }
    assert_eq!(send(address, &browser.dressed(Request::new("GET", "/api/me"))).status, 200);
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
