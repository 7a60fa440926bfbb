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
    let last = other.write("PATCH", patch, &json!({ "role": "approver" }));
    assert_eq!(last.status, 409, "{}", last.text());
    assert!(last.text().contains("last active owner"), "{}", last.text());
    assert_eq!(other.write("PATCH", patch, &json!({ "role": "queen" })).status, 400);
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
