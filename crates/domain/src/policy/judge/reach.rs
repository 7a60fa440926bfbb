//! Whether two sets of rights show the same parts of any list: then nobody needs to be told that it changed.

use std::collections::BTreeSet;

use wire::mcp::ListKind;

use super::Rights;
use crate::policy::{index::ServiceRules, rule::Target};

impl Rights<'_> {
    /// Whether every list of this kind is cut alike by both, because the patterns that decide are the same.
    ///
    /// `true` can be relied on. `false` also where other patterns come to the same.
    #[must_use]
    pub fn shows_alike(&self, other: &Rights<'_>, kind: ListKind) -> bool {
        let target = match kind {
            ListKind::Tools => Target::Tool,
            ListKind::Prompts => Target::Prompt,
            ListKind::Resources | ListKind::ResourceTemplates => Target::Resource,
        };
        self.reach(target) == other.reach(target)
    }

    /// What is hidden, and what is shown where it is not hidden. A deny with a condition hides nothing; what is granted
    /// under one is shown.
    fn reach(&self, target: Target) -> [BTreeSet<String>; 2] {
        let always = |rules: ServiceRules<'_>| {
            rules.patterns(target).map(|pattern| pattern.as_str().to_owned()).collect::<Vec<_>>()
        };
        let under_condition = |rules: ServiceRules<'_>| {
            rules.conditional_patterns(target).map(|pattern| pattern.as_str().to_owned()).collect::<Vec<_>>()
        };
        let hidden = [self.deny, self.role_deny].into_iter().flat_map(always).collect();
        let granting = [self.allow, self.role_approve];
        let shown = granting.into_iter().flat_map(|rules| [always(rules), under_condition(rules)].concat());
        [hidden, shown.collect()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::{agent, world};

    #[test]
    fn other_patterns_for_a_list_are_told_and_everything_else_is_not() {
        let policy = |rules: &str, more: &str| {
            format!(
                "version: 1\nroles:\n  user:\n    allow:\n      - {{ service: files, tools: [a, \"b*\"], prompts: [p]{rules} }}\n{more}"
            )
        };
        let before = world(&policy("", ""), &["files", "notes"]);
        let user = agent("user", &["files", "notes"]);
        let rights = Rights::of(&before, &user, "files").unwrap();
        for (rules, more, alike) in [
            ("", "", [true, true, true]),
            ("", "limits: { per_key: 1/1s }", [true, true, true]),
            ("", "approve: [{ service: files, tools: [a] }]", [true, true, true]),
            ("", "deny: [{ service: notes, tools: [a] }]", [true, true, true]),
            ("", "deny: [{ service: files, tools: [a], when: agent.name == \"x\" }]", [true, true, true]),
            ("", "deny: [{ service: \"*\", tools: [a] }]", [false, true, true]),
            (", resources: [\"file:///**\"]", "", [true, true, false]),
            (
                " }\n      - { service: files, prompts: [q], when: agent.name == \"x\"",
                "",
                [true, false, true],
            ),
        ] {
            let after = world(&policy(rules, more), &["files", "notes"]);
            let now = Rights::of(&after, &user, "files").unwrap();
            let kinds = [ListKind::Tools, ListKind::Prompts, ListKind::ResourceTemplates];
            assert_eq!(kinds.map(|kind| rights.shows_alike(&now, kind)), alike, "{rules} {more}");
        }
    }
}
