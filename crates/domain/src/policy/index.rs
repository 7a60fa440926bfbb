//! Rules sorted so that a call looks at few of them: by service, by target, exact names by hash and globs by
//! the text before their first wildcard, or after their last. A thousand rules cost little more than twenty.

use std::{collections::HashMap, sync::Arc};

use super::{
    Pattern,
    rule::{Rule, Target},
};
use crate::names::ServiceName;

/// Rules of one effect, of one role or of all.
#[derive(Debug, Default)]
pub(super) struct RuleTable {
    any_service: TargetSets,
    by_service: HashMap<ServiceName, TargetSets>,
}

impl RuleTable {
    pub fn insert(&mut self, rule: &Arc<Rule>) {
        let sets = match rule.service.named() {
            None => &mut self.any_service,
            Some(name) => self.by_service.entry(name.clone()).or_default(),
        };
        for (target, pattern) in &rule.matches {
            sets.of_mut(*target).insert(pattern, rule);
        }
    }

    /// The rules about a service: those about all of them, and those that name it.
    pub fn about(&self, service: &str) -> [Option<&TargetSets>; 2] {
        [Some(&self.any_service), self.by_service.get(service)]
    }
}

/// One set of patterns for each target.
#[derive(Debug, Default)]
pub(super) struct TargetSets {
    tools: PatternSet,
    resources: PatternSet,
    prompts: PatternSet,
    requests: PatternSet,
}

impl TargetSets {
    pub fn of(&self, target: Target) -> &PatternSet {
        match target {
            Target::Tool => &self.tools,
            Target::Resource => &self.resources,
            Target::Prompt => &self.prompts,
            Target::Request => &self.requests,
        }
    }

    fn of_mut(&mut self, target: Target) -> &mut PatternSet {
        match target {
            Target::Tool => &mut self.tools,
            Target::Resource => &mut self.resources,
            Target::Prompt => &mut self.prompts,
            Target::Request => &mut self.requests,
        }
    }
}

/// Patterns, each with the rule that it belongs to.
#[derive(Debug, Default)]
pub(super) struct PatternSet {
    exact: HashMap<Box<str>, Arc<Rule>>,
    globs: Vec<GlobGroup>,
}

/// Globs that begin with a text of one length, or end with one: one look-up finds those that can match.
#[derive(Debug)]
struct GlobGroup {
    end: End,
    length: usize,
    by_text: HashMap<Box<str>, Vec<(Pattern, Arc<Rule>)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Prefix,
    Suffix,
}

impl End {
    /// So many bytes at this end of the text.
    fn cut(self, text: &str, length: usize) -> Option<&str> {
        match self {
            Self::Prefix => text.get(..length),
            Self::Suffix => text.get(text.len().checked_sub(length)?..),
        }
    }
}

impl PatternSet {
    fn insert(&mut self, pattern: &Pattern, rule: &Arc<Rule>) {
        if pattern.is_exact() {
            self.exact.entry(pattern.as_str().into()).or_insert_with(|| Arc::clone(rule));
            return;
        }
        let (end, text) = match pattern.prefix() {
            "" => (End::Suffix, pattern.suffix()),
            prefix => (End::Prefix, prefix),
        };
        let known = self.globs.iter().position(|group| group.end == end && group.length == text.len());
        let place = known.unwrap_or_else(|| {
            self.globs.push(GlobGroup { end, length: text.len(), by_text: HashMap::new() });
            self.globs.len() - 1
        });
        if let Some(group) = self.globs.get_mut(place) {
            group.by_text.entry(text.into()).or_default().push((pattern.clone(), Arc::clone(rule)));
        }
    }

    /// The first rule of the file that matches the text.
    pub fn find(&self, text: &str) -> Option<&Rule> {
        let exact = if self.exact.is_empty() { None } else { self.exact.get(text) };
        let globs = self.globs.iter().filter_map(|group| {
            let candidates = group.by_text.get(group.end.cut(text, group.length)?)?;
            candidates.iter().find(|(pattern, _)| pattern.matches(text)).map(|(_, rule)| rule)
        });
        globs.chain(exact).map(Arc::as_ref).min_by_key(|rule| rule.order)
    }

    /// All patterns.
    pub fn patterns(&self) -> impl Iterator<Item = Pattern> {
        let exact = self.exact.keys().map(|text| Pattern::new(text));
        let globs = self.globs.iter().flat_map(|group| group.by_text.values().flatten());
        exact.chain(globs.map(|(pattern, _)| pattern.clone()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::rule::tests::nth;

    proptest! {
        #[test]
        fn a_set_finds_the_first_pattern_that_matches(
            patterns in proptest::collection::vec("[ab*]{1,4}", 0..12),
            text in "[ab]{0,5}",
        ) {
            let mut set = PatternSet::default();
            for (rule, pattern) in patterns.iter().enumerate() {
                set.insert(&Pattern::new(pattern), &nth(rule));
            }
            let first = patterns.iter().position(|pattern| Pattern::new(pattern).matches(&text));
            prop_assert_eq!(set.find(&text).map(|rule| rule.order), first);
        }
    }
}
