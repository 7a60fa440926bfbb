//! Services of kind `mcp`: a child's command, or an address.

use super::*;
use crate::service::{EnvValue, StdioUpstream};

/// The keys that only MCP services have.
pub const KEYS: [&str; 9] = [
    "command",
    "env",
    "share",
    "processes",
    "idle",
    "unknown_methods",
    "trust_annotations",
    "pins",
    "refusals",
];

/// Children of one service at once, where the file does not say.
const PROCESSES: u32 = 16;
/// The most that may be asked for: each is a process.
const PROCESSES_MAX: u64 = 1_000;
/// A child without work is stopped after so long, where the file does not say.
const IDLE: Duration = Duration::from_secs(600);

impl Reader<'_> {
    pub(super) fn mcp(&mut self, node: &Node, members: &Members<'_>) -> Option<Upstream> {
        match (members.get("command"), members.get("url")) {
            (Some((_, command)), None) => self.stdio(command, members).map(Upstream::Stdio),
            (None, Some((_, url))) => {
                for key in ["env", "share", "processes", "idle"] {
                    if let Some((key, _)) = members.get(key) {
                        let what = format!("`{}` is for services with a `command`; leave it out", key.text);
                        self.error(key.place, what);
                    }
                }
                self.http(url, members, "https://api.example.com/mcp").map(Upstream::Http)
            }
            (Some(_), Some((key, _))) => {
                self.error(key.place, "a service has a `command` or a `url`, not both");
                None
            }
            (None, None) => {
                let place = members.get("name").map_or(node.place, |(key, _)| key.place);
                self.error(place, "it has no upstream; give it a `command` to start, or a `url`");
                None
            }
        }
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
        for (key, node) in map {
            if key.text.is_empty() || key.text.contains(['=', '\0']) {
                self.error(key.place, "that is no name of an environment variable");
            } else if node.as_map().is_some() {
                let Some(name) = self.env_credential(node) else { continue };
                env.insert(key.text.clone(), EnvValue::Credential(name));
            } else if let Some(text) = node.as_text().filter(|text| !text.contains('\0')) {
                env.insert(key.text.clone(), EnvValue::Plain(text.to_owned()));
            } else {
                self.wrong(node, "a text, or { credential: name }");
            }
        }
        env
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
        node.as_duration().unwrap_or_else(|| {
            self.wrong(node, "a time such as 30s, 10m or 2h");
            IDLE
        })
    }
}
