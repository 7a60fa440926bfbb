//! Reads `policy.yaml`: what stands where, and what does not belong there. Goes on after a fault, so that one
//! look shows them all; a file with any error is not used.

mod rules;
mod terms;
mod when;

use std::{collections::HashMap, fmt::Display, sync::Arc};

use self::rules::RuleReader;
use super::{
    Limits, Override, Policy, PolicyHash, Role, check,
    index::RuleTable,
    rule::{Rule, RuleEffect},
};
use crate::{
    names::RoleName,
    quota::Quota,
    yaml::{self, Key, Node, Place, Problem, Severity, Source},
};

/// Roles that exist whether or not the file defines them.
const BUILT_IN: [&str; 3] = ["admin", "user", "readonly"];

pub(super) const TOP_KEYS: [&str; 5] = ["version", "roles", "approve", "deny", "limits"];
pub(super) const ROLE_KEYS: [&str; 3] = ["allow", "approve", "deny"];
/// What every rule may say.
pub(super) const RULE_KEYS: [&str; 7] =
    ["name", "service", "tools", "resources", "prompts", "requests", "when"];
/// What only some rules may say, and which.
pub(super) const KEYS_OF: [(&str, &[RuleEffect]); 5] = [
    ("read", &[RuleEffect::Allow]),
    ("risk", &[RuleEffect::Allow, RuleEffect::Approve]),
    ("approvals", &[RuleEffect::Approve]),
    ("decide_within", &[RuleEffect::Approve]),
    ("execute_within", &[RuleEffect::Approve]),
];
pub(super) const LIMIT_KEYS: [&str; 5] = ["per_key", "per_tool", "housekeeping", "refusals", "overrides"];
pub(super) const OVERRIDE_KEYS: [&str; 6] = ["service", "tools", "resources", "prompts", "requests", "limit"];

/// Reads and compiles a policy file. `file_name` is how messages call it.
///
/// # Errors
/// All problems that were found, in the order of the file, when one of them is an error. Else the policy comes
/// with its warnings.
pub fn parse(file_name: &str, content: impl AsRef<[u8]>) -> Result<(Policy, Vec<Problem>), Vec<Problem>> {
    let bytes = content.as_ref();
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("not a text in UTF-8, from byte {} on", error.valid_up_to());
        vec![Source { file: file_name, text: "" }.error(Place::default(), message)]
    })?;
    let root = yaml::parse(file_name, text)?;
    let source = Source { file: file_name, text };
    let mut reader = Reader { source, problems: Vec::new(), names: HashMap::new(), rules: Vec::new() };
    let parts = reader.read_file(&root);
    let Reader { mut problems, rules, .. } = reader;
    problems.extend(check::covered(source, &rules));
    problems.extend(check::ungranted(source, &rules));
    problems.sort_by_key(|problem| (problem.place.line, problem.place.column));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    let rules: Vec<Arc<Rule>> = rules.into_iter().map(Arc::new).collect();
    let mut roles: HashMap<RoleName, Role> =
        parts.roles.into_iter().map(|name| (name, Role::default())).collect();
    let (mut deny, mut approve) = (RuleTable::default(), RuleTable::default());
    for rule in &rules {
        let role = rule.role.as_ref().map(|name| roles.entry(name.clone()).or_default());
        match (role, rule.effect) {
            (Some(role), RuleEffect::Allow) => role.allow.insert(rule),
            (Some(role), RuleEffect::Approve) => role.approve.insert(rule),
            (Some(role), RuleEffect::Deny) => role.deny.insert(rule),
            (None, RuleEffect::Approve) => approve.insert(rule),
            (None, RuleEffect::Deny) => deny.insert(rule),
            // The grammar has no allow for every role.
            (None, RuleEffect::Allow) => {}
        }
    }
    let (file, text, hash) = (file_name.into(), text.into(), PolicyHash::of(bytes));
    Ok((Policy { file, text, hash, rules, deny, approve, roles, limits: parts.limits }, problems))
}

/// What a file holds besides rules.
struct Parts {
    roles: Vec<RoleName>,
    limits: Limits,
}

struct Reader<'t> {
    source: Source<'t>,
    problems: Vec<Problem>,
    /// The names that rules were given, and the line of each.
    names: HashMap<String, usize>,
    rules: Vec<Rule>,
}

type Member = (Key, Node);

impl Reader<'_> {
    fn read_file(&mut self, root: &Node) -> Parts {
        let roles = BUILT_IN.iter().filter_map(|name| RoleName::parse(name).ok()).collect();
        let mut parts = Parts { roles, limits: Limits::default() };
        let members = self.members(root, "a policy", &TOP_KEYS);
        if root.as_map().is_some() && find(&members, "version").is_none() {
            self.error(Place { line: 1, column: 1, width: 1 }, "`version: 1` is missing");
        }
        for (key, value) in members {
            match key.text.as_str() {
                "version" if value.as_number() != Some(1) => self.error(value.place, "`version` must be 1"),
                "version" => {}
                "roles" => self.read_roles(value, &mut parts.roles),
                "approve" => RuleReader::new(self, None, RuleEffect::Approve, "approve").read_list(value),
                "deny" => RuleReader::new(self, None, RuleEffect::Deny, "deny").read_list(value),
                _ => parts.limits = self.read_limits(value),
            }
        }
        parts
    }

    fn read_roles(&mut self, node: &Node, roles: &mut Vec<RoleName>) {
        let Some(members) = node.as_map() else {
            return self.wrong(node, "`roles`", "a mapping from role names to rules");
        };
        for (key, value) in members {
            let role = match RoleName::parse(&key.text) {
                Ok(role) => role,
                Err(bad) => {
                    self.error(key.place, bad);
                    continue;
                }
            };
            if !roles.contains(&role) {
                roles.push(role.clone());
            }
            for (key, value) in self.members(value, &format!("role `{role}`"), &ROLE_KEYS) {
                let effect = match key.text.as_str() {
                    "allow" => RuleEffect::Allow,
                    "approve" => RuleEffect::Approve,
                    _ => RuleEffect::Deny,
                };
                let path = format!("roles.{role}.{}", key.text);
                RuleReader::new(self, Some(&role), effect, &path).read_list(value);
            }
        }
    }

    fn read_limits(&mut self, node: &Node) -> Limits {
        let mut limits = Limits::default();
        for (key, value) in self.members(node, "`limits`", &LIMIT_KEYS) {
            let place = match key.text.as_str() {
                "per_key" => &mut limits.per_key,
                "per_tool" => &mut limits.per_tool,
                "housekeeping" => &mut limits.housekeeping,
                "refusals" => &mut limits.refusals,
                _ => {
                    for item in self.items(value, "`overrides`") {
                        limits.overrides.extend(self.read_override(item));
                    }
                    continue;
                }
            };
            if let Some(quota) = self.read_quota(value) {
                *place = quota;
            }
            limits.written += 1;
        }
        limits.written += limits.overrides.len();
        limits
    }

    fn read_override(&mut self, node: &Node) -> Option<Override> {
        let members = self.members(node, "an override", &OVERRIDE_KEYS);
        let quota = match find(&members, "limit") {
            Some(limit) => self.read_quota(limit),
            None => {
                self.missing(node, &members, "`limit` is missing; write for example `limit: 5/1m`");
                None
            }
        };
        let mut rule = RuleReader::new(self, None, RuleEffect::Deny, "limits.overrides");
        let service = rule.read_service(node, &members);
        let matches = rule.read_matches(node, &members);
        let ((service, _), quota) = service.zip(quota)?;
        Some(Override { service, matches, quota })
    }

    fn read_quota(&mut self, node: &Node) -> Option<Quota> {
        let text = self.text_of(node, "a limit", "`60/1m`")?;
        Quota::parse(text).map_err(|bad| self.error(node.place, bad)).ok()
    }

    /// The members of a mapping, without those that do not belong there.
    fn members<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Vec<&'n Member> {
        let Some(members) = node.as_map() else {
            self.wrong(node, what, &format!("a mapping with the keys {}", known.join(", ")));
            return Vec::new();
        };
        let (expected, others): (Vec<_>, Vec<_>) =
            members.iter().partition(|(key, _)| known.contains(&key.text.as_str()));
        for (key, _) in others {
            self.problems.push(self.source.unknown_key(key, known));
        }
        expected
    }

    /// The items of a list.
    fn items<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        node.as_list().unwrap_or_else(|| {
            self.wrong(node, what, "a list, written in `[…]` or as lines that begin with `-`");
            &[]
        })
    }

    /// The text of a scalar that is not empty.
    fn text_of<'n>(&mut self, node: &'n Node, what: &str, example: &str) -> Option<&'n str> {
        let text = node.as_text().filter(|text| !text.trim().is_empty());
        if text.is_none() {
            match node.as_text() {
                Some(_) => self.error(node.place, format!("{what} is empty; write a text such as {example}")),
                None => self.wrong(node, what, &format!("a text such as {example}")),
            }
        }
        text
    }

    fn wrong(&mut self, node: &Node, what: &str, wanted: &str) {
        self.error(node.place, format!("{what} must be {wanted}, not {}", node.kind()));
    }

    /// Says that something is missing, unless a key that was not understood was probably meant to be it.
    fn missing(&mut self, node: &Node, understood: &[&Member], message: &str) {
        if node.as_map().is_some_and(|all| all.len() == understood.len()) {
            self.error(node.place, message);
        }
    }

    fn error(&mut self, place: Place, message: impl Display) {
        self.problems.push(self.source.error(place, message.to_string()));
    }
}

fn find<'n>(members: &[&'n Member], key: &str) -> Option<&'n Node> {
    members.iter().find(|(member, _)| member.text == key).map(|(_, value)| value)
}

#[cfg(test)]
mod tests;
