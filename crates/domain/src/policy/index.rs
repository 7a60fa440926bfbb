//! Rules indexed so that a call looks at only a few of them: by service, by target, exact names by hash, and globs by
//! the text before their first wildcard or after their last. A thousand rules cost little more than twenty.

use std::{collections::HashMap, sync::Arc};

use super::{
    Pattern,
    rule::{Rule, Target},
};
use crate::names::ServiceName;

/// Rules of one effect, of one role or of all. Those with a condition stand apart: most calls meet none of them.
#[derive(Debug, Default)]
pub(super) struct RuleTable {
    always: ServiceTable,
    when: ServiceTable,
}

impl RuleTable {
    pub fn insert(&mut self, rule: &Arc<Rule>) {
        let table = if rule.when.is_some() { &mut self.when } else { &mut self.always };
        table.insert(rule);
    }

    /// The rules about a service.
    pub fn about(&self, service: &str) -> ServiceRules<'_> {
        ServiceRules { always: self.always.about(service), when: self.when.about(service) }
    }
}

/// Rules about one service: those about all of them, and those that name it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServiceRules<'t> {
    always: [Option<&'t TargetSets>; 2],
    when: [Option<&'t TargetSets>; 2],
}

impl<'t> ServiceRules<'t> {
    /// The first rule of the file, of those without a condition, that matches.
    pub fn first(self, target: Target, text: &str) -> Option<&'t Rule> {
        let sets = self.always.into_iter().flatten();
        sets.filter_map(|sets| sets.of(target).first(text)).min_by_key(|rule| rule.order)
    }

    /// The rules without a condition that match, in no order; one may come twice.
    pub fn each<'s>(self, target: Target, text: &'s str) -> impl Iterator<Item = &'t Rule> + use<'s, 't> {
        self.always.into_iter().flatten().flat_map(move |sets| sets.of(target).all(text))
    }

    /// All rules, in no order; one may come several times.
    pub fn rules(self) -> impl Iterator<Item = &'t Rule> {
        let sets = self.always.into_iter().chain(self.when).flatten();
        sets.flat_map(|sets| Target::KEYS.into_iter().flat_map(|(_, target)| sets.of(target).rules()))
    }

    /// The rules with a condition that match if it holds, in the order of the file.
    pub fn conditional(self, target: Target, text: &str) -> Vec<&'t Rule> {
        let sets = self.when.into_iter().flatten();
        let mut rules: Vec<_> = sets.flat_map(|sets| sets.of(target).all(text)).collect();
        rules.sort_by_key(|rule| rule.order);
        rules.dedup_by_key(|rule| rule.order);
        rules
    }

    /// The patterns of the rules without a condition.
    pub fn patterns(self, target: Target) -> impl Iterator<Item = Pattern> {
        self.always.into_iter().flatten().flat_map(move |sets| sets.of(target).patterns())
    }

    /// The patterns of the rules with one.
    pub fn conditional_patterns(self, target: Target) -> impl Iterator<Item = Pattern> {
        self.when.into_iter().flatten().flat_map(move |sets| sets.of(target).patterns())
    }
}

#[derive(Debug, Default)]
struct ServiceTable {
    any_service: TargetSets,
    by_service: HashMap<ServiceName, TargetSets>,
}

impl ServiceTable {
    fn insert(&mut self, rule: &Arc<Rule>) {
        let sets = match rule.service.named() {
            None => &mut self.any_service,
            Some(name) => self.by_service.entry(name.clone()).or_default(),
        };
        for (target, pattern) in &rule.matches {
            sets.of_mut(*target).insert(pattern, rule);
        }
    }

    fn about(&self, service: &str) -> [Option<&TargetSets>; 2] {
        [Some(&self.any_service), self.by_service.get(service)]
    }
}

/// One set of patterns for each target.
#[derive(Debug, Default)]
struct TargetSets {
    tools: PatternSet,
    resources: PatternSet,
    prompts: PatternSet,
    requests: PatternSet,
}

impl TargetSets {
    fn of(&self, target: Target) -> &PatternSet {
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
struct PatternSet {
    exact: HashMap<Box<str>, Vec<Arc<Rule>>>,
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
            self.exact.entry(pattern.as_str().into()).or_default().push(Arc::clone(rule));
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
    fn first(&self, text: &str) -> Option<&Rule> {
        let exact = self.exact(text).first();
        // Within a group the rules keep the order of the file.
        let globs = self.candidates(text).filter_map(|candidates| {
            candidates.iter().find(|(pattern, _)| pattern.matches(text)).map(|(_, rule)| rule)
        });
        globs.chain(exact).map(Arc::as_ref).min_by_key(|rule| rule.order)
    }

    /// All rules that match the text, in no order; one may come twice.
    fn all<'s, 'x>(&'s self, text: &'x str) -> impl Iterator<Item = &'s Rule> + use<'s, 'x> {
        let globs = self.candidates(text).flatten().filter(move |(pattern, _)| pattern.matches(text));
        globs.map(|(_, rule)| rule).chain(self.exact(text)).map(Arc::as_ref)
    }

    fn exact(&self, text: &str) -> &[Arc<Rule>] {
        if self.exact.is_empty() { &[] } else { self.exact.get(text).map_or(&[], Vec::as_slice) }
    }

    fn candidates<'s, 'x>(
        &'s self,
        text: &'x str,
    ) -> impl Iterator<Item = &'s Vec<(Pattern, Arc<Rule>)>> + use<'s, 'x> {
        self.globs.iter().filter_map(move |group| group.by_text.get(group.end.cut(text, group.length)?))
    }

    /// All rules; one may come several times.
    fn rules(&self) -> impl Iterator<Item = &Rule> {
        let globs = self.globs.iter().flat_map(|group| group.by_text.values().flatten());
        self.exact.values().flatten().chain(globs.map(|(_, rule)| rule)).map(Arc::as_ref)
    }

    /// All patterns.
    fn patterns(&self) -> impl Iterator<Item = Pattern> {
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
            prop_assert_eq!(set.first(&text).map(|rule| rule.order), first);
            let mut all: Vec<_> = set.all(&text).map(|rule| rule.order).collect();
            all.sort_unstable();
            let matching = (0..patterns.len()).filter(|rule| Pattern::new(&patterns[*rule]).matches(&text));
            prop_assert_eq!(all, matching.collect::<Vec<_>>());
        }
    }
}
