//! The examples of this repository do what their READMEs say, with a server of the test's where the example names
//! somebody else's.

use std::path::{Path, PathBuf};

use crate::harness::*;

/// A value for every credential of an example.
const VALUE: &str = "value-of-the-example-4711";

fn folder(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example)
}

/// The services of an example, whose foreign addresses all are `server`.
fn services(example: &str, server: &Upstream) -> String {
    let text = std::fs::read_to_string(folder(example).join("services.yaml")).unwrap();
    let here = format!("http://{}", server.address);
    let mut services = String::new();
    for line in text.lines() {
        let at_home = ["https://api.example.com", "https://calendar.example.com", "https://auth.example.com"]
            .iter()
            .fold(line.to_owned(), |line, there| line.replace(there, &here));
        services.push_str(&at_home);
        services.push('\n');
        if line.trim_start().starts_with("url: ") {
            services.push_str("    network: private\n");
        }
    }
    assert!(services.contains(&here) && !services.contains("https://"), "{services}");
    services
}

/// A home with an example's policy and services.
fn home(example: &str, server: &Upstream) -> Home {
    let home = Home::new(&std::fs::read_to_string(folder(example).join("policy.yaml")).unwrap());
    home.write("services.yaml", &services(example, server));
    for file in std::fs::read_dir(folder(example)).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".md") {
            std::fs::copy(&file, home.path().join(name)).unwrap();
        }
    }
    home.ok(&["policy", "check"]);
    let file = home.path().join("services.yaml");
    home.ok(&["services", "apply", "-f", file.to_str().unwrap()]);
    home
}

#[test]
fn an_http_api_is_called_without_its_token() {
    let api = Upstream::start(|hit| json(format!("{{\"you_sent\":{:?}}}", hit.header("authorization"))));
    let home = home("http-api", &api);
    home.credential("notes", "token", VALUE);
    let key = home.key("laptop", "user", "notes");
    let gateway = home.serve();

    let read = gateway.send(&Request::new("GET", "/http/notes/v1/notes").key(&key));
    assert_eq!((read.status, read.proxy_status()), (200, "forwarded"), "{}", read.text());
    assert_eq!(api.last().header("authorization"), Some(format!("Bearer {VALUE}").as_str()));
    assert!(
        read.text().contains(&"*".repeat(VALUE.len())) && !read.text().contains(VALUE),
        "{}",
        read.text()
    );

    let refused = gateway.send(&Request::new("DELETE", "/http/notes/v1/notes/7").key(&key));
    assert_eq!((refused.status, api.count()), (403, 1), "{}", refused.text());
    assert_eq!(refused.json()["rule"], "no deletes");

    let envelope = r#"{"service": "notes", "method": "POST", "path": "/v1/notes", "body": {"text": "milk"}}"#;
    let made = gateway.send(&Request::new("POST", "/proxy").key(&key).body(envelope));
    assert_eq!(made.status, 200, "{}", made.text());
    let hit = api.last();
    assert_eq!((hit.method.as_str(), hit.target()), ("POST", "/v1/notes"));
    assert_eq!(hit.body, br#"{"text": "milk"}"#);

    let found = gateway.send(&Request::new("GET", "/v1/services").key(&key)).json();
    assert_eq!(found["services"][0]["endpoint"], "/http/notes/");
    let text = std::fs::read_to_string(folder("http-api").join("notes.md")).unwrap();
    assert_eq!(found["services"][0]["documentation"], text);
}

#[test]
fn a_refund_happens_once() {
    let api =
        Upstream::start(|_| answer("201 Created", "Content-Type: application/json\r\n", "{\"id\":\"re_1\"}"));
    let home = home("idempotency", &api);
    home.credential("billing", "secret_key", VALUE);
    let key = home.key("laptop", "user", "billing");
    let gateway = home.serve();
    let refund = |amount: u32| {
        let request = Request::new("POST", "/http/billing/v1/refunds").key(&key);
        let request =
            request.header("Idempotency-Key", "refund-ch_1").header("Content-Type", "application/json");
        gateway.send(&request.body(format!("{{\"charge\": \"ch_1\", \"amount\": {amount}}}")))
    };

    let (first, again, other) = (refund(100), refund(100), refund(101));
    assert_eq!((first.status, first.proxy_status()), (201, "forwarded"), "{}", first.text());
    assert_eq!(first.header("x-idempotency-status"), Some("stored"));
    assert_eq!((again.status, again.proxy_status()), (201, "replayed"), "{}", again.text());
    assert_eq!(again.header("x-idempotency-status"), Some("replayed"));
    assert_eq!(again.body, first.body);
    assert_eq!(
        (other.status, other.header("x-idempotency-status")),
        (422, Some("mismatch")),
        "{}",
        other.text()
    );
    assert_eq!(api.count(), 1);
    assert_eq!(api.last().header("idempotency-key"), Some("refund-ch_1"));
}

#[test]
fn tokens_are_fetched_and_shared() {
    let server = Upstream::start(|hit| match hit.target() {
        "/oauth/token" => {
            json(r#"{"access_token":"token-for-an-hour","token_type":"Bearer","expires_in":3600}"#)
        }
        _ => json("{}"),
    });
    let home = home("oauth", &server);
    home.credential("reports", "client", VALUE);
    home.credential(
        "calendar",
        "person",
        &format!("{{\"refresh_token\":\"{VALUE}\",\"client_secret\":\"c\"}}"),
    );
    let key = home.key("laptop", "user", "reports,calendar");
    let gateway = home.serve();

    for path in ["/http/reports/v1/sales", "/http/reports/v1/sales", "/http/calendar/v1/events"] {
        let reply = gateway.send(&Request::new("GET", path).key(&key));
        assert_eq!((reply.status, reply.text().as_str()), (200, "{}"), "{path}");
    }
    let (asked, called): (Vec<Hit>, Vec<Hit>) =
        server.hits().into_iter().partition(|hit| hit.target() == "/oauth/token");
    assert_eq!((asked.len(), called.len()), (2, 3), "one token for each service");
    assert!(called.iter().all(|hit| hit.header("authorization") == Some("Bearer token-for-an-hour")));
    let form = |hit: &Hit| String::from_utf8(hit.body.clone()).unwrap();
    assert!(form(&asked[0]).contains("grant_type=client_credentials"), "{}", form(&asked[0]));
    assert!(form(&asked[0]).contains("scope=reports.read"), "{}", form(&asked[0]));
    assert!(form(&asked[1]).contains(&format!("refresh_token={VALUE}")), "{}", form(&asked[1]));
}

/// The first block of commands under a heading of the README, and the first block of policy anywhere in it.
fn readme(heading: &str) -> (Vec<String>, String) {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let block = |text: &str, first: &str| -> Vec<String> {
        let from = text.lines().skip_while(|line| !line.starts_with(&format!("    {first}")));
        from.map_while(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
    };
    let (_, section) = text.split_once(&format!("## {heading}\n")).unwrap();
    (block(section, "toolgate "), block(&text, "roles:").join("\n"))
}

#[test]
fn the_readmes_walk_in_front_of_an_http_api_leads_to_the_api() {
    let (commands, policy) = readme("In front of an HTTP API");
    let [apply, set, create, serve, curl] = commands.as_slice() else {
        panic!("five commands: {commands:?}")
    };
    assert!(serve.starts_with("toolgate serve "), "{serve}");
    let api = Upstream::start(|_| json("[]"));
    let home = Home::on_file(&format!("version: 1\n{policy}\n"));
    let here = home.path().join("examples/http-api");
    std::fs::create_dir_all(&here).unwrap();
    std::fs::write(here.join("services.yaml"), services("http-api", &api)).unwrap();
    std::fs::copy(folder("http-api").join("notes.md"), here.join("notes.md")).unwrap();
    home.write("token.txt", &format!("{VALUE}\n"));

    let binary = Path::new(env!("CARGO_BIN_EXE_toolgate"));
    let paths = [binary.parent().unwrap().as_os_str(), &std::env::var_os("PATH").unwrap()].map(PathBuf::from);
    let typed = std::process::Command::new("sh")
        .args(["-ec", &format!("{apply}\n{set}\n{create}\necho \"$TOOLGATE_KEY\"")])
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .env("LANG", "C.UTF-8")
        .env("PATH", std::env::join_paths(paths.iter().flat_map(std::env::split_paths)).unwrap())
        .env("TOOLGATE_HOME", home.path())
        .output()
        .unwrap();
    let (said, told) = (String::from_utf8(typed.stdout).unwrap(), String::from_utf8(typed.stderr).unwrap());
    assert!(typed.status.success(), "{said}{told}");
    assert!(!said.contains("no allow rule names it"), "the README's policy lets nobody in: {said}");
    let key = said.lines().last().unwrap();

    let gateway = home.serve();
    let target =
        curl.strip_prefix("curl -H \"Authorization: Bearer $TOOLGATE_KEY\" http://127.0.0.1:8484").unwrap();
    let reply = gateway.send(&Request::new("GET", target).key(key));
    assert_eq!((reply.status, reply.text().as_str()), (200, "[]"));
    assert_eq!(api.last().target(), "/v1/notes");
    assert_eq!(api.last().header("authorization"), Some(format!("Bearer {VALUE}").as_str()));
}
