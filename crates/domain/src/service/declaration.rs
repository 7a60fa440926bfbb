//! services.yaml: what people write, read into services, with every fault shown at its place.
//!
//! It reads text only: the file of an extra trust anchor is named here and read by whoever has a disk.

use std::{collections::BTreeMap, time::Duration};

use super::{
    EnvValue, HttpUpstream, Network, RefusalForm, Service, StdioUpstream, UnknownMethods, Upstream,
    UpstreamUrl,
};
use crate::{
    address::{self, Zone},
    names::ServiceName,
    yaml::{self, Key, Node, Place, Problem, Source},
};

/// Children of one service at once, where the file does not say.
const PROCESSES: u32 = 16;
/// The most that may be asked for: each is a process.
const PROCESSES_MAX: u64 = 1_000;
/// A child without work is stopped after so long, where the file does not say.
const IDLE: Duration = Duration::from_secs(600);

/// The keys of a service in this version.
const KEYS: [&str; 12] = [
    "name",
    "kind",
    "command",
    "url",
    "env",
    "share",
    "processes",
    "idle",
    "network",
    "ca",
    "unknown_methods",
    "refusals",
];
/// Keys that the contract names and a later version reads.
const LATER: [&str; 6] =
    ["credentials", "pins", "trust_annotations", "stream", "idempotency_header", "documentation"];

/// One service of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The service; its `ca_pem` is still empty.
    pub service: Service,
    /// The file of an extra trust anchor, as written: relative to the file that names it.
    pub ca_path: Option<String>,
    /// The line that it starts on.
    pub line: usize,
}

/// A fault of the file; `Display` shows it with its line.
pub type DeclarationFault = Problem;

/// Reads a services file.
///
/// # Errors
/// All faults that can be told apart in one reading, in the order of the file.
pub fn parse_declarations(file_name: &str, text: &str) -> Result<Vec<Declared>, Vec<DeclarationFault>> {
    let root = yaml::parse(file_name, text)?;
    let mut reader = Reader { source: Source { file: file_name, text }, problems: Vec::new() };
    let declared = reader.file(&root);
    if reader.problems.is_empty() { Ok(declared) } else { Err(reader.problems) }
}

struct Reader<'a> {
    source: Source<'a>,
    problems: Vec<Problem>,
}

/// The members of one service, by key.
type Members<'n> = BTreeMap<&'n str, &'n (Key, Node)>;

impl Reader<'_> {
    fn file(&mut self, root: &Node) -> Vec<Declared> {
        let Some(members) = root.as_map() else {
            self.wrong(root, "`services:` and a list below it");
            return Vec::new();
        };
        let mut declared: Vec<Declared> = Vec::new();
        let mut found = false;
        for (key, node) in members {
            if key.text != "services" {
                let problem = self.source.unknown_key(key, &["services"]);
                self.problems.push(problem);
                continue;
            }
            found = true;
            let Some(list) = node.as_list() else {
                self.wrong(node, "a list of services");
                continue;
            };
            for node in list {
                let Some(service) = self.service(node) else { continue };
                match declared.iter().find(|other| other.service.name == service.service.name) {
                    Some(first) => {
                        let (name, line) = (&service.service.name, first.line);
                        self.error(
                            node.place,
                            format!("service `{name}` is already on line {line}; leave one out"),
                        );
                    }
                    None => declared.push(service),
                }
            }
        }
        if !found && self.problems.is_empty() {
            self.error(root.place, "there is no `services:` in this file");
        }
        declared
    }

    fn service(&mut self, node: &Node) -> Option<Declared> {
        let Some(map) = node.as_map() else {
            self.wrong(node, "a service, such as `- name: files`");
            return None;
        };
        let before = self.problems.len();
        self.unknown_keys(map);
        let members: Members<'_> = map.iter().map(|member| (member.0.text.as_str(), member)).collect();
        let name = self.name(node, &members);
        let of_kind = self.kind(node, &members);
        let upstream = match (members.get("command"), members.get("url")) {
            _ if !of_kind => None,
            (Some((_, command)), None) => self.stdio(command, &members).map(Upstream::Stdio),
            (None, Some((_, url))) => self.http(url, &members).map(Upstream::Http),
            (Some(_), Some((key, _))) => {
                self.error(key.place, "a service has a `command` or a `url`, not both");
                None
            }
            (None, None) => {
                let place = members.get("name").map_or(node.place, |(key, _)| key.place);
                self.error(place, "it has no upstream; give it a `command` to start, or a `url`");
                None
            }
        };
        let unknown_methods = self.word(
            &members,
            "unknown_methods",
            UnknownMethods::Refuse,
            &[("refuse", UnknownMethods::Refuse), ("pass", UnknownMethods::Pass)],
        );
        let refusals = self.word(
            &members,
            "refusals",
            RefusalForm::Error,
            &[("error", RefusalForm::Error), ("result", RefusalForm::Result)],
        );
        let ca_path = self.ca(&members, upstream.as_ref());
        if self.problems.len() > before {
            return None;
        }
        let service = Service {
            name: name?,
            upstream: upstream?,
            unknown_methods,
            refusals,
            credentials: Vec::new(),
            documentation: None,
        };
        Some(Declared { service, ca_path, line: node.place.line })
    }

    fn unknown_keys(&mut self, map: &[(Key, Node)]) {
        for (key, _) in map {
            if LATER.contains(&key.text.as_str()) {
                self.error(key.place, format!("`{}` is not supported yet; leave it out", key.text));
            } else if !KEYS.contains(&key.text.as_str()) {
                let problem = self.source.unknown_key(key, &KEYS);
                self.problems.push(problem);
            }
        }
    }

    fn name(&mut self, node: &Node, members: &Members<'_>) -> Option<ServiceName> {
        let Some((_, node)) = members.get("name") else {
            self.error(node.place, "it has no `name`");
            return None;
        };
        match ServiceName::parse(node.as_text().unwrap_or_default()) {
            Ok(name) => Some(name),
            Err(bad) => {
                self.error(node.place, bad.to_string());
                None
            }
        }
    }

    fn kind(&mut self, node: &Node, members: &Members<'_>) -> bool {
        match members.get("kind") {
            None => self.error(node.place, "it has no `kind`; write `kind: mcp`"),
            Some((_, kind)) => match kind.as_text() {
                Some("mcp") => return true,
                Some("http") => self.error(kind.place, "`kind: http` is not supported yet; use `mcp`"),
                _ => self.error(kind.place, format!("{} is no kind of service; use `mcp`", quoted(kind))),
            },
        }
        false
    }

    fn stdio(&mut self, command: &Node, members: &Members<'_>) -> Option<StdioUpstream> {
        self.only_for_urls(members);
        let words: Option<Vec<String>> = match command.as_list() {
            Some(list) => list.iter().map(|word| word.as_text().map(str::to_owned)).collect(),
            None => None,
        };
        let command = match words {
            Some(words) if words.first().is_some_and(|program| !program.is_empty()) => words,
            _ => {
                self.wrong(command, "a list of a program and its arguments: [npx, -y, some-server]");
                return None;
            }
        };
        let env = self.env(members);
        let share = self.bool(members, "share");
        let processes = self.processes(members);
        let idle = self.idle(members);
        Some(StdioUpstream { command, env, share, processes, idle })
    }

    fn only_for_urls(&mut self, members: &Members<'_>) {
        for key in ["network", "ca"] {
            if let Some((key, _)) = members.get(key) {
                self.error(key.place, format!("`{}` is for services with a `url`; leave it out", key.text));
            }
        }
    }

    fn env(&mut self, members: &Members<'_>) -> BTreeMap<String, EnvValue> {
        let mut env = BTreeMap::new();
        let Some((_, node)) = members.get("env") else { return env };
        let Some(map) = node.as_map() else {
            self.wrong(node, "names and values: { NAME: value }");
            return env;
        };
        for (key, value) in map {
            let plain = !key.text.is_empty() && !key.text.contains(['=', '\0']);
            match value.as_text() {
                _ if !plain => self.error(key.place, "that is no name of an environment variable"),
                Some(text) if !text.contains('\0') => {
                    env.insert(key.text.clone(), EnvValue::Plain(text.to_owned()));
                }
                _ if value.as_map().is_some() => {
                    self.error(value.place, "credentials are not supported yet; write a plain value");
                }
                _ => self.wrong(value, "a text"),
            }
        }
        env
    }

    fn bool(&mut self, members: &Members<'_>, key: &str) -> bool {
        let Some((_, node)) = members.get(key) else { return false };
        node.as_bool().unwrap_or_else(|| {
            self.wrong(node, "true or false");
            false
        })
    }

    fn processes(&mut self, members: &Members<'_>) -> u32 {
        let Some((_, node)) = members.get("processes") else { return PROCESSES };
        let number = node.as_number().filter(|number| (1..=PROCESSES_MAX).contains(number));
        number.and_then(|number| u32::try_from(number).ok()).unwrap_or_else(|| {
            self.wrong(node, "a number from 1 to 1000");
            PROCESSES
        })
    }

    fn idle(&mut self, members: &Members<'_>) -> Duration {
        let Some((_, node)) = members.get("idle") else { return IDLE };
        node.as_text().and_then(duration).unwrap_or_else(|| {
            self.wrong(node, "a time such as 30s, 10m or 2h");
            IDLE
        })
    }

    fn http(&mut self, node: &Node, members: &Members<'_>) -> Option<HttpUpstream> {
        for key in ["env", "share", "processes", "idle"] {
            if let Some((key, _)) = members.get(key) {
                self.error(
                    key.place,
                    format!("`{}` is for services with a `command`; leave it out", key.text),
                );
            }
        }
        let network = self.word(
            members,
            "network",
            Network::Public,
            &[("public", Network::Public), ("private", Network::Private)],
        );
        let Some(text) = node.as_text() else {
            self.wrong(node, "an address such as https://api.example.com/mcp");
            return None;
        };
        let url = match UpstreamUrl::parse(text) {
            Ok(url) => url,
            Err(bad) => {
                self.error(node.place, bad.to_string());
                return None;
            }
        };
        if let Some(zone) = literal_zone(url.host()) {
            let host = url.host().escape_debug();
            match (zone, network) {
                (Zone::Never(what), _) => {
                    self.error(node.place, format!("`{host}` is {what}; it is never dialled"))
                }
                (Zone::Private(what), Network::Public) => {
                    self.error(
                        node.place,
                        format!("`{host}` is {what}; if it is meant, add `network: private`"),
                    );
                }
                _ => {}
            }
        }
        Some(HttpUpstream { url, network, ca_pem: None })
    }

    fn ca(&mut self, members: &Members<'_>, upstream: Option<&Upstream>) -> Option<String> {
        let (key, node) = members.get("ca")?;
        let Some(path) = node.as_text().filter(|path| !path.is_empty()) else {
            self.wrong(node, "the path of a PEM file");
            return None;
        };
        if let Some(Upstream::Http(http)) = upstream
            && !http.url.is_tls()
        {
            self.error(key.place, "`ca` is for https:// addresses; leave it out, or use https");
        }
        Some(path.to_owned())
    }

    /// One of a few words; `default` where the key is not there.
    fn word<T: Copy>(&mut self, members: &Members<'_>, key: &str, default: T, words: &[(&str, T)]) -> T {
        let Some((_, node)) = members.get(key) else { return default };
        let found = node.as_text().and_then(|text| words.iter().find(|(word, _)| *word == text));
        match found {
            Some((_, value)) => *value,
            None => {
                let known =
                    words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
                self.wrong(node, &known);
                default
            }
        }
    }

    fn wrong(&mut self, node: &Node, wanted: &str) {
        self.error(node.place, format!("this is {}; it must be {wanted}", quoted(node)));
    }

    fn error(&mut self, place: Place, message: impl Into<String>) {
        let problem = self.source.error(place, message);
        self.problems.push(problem);
    }
}

/// A node for a sentence: a short text as it is, everything else by its kind.
fn quoted(node: &Node) -> String {
    match node.as_text() {
        Some(text) if text.chars().count() <= 40 => format!("`{}`", text.escape_debug()),
        _ => node.kind().to_owned(),
    }
}

/// `30s`, `10m`, `2h`, `1d`; at least a second, at most a year.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (1..=366 * 86_400).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// Where a host lies that is written as an address, or as `localhost`. Names are judged when they are dialled.
fn literal_zone(host: &str) -> Option<Zone> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return Some(Zone::Private("this machine"));
    }
    host.parse().ok().map(address::zone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        parse_declarations("services.yaml", text)
            .unwrap_err()
            .iter()
            .map(|fault| fault.message.clone())
            .collect()
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
                    unknown_methods: pass\n    refusals: result\n";
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
            credentials: Vec::new(),
            documentation: None,
        };
        assert_eq!(declared, vec![Declared { service, ca_path: None, line: 2 }]);
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
            ("command: [a]\nenv: { T: { credential: token } }", "credentials are not supported yet"),
            ("command: [a]\nenv: { \"A=B\": c }", "no name of an environment variable"),
            ("command: [a]\nshare: yes", "this is `yes`; it must be true or false"),
            ("command: [a]\nprocesses: 0", "a number from 1 to 1000"),
            ("command: [a]\nidle: 10", "a time such as"),
            ("command: [a]\nrefusals: results", "`error` or `result`"),
            ("command: [a]\npins: off", "`pins` is not supported yet"),
            ("command: [a]\ncomand: [b]", "unknown key `comand`; did you mean `command`?"),
            ("url: ftp://a.example/", "must start with http:// or https://"),
            ("url: http://a.example/\nca: x.pem", "`ca` is for https://"),
        ];
        for (lines, wanted) in cases {
            let message = one(lines);
            assert!(message.contains(wanted), "{lines:?}: {message}");
        }
        assert!(
            faults("services:\n  - { name: b, kind: http, url: https://a.example }\n")[0]
                .contains("`kind: http` is not supported yet")
        );
        assert!(
            faults("services:\n  - { name: Bad, kind: mcp, command: [a] }\n")[0].contains("no service name")
        );
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
            "services.yaml:2:41: error: unknown key `tool`; known: name, kind, command, url, env, share, processes, \
             idle, network, ca, unknown_methods, refusals\n   2 |   - { name: a, kind: mcp, command: [x], tool: y }\n     \
             |                                         ^^^^"
        );
        assert!(faults[1].message.contains("service `a` is already on line 3"));
    }
}
