//! The credentials that a service declares: names, kinds and places, never values.

use super::*;
use crate::{
    credential::{BadKind, CredentialKind, CredentialSlot, PARAMETERS, check_slots, kind_of},
    names::CredentialName,
    service::EnvValue,
};

impl Reader<'_> {
    /// The slots of a service by name: those under `credentials:`, and one for each credential that `env:` names.
    pub(super) fn credentials(
        &mut self,
        members: &Members<'_>,
        upstream: Option<&Upstream>,
    ) -> Vec<CredentialSlot> {
        let before = self.problems.len();
        let mut read: Vec<(Place, CredentialSlot)> = Vec::new();
        if let Some((_, node)) = members.get("credentials") {
            match node.as_list() {
                Some(list) => read.extend(list.iter().filter_map(|node| self.slot(node))),
                None => self.wrong(node, "a list: [{ name: token, kind: bearer }]"),
            }
        }
        if let Some(Upstream::Stdio(stdio)) = upstream {
            let place = members.get("env").map_or_else(Place::default, |(key, _)| key.place);
            for name in stdio.env.values().filter_map(EnvValue::credential) {
                if !read.iter().any(|(_, slot)| slot.name == *name) {
                    read.push((place, CredentialSlot { name: name.clone(), kind: CredentialKind::Env }));
                }
            }
        }
        let slots: Vec<CredentialSlot> = read.iter().map(|(_, slot)| slot.clone()).collect();
        if let Some(upstream) = upstream
            && self.problems.len() == before
            && let Err(bad) = check_slots(upstream, &slots)
        {
            // The last of that name: what is there twice is shown where it is too much.
            let place = read.iter().rfind(|(_, slot)| slot.name == bad.name).map(|(place, _)| *place);
            self.error(place.unwrap_or_default(), format!("{}; {}", bad.what, bad.advice));
        }
        CredentialSlot::by_name(slots)
    }

    fn slot(&mut self, node: &Node) -> Option<(Place, CredentialSlot)> {
        let Some(map) = node.as_map() else {
            self.wrong(node, "a credential, such as { name: token, kind: bearer }");
            return None;
        };
        let before = self.problems.len();
        let (mut name, mut kind) = (None, None);
        let mut given: BTreeMap<&'static str, (Place, String)> = BTreeMap::new();
        for (key, value) in map {
            let parameter = PARAMETERS.into_iter().find(|parameter| *parameter == key.text);
            match (key.text.as_str(), parameter) {
                ("name", _) => name = self.credential_name(value).map(|name| (value.place, name)),
                ("kind", _) => kind = Some(value),
                (_, Some(parameter)) => match value.as_text() {
                    Some(text) => drop(given.insert(parameter, (value.place, text.to_owned()))),
                    None => self.wrong(value, "a text"),
                },
                // What is written here is shown to everybody who may see services.
                ("value" | "secret" | "token" | "password", None) => self.error(
                    key.place,
                    "values do not belong in this file; leave it out, and set it: toolgate credentials set",
                ),
                (_, None) => {
                    let known: Vec<&str> = ["name", "kind"].into_iter().chain(PARAMETERS).collect();
                    let problem = self.source.unknown_key(key, &known);
                    self.problems.push(problem);
                }
            }
        }
        if !map.iter().any(|(key, _)| key.text == "name") {
            self.error(node.place, "this credential has no `name`");
        }
        let Some(kind) = kind else {
            self.error(node.place, "this credential has no `kind`; write one, such as `kind: bearer`");
            return None;
        };
        let Some(word) = kind.as_text() else {
            self.wrong(kind, "a kind of credential, such as bearer");
            return None;
        };
        // A misspelt parameter is one fault, not also a missing one.
        if self.problems.len() > before {
            return None;
        }
        let texts = given.iter().map(|(parameter, (_, text))| (*parameter, text.clone())).collect();
        let found = kind_of(word, &texts).map_err(|BadKind { parameter, what, advice }| {
            let place = parameter.and_then(|parameter| given.get(parameter)).map(|(place, _)| *place);
            self.error(place.unwrap_or(kind.place), format!("{what}; {advice}"));
        });
        let (place, name) = name?;
        Some((place, CredentialSlot { name, kind: found.ok()? }))
    }

    /// The name in `{ credential: name }`.
    pub(super) fn env_credential(&mut self, node: &Node) -> Option<CredentialName> {
        match node.as_map() {
            Some([(key, value)]) if key.text == "credential" => self.credential_name(value),
            _ => {
                self.wrong(node, "a text, or { credential: name }");
                None
            }
        }
    }

    fn credential_name(&mut self, node: &Node) -> Option<CredentialName> {
        match CredentialName::parse(node.as_text().unwrap_or_default()) {
            Ok(name) => Some(name),
            Err(bad) => {
                self.error(node.place, bad.to_string());
                None
            }
        }
    }
}
