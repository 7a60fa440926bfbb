//! Whether the policy can hold any call of an agent on a service: only then is an agent told how to wait.

use super::Rights;
use crate::{
    policy::rule::{Rule, Target},
    risk::{RiskScore, Weight},
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
            Target::Request if is_api => request_weight(pattern.as_str()).score(),
            Target::Tool if !is_api && self.service.trust_annotations => Weight::UnseenTool.score(),
            Target::Tool if !is_api => {
                let known = self.tools.service(self.service.name.as_str());
                let tools = known.into_iter().flat_map(|known| known.tools.keys());
                let matched = tools.filter(|tool| pattern.matches(tool));
                let weights = matched.map(|tool| self.tools.weight(self.service, tool).score());
                weights.max().unwrap_or_default().max(Weight::Tool.score())
            }
            Target::Resource | Target::Prompt if !is_api => Weight::Read.score(),
            _ => RiskScore::default(),
        });
        weights.max().unwrap_or_default()
    }
}

/// The weight of the heaviest method that a pattern of requests matches.
fn request_weight(pattern: &str) -> Weight {
    match pattern.split_once(' ').map_or("*", |(method, _)| method) {
        method if method.contains('*') => Weight::Delete,
        method => Weight::of_method(method),
    }
}
