//! A decision needs a person: a password at the terminal, or a token that was minted for one. Neither owning the
//! home nor an agent's key is enough, and a token calls nothing.

use serde_json::json;

use crate::{
    harness::{Request, Stage, call},
    terminal::{Done, Terminal},
};

const ADA: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery";

/// A home whose owner is Ada.
fn with_ada() -> Terminal {
    let terminal = Terminal::new();
    terminal.run_with(&["init", "--email", ADA, "--password-stdin"], PASSWORD).ok();
    terminal
}

fn token(terminal: &Terminal) -> String {
    let create = ["operators", "token", ADA, "--password-stdin"];
    terminal.run_with(&create, PASSWORD).ok().stdout.trim_end().to_owned()
}

fn whoami(terminal: &mut Terminal, token: &str) -> Done {
    terminal.set("TOOLGATE_OPERATOR_TOKEN", token);
    terminal.run(&["operators", "whoami"])
}

#[test]
fn the_token_is_alone_on_stdout_and_says_who_its_holder_is() {
    let mut terminal = with_ada();
    let create = ["operators", "token", ADA, "--password-stdin", "--expires", "12h"];
    let done = terminal.run_with(&create, &format!("{PASSWORD}\n")).ok();
    let token = done.stdout.trim_end();
    assert_eq!((token.len(), done.stdout.lines().count(), &token[..4]), (63, 1, "opt_"), "{done:?}");
    let id = &token[4..12];
    let lines: Vec<_> = done.stderr.lines().collect();
    assert_eq!(lines[0], "operator  ada@example.com (owner)");
    assert!(lines[1].starts_with(&format!("token     {id}, expires 2")), "{done:?}");
    assert!(lines[1].ends_with(&format!("; to stop it: toolgate operators revoke-token {id}")), "{done:?}");
    assert_eq!(
        lines[2..],
        ["! shown this once, only a hash is kept; give it to your script as TOOLGATE_OPERATOR_TOKEN"]
    );
    assert_eq!(whoami(&mut terminal, token).ok().stdout, "✓ operator  ada@example.com (owner)\n");
    let answer = terminal.run(&["operators", "whoami", "--json"]).ok().json();
    assert_eq!(answer, json!({ "operator": ADA, "role": "owner" }));
}

#[test]
fn json_has_the_promised_members_and_a_token_lives_thirty_days() {
    let terminal = with_ada();
    let create = ["operators", "token", ADA, "--password-stdin", "--json"];
    let done = terminal.run_with(&create, PASSWORD).ok();
    let made = done.json();
    let members: Vec<_> = made.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((members, done.stderr.as_str()), (vec!["token", "operator", "expires_at"], ""));
    let time = |value: &serde_json::Value| value.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let listed = terminal.run(&["operators", "list", "--json"]).ok().json();
    let lives = time(&made["expires_at"]).duration_since(time(&listed[0]["tokens"][0]["created_at"]));
    let short = 30 * 86_400 - lives.as_secs();
    assert!((0..=1).contains(&short), "30 days, from the whole second: {made}");
    terminal
        .run(&["operators", "token", ADA, "--expires", "366d"])
        .fails(2, "error: a token lives 365d at most (--expires); write it like 30d or 12h; see toolgate operators token --help");
}

#[test]
fn a_token_is_never_seen_again() {
    let terminal = with_ada();
    let token = token(&terminal);
    let (id, secret) = (&token[4..12], &token[13..56]);
    for command in [
        &["operators", "list"][..],
        &["operators", "list", "--json"],
        &["audit", "list", "--json"],
        &["audit", "export"],
        &["operators", "revoke-token", id],
        &["operators", "revoke-token", &token, "--json"],
    ] {
        let done = terminal.run(command).ok();
        assert!(!done.stdout.contains(secret) && !done.stderr.contains(secret), "{command:?}");
    }
    for file in std::fs::read_dir(terminal.home()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[test]
fn a_revoked_token_and_a_disabled_operator_are_refused_in_one_sentence() {
    let mut terminal = with_ada();
    let grace = ["operators", "create", "grace@example.com", "--role", "owner", "--password-stdin"];
    terminal.run_with(&grace, "another password").ok();
    let (token, other) = (token(&terminal), token(&terminal));
    let id = &token[4..12];
    let revoked = terminal.run(&["operators", "revoke-token", id]).ok().stdout;
    assert_eq!(revoked, format!("✓ {id} of ada@example.com revoked\n"));
    let again = terminal.run(&["operators", "revoke-token", id]).ok().stdout;
    assert!(again.starts_with(&format!("= {id} of ada@example.com was revoked 2")), "{again}");
    let refused = whoami(&mut terminal, &token);
    assert!(
        refused.stderr.starts_with(&format!("error: the operator token `{id}` was revoked (2")),
        "{refused:?}"
    );
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));

    terminal.run(&["operators", "disable", ADA]).ok();
    whoami(&mut terminal, &other).fails(
        1,
        "error: operator `ada@example.com` is disabled; to let them in again: toolgate operators enable ada@example.com",
    );
    let listed = terminal.run(&["operators", "list", "--json"]).ok().json();
    assert_eq!(listed[0]["state"], "disabled");
    let states: Vec<_> =
        listed[0]["tokens"].as_array().unwrap().iter().map(|token| &token["state"]).collect();
    assert!(states.contains(&&json!("revoked")) && states.contains(&&json!("operator disabled")), "{listed}");
    terminal.run(&["operators", "disable", "grace@example.com"]).fails(
        1,
        concat!(
            "error: `grace@example.com` is the last active owner, and without one nobody could change anything; ",
            "make another first: toolgate operators create EMAIL --role owner"
        ),
    );
    assert_eq!(terminal.run(&["operators", "enable", ADA]).ok().stdout, "✓ ada@example.com enabled\n");
    whoami(&mut terminal, &other).ok();
}

#[test]
fn an_agents_key_is_no_operator_and_neither_is_nobody() {
    let mut terminal = with_ada();
    let key = terminal.run(&["keys", "create", "laptop", "--role", "admin"]).ok().stdout;
    terminal.run(&["operators", "whoami"]).fails(
        1,
        concat!(
            "error: this needs an operator, and nobody can be asked here; ",
            "set TOOLGATE_OPERATOR_TOKEN to a token: toolgate operators token EMAIL"
        ),
    );
    whoami(&mut terminal, key.trim_end()).fails(
        1,
        concat!(
            "error: this is an agent's key, which decides nothing (TOOLGATE_OPERATOR_TOKEN); ",
            "make one: toolgate operators token EMAIL"
        ),
    );
    let mut typo = token(&terminal);
    typo.replace_range(20..21, if &typo[20..21] == "a" { "b" } else { "a" });
    whoami(&mut terminal, &typo).fails(
        1,
        "error: this is no operator token (TOOLGATE_OPERATOR_TOKEN); make one: toolgate operators token EMAIL",
    );
    let elsewhere = token(&with_ada());
    let refused = whoami(&mut terminal, &elsewhere);
    assert!(refused.stderr.starts_with("error: there is no operator token `"), "{refused:?}");
}

#[test]
fn an_operators_token_calls_nothing() {
    let stage = Stage::new();
    let home = &stage.gateway;
    let create = ["operators", "create", ADA, "--role", "owner", "--password-stdin"];
    assert_eq!(home.feed(&create, PASSWORD).code, 0);
    let token = home.feed(&["operators", "token", ADA, "--password-stdin"], PASSWORD).stdout;
    let token = token.trim_end();
    assert_eq!(token.len(), 63);
    let sent = || Request::post("/mcp/web", call(1, "read_note", "{}"));
    for request in [sent().key(token), sent().header("X-API-Key", token)] {
        let reply = stage.gateway.send(&request);
        assert_eq!(reply.status, 401, "{}", reply.text());
    }
    assert_eq!(stage.gateway.send(&sent().key(&stage.key)).verdict(), 200);
    assert_eq!(stage.web.hits().len(), 1, "only the agent's own call arrived");
}

#[test]
fn a_wrong_password_mints_nothing_and_three_wait() {
    let terminal = with_ada();
    let wrong = "error: e-mail or password are wrong; repeat, or set another: toolgate operators reset EMAIL";
    let guess = |email: &str| {
        terminal.run_with(&["operators", "token", email, "--password-stdin"], "wrong horse battery")
    };
    for email in [ADA, "nobody@example.com"] {
        guess(email).fails(1, wrong);
        // A machine so slow that it waits the wait out by itself guesses again; the wait doubles each time.
        let refused = (0..12).map(|_| guess(email)).find(|done| done.stderr.trim_end() != wrong).unwrap();
        assert!(
            refused.stderr.starts_with(&format!("error: too many wrong passwords for `{email}`; wait ")),
            "{refused:?}"
        );
    }
    assert_eq!(terminal.run(&["operators", "list", "--json"]).ok().json()[0]["tokens"], json!([]));
}

#[test]
fn a_password_at_the_terminal_says_who_decides() {
    let terminal = with_ada();
    let mut sitting = terminal.sit_at(&["operators", "whoami"]);
    sitting.answer("Operator", ADA);
    sitting.answer_unseen("Password (not shown)", "wrong horse battery");
    sitting.answer("Operator", "ADA@example.com");
    sitting.answer_unseen("Password (not shown)", PASSWORD);
    let done = sitting.done().ok();
    assert_eq!(done.stdout, "✓ operator  ada@example.com (owner)\n", "{done:?}");
    assert!(done.stderr.contains("e-mail or password are wrong; once more"), "{done:?}");
    assert!(!done.stderr.contains("horse"), "{done:?}");
}

#[test]
fn a_terminal_asks_for_the_password_of_a_new_token_and_a_new_password_twice() {
    let mut terminal = with_ada();
    let mut sitting = terminal.sit_at(&["operators", "token", ADA]);
    sitting.answer_unseen("Password (not shown)", PASSWORD);
    let done = sitting.done().ok();
    let token = done.stdout.trim_end().to_owned();
    assert_eq!(token.len(), 63, "{done:?}");
    assert!(!done.stderr.contains(&token), "the token is not on stderr: {done:?}");

    let mut sitting = terminal.sit_at(&["operators", "reset", ADA]);
    let prompt = "Password (12 characters or more, not shown, asked twice)";
    sitting.answer_unseen(prompt, "another password");
    sitting.answer_unseen("Again", "another password");
    assert_eq!(sitting.done().ok().stdout, "✓ ada@example.com has a new password; 1 token revoked\n");
    let refused = whoami(&mut terminal, &token);
    assert!(refused.stderr.contains("was revoked"), "{refused:?}");
}

#[test]
fn who_changed_what_is_in_the_trail() {
    let terminal = with_ada();
    let token = token(&terminal);
    terminal.run(&["operators", "revoke-token", &token[4..12]]).ok();
    let reset = ["operators", "reset", ADA, "--password-stdin", "--json"];
    let done = terminal.run_with(&reset, "another password").ok();
    assert_eq!(done.json(), json!({ "operator": ADA, "revoked_tokens": [] }));
    let list = terminal.run(&["audit", "list", "--json"]).ok().stdout;
    let events: Vec<serde_json::Value> =
        list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event["action"].as_str().unwrap(), event["operator"].as_str().unwrap()))
        .collect();
    let actions: Vec<_> = told.iter().map(|(action, _)| *action).collect();
    assert_eq!(
        actions,
        ["operators.create", "operators.token.create", "operators.token.revoke", "operators.reset"]
    );
    assert_eq!(told[1].1, ADA, "a token is made by who gave the password");
    assert!(told[2].1.starts_with("os:") && told[3].1.starts_with("os:"), "{told:?}");
    assert_eq!(events[1]["args"]["id"], token[4..12]);
}

#[test]
fn the_list_shows_people_and_their_tokens() {
    let terminal = with_ada();
    let token = token(&terminal);
    let shown = terminal.run(&["operators", "list"]).ok().stdout;
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 5, "{shown}");
    assert!(lines[0].starts_with("OPERATOR         ROLE   STATE   TOKENS  MADE (UTC)"), "{shown}");
    assert!(lines[1].starts_with("ada@example.com  owner  active       1  "), "{shown}");
    assert!(lines[4].starts_with(&format!("opt_{}  ada@example.com  active", &token[4..12])), "{shown}");
}
