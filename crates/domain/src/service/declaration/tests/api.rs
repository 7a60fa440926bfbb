//! Services of kind `http`, and credentials of both kinds.

use super::*;
use crate::{
    credential::{CredentialKind, CredentialSlot},
    names::CredentialName,
    service::OddPaths,
};

fn slot(name: &str, kind: CredentialKind) -> CredentialSlot {
    CredentialSlot { name: CredentialName::parse(name).unwrap(), kind }
}

#[test]
fn an_http_api_is_read_whole() {
    let text = "services:\n  - name: billing\n    kind: http\n    url: https://api.example.com/base\n    \
                stream: true\n    idempotency_header: Idempotency-Key\n    odd_paths: pass\n    \
                documentation: docs/billing.md\n    credentials:\n      - { name: secret_key, kind: bearer }\n      \
                - { name: app, kind: header, header: X-App, format: \"App {}\" }\n";
    let mut declared = parse_declarations("services.yaml", text).unwrap();
    let Declared { service, documentation_path, ca_path, line } = declared.remove(0);
    assert_eq!((documentation_path.as_deref(), ca_path, line), (Some("docs/billing.md"), None, 2));
    let Upstream::Api(api) = service.upstream else { panic!("no API") };
    assert_eq!(api.http.url.to_string(), "https://api.example.com/base");
    assert_eq!(
        (api.stream, api.idempotency_header.as_deref(), api.odd_paths),
        (true, Some("idempotency-key"), OddPaths::Pass)
    );
    let header = CredentialKind::Header { name: "x-app".into(), format: "App {}".into() };
    assert_eq!(service.credentials, [slot("app", header), slot("secret_key", CredentialKind::Bearer)]);
}

#[test]
fn a_credential_in_the_environment_makes_its_own_slot() {
    let text = "services:\n  - name: x\n    kind: mcp\n    command: [a]\n    \
                env: { A: { credential: token }, B: { credential: token }, C: plain }\n";
    let service = parse_declarations("services.yaml", text).unwrap().remove(0).service;
    assert_eq!(service.credentials, [slot("token", CredentialKind::Env)]);
    let Upstream::Stdio(stdio) = service.upstream else { panic!("not stdio") };
    assert_eq!(stdio.env["A"].credential().unwrap().as_str(), "token");
    assert_eq!(stdio.env["C"], EnvValue::Plain("plain".into()));
    assert_eq!(
        one("command: [a]\nenv: { A: { credential: t } }\ncredentials: [{ name: t, kind: env }]"),
        "ok",
        "saying it twice is no fault"
    );
}

fn api(lines: &str) -> String {
    let text = format!("services:\n  - name: x\n    kind: http\n    {}\n", lines.replace('\n', "\n    "));
    match parse_declarations("services.yaml", &text) {
        Ok(_) => "ok".to_owned(),
        Err(faults) => faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>().join(" | "),
    }
}

#[test]
fn faults_of_an_http_api_say_what_to_write() {
    let cases = [
        ("", "it has no `url`; write one, such as `url: https://api.example.com`"),
        ("command: [a]", "`command` is for services of kind `mcp`; leave it out"),
        ("url: https://a.example\nenv: {}", "`env` is for services of kind `mcp`"),
        ("url: https://a.example\nshare: true", "`share` is for services of kind `mcp`"),
        ("url: https://a.example\nunknown_methods: pass", "`unknown_methods` is for services of kind `mcp`"),
        ("url: https://a.example\nrefusals: error", "`refusals` is for services of kind `mcp`"),
        ("url: https://a.example\npins: off", "`pins` is for services of kind `mcp`"),
        (
            "url: https://a.example\ntrust_annotations: true",
            "`trust_annotations` is for services of kind `mcp`",
        ),
        ("url: https://a.example\nstreams: true", "unknown key `streams`; did you mean `stream`?"),
        ("url: https://a.example\nstream: yes", "this is `yes`; it must be true or false"),
        ("url: https://a.example/?a=b", "has no query"),
        ("url: https://a.example/a/../b", "the path of this address is refused: `.` or `..` segment"),
        ("url: http://127.0.0.1:9/", "add `network: private`"),
        ("url: https://a.example\nodd_paths: allow", "`refuse` or `pass`"),
        ("url: https://a.example\nidempotency_header: a b", "the header by which the API knows"),
        ("url: https://a.example\nidempotency_header: Host", "the header by which the API knows"),
        ("url: https://a.example\ndocumentation: []", "must be the path of a text file"),
        ("url: https://a.example\ncredentials: { name: a }", "a list: [{ name: token, kind: bearer }]"),
        ("url: http://a.example/v1\nca: x.pem", "`ca` is for https:// addresses; leave it out, or use https"),
    ];
    for (lines, wanted) in cases {
        let message = api(lines);
        assert!(message.contains(wanted), "{lines:?}: {message:?} has no {wanted:?}");
        assert!(!message.contains(" | "), "one cause, one error: {message}");
    }
    assert_eq!(api("url: https://a.example/v1\nca: x.pem\nnetwork: private"), "ok");
}

#[test]
fn faults_of_credentials_say_what_to_write() {
    let cases = [
        ("token", "must be a credential, such as { name: token, kind: bearer }"),
        ("{ kind: bearer }", "this credential has no `name`"),
        ("{ name: a }", "this credential has no `kind`"),
        ("{ name: A, kind: bearer }", "`A` is no credential name"),
        ("{ name: a, kind: berer }", "`berer` is no kind of credential; did you mean `bearer`?"),
        ("{ name: a, kind: bearer, value: x }", "values do not belong in this file"),
        ("{ name: a, kind: header, heeder: x }", "unknown key `heeder`; did you mean `header`?"),
        ("{ name: a, kind: header, header: Host }", "the header `host` belongs to the request itself"),
        ("{ name: a, kind: header, header: [] }", "must be a text"),
        ("{ name: a, kind: bearer, region: x }", "`region` is not for credentials of kind `bearer`"),
        ("{ name: a, kind: env }", "kind `env` is for services with a `command`"),
        ("{ name: a, kind: bearer }, { name: a, kind: bearer }", "credential `a` is there twice"),
        ("{ name: a, kind: bearer }, { name: b, kind: basic }", "would both be the header `authorization`"),
    ];
    for (credentials, wanted) in cases {
        let message = api(&format!("url: https://a.example\ncredentials: [{credentials}]"));
        assert!(message.contains(wanted), "{credentials}: {message:?} has no {wanted:?}");
        assert!(!message.contains(" | "), "one cause, one error: {message}");
    }
    let child = |kind| one(&format!("command: [a]\ncredentials: [{{ name: t, kind: {kind} }}]"));
    assert!(child("bearer").contains("a child gets its credentials in `env`"));
    assert!(child("env").contains("no variable of `env` takes credential `t`"));
}

#[test]
fn a_fault_of_a_credential_is_shown_at_its_place() {
    let text = "services:\n  - name: b\n    kind: http\n    url: https://a.example\n    credentials:\n      \
                - { name: k, kind: header, header: X-Key, format: Token }\n";
    let fault = parse_declarations("services.yaml", text).unwrap_err().remove(0).to_string();
    assert_eq!(
        fault,
        "services.yaml:6:57: error: `Token` is no `format`; it must be a text with one {} in it, such as Token {}\n   \
         6 |       - { name: k, kind: header, header: X-Key, format: Token }\n     \
         |                                                         ^^^^^"
    );
}
