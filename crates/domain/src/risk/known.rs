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
    /// The hints of trusted services' tools, by service and tool.
    pub hints: BTreeMap<ServiceName, HashMap<String, ToolHint>>,
}

impl KnownRisk {
    /// What an action weighs on a service; `method` is the protocol's word.
    #[must_use]
    pub fn weight(&self, service: &Service, action: &Action, method: &str) -> Weight {
        match action {
            Action::Request(_) => Weight::of_method(method),
            Action::Tool(tool) if service.trust_annotations => {
                let hint = self.hints.get(&service.name).and_then(|tools| tools.get(tool));
                Weight::of_trusted_tool(hint.copied())
            }
            Action::Tool(_) => Weight::Tool,
            _ => Weight::Read,
        }
    }
}
