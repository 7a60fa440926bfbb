//! Whether two sets of rights show the same of a list, whatever is in it: then nobody need be told that it changed.

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
