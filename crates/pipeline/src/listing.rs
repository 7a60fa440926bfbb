//! Filtered lists: what an agent may not use, it does not see. Elements are cut out of the raw bytes, in place.

use std::sync::Arc;

use bytes::Bytes;
use domain::{policy::Rights, service::Service};
use wire::{
    Limits, Malformed, Raw, Reason, json, list,
    mcp::ListKind::{self, Prompts, ResourceTemplates, Resources, Tools},
};

use crate::{arrival::Caller, freshness::Freshness, risk::Hints};

const LISTS: [ListKind; 4] = [Tools, Prompts, Resources, ResourceTemplates];

/// What one agent may see of one service's lists.
#[derive(Clone)]
pub(crate) struct Catalog {
    freshness: Arc<Freshness>,
    hints: Arc<Hints>,
    caller: Caller,
    service: Arc<Service>,
}

impl Catalog {
    pub(crate) fn new(
        freshness: &Arc<Freshness>,
        hints: &Arc<Hints>,
        caller: &Caller,
        service: &Arc<Service>,
    ) -> Self {
        let (freshness, hints) = (Arc::clone(freshness), Arc::clone(hints));
        Self { freshness, hints, caller: caller.clone(), service: Arc::clone(service) }
    }

    /// The message without what the agent may not use; none when nothing has to be cut.
    ///
    /// Whatever list was asked for, every list that is there is cut: an answer may hold more than its question. What
    /// tools say about themselves is learned before, from the whole list.
    ///
    /// # Errors
    /// When the message cannot be read: a list that cannot be cut is not handed out.
    pub(crate) fn cut(&self, message: &[u8]) -> Result<Option<Bytes>, Malformed> {
        let root = json::read(message, &Limits::of_bytes(message.len()))?;
        if !root.is_object() {
            return Err(Malformed::new(0, Reason::Batch));
        }
        let Some(result) = root.get("result") else { return Ok(None) };
        let mut present = Vec::new();
        for (key, list) in result.members() {
            match LISTS.into_iter().find(|kind| key == *kind.result_member()) {
                Some(kind) if list.kind() == json::Kind::Array => present.push((kind, list)),
                Some(_) => return Err(Malformed::new(0, Reason::Shape("a list must be an array"))),
                None => {}
            }
        }
        if present.is_empty() {
            return Ok(None);
        }
        for (_, tools) in present.iter().filter(|(kind, _)| *kind == Tools) {
            self.hints.learn(&self.service, *tools);
        }
        // Today's rights: a stream may be older than the policy.
        let world = self.freshness.current();
        let agent = world.agents.get(&self.caller.agent.name);
        let rights = agent.and_then(|agent| Rights::of(&world, agent, self.service.name.as_str()).ok());
        let mut kept: Option<Vec<u8>> = None;
        for (kind, _) in present {
            // A cut moves what stands behind it, so the next list is looked for anew.
            let bytes = match &kept {
                None => cut_one(root, kind, rights),
                Some(bytes) => cut_one(json::read(bytes, &Limits::of_bytes(bytes.len()))?, kind, rights),
            };
            kept = bytes.or(kept);
        }
        Ok(kept.map(Bytes::from))
    }
}

fn cut_one(root: Raw<'_>, kind: ListKind, rights: Option<Rights<'_>>) -> Option<Vec<u8>> {
    list::cut(root, &["result", kind.result_member()], &mut |element| shows(rights, kind, element))
}

/// An element without a readable name cannot be called, so it is not shown.
fn shows(rights: Option<Rights<'_>>, kind: ListKind, element: Raw<'_>) -> bool {
    let name = element.get(kind.element_name()).and_then(Raw::as_str);
    name.zip(rights).is_some_and(|(name, rights)| rights.may_list(kind, &name))
}
