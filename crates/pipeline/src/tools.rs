//! What this gateway learns about tools: from lists that pass through, and by fetching a list itself when a call comes
//! before any list. It knows at once; the store, and with it every other gateway, a moment later.

mod keep;
mod look;
mod unsaved;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use domain::{
    names::ServiceName,
    service::{Service, Upstream},
    tools::{Definition, Extent, ServiceTools, Sighting},
};
use sha2::{Digest as _, Sha256};
use wire::Raw;

use crate::freshness::Freshness;
use look::Look;
pub(crate) use look::{Asking, told_of_client};
pub(crate) use unsaved::Unsaved;

/// How many pages of one list are recognised without being read again.
const PAGES_MAX: usize = 64;

/// What this node learns of tools.
pub struct Tools {
    freshness: Arc<Freshness>,
    looks: Mutex<HashMap<ServiceName, Arc<Look>>>,
    seen: Mutex<HashMap<ServiceName, Seen>>,
}

/// Lists that have nothing new to tell.
struct Seen {
    /// What was known after them.
    known: Arc<ServiceTools>,
    /// SHA-256 of each, and whether it was whole.
    lists: Vec<([u8; 32], Extent)>,
}

impl Tools {
    /// Learns into this world.
    #[must_use]
    pub fn new(freshness: &Arc<Freshness>) -> Arc<Self> {
        Arc::new(Self { freshness: Arc::clone(freshness), looks: Mutex::default(), seen: Mutex::default() })
    }

    /// Takes over what a list says, before anybody sees it. What is known with this very list, by which it must be cut:
    /// another list may have come since. `None`: the service is elsewhere by now.
    pub(crate) fn learn(
        &self,
        service: &Service,
        tools: Raw<'_>,
        extent: Extent,
    ) -> Option<Arc<ServiceTools>> {
        if matches!(service.upstream, Upstream::Api(_)) {
            return None;
        }
        let list = (Sha256::digest(tools.text()).into(), extent);
        let name = &service.name;
        let world = self.freshness.current();
        if let Some(known) = world.tools.service(name.as_str())
            && self.lock_seen().get(name).is_some_and(|seen| seen.has(known, &list))
        {
            return Some(Arc::clone(known));
        }
        let sighting = Sighting { extent, tools: Definition::of_list(tools) };
        let known = self.freshness.sight(service, &sighting)?;
        if extent == Extent::Whole {
            self.look_of(name).forget_news();
        }
        let mut all = self.lock_seen();
        all.entry(name.clone())
            .or_insert_with(|| Seen { known: Arc::clone(&known), lists: Vec::new() })
            .add(&known, list);
        drop(all);
        Some(known)
    }

    /// A server says that its tools are others by now (`notifications/tools/list_changed`): the next call looks first.
    pub(crate) fn note_changed(&self, service: &ServiceName) {
        self.look_of(service).note_news();
    }

    fn lock_seen(&self) -> std::sync::MutexGuard<'_, HashMap<ServiceName, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn has(&self, known: &Arc<ServiceTools>, list: &([u8; 32], Extent)) -> bool {
        Arc::ptr_eq(&self.known, known) && self.lists.contains(list)
    }

    fn add(&mut self, known: &Arc<ServiceTools>, list: ([u8; 32], Extent)) {
        if !Arc::ptr_eq(&self.known, known) || self.lists.len() >= PAGES_MAX {
            self.known = Arc::clone(known);
            self.lists.clear();
        }
        self.lists.push(list);
    }
}
