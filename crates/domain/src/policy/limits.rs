//! The limits that a policy sets; those it leaves out have the contract's defaults.

use std::fmt;

use super::{
    Pattern,
    rule::{ServiceMatch, Target, subject},
};
use crate::{call::Action, names::ServiceName, quota::Quota};

/// How often an agent may do what it may do. Binds every role, `admin` too.
#[derive(Debug, Clone)]
pub struct Limits {
    /// All calls of a key. Default 60/1m.
    pub per_key: Quota,
    /// Calls of one tool, prompt or resource with a key. Default 20/1m.
    pub per_tool: Quota,
    /// Everything that is not a call: lists, notifications, `initialize`. Default 600/1m per key.
    pub housekeeping: Quota,
    /// Refused calls. Default 120/1m per key.
    pub refusals: Quota,
    /// Stand in place of `per_tool` for what they match.
    pub overrides: Vec<Override>,
    /// How many of them the file sets.
    pub(super) written: usize,
}

/// A limit of its own for certain tools, prompts or resources of a service.
#[derive(Debug, Clone)]
pub struct Override {
    pub(super) service: ServiceMatch,
    pub(super) matches: Vec<(Target, Pattern)>,
    /// The limit, for all that it matches together.
    pub quota: Quota,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_key: Quota::per_minute(60),
            per_tool: Quota::per_minute(20),
            housekeeping: Quota::per_minute(600),
            refusals: Quota::per_minute(120),
            overrides: Vec::new(),
            written: 0,
        }
    }
}

impl Override {
    /// The service that it is about; `None`: any.
    #[must_use]
    pub fn service(&self) -> Option<&ServiceName> {
        self.service.named()
    }

    /// What it matches, as the policy writes it.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.matches.iter().map(|(_, pattern)| pattern.as_str())
    }

    /// Whether it is about this action on this service.
    #[must_use]
    pub fn matches(&self, service: &str, action: &Action) -> bool {
        let Some((target, text)) = subject(action) else { return false };
        self.service.matches(service)
            && self.matches.iter().any(|(kind, pattern)| *kind == target && pattern.matches(text))
    }
}

/// The patterns that it matches: "`write_*`, `edit_*`".
impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, pattern) in self.patterns().enumerate() {
            write!(f, "{}`{pattern}`", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
