//! `services apply`: says what it changed, leaves the others alone, drops credentials that belong elsewhere, and
//! shows no value of the environment.

use crate::terminal::Terminal;

const FILES: &str = "\
services:
  - name: files
    kind: mcp
    command: [sh, -c, 'true']
    env: { TOKEN: swordfish }
";
const NOTES: &str =
    "services:\n  - { name: notes, kind: mcp, url: 'http://127.0.0.1:9/mcp', network: private }\n";

fn apply(terminal: &Terminal, text: &str) -> String {
    terminal.write("services.yaml", text);
    terminal.run(&["services", "apply", "-f", "services.yaml"]).ok().stdout
}

#[test]
fn what_changed_is_told_and_the_rest_stays() {
    let terminal = Terminal::with_home();
    assert_eq!(apply(&terminal, FILES), "+ files   mcp, stdio  sh -c true\n");
    assert_eq!(apply(&terminal, FILES), "= files\n");
    let notes = apply(&terminal, NOTES);
    assert!(notes.starts_with("+ notes   mcp, http   http://127.0.0.1:9/mcp\n"), "{notes}");
    assert!(
        notes.contains("! notes  no allow rule names it, only `admin` can call it; in policy.yaml"),
        "{notes}"
    );
    let changed = apply(&terminal, &FILES.replace("'true'", "'false'"));
    assert!(changed.starts_with("~ files   command ") && changed.contains(" → "), "{changed}");
    let names = terminal.run(&["services", "list", "--json"]).ok().json();
    let names: Vec<_> = names.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["files", "notes"]);
}

#[test]
fn values_of_the_environment_are_never_shown() {
    let terminal = Terminal::with_home();
    apply(&terminal, FILES);
    for command in [&["services", "show", "files"][..], &["services", "list", "--json"], &["audit", "export"]]
    {
        assert!(!terminal.run(command).ok().stdout.contains("swordfish"), "{command:?}");
    }
    assert!(terminal.run(&["services", "show", "files"]).stdout.contains("TOKEN"));
    let changed = apply(&terminal, &FILES.replace("swordfish", "marlin99"));
    assert!(!changed.contains("marlin99") && !changed.contains("swordfish"), "{changed}");
}

const BILLING: &str = "\
services:
  - name: billing
    kind: http
    url: https://api.example.com
    credentials:
      - { name: secret_key, kind: bearer }
";

#[test]
fn an_http_api_reads_as_the_experience_has_it() {
    let terminal = Terminal::with_home();
    assert_eq!(
        apply(&terminal, BILLING),
        "+ billing   http        https://api.example.com\n\
         ! billing  credential `secret_key` has no value yet: toolgate credentials set billing secret_key\n\
         ! billing  no allow rule names it, only `admin` can call it; in policy.yaml, roles.user.allow:\n               \
         - { service: billing, requests: [\"GET /**\"] }\n"
    );
    let listed = terminal.run(&["services", "list"]).ok().stdout;
    assert!(listed.contains("billing  http  https://api.example.com"), "{listed}");
    let shown = terminal.run(&["services", "show", "billing"]).ok().stdout;
    assert!(shown.contains("credentials         secret_key (bearer, no value yet)\n"), "{shown}");
    assert!(!shown.contains("unknown_methods"), "{shown}");
    let json = terminal.run(&["services", "show", "billing", "--json"]).ok().json();
    assert_eq!((json["kind"].as_str(), json["stream"].as_bool()), (Some("http"), Some(false)));
    assert_eq!(json["credentials"][0]["version"], serde_json::Value::Null);
}

#[test]
fn another_address_drops_the_credential_and_says_so() {
    let terminal = Terminal::with_home();
    apply(&terminal, BILLING);
    terminal.run_with(&["credentials", "set", "billing", "secret_key"], "sk_one\n").ok();
    let same = apply(&terminal, BILLING);
    assert!(same.starts_with("= billing\n") && !same.contains("has no value"), "{same}");
    let moved = apply(&terminal, &BILLING.replace("example.com", "example.org"));
    assert!(
        moved.starts_with(
            "~ billing   url https://api.example.com → https://api.example.org\n\
             ! billing  credential `secret_key` dropped, it belonged to the old address; set it again\n"
        ),
        "{moved}"
    );
    assert!(!moved.contains("has no value yet"), "said once: {moved}");
    terminal.run_with(&["credentials", "set", "billing", "secret_key"], "sk_two\n").ok();
    let other = apply(&terminal, &BILLING.replace("example.com", "example.org").replace("bearer", "basic"));
    assert!(
        other.contains("credential `secret_key` dropped, it belonged to the old kind; set it again"),
        "{other}"
    );
    let removed = terminal.run(&["services", "remove", "billing"]).ok().stdout;
    assert!(!removed.contains("dropped"), "it had no value any more: {removed}");
}

#[test]
fn what_the_file_does_not_name_any_more_is_dropped() {
    let terminal = Terminal::with_home();
    apply(&terminal, BILLING);
    terminal.run_with(&["credentials", "set", "billing", "secret_key"], "sk_one\n").ok();
    terminal.write(
        "services.yaml",
        "services:\n  - { name: billing, kind: http, url: 'https://api.example.com' }\n",
    );
    let gone = terminal.run(&["services", "apply", "-f", "services.yaml", "--json"]).ok().json();
    assert_eq!(gone[0]["dropped"], serde_json::json!(["secret_key"]));
    assert_eq!(gone[0]["differences"][0]["field"], "credentials");
    assert_eq!(terminal.run(&["credentials", "list", "billing", "--json"]).ok().stdout, "[]\n");
}

#[test]
fn documentation_is_read_beside_the_file_that_names_it() {
    let terminal = Terminal::with_home();
    let text = "services:\n  - { name: billing, kind: http, url: 'https://api.example.com', documentation: billing.md }\n";
    terminal.write("services.yaml", text);
    let apply_it = || terminal.run(&["services", "apply", "-f", "services.yaml"]);
    apply_it().fails(
        1,
        "error: there is no such file (billing.md, `documentation` on line 2 of services.yaml); check the path",
    );
    terminal.write("billing.md", " \n");
    assert!(apply_it().stderr.starts_with("error: the documentation is empty (billing.md"));
    terminal.write("billing.md", &"x".repeat(1024 * 1024 + 1));
    assert!(apply_it().stderr.contains("larger than 1 MiB"));
    std::fs::write(terminal.work().join("billing.md"), [0x66, 0xff]).unwrap();
    assert!(apply_it().stderr.contains("not UTF-8"));
    terminal.write("billing.md", "# Billing\n");
    apply_it().ok();
    assert!(apply_it().ok().stdout.starts_with("= billing\n"));
    terminal.write("billing.md", "# Refunds\n");
    assert!(apply_it().ok().stdout.starts_with("~ billing   documentation "));
    let json = terminal.run(&["services", "show", "billing", "--json"]).ok().json();
    assert_eq!(json["documentation"]["bytes"], 10);
}

#[test]
fn a_credential_in_the_open_is_told() {
    let terminal = Terminal::with_home();
    let told = apply(&terminal, &BILLING.replace("https", "http"));
    assert!(
        told.contains(
            "! billing  its credential would travel unencrypted (http://); use an https:// address\n"
        ),
        "{told}"
    );
    let near = apply(
        &terminal,
        &BILLING.replace("https://api.example.com", "http://127.0.0.1:9\n    network: private"),
    );
    assert!(!near.contains("unencrypted"), "{near}");
}

#[test]
fn doctor_tells_which_credential_has_no_value() {
    let terminal = Terminal::with_home();
    apply(&terminal, BILLING);
    let done = terminal.run(&["doctor"]);
    assert_eq!(done.code, 1);
    let line =
        "✗ billing    credential `secret_key` has no value: toolgate credentials set billing secret_key\n";
    assert!(done.stdout.contains(line), "{done:?}");
    assert!(!terminal.run(&["doctor", "--json"]).json()["services"]["billing"].as_bool().unwrap());
}

#[test]
fn requests_are_explained_as_they_would_be_judged() {
    let terminal = Terminal::with_home();
    apply(&terminal, BILLING);
    terminal.run(&["keys", "create", "laptop", "--role", "admin", "--scope", "billing"]).ok();
    let explain = |request: &str| {
        let question =
            ["policy", "explain", "--agent", "laptop", "--service", "billing", "--request", request];
        terminal.run(&question)
    };
    let allowed = explain("POST /v1/refunds?dry=1").ok().stdout;
    assert!(allowed.starts_with("ALLOW   laptop (admin) · billing · POST /v1/refunds"), "{allowed}");
    for (request, wanted) in [
        ("/v1/refunds", "is not `METHOD /path` (--request)"),
        ("get /v1", "upper-case letters (--request)"),
        ("CONNECT /v1", "are not handed on (--request)"),
        ("GET /a/../b", "the gateway refuses such a request: `.` or `..` segment"),
        ("GET v1", "the gateway refuses such a request"),
    ] {
        let done = explain(request);
        assert!(done.code == 1 && done.stderr.contains(wanted), "{request}: {done:?}");
    }
}

#[test]
fn a_fault_in_the_file_changes_nothing() {
    let terminal = Terminal::with_home();
    terminal.write("services.yaml", &format!("{FILES}    comand: x\n"));
    let done = terminal.run(&["services", "apply", "-f", "services.yaml"]);
    assert_eq!((done.code, done.stdout.as_str()), (1, ""));
    assert!(
        done.stderr.starts_with("services.yaml:6:5: error: unknown key `comand`; did you mean `command`?"),
        "{done:?}"
    );
    assert_eq!(terminal.run(&["services", "list", "--json"]).ok().stdout, "[]\n");
}

#[test]
fn a_program_that_is_not_there_is_told_at_once() {
    let terminal = Terminal::with_home();
    let told =
        apply(&terminal, "services:\n  - { name: files, kind: mcp, command: [no-such-program-here] }\n");
    assert!(
        told.contains("! files  `no-such-program-here` was not found; install it, or write its full path\n"),
        "{told}"
    );
    let doctor = terminal.run(&["doctor", "--json"]);
    assert_eq!(doctor.code, 1);
    assert_eq!(
        doctor.stdout,
        "{\"store\":true,\"counters\":true,\"vault\":true,\"policy\":true,\"services\":{\"files\":false}}\n"
    );
}

#[test]
fn a_removed_service_is_gone_and_a_misspelt_one_is_guessed() {
    let terminal = Terminal::with_home();
    apply(&terminal, FILES);
    terminal
        .run(&["services", "remove", "fils"])
        .fails(1, "error: there is no service `fils`; did you mean `files`? all: toolgate services list");
    let done = terminal.run(&["services", "remove", "files"]).ok();
    assert_eq!(done.stdout, "✓ files removed; agents are refused within a second, its history stays\n");
    assert_eq!(terminal.run(&["services", "list"]).ok().stdout, "");
}

#[test]
fn the_example_in_this_repository_applies() {
    let terminal = Terminal::with_home();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/files/services.yaml");
    let done = terminal.run(&["services", "apply", "-f", file]).ok();
    assert!(
        done.stdout.starts_with("+ files   mcp, stdio  npx -y @modelcontextprotocol/server-filesystem "),
        "{done:?}"
    );
}
