//! One rule of the policy: which service, which names. It says what it matches, never what follows from that.

use std::{fmt, num::NonZeroU8, sync::Arc, time::Duration};

use super::{Condition, Facts, Failure, Pattern, RuleName, RuleRisk};
use crate::{
    call::Action,
    names::{RoleName, ServiceName},
    yaml::Place,
};

/// A rule as it stands in the file.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// Which rule of the file it is, from 0.
    pub order: usize,
    pub name: RuleName,
    pub effect: RuleEffect,
    /// The role it stands under; none for a rule that binds every role.
    pub role: Option<RoleName>,
    pub service: ServiceMatch,
    /// Where the service is named.
    pub service_place: Place,
    pub matches: Vec<(Target, Pattern)>,
    /// It matches only where this holds.
    pub when: Option<Arc<Condition>>,
    /// What it says about the risk of what it matches. A deny says nothing.
    pub risk: RuleRisk,
    /// What its approval takes, where it wants one.
    pub terms: Terms,
    /// Where the rule is.
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleEffect {
    Allow,
    Approve,
    Deny,
}

impl RuleEffect {
    /// The key that holds such rules.
    pub fn key(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }
}

/// What the approval of an `approve` rule takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// How many operators must approve.
    pub quorum: NonZeroU8,
    /// How long they have; none: as the settings say.
    pub decide_within: Option<Duration>,
    /// How long after that it may be executed; none: as the settings say.
    pub execute_within: Option<Duration>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { quorum: NonZeroU8::MIN, decide_within: None, execute_within: None }
    }
}

/// Which services a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceMatch {
    /// `*`: all of them.
    Any,
    /// The one of that name.
    Named(ServiceName),
}

/// What a pattern is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A tool's name.
    Tool,
    /// A resource's URI.
    Resource,
    /// A prompt's name.
    Prompt,
    /// `METHOD /path` of an HTTP service.
    Request,
}

impl Target {
    /// All, with the key that holds their patterns, in the order of the documentation.
    pub(super) const KEYS: [(&'static str, Self); 4] = [
        ("tools", Self::Tool),
        ("resources", Self::Resource),
        ("prompts", Self::Prompt),
        ("requests", Self::Request),
    ];

    /// The key that holds its patterns.
    pub(super) fn key(self) -> &'static str {
        Self::KEYS.iter().find(|(_, target)| *target == self).map_or("", |(key, _)| key)
    }
}

impl Rule {
    pub fn denies(&self) -> bool {
        self.effect == RuleEffect::Deny
    }

    pub fn asks(&self) -> bool {
        self.effect == RuleEffect::Approve
    }

    /// Whether it gives a role something, be it after approval: an `approve` for every role gives nothing.
    pub fn grants(&self) -> bool {
        !self.denies() && self.role.is_some()
    }

    /// Whether some call is matched by both.
    pub fn meets(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.service.named(), other.service.named());
        let same_service = ours.is_none() || theirs.is_none() || ours == theirs;
        same_service
            && self.matches.iter().any(|(target, pattern)| {
                let theirs = other.matches.iter().filter(|(kind, _)| kind == target);
                theirs.into_iter().any(|(_, theirs)| pattern.overlaps(theirs))
            })
    }

    /// Whether its condition holds for a call; without one it always does.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, Failure> {
        self.when.as_ref().map_or(Ok(true), |when| when.holds(facts))
    }
}

impl ServiceMatch {
    /// The one service that is named, if it is not all of them.
    pub(super) fn named(&self) -> Option<&ServiceName> {
        match self {
            Self::Any => None,
            Self::Named(name) => Some(name),
        }
    }

    /// Whether the service is meant.
    pub(super) fn matches(&self, service: &str) -> bool {
        self.named().is_none_or(|name| name.as_str() == service)
    }

    /// Whether every service that `other` means is meant by this one too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        *self == Self::Any || self == other
    }
}

impl fmt::Display for ServiceMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.named().map_or("*", ServiceName::as_str))
    }
}

/// What an action is compared by: its target and text. None for what no pattern speaks of.
pub(super) fn subject(action: &Action) -> Option<(Target, &str)> {
    match action {
        Action::Tool(name) => Some((Target::Tool, name)),
        Action::Prompt(name) => Some((Target::Prompt, name)),
        Action::Resource(uri) => Some((Target::Resource, uri)),
        Action::Request(request) => Some((Target::Request, request)),
        Action::Resources(_) | Action::List(_) | Action::Service | Action::Unknown => None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A rule of which only its order matters.
    pub fn nth(order: usize) -> Arc<Rule> {
        Arc::new(Rule {
            order,
            name: RuleName::new(&format!("rule {order}")),
            effect: RuleEffect::Allow,
            role: None,
            service: ServiceMatch::Any,
            service_place: Place::default(),
            matches: Vec::new(),
            when: None,
            risk: RuleRisk::default(),
            terms: Terms::default(),
            place: Place::default(),
        })
    }
}
