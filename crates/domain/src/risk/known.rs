//! What of risk is known without a call: for those who ask beforehand.

use std::collections::{BTreeMap, HashMap};

use super::{Thresholds, ToolHint, Weight};
use crate::{call::Action, names::ServiceName, service::Service};

/// Thresholds, and what tools have said about themselves.
#[derive(Debug, Clone, Default)]
pub struct KnownRisk {
    /// From where on risk has consequences.
    pub thresholds: Thresholds,
    /// Whether a model has a say in each call: what it will say is not known.
    pub has_model: bool,
    /// The hints of trusted services' tools.
    pub hints: BTreeMap<ServiceName, KeptHints>,
}

/// What one service's tools have said about themselves. Another upstream's tools are others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptHints {
    /// The [fingerprint](crate::service::Upstream::fingerprint) of the upstream that they were learned from.
    pub upstream: [u8; 32],
    /// The hints, by the tool's name.
    pub tools: HashMap<String, ToolHint>,
}

impl KnownRisk {
    /// What an action weighs on a service; `method` is the protocol's word.
    #[must_use]
    pub fn weight(&self, service: &Service, action: &Action, method: &str) -> Weight {
        Weight::of_action(action, method, |tool| {
            if !service.trust_annotations {
                return Weight::Tool;
            }
            let kept = self.hints.get(&service.name);
            let own = kept.filter(|kept| service.upstream.fingerprint() == Some(kept.upstream));
            Weight::of_trusted_tool(own.and_then(|kept| kept.tools.get(tool).copied()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::world;

    #[test]
    fn what_another_upstreams_tools_said_counts_for_nothing() {
        let world = world("version: 1\n", &["files"]);
        let mut service = (**world.services.get("files").unwrap()).clone();
        let tools = HashMap::from([("look".to_owned(), ToolHint::ReadOnly)]);
        let upstream = service.upstream.fingerprint().unwrap();
        let weight = |service: &Service, upstream| {
            let kept = KeptHints { upstream, tools: tools.clone() };
            let hints = BTreeMap::from([(service.name.clone(), kept)]);
            let known = KnownRisk { hints, ..KnownRisk::default() };
            known.weight(service, &Action::Tool("look".to_owned()), "tools/call")
        };
        assert_eq!(weight(&service, upstream), Weight::Tool, "its word is not trusted");
        service.trust_annotations = true;
        assert_eq!(weight(&service, upstream), Weight::ReadOnlyTool);
        assert_eq!(weight(&service, [0; 32]), Weight::UnseenTool);
    }
}
