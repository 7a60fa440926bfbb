//! Tools of MCP services as their servers define them, and which definitions are pinned. A tool whose definition is not
//! the pinned one is held back: nobody sees it, nobody calls it, until an operator has looked at it.

mod definition;
mod difference;
mod flags;
mod sighting;

use std::{collections::HashMap, sync::Arc};

use sha2::{Digest as _, Sha256};

pub use definition::{DEFINITION_BYTES_MAX, Definition, NAME_BYTES_MAX, ToolHash};
pub use difference::{Difference, differences};
pub use flags::{Flag, flags};
pub use sighting::{Extent, Learned, News, Sighting, TOOLS_MAX};

use crate::{
    names::ServiceName,
    risk::{ToolHint, Weight},
    service::{Pins, Service, Upstream},
};

/// What is known of all services' tools.
#[derive(Debug, Clone, Default)]
pub struct Catalogue(HashMap<ServiceName, Arc<ServiceTools>>);

/// What is known of one service's tools. It belongs to the service's upstream: another upstream's tools are others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTools {
    /// Where they are, as [`place_of`] has it.
    pub place: [u8; 32],
    /// The store's number for this knowledge; 0: it has none yet.
    pub revision: i64,
    /// Whether a whole list was seen: what comes later is new.
    pub listed: bool,
    /// The tools, by name.
    pub tools: HashMap<String, Arc<KnownTool>>,
}

/// One tool, as the last list showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTool {
    /// What tells this definition from others.
    pub hash: ToolHash,
    /// What its server says about it.
    pub hint: ToolHint,
    /// Its `inputSchema`, as canonical JSON; `None` where it has none, or the definition is too large to be kept.
    pub schema: Option<Arc<str>>,
    /// The length of the definition (bytes).
    pub bytes: usize,
    /// The definition that may be called.
    pub pinned: Option<Pinned>,
}

/// The definition of a tool that may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    /// Which.
    pub hash: ToolHash,
    /// Whether an operator has looked at it; else it was there at first use.
    pub by_operator: bool,
}

/// Why a tool is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBack {
    /// Nobody has accepted it yet.
    New,
    /// Its definition is not the one that is pinned.
    Changed,
}

impl HeldBack {
    /// Why, in few words.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::New => "the tool is new, and no operator has accepted it",
            Self::Changed => "the tool has changed since it was accepted",
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
        }
    }
}

/// What tells where a service's tools come from: SHA-256 of the address, or of the command and its arguments. Other
/// settings of the service may change and its pins stay.
#[must_use]
pub fn place_of(upstream: &Upstream) -> [u8; 32] {
    Sha256::digest(upstream.destination()).into()
}

impl KnownTool {
    /// Why nobody may call it, if that is so.
    #[must_use]
    pub fn held_back(&self, pins: Pins) -> Option<HeldBack> {
        match (pins, self.pinned) {
            (Pins::Off, _) => None,
            (_, None) => Some(HeldBack::New),
            (_, Some(pinned)) if pinned.hash != self.hash => Some(HeldBack::Changed),
            (Pins::Review, Some(pinned)) if !pinned.by_operator => Some(HeldBack::New),
            _ => None,
        }
    }
}

impl ServiceTools {
    /// Nothing is known yet.
    #[must_use]
    pub fn unseen(place: [u8; 32]) -> Self {
        Self { place, revision: 0, listed: false, tools: HashMap::new() }
    }

    /// Why nobody may call a tool of this service, if that is so: see [`Catalogue::held_back`].
    #[must_use]
    pub fn held_back(&self, service: &Service, tool: &str) -> Option<HeldBack> {
        match self.tools.get(tool) {
            _ if service.pins == Pins::Off => None,
            Some(tool) => tool.held_back(service.pins),
            None => (service.pins == Pins::Review || self.listed).then_some(HeldBack::New),
        }
    }
}

impl Catalogue {
    /// What is known of these services, where it is about their present upstream.
    #[must_use]
    pub fn of(
        known: impl IntoIterator<Item = (ServiceName, Arc<ServiceTools>)>,
        services: &HashMap<ServiceName, Arc<Service>>,
    ) -> Self {
        let is_its_own = |(name, tools): &(ServiceName, Arc<ServiceTools>)| {
            services.get(name).is_some_and(|service| place_of(&service.upstream) == tools.place)
        };
        Self(known.into_iter().filter(is_its_own).collect())
    }

    /// The same, but for one service.
    #[must_use]
    pub fn with(&self, name: &ServiceName, tools: Arc<ServiceTools>) -> Self {
        let mut all = self.0.clone();
        all.insert(name.clone(), tools);
        Self(all)
    }

    /// What is known of a service's tools, where any list was seen.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Arc<ServiceTools>> {
        self.0.get(name)
    }

    /// A tool as the last list showed it, held back or not.
    #[must_use]
    pub fn known(&self, service: &str, tool: &str) -> Option<&Arc<KnownTool>> {
        self.0.get(service)?.tools.get(tool)
    }

    /// Why nobody may call a tool of this service, if that is so. Before the first whole list a tool that is not known
    /// is held back only where operators look first: whoever calls it has the list made before.
    #[must_use]
    pub fn held_back(&self, service: &Service, tool: &str) -> Option<HeldBack> {
        if service.pins == Pins::Off || matches!(service.upstream, Upstream::Api(_)) {
            return None;
        }
        match self.0.get(&service.name) {
            Some(known) => known.held_back(service, tool),
            None => (service.pins == Pins::Review).then_some(HeldBack::New),
        }
    }

    /// Whether no whole list was seen yet of a service whose tools are pinned: nobody can say what was there at first.
    #[must_use]
    pub fn is_unlisted(&self, service: &Service) -> bool {
        let is_pinned = service.pins != Pins::Off && !matches!(service.upstream, Upstream::Api(_));
        is_pinned && self.0.get(&service.name).is_none_or(|known| !known.listed)
    }

    /// What a tool weighs. Its server's word counts where the server is trusted, or the tool is pinned.
    #[must_use]
    pub fn weight(&self, service: &Service, tool: &str) -> Weight {
        let known = self.known(service.name.as_str(), tool);
        if service.trust_annotations {
            return Weight::of_trusted_tool(known.map(|known| known.hint));
        }
        match known {
            Some(known) if service.pins != Pins::Off && known.held_back(service.pins).is_none() => {
                Weight::of_trusted_tool(Some(known.hint))
            }
            _ => Weight::Tool,
        }
    }
}

#[cfg(test)]
mod tests;
