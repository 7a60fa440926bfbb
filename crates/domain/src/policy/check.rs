//! Warnings: rules that can never match. They do no harm, but whoever wrote them meant something else.

use super::{Policy, rule::Rule};
use crate::{
    names::ServiceName,
    yaml::{Problem, Source},
};

/// Rules about services that the home does not have. Nothing, as long as it has none at all.
#[must_use]
pub fn check(policy: &Policy, known_services: &[ServiceName]) -> Vec<Problem> {
    if known_services.is_empty() {
        return Vec::new();
    }
    let source = Source { file: &policy.file, text: &policy.text };
    let mut problems = Vec::new();
    for rule in &policy.rules {
        if let Some(name) = rule.service.named()
            && !known_services.contains(name)
        {
            let message =
                format!("never matches: there is no service `{name}`; known: {}", listed(known_services));
            problems.push(source.warning(rule.service_place, message));
        }
    }
    problems
}

/// At most eight names; a message is no inventory.
fn listed(services: &[ServiceName]) -> String {
    let mut names: Vec<_> = services.iter().take(8).map(ServiceName::as_str).collect();
    if services.len() > names.len() {
        names.push("…");
    }
    names.join(", ")
}

/// Allow and approve rules of which denies cover all patterns. A deny with a condition covers nothing for certain.
pub(super) fn covered(source: Source<'_>, rules: &[Rule]) -> Vec<Problem> {
    rules.iter().filter(|rule| !rule.denies()).filter_map(|rule| covered_by(source, rule, rules)).collect()
}

fn covered_by(source: Source<'_>, rule: &Rule, rules: &[Rule]) -> Option<Problem> {
    let denies: Vec<&Rule> = rules
        .iter()
        .filter(|deny| {
            deny.denies() && deny.when.is_none() && (deny.role.is_none() || deny.role == rule.role)
        })
        .filter(|deny| deny.service.covers(&rule.service))
        .collect();
    let mut lines: Vec<usize> = Vec::new();
    for (target, pattern) in &rule.matches {
        let covers =
            |deny: &&&Rule| deny.matches.iter().any(|(kind, wide)| kind == target && wide.covers(pattern));
        lines.push(denies.iter().find(covers)?.place.line);
    }
    lines.sort_unstable();
    lines.dedup();
    let (covered, deny) = match lines.as_slice() {
        [] => return None,
        [line] => (format!("`deny` on line {line} covers it"), "the deny"),
        [rest @ .., last] => {
            let rest: Vec<String> = rest.iter().map(ToString::to_string).collect();
            (format!("`deny` on lines {} and {last} cover it", rest.join(", ")), "them")
        }
    };
    let message = format!("never matches: {covered}; remove it, or narrow {deny}");
    Some(source.warning(rule.place, message))
}

/// Approve rules for every role that match nothing which a role is granted: they grant nothing themselves.
pub(super) fn ungranted(source: Source<'_>, rules: &[Rule]) -> Vec<Problem> {
    let granting: Vec<&Rule> = rules.iter().filter(|rule| rule.grants()).collect();
    let idle = rules.iter().filter(|rule| {
        rule.asks() && rule.role.is_none() && !granting.iter().any(|granting| rule.meets(granting))
    });
    let message =
        "never asks: no role is granted what it matches; allow that to a role, or write the approve there";
    idle.map(|rule| source.warning(rule.place, message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::{fixture::service_name, parse},
        yaml::render_all,
    };

    #[test]
    fn a_rule_about_an_unknown_service_is_a_warning_once_there_are_services() {
        let text = "version: 1\nroles:\n  user:\n    allow:\n      - { service: fils, tools: [a] }\n";
        let (policy, _) = parse("policy.yaml", text).unwrap();
        assert_eq!(check(&policy, &[]), []);
        assert_eq!(check(&policy, &[service_name("fils")]), []);
        let known = [service_name("billing"), service_name("files")];
        insta::assert_snapshot!(render_all(&check(&policy, &known)), @r"
        policy.yaml:5:20: warning: never matches: there is no service `fils`; known: billing, files
           5 |       - { service: fils, tools: [a] }
             |                    ^^^^
        ");
    }
}
