//! What the reader of services.yaml takes, and what it says about the rest.

mod api;

use super::*;
use crate::service::{EnvValue, Network, StdioUpstream};

fn faults(text: &str) -> Vec<String> {
    parse_declarations("services.yaml", text).unwrap_err().iter().map(|fault| fault.message.clone()).collect()
}

fn one(lines: &str) -> String {
    let text = format!("services:\n  - name: x\n    kind: mcp\n    {}\n", lines.replace('\n', "\n    "));
    match parse_declarations("services.yaml", &text) {
        Ok(_) => "ok".to_owned(),
        Err(faults) => faults.iter().map(|fault| fault.message.clone()).collect::<Vec<_>>().join(" | "),
    }
}

#[test]
fn a_stdio_service_is_read_whole() {
    let text = "services:\n  - name: files\n    kind: mcp\n    command: [npx, -y, \"@scope/server\", /srv]\n    \
                env: { LEVEL: 3, MODE: \"yes\" }\n    share: true\n    processes: 4\n    idle: 90s\n    \
                unknown_methods: pass\n    trust_annotations: true\n    pins: review\n    refusals: result\n";
    let declared = parse_declarations("services.yaml", text).unwrap();
    let env = [("LEVEL", "3"), ("MODE", "yes")]
        .map(|(name, value)| (name.to_owned(), EnvValue::Plain(value.to_owned())));
    let upstream = Upstream::Stdio(StdioUpstream {
        command: ["npx", "-y", "@scope/server", "/srv"].map(str::to_owned).into(),
        env: env.into(),
        share: true,
        processes: 4,
        idle: Duration::from_secs(90),
    });
    let service = Service {
        name: ServiceName::parse("files").unwrap(),
        upstream,
        unknown_methods: UnknownMethods::Pass,
        refusals: RefusalForm::Result,
        trust_annotations: true,
        pins: Pins::Review,
        credentials: Vec::new(),
        documentation: None,
    };
    assert_eq!(declared, vec![Declared { service, ca_path: None, documentation_path: None, line: 2 }]);
}

#[test]
fn an_http_service_is_read_whole() {
    let text = "services:\n  - { name: far, kind: mcp, url: https://a.example/mcp, ca: own.pem }\n";
    let declared = parse_declarations("services.yaml", text).unwrap();
    let Upstream::Http(http) = &declared[0].service.upstream else { panic!("not http") };
    assert_eq!((http.url.to_string().as_str(), http.network), ("https://a.example/mcp", Network::Public));
    assert_eq!(declared[0].ca_path.as_deref(), Some("own.pem"));
}

#[test]
fn a_private_address_must_be_said_out_loud() {
    for host in [
        "127.0.0.1:3001",
        "localhost",
        "LOCALHOST:1",
        "[::1]",
        "10.1.2.3",
        "192.168.0.1",
        "[::ffff:10.0.0.1]",
    ] {
        assert!(one(&format!("url: http://{host}/mcp")).contains("add `network: private`"), "{host}");
        assert_eq!(one(&format!("url: http://{host}/mcp\nnetwork: private")), "ok", "{host}");
    }
    assert!(one("url: http://169.254.169.254/\nnetwork: private").contains("never dialled"));
    assert_eq!(one("url: http://93.184.215.14/mcp"), "ok");
}

#[test]
fn faults_say_what_to_write() {
    let cases = [
        ("", "give it a `command` to start, or a `url`"),
        ("command: [a]\nurl: http://a.example/", "not both"),
        ("command: npx server", "must be a list of a program"),
        ("command: []", "must be a list of a program"),
        ("command: [a]\nnetwork: private", "`network` is for services with a `url`"),
        ("url: https://a.example/\nshare: true", "`share` is for services with a `command`"),
        ("command: [a]\nenv: { T: { credential: Token } }", "`Token` is no credential name"),
        ("command: [a]\nenv: { T: { credential: t, x: y } }", "must be a text, or { credential: name }"),
        ("command: [a]\nenv: { T: { secret: t } }", "must be a text, or { credential: name }"),
        ("command: [a]\nodd_paths: pass", "`odd_paths` is for services of kind `http`; leave it out"),
        ("command: [a]\nenv: { \"A=B\": c }", "no name of an environment variable"),
        ("command: [a]\nshare: yes", "this is `yes`; it must be true or false"),
        ("command: [a]\nprocesses: 0", "a number from 1 to 1000"),
        ("command: [a]\nidle: 10", "a time such as"),
        ("command: [a]\nrefusals: results", "`error` or `result`"),
        ("command: [a]\npins: never", "it must be `first-use` or `review` or `off`"),
        ("command: [a]\ncomand: [b]", "unknown key `comand`; did you mean `command`?"),
        ("url: ftp://a.example/", "must start with http:// or https://"),
        ("url: http://a.example/\nca: x.pem", "`ca` is for https://"),
    ];
    for (lines, wanted) in cases {
        let message = one(lines);
        assert!(message.contains(wanted), "{lines:?}: {message}");
    }
    assert!(faults("services:\n  - { name: b, kind: rest }\n")[0].contains("use `mcp` or `http`"));
    assert!(faults("services:\n  - { name: Bad, kind: mcp, command: [a] }\n")[0].contains("no service name"));
    assert!(faults("service: []\n")[0].contains("did you mean `services`"));
    assert!(faults("- a\n")[0].contains("must be `services:`"));
    assert!(faults("")[0].contains("the file is empty"));
}

#[test]
fn all_faults_are_shown_at_once_with_their_lines() {
    let text = "services:\n  - { name: a, kind: mcp, command: [x], tool: y }\n  - { name: a, kind: mcp, command: [x] }\n  \
                - { name: a, kind: mcp, command: [x] }\n";
    let faults = parse_declarations("services.yaml", text).unwrap_err();
    assert_eq!(faults.len(), 2);
    assert_eq!(
        faults[0].to_string(),
        "services.yaml:2:41: error: unknown key `tool`; known: name, kind, url, network, ca, credentials, \
         documentation, command, env, share, processes, idle, unknown_methods, trust_annotations, pins, refusals\n   2 |   - { name: a, kind: mcp, command: [x], tool: y }\n     \
         |                                         ^^^^"
    );
    assert!(faults[1].message.contains("service `a` is already on line 3"));
}
