//! The policy as an overview for people: each rule with what it is about, in the order of the file. It decides
//! nothing.

use std::time::Duration;

use super::{Policy, RuleName, rule::RuleEffect};
use crate::{
    names::{RoleName, ServiceName},
    risk::RiskScore,
};

/// One rule, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleOutline {
    /// Its name, or its place such as `roles.user.allow[0]`.
    pub name: RuleName,
    /// The role it stands under; none: it binds every role.
    pub role: Option<RoleName>,
    /// What follows from it.
    pub effect: OutlineEffect,
    /// The service it is about; none: all of them.
    pub service: Option<ServiceName>,
    /// What it matches: `tools`, `resources`, `prompts` or `requests`, and the pattern. Nothing: the wildcard `*`.
    pub matches: Vec<(&'static str, String)>,
    /// It matches only where this holds.
    pub when: Option<String>,
    /// At least so risky.
    pub floor: Option<RiskScore>,
    /// `read: true`.
    pub read: bool,
    /// `risk: ignore`.
    pub ignore: bool,
    /// Its line in the file.
    pub line: usize,
}

/// What follows from a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutlineEffect {
    /// What it matches may happen.
    Allow,
    /// It may happen once so many operators have approved it.
    Approve {
        /// How many.
        quorum: u8,
        /// How long they have; none: as the settings say.
        decide_within: Option<Duration>,
    },
    /// It may not happen.
    Deny,
}

impl Policy {
    /// Every rule, in the order of the file.
    #[must_use]
    pub fn outline(&self) -> Vec<RuleOutline> {
        let outline = |rule: &std::sync::Arc<super::Rule>| RuleOutline {
            name: rule.name.clone(),
            role: rule.role.clone(),
            effect: match rule.effect {
                RuleEffect::Allow => OutlineEffect::Allow,
                RuleEffect::Deny => OutlineEffect::Deny,
                RuleEffect::Approve => OutlineEffect::Approve {
                    quorum: rule.terms.quorum.get(),
                    decide_within: rule.terms.decide_within,
                },
            },
            service: rule.service.named().cloned(),
            matches: rule
                .matches
                .iter()
                .map(|(target, pattern)| (target.key(), pattern.as_str().to_owned()))
                .collect(),
            when: rule.when.as_ref().map(|when| when.text().to_owned()),
            floor: rule.risk.floor,
            read: rule.risk.read,
            ignore: rule.risk.ignore,
            line: rule.place.line,
        };
        self.rules.iter().map(outline).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::parse;

    #[test]
    fn every_rule_is_told_with_its_line() {
        let text = "version: 1\nroles:\n  user:\n    allow:\n      - { service: files, tools: [\"read_*\"], read: true }\n    approve:\n      - name: big\n        service: billing\n        requests: [\"POST /v1/refunds\"]\n        when: args.amount > 1000\n        approvals: 2\n  admin:\n    allow: [\"*\"]\ndeny:\n  - { service: \"*\", tools: [\"delete_*\"] }\n";
        let (policy, _) = parse("policy.yaml", text).unwrap();
        let outline = policy.outline();
        let told: Vec<_> = outline.iter().map(|rule| (rule.name.as_str(), rule.line)).collect();
        assert_eq!(policy.text(), text);
        assert!(told.contains(&("big", 7)) && told.contains(&("deny[0]", 15)), "{told:?}");
        let big = outline.iter().find(|rule| rule.name.as_str() == "big").unwrap();
        assert_eq!(big.effect, OutlineEffect::Approve { quorum: 2, decide_within: None });
        assert_eq!(big.matches, [("requests", "POST /v1/refunds".to_owned())]);
        assert_eq!(big.when.as_deref(), Some("args.amount > 1000"));
    }
}
