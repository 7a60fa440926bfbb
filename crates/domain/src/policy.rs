//! The policy: which role may do what, read from `policy.yaml` (contract §4). Immutable once compiled.
//! Order never matters: deny beats approve beats allow, and silence means no.

mod cases;
mod check;
mod condition;
mod explain;
#[cfg(test)]
pub(crate) mod fixture;
mod index;
mod judge;
mod limits;
mod outline;
mod parse;
mod pattern;
mod question;
mod rule;
mod schema;
mod uri;
mod wants;

use std::{collections::HashMap, fmt, sync::Arc};

use sha2::{Digest as _, Sha256};

pub use self::{
    cases::{Case, Tried, need_agents, read_cases, with_services_of},
    check::check,
    condition::{Condition, Facts, Failure, Fault, Unusable},
    explain::{Explanation, LimitLine, explain},
    judge::{Args, Refused, Rights, Verdict, judge, may_list},
    limits::{Limits, Override},
    outline::{OutlineEffect, RuleOutline},
    parse::parse,
    pattern::Pattern,
    question::{BadRequest, Question, arguments},
    schema::schema,
    wants::{RuleRisk, Wants},
};
use self::{index::RuleTable, rule::Rule};
use crate::{audit::push_hex, names::RoleName};

/// A compiled policy.
#[derive(Debug)]
pub struct Policy {
    file: Box<str>,
    /// Kept so that a warning can show its line.
    text: Box<str>,
    hash: PolicyHash,
    /// In the order of the file.
    rules: Vec<Arc<Rule>>,
    /// What binds every role.
    deny: RuleTable,
    /// What needs people, whatever the role; it grants nothing.
    approve: RuleTable,
    roles: HashMap<RoleName, Role>,
    limits: Limits,
}

/// What one role may and may not.
#[derive(Debug, Default)]
struct Role {
    allow: RuleTable,
    /// What it may do once people have approved it.
    approve: RuleTable,
    deny: RuleTable,
}

/// Figures for people: `3 roles, 7 rules (2 deny, 1 approve), 2 limits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Roles, `admin`, `user` and `readonly` included: these are always there.
    pub roles: usize,
    /// Rules of all kinds.
    pub rules: usize,
    /// Those among them that deny.
    pub denies: usize,
    /// Those that want people's approval.
    pub approves: usize,
    /// Limits that the file sets; the others have their defaults.
    pub limits: usize,
}

impl Policy {
    /// The hash of the file that it was read from.
    #[must_use]
    pub fn hash(&self) -> &PolicyHash {
        &self.hash
    }

    /// The name of the file that it was read from, as it was given to [`parse()`].
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file
    }

    /// The file, as it was read.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How often an agent may call.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether agents may be given this role: the file defines it, or it is one of the three that are always there.
    #[must_use]
    pub fn defines(&self, role: &str) -> bool {
        self.roles.contains_key(role)
    }

    /// The names of all roles, sorted.
    #[must_use]
    pub fn roles(&self) -> Vec<&RoleName> {
        let mut names: Vec<_> = self.roles.keys().collect();
        names.sort();
        names
    }

    /// Figures for people.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            roles: self.roles.len(),
            rules: self.rules.len(),
            denies: self.rules.iter().filter(|rule| rule.denies()).count(),
            approves: self.rules.iter().filter(|rule| rule.asks()).count(),
            limits: self.limits.written,
        }
    }

    /// Whether a rule outside `admin` that grants something names the service; if none does, only `admin` can call it.
    #[must_use]
    pub fn grants_anything_on(&self, service: &str) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.grants() && rule.service.named().is_some_and(|name| name.as_str() == service))
    }
}

/// The SHA-256 of a policy file's bytes, as 64 hex digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PolicyHash(Arc<str>);

impl PolicyHash {
    /// Hashes a file's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hex = String::with_capacity(64);
        push_hex(&mut hex, &Sha256::digest(bytes));
        Self(hex.into())
    }

    /// Reads the 64 digits back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (text.len() == 64 && digits).then(|| Self(text.into()))
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first eight digits and `…`, for lists.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}…", self.0.get(..8).unwrap_or_default())
    }
}
impl fmt::Display for PolicyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl fmt::Debug for PolicyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a rule is called: its `name:`, or its place in the file such as `roles.user.allow[0]`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RuleName(Arc<str>);

impl RuleName {
    /// A name as a policy has it, or had it when something was decided.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
impl fmt::Debug for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
