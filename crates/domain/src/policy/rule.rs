//! One rule of the policy: which service, which names. It says what it matches, never what follows from that.

use std::{fmt, sync::Arc};

use super::{Condition, Facts, Failure, Pattern, RuleName};
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
    /// Where the rule is.
    pub place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleEffect {
    Allow,
    Deny,
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
            place: Place::default(),
        })
    }
}
