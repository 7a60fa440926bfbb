//! services.yaml: what people write, read into services, with every fault shown at its place.
//!
//! It reads text only: files that it names are read by whoever has a disk.

mod credentials;
mod http;
mod mcp;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use super::{Pins, RefusalForm, Service, UnknownMethods, Upstream};
use crate::{
    names::ServiceName,
    yaml::{self, Key, Node, Place, Problem, Source},
};

/// Keys of every service.
const SHARED: [&str; 7] = ["name", "kind", "url", "network", "ca", "credentials", "documentation"];

/// One service of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// The service; what its files say is still missing: `ca_pem` and `documentation` are empty.
    pub service: Service,
    /// The file of an extra trust anchor, as written: relative to the file that names it.
    pub ca_path: Option<String>,
    /// The file of the documentation, as written: relative to the file that names it.
    pub documentation_path: Option<String>,
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
    if reader.problems.is_empty() {
        return Ok(declared);
    }
    reader.problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
    Err(reader.problems)
}

struct Reader<'a> {
    source: Source<'a>,
    problems: Vec<Problem>,
}

/// The members of one service, by key.
type Members<'n> = BTreeMap<&'n str, &'n (Key, Node)>;

/// The two kinds of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mcp,
    Http,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Mcp => "mcp",
            Self::Http => "http",
        }
    }

    /// The keys that only services of this kind have.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Mcp => &mcp::KEYS,
            Self::Http => &http::KEYS,
        }
    }
}

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
        let members: Members<'_> = map.iter().map(|member| (member.0.text.as_str(), member)).collect();
        let name = self.name(node, &members);
        let kind = self.kind(node, &members);
        self.strange_keys(map, kind);
        let upstream = match kind {
            Some(Kind::Mcp) => self.mcp(node, &members),
            Some(Kind::Http) => self.api(node, &members).map(Upstream::Api),
            None => None,
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
        let trust_annotations = self.bool(&members, "trust_annotations");
        let pins = self.word(&members, "pins", Pins::default(), &Pins::ALL.map(|pins| (pins.as_str(), pins)));
        let ca_path = self.ca(&members, upstream.as_ref());
        let documentation_path = self.path(&members, "documentation", "the path of a text file");
        let credentials = self.credentials(&members, upstream.as_ref());
        if self.problems.len() > before {
            return None;
        }
        let service = Service {
            name: name?,
            upstream: upstream?,
            unknown_methods,
            refusals,
            trust_annotations,
            pins,
            credentials,
            documentation: None,
        };
        Some(Declared { service, ca_path, documentation_path, line: node.place.line })
    }

    /// Keys that nothing reads, and keys of the other kind.
    fn strange_keys(&mut self, map: &[(Key, Node)], kind: Option<Kind>) {
        let kinds = [Kind::Mcp, Kind::Http];
        for (key, _) in map {
            let text = key.text.as_str();
            let of = kinds.into_iter().find(|kind| kind.keys().contains(&text));
            match (kind, of) {
                _ if SHARED.contains(&text) => {}
                (Some(kind), Some(of)) if kind != of => self.error(
                    key.place,
                    format!("`{text}` is for services of kind `{}`; leave it out", of.word()),
                ),
                (_, Some(_)) => {}
                _ => {
                    let own = kinds.into_iter().filter(|of| kind.is_none_or(|kind| kind == *of));
                    let known: Vec<&str> =
                        SHARED.into_iter().chain(own.flat_map(|of| of.keys().iter().copied())).collect();
                    let problem = self.source.unknown_key(key, &known);
                    self.problems.push(problem);
                }
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

    fn kind(&mut self, node: &Node, members: &Members<'_>) -> Option<Kind> {
        let Some((_, kind)) = members.get("kind") else {
            self.error(node.place, "it has no `kind`; write `kind: mcp` or `kind: http`");
            return None;
        };
        match kind.as_text() {
            Some("mcp") => Some(Kind::Mcp),
            Some("http") => Some(Kind::Http),
            _ => {
                self.error(
                    kind.place,
                    format!("{} is no kind of service; use `mcp` or `http`", quoted(kind)),
                );
                None
            }
        }
    }

    /// The path of a file that is named here and read elsewhere.
    fn path(&mut self, members: &Members<'_>, key: &str, wanted: &str) -> Option<String> {
        let (_, node) = members.get(key)?;
        let path = node.as_text().filter(|path| !path.is_empty() && !path.contains('\0'));
        if path.is_none() {
            self.wrong(node, wanted);
        }
        path.map(str::to_owned)
    }

    fn bool(&mut self, members: &Members<'_>, key: &str) -> bool {
        let Some((_, node)) = members.get(key) else { return false };
        node.as_bool().unwrap_or_else(|| {
            self.wrong(node, "true or false");
            false
        })
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
