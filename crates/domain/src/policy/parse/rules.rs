//! Reads lists of rules. A faulty rule is read to its end, so that everything wrong with it is reported.

use std::sync::Arc;

use super::{
    super::{
        Condition, Pattern, RuleName, RuleRisk,
        rule::{Rule, RuleEffect, ServiceMatch, Target, Terms},
    },
    KEYS_OF, Member, RULE_KEYS, Reader, find,
};
use crate::{
    names::{RoleName, ServiceName},
    yaml::{Node, Place},
};

/// Only this role may be given everything, or something on all services.
const ADMIN: &str = "admin";

/// The longest name of a rule, in characters.
const NAME_MAX: usize = 64;

pub(super) struct RuleReader<'r, 't> {
    reader: &'r mut Reader<'t>,
    role: Option<&'r RoleName>,
    effect: RuleEffect,
    /// Where the list is, such as `roles.user.allow`: rules without a name are called by it.
    path: &'r str,
}

/// What a rule says besides what it matches.
#[derive(Default)]
struct Says {
    when: Option<Arc<Condition>>,
    risk: RuleRisk,
    terms: Terms,
}

impl<'r, 't> RuleReader<'r, 't> {
    pub fn new(
        reader: &'r mut Reader<'t>,
        role: Option<&'r RoleName>,
        effect: RuleEffect,
        path: &'r str,
    ) -> Self {
        Self { reader, role, effect, path }
    }

    pub fn read_list(&mut self, list: &Node) {
        let items = self.reader.items(list, &format!("`{}`", self.path));
        for (index, item) in items.iter().enumerate() {
            let path = format!("{}[{index}]", self.path);
            match item.as_text() {
                Some("*") => self.read_everything(item, &path, items.len()),
                _ => self.read_rule(item, path),
            }
        }
    }

    /// `"*"`, which stands for everything.
    fn read_everything(&mut self, item: &Node, path: &str, items: usize) {
        let fault = match self.effect {
            RuleEffect::Deny => {
                "a deny names what it forbids, such as `{ service: \"*\", tools: [\"delete_*\"] }`"
            }
            RuleEffect::Approve => {
                "an approve names what needs people, such as `{ service: \"*\", tools: [\"delete_*\"] }`"
            }
            RuleEffect::Allow if !self.is_admin() => {
                "`*` for everything stands only in `roles.admin.allow`; name a service and what may be used there"
            }
            RuleEffect::Allow if items > 1 => {
                "`*` already allows everything; remove it, or the other rules of this list"
            }
            RuleEffect::Allow => {
                let matches = Target::KEYS.iter().map(|(_, target)| (*target, Pattern::new("**"))).collect();
                return self.push(
                    path,
                    (ServiceMatch::Any, item.place),
                    matches,
                    Says::default(),
                    item.place,
                );
            }
        };
        self.reader.error(item.place, fault);
    }

    fn read_rule(&mut self, item: &Node, path: String) {
        if item.as_map().is_none() {
            return self.reader.wrong(
                item,
                "a rule",
                "a mapping such as `{ service: files, tools: [\"read_*\"] }`",
            );
        }
        let members = self.read_members(item);
        let name = self.read_name(&members).unwrap_or(path);
        let service = self.read_service(item, &members);
        let matches = self.read_matches(item, &members);
        let when = self.reader.read_when(&members);
        let (risk, terms) = (self.reader.read_risk(&members), self.reader.read_terms(&members));
        // Kept even when a part was wrong: what is left can still be compared with the denies.
        if let Some(service) = service {
            self.push(&name, service, matches, Says { when, risk, terms }, item.place);
        }
    }

    /// What a rule of this effect may say.
    fn read_members<'n>(&mut self, item: &'n Node) -> Vec<&'n Member> {
        let known: Vec<_> = RULE_KEYS.into_iter().chain(KEYS_OF.map(|(key, _)| key)).collect();
        let mut members = self.reader.members(item, "a rule", &known);
        members.retain(|(key, _)| {
            let Some((_, owners)) = KEYS_OF.iter().find(|(name, _)| *name == key.text) else { return true };
            let fits = owners.contains(&self.effect);
            if !fits {
                let owners: Vec<_> = owners.iter().map(|effect| effect.key()).collect();
                let (key_text, effect) = (&key.text, self.effect.key());
                let message =
                    format!("`{key_text}` goes with {}, not with {effect}; remove it", owners.join(" and "));
                self.reader.error(key.place, message);
            }
            fits
        });
        members
    }

    fn read_name(&mut self, members: &[&Member]) -> Option<String> {
        let node = find(members, "name")?;
        let name = self.reader.text_of(node, "`name`", "`big refunds`")?;
        if name.chars().count() > NAME_MAX || name.chars().any(char::is_control) {
            self.reader
                .error(node.place, format!("`name` must be one line of at most {NAME_MAX} characters"));
            return None;
        }
        if let Some(line) = self.reader.names.insert(name.to_owned(), node.place.line) {
            self.reader.error(
                node.place,
                format!("another rule is called `{}`, on line {line}", name.escape_debug()),
            );
        }
        Some(name.to_owned())
    }

    /// The service, and where it is named.
    pub fn read_service(&mut self, item: &Node, members: &[&Member]) -> Option<(ServiceMatch, Place)> {
        let Some(node) = find(members, "service") else {
            self.reader.missing(item, members, "`service` is missing; name the service that this is about");
            return None;
        };
        let text = self.reader.text_of(node, "`service`", "`files`")?;
        if text != "*" {
            let name = ServiceName::parse(text).map_err(|bad| self.reader.error(node.place, bad)).ok()?;
            return Some((ServiceMatch::Named(name), node.place));
        }
        if self.effect == RuleEffect::Allow && !self.is_admin() {
            self.reader.error(
                node.place,
                "outside `admin`, `service: \"*\"` stands only in deny and approve; name the service",
            );
            return None;
        }
        Some((ServiceMatch::Any, node.place))
    }

    pub fn read_matches(&mut self, item: &Node, members: &[&Member]) -> Vec<(Target, Pattern)> {
        let mut matches = Vec::new();
        let mut named = false;
        for (key, target) in Target::KEYS {
            let Some(list) = find(members, key) else { continue };
            named = true;
            let items = self.reader.items(list, &format!("`{key}`"));
            if items.is_empty() && list.as_list().is_some() {
                self.reader
                    .error(list.place, format!("`{key}` is empty; name at least one, or leave it out"));
            }
            for node in items {
                matches.extend(self.read_pattern(target, node).map(|pattern| (target, pattern)));
            }
        }
        if !named {
            let message = "it matches nothing; add `tools`, `resources`, `prompts` or `requests`";
            self.reader.missing(item, members, message);
        }
        matches
    }

    fn read_pattern(&mut self, target: Target, node: &Node) -> Option<Pattern> {
        let text = self.reader.text_of(node, "a pattern", "`read_*`")?;
        if text.len() > Pattern::BYTES_MAX {
            self.reader.error(node.place, format!("a pattern has at most {} bytes", Pattern::BYTES_MAX));
            return None;
        }
        if target == Target::Request && text.contains('?') {
            // Warned of, not refused: older files with it go on as they did.
            let message =
                "never matches: a path ends before its query; ask for that in `when`, as `query.name`";
            self.reader.problems.push(self.reader.source.warning(node.place, message));
        }
        if target == Target::Request
            && let Some(form) = request_form(text)
        {
            let (text, form) = (text.escape_debug(), form.escape_debug());
            self.reader.error(node.place, format!("`{text}` is not `METHOD /path`; write `{form}`"));
            return None;
        }
        Some(Pattern::new(text))
    }

    fn push(
        &mut self,
        name: &str,
        (service, service_place): (ServiceMatch, Place),
        matches: Vec<(Target, Pattern)>,
        says: Says,
        place: Place,
    ) {
        let (order, name) = (self.reader.rules.len(), RuleName::new(name));
        let (effect, role) = (self.effect, self.role.cloned());
        self.reader.rules.push(Rule {
            order,
            name,
            effect,
            role,
            service,
            service_place,
            matches,
            when: says.when,
            risk: says.risk,
            terms: says.terms,
            place,
        });
    }

    fn is_admin(&self) -> bool {
        self.role.is_some_and(|role| role.as_str() == ADMIN)
    }
}

/// How a text that is not `METHOD /path` was probably meant; none when it is.
fn request_form(text: &str) -> Option<String> {
    let (method, path) = match text.trim().split_once(char::is_whitespace) {
        Some((method, path)) => (method.to_ascii_uppercase(), path.trim()),
        None => ("GET".to_owned(), text.trim()),
    };
    let is_method = method == "*" || method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    let method = if is_method { method } else { "GET".to_owned() };
    let path: String = path.split_whitespace().collect();
    let slash = if path.starts_with('/') { "" } else { "/" };
    let form = format!("{method} {slash}{path}");
    (form != text).then_some(form)
}

#[cfg(test)]
mod tests {
    use super::request_form;

    #[test]
    fn a_request_is_a_method_and_a_path() {
        for text in ["GET /v1/**", "POST /", "* /v1/*", "M-SEARCH /x"] {
            assert_eq!(request_form(text), None, "{text}");
        }
        for (text, form) in [
            ("GET v1/**", "GET /v1/**"),
            ("get /v1", "GET /v1"),
            ("/v1/**", "GET /v1/**"),
            ("GET  /v1", "GET /v1"),
            ("GET /v1 ", "GET /v1"),
            ("/v1 GET", "GET /GET"),
        ] {
            assert_eq!(request_form(text).as_deref(), Some(form), "{text}");
        }
    }
}
