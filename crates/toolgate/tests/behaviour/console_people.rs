//! People at the console: what they may do is changed by owners, and tokens for their scripts take their password.

use serde_json::json;

use crate::harness::{Browser, Home, PASSWORD, POLICY, Request, send};

#[test]
fn another_role_holds_at_once_and_the_last_owner_keeps_theirs() {
    let home = Home::new(POLICY);
    let (ada, eve) = (home.operator("ada", "owner"), home.operator("eve", "viewer"));
    let token = home.operator_token(&eve);
    let gateway = home.serve();
    let (mut owner, mut other) = (Browser::of(&gateway, &ada), Browser::of(&gateway, &eve));
    let new = |name: &str| json!({ "agent": name });
    let make = |name: &str| {
        let request = Request::post("/api/agents", new(name).to_string()).key(&token);
        send(gateway.console(), &request).status
    };
    assert_eq!((other.write("POST", "/api/agents", &new("one")).status, make("one")), (403, 403));
    let patch = "/api/operators/eve%40example.com";
    let raised = owner.write("PATCH", patch, &json!({ "role": "owner" }));
    assert_eq!((raised.status, &raised.json()["role"]), (200, &json!("owner")), "{}", raised.text());
    assert_eq!((other.write("POST", "/api/agents", &new("one")).status, make("two")), (201, 201));

    let lowered = other.write("PATCH", "/api/operators/ada%40example.com", &json!({ "role": "viewer" }));
    assert_eq!(lowered.status, 200, "{}", lowered.text());
    assert_eq!(owner.write("PATCH", patch, &json!({ "role": "viewer" })).status, 403, "she is no owner now");
    for change in [json!({ "role": "approver" }), json!({ "state": "disabled" })] {
        let own = other.write("PATCH", patch, &change);
        assert_eq!(own.status, 409, "{}", own.text());
        assert!(own.text().contains("is you"), "{}", own.text());
    }
    assert_eq!(other.write("PATCH", patch, &json!({ "role": "queen" })).status, 400);
    let own = other.write("PATCH", patch, &json!({ "password": "another horse battery" }));
    assert_eq!(own.status, 409, "{}", own.text());
    assert!(own.text().contains("POST /api/me/password"), "{}", own.text());
    assert_eq!(other.get("/api/me").status, 200, "nothing was changed");
    let nobody = other.write("PATCH", "/api/operators/x%40example.com", &json!({ "role": "viewer" }));
    assert_eq!(nobody.status, 404);
    let events = gateway.events();
    let change = events.iter().rfind(|event| event["action"] == "operators.role").unwrap();
    let args = json!({ "email": ada, "from": "owner", "role": "viewer" });
    assert_eq!((&change["operator"], &change["args"]), (&json!(eve), &args), "{change}");
}

#[test]
fn a_token_is_made_for_a_password_and_revoked_by_its_operator_or_an_owner() {
    let home = Home::new(POLICY);
    let (ada, eve) = (home.operator("ada", "owner"), home.operator("eve", "approver"));
    let gateway = home.serve();
    let (mut owner, mut other) = (Browser::of(&gateway, &ada), Browser::of(&gateway, &eve));
    let at = "/api/operators/eve%40example.com/tokens";
    let me = |token: &str| send(gateway.console(), &Request::new("GET", "/api/me").key(token));

    assert_eq!(other.write("POST", at, &json!({})).status, 400);
    let wrong = other.write("POST", at, &json!({ "password": "some other thing" }));
    assert_eq!(wrong.status, 401, "{}", wrong.text());
    let made = other.write("POST", at, &json!({ "password": PASSWORD }));
    assert_eq!((made.status, &made.json()["operator"]), (201, &json!(eve)), "{}", made.text());
    let token = made.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(me(&token).json()["operator"], json!(eve));
    // A token is no password: it makes no other without one.
    let again = |body| send(gateway.console(), &Request::post(at, json!(body).to_string()).key(&token));
    assert_eq!(again(json!({ "password": token })).status, 401);
    let body = json!({ "password": PASSWORD, "expires_at": "2999-01-01T00:00:00Z" });
    assert_eq!(again(body).status, 400, "a token lives a year at most");
    let body = json!({ "password": PASSWORD, "expires_at": "2020-01-01T00:00:00Z" });
    assert_eq!(again(body).status, 400, "and longer than not at all");

    let adas =
        owner.write("POST", "/api/operators/ada%40example.com/tokens", &json!({ "password": PASSWORD }));
    let adas = adas.json()["token"].as_str().unwrap().to_owned();
    let ids = |browser: &mut Browser| -> Vec<String> {
        let list = browser.get("/api/tokens");
        assert!(!list.text().contains(&token), "a token is shown once");
        list.json()["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let (all, mine) = (ids(&mut owner), ids(&mut other));
    assert_eq!((all.len(), mine.len()), (2, 1));
    let foreign = all.iter().find(|id| !mine.contains(id)).unwrap();
    assert_eq!(other.write("DELETE", &format!("/api/tokens/{foreign}"), &json!({})).status, 404);
    assert_eq!(me(&adas).status, 200);
    assert_eq!(other.write("DELETE", &format!("/api/tokens/{}", mine[0]), &json!({})).status, 204);
    assert_eq!(me(&token).status, 401);
    assert_eq!(owner.write("DELETE", &format!("/api/tokens/{foreign}"), &json!({})).status, 204);
    assert_eq!(me(&adas).status, 401);
    let events = gateway.events();
    assert!(
        events
            .iter()
            .any(|event| event["action"] == "operators.token.create" && event["operator"] == json!(eve))
    );
    assert!(!events.iter().any(|event| event.to_string().contains(&token)));
}

#[test]
fn guessing_a_password_at_the_desk_is_as_slow_as_at_the_door() {
    let home = Home::new(POLICY);
    let (ada, eve) = (home.operator("ada", "owner"), home.operator("eve", "viewer"));
    let gateway = home.serve();
    let mut browser = Browser::of(&gateway, &eve);
    let at = format!("/api/operators/{}/tokens", ada.replace('@', "%40"));
    let mut guess = |word: &str| browser.write("POST", &at, &json!({ "password": word })).status;
    assert!((0..3).all(|_| guess("not the password") == 401));
    assert_eq!(guess(PASSWORD), 429, "after three wrong ones even the right one waits");
}

#[test]
fn people_change_their_own_password_and_owners_set_another() {
    const NEW: &str = "violet otter copper 73";
    let home = Home::new(POLICY);
    let (ada, eve) = (home.operator("ada", "owner"), home.operator("eve", "viewer"));
    let gateway = home.serve();
    let (mut here, mut there) = (Browser::of(&gateway, &eve), Browser::of(&gateway, &eve));
    let token = gateway.operator_token(&eve);
    let change = |browser: &mut Browser, old: &str, new: &str| {
        browser.write("POST", "/api/me/password", &json!({ "old": old, "new": new }))
    };
    assert_eq!(change(&mut here, "not the password", NEW).status, 401);
    assert_eq!(change(&mut here, PASSWORD, "short").status, 422);
    assert_eq!(there.get("/api/me").status, 200, "nothing was changed");
    let changed = change(&mut here, PASSWORD, NEW);
    assert_eq!((changed.status, &changed.json()["operator"]), (200, &json!(eve)), "{}", changed.text());
    assert_eq!(here.get("/api/me").status, 200, "who asked is logged in anew");
    assert_eq!(there.get("/api/me").status, 401);
    let with_token = send(gateway.console(), &Request::new("GET", "/api/me").key(&token));
    assert_eq!(with_token.status, 401, "whoever knew the old password may have made it");
    let log_in = |password: &str| Browser::new(&gateway).log_in(&eve, password).status;
    assert_eq!((log_in(PASSWORD), log_in(NEW)), (401, 200));

    // The same with forms.
    let form = |browser: &mut Browser, path: &str, fields: &[(&str, &str)]| {
        let page = browser.get("/settings").text();
        let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
        let pairs = fields.iter().copied().chain([("csrf", csrf.as_str())]);
        let body: Vec<_> = pairs.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let request = Request::new("POST", path)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body.join("&"));
        browser.send(request)
    };
    let own = "/settings/password";
    let typo = form(&mut here, own, &[("old", NEW), ("new", PASSWORD), ("again", NEW)]);
    assert_eq!(typo.status, 400, "{}", typo.text());
    let wrong = form(&mut here, own, &[("old", "no"), ("new", PASSWORD), ("again", PASSWORD)]);
    assert!(wrong.status == 403 && wrong.text().contains("This is not your password"), "{}", wrong.text());
    let done = form(&mut here, own, &[("old", NEW), ("new", PASSWORD), ("again", PASSWORD)]);
    assert_eq!(done.header("location"), Some("/settings?done=password#password"), "{}", done.text());
    assert_eq!(here.get("/settings").status, 200);

    let mut owner = Browser::of(&gateway, &ada);
    let reset = "/settings/operators/password";
    assert_eq!(form(&mut here, reset, &[("email", &ada), ("password", NEW)]).status, 403, "a viewer");
    assert_eq!(form(&mut owner, reset, &[("email", &ada), ("password", NEW)]).status, 409, "oneself");
    assert_eq!(form(&mut owner, reset, &[("email", &eve), ("password", "short")]).status, 422);
    let done = form(&mut owner, reset, &[("email", &eve), ("password", NEW)]);
    assert_eq!(done.header("location"), Some("/settings?done=reset#operators"), "{}", done.text());
    assert_eq!(here.get("/api/me").status, 401);
    let log_in = |password: &str| Browser::new(&gateway).log_in(&eve, password).status;
    assert_eq!((log_in(PASSWORD), log_in(NEW)), (401, 200));
    let events = gateway.events();
    let said: Vec<_> = events.iter().filter_map(|event| event["action"].as_str()).collect();
    assert!(said.contains(&"operators.password") && said.contains(&"operators.reset"), "{said:?}");
    assert!(!events.iter().any(|event| event.to_string().contains(NEW)));
}
