//! Whether the policy can hold any call of an agent on a service: only then is an agent told how to wait.

use super::Rights;
use crate::{
    policy::rule::{Rule, Target},
    risk::RiskScore,
    service::Upstream,
};

impl Rights<'_> {
    /// Whether a call of this agent on this service can come to wait for people: an `approve` rule is about the
    /// service, or an allowed call can be as risky as `approve_at` (none: risk holds nothing). A model can say any risk.
    ///
    /// `false` can be relied on. `true` also where a deny, or a condition that never holds, is in the way.
    #[must_use]
    pub fn may_hold(&self, approve_at: Option<RiskScore>, has_model: bool) -> bool {
        if self.role_approve.rules().next().is_some() {
            return true;
        }
        let mut allows = self.allow.rules();
        if self.approve.rules().next().is_some() {
            return allows.next().is_some();
        }
        let Some(approve_at) = approve_at else { return false };
        // Where all rules that allow a call say `ignore`, risk holds it in no case; where one does not, it can.
        allows
            .filter(|rule| !rule.risk.ignore)
            .any(|rule| has_model || rule.risk.floor.max(Some(self.weight_max(rule))) >= Some(approve_at))
    }
}

impl Rights<'_> {
    /// What the heaviest call weighs that the rule matches (contract §4).
    fn weight_max(&self, rule: &Rule) -> RiskScore {
        let is_api = matches!(self.service.upstream, Upstream::Api(_));
        let weights = rule.matches.iter().map(|(target, pattern)| match target {
            Target::Request if is_api => request_weight(pattern.as_str()),
            Target::Tool if !is_api => 300,
            Target::Resource | Target::Prompt if !is_api => 100,
            _ => 0,
        });
        RiskScore::from_thousandths(weights.max().unwrap_or(0))
    }
}

/// The weight of the heaviest method that a pattern of requests matches.
fn request_weight(pattern: &str) -> u16 {
    match pattern.split_once(' ').map_or("*", |(method, _)| method) {
        method if method.contains('*') => 700,
        "DELETE" => 700,
        "PUT" => 500,
        "PATCH" => 400,
        "POST" => 300,
        "GET" => 100,
        "HEAD" | "OPTIONS" => 50,
        _ => 200,
    }
}
