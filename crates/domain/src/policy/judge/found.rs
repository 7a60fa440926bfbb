//! What the matching rules add up to, combined so that their order never matters.

use crate::policy::{Facts, RuleRisk, Wants, rule::Rule};
use crate::risk::RiskScore;

/// What is not refused.
#[derive(Clone, Copy)]
pub(super) enum Passed<'w> {
    /// It is open to every role.
    Open,
    /// By this rule.
    By(&'w Rule, RuleRisk),
    /// Once people have approved it.
    Asked(Asking<'w>, RuleRisk),
    /// If conditions hold that nobody can answer yet; or people must approve, and conditions say how.
    Perhaps,
}

impl<'w> Passed<'w> {
    /// Both have to pass. Of two rules that allow, the one of `other` is named.
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Perhaps, _) | (_, Self::Perhaps) => Self::Perhaps,
            (Self::Open, passed) | (passed, Self::Open) => passed,
            (Self::By(_, one), Self::By(rule, two)) => Self::By(rule, one.and(two)),
            (Self::Asked(asking, one), Self::By(_, two)) | (Self::By(_, one), Self::Asked(asking, two)) => {
                Self::Asked(asking, one.and(two))
            }
            (Self::Asked(a, one), Self::Asked(b, two)) => Self::Asked(a.and(b), one.and(two)),
        }
    }
}

/// The `approve` rules that match, as one.
#[derive(Clone, Copy)]
pub(super) struct Asking<'w> {
    /// The rule that wants most operators; of these the first in the file.
    rule: &'w Rule,
    decide_within: Option<std::time::Duration>,
    execute_within: Option<std::time::Duration>,
}

impl<'w> Asking<'w> {
    fn of(rule: &'w Rule) -> Self {
        let terms = rule.terms;
        Self { rule, decide_within: terms.decide_within, execute_within: terms.execute_within }
    }

    /// The strictest of both.
    fn and(self, other: Self) -> Self {
        let shortest = |a: Option<_>, b| [a, b].into_iter().flatten().min();
        let rank = |asking: &Self| (std::cmp::Reverse(asking.rule.terms.quorum), asking.rule.order);
        Self {
            rule: if rank(&other) < rank(&self) { other.rule } else { self.rule },
            decide_within: shortest(self.decide_within, other.decide_within),
            execute_within: shortest(self.execute_within, other.execute_within),
        }
    }

    /// In the words of the file `file`. Without facts, no condition had a part in it.
    pub fn wants(self, risk: RuleRisk, file: &str, facts: Option<&Facts<'_>>) -> Wants {
        let rule = self.rule;
        let condition = rule.when.as_ref().zip(facts);
        Wants {
            rule: rule.name.clone(),
            place: format!("{file}:{}", rule.place.line),
            because: condition.map(|(when, facts)| when.because(facts)),
            failure: condition.and_then(|(when, facts)| when.holds(facts).err()),
            quorum: rule.terms.quorum,
            decide_within: self.decide_within,
            execute_within: self.execute_within,
            risk,
        }
    }
}

/// The rules that were found to match so far.
#[derive(Default)]
pub(super) struct Found<'w> {
    /// The first in the file of those that allow.
    pub allow: Option<&'w Rule>,
    /// Whether an `approve` of the role grants it.
    granted: bool,
    asking: Option<Asking<'w>>,
    /// The highest floor.
    pub floor: Option<RiskScore>,
    /// One that allows does not say `read`.
    unread: bool,
    /// One does not say `risk: ignore`.
    heeds: bool,
}

impl<'w> Found<'w> {
    /// A rule that allows.
    pub fn allow(&mut self, rule: &'w Rule) {
        self.allow = Some(self.allow.filter(|first| first.order < rule.order).unwrap_or(rule));
        self.unread |= !rule.risk.read;
        self.weigh(rule);
    }

    /// A rule that wants people; one of the role grants the call by that.
    pub fn ask(&mut self, rule: &'w Rule) {
        let asking = Asking::of(rule);
        self.asking = Some(self.asking.map_or(asking, |other| other.and(asking)));
        self.granted |= rule.grants();
        self.weigh(rule);
    }

    /// Only what a rule says about the least risk.
    pub fn raise_floor(&mut self, rule: &Rule) {
        self.floor = self.floor.max(rule.risk.floor);
    }

    fn weigh(&mut self, rule: &Rule) {
        self.raise_floor(rule);
        self.heeds |= !rule.risk.ignore;
    }

    pub fn grants(&self) -> bool {
        self.granted || self.allow.is_some()
    }

    /// What they come to; none where nothing grants the call.
    pub fn passed(self) -> Option<Passed<'w>> {
        let risk = RuleRisk {
            floor: self.floor,
            read: self.allow.is_some() && !self.unread,
            ignore: !self.heeds && self.floor.is_none(),
        };
        match (self.asking, self.allow) {
            (Some(asking), _) if self.grants() => Some(Passed::Asked(asking, risk)),
            (_, Some(rule)) => Some(Passed::By(rule, risk)),
            _ => None,
        }
    }
}
