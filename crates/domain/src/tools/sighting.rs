//! What a newly seen list changes about what is known: at once on the gateway that saw it, and then in the store, from
//! where all others get it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{Definition, HeldBack, KnownTool, Pinned, ServiceTools};
use crate::service::Pins;

/// The most tools of one service that are remembered; further ones stay unknown.
pub const TOOLS_MAX: usize = 4_096;
/// What all definitions of one service may take (bytes); what comes on top is kept without its text.
const ALL_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A list of tools, or a page of one, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// Whether these are all.
    pub extent: Extent,
    /// What it showed, by name.
    pub tools: BTreeMap<String, Arc<Definition>>,
}

/// Whether a list is all that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// It may be a page.
    Part,
    /// It is the whole list.
    Whole,
}

/// What one node has learned and the store does not know yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learned {
    /// Whether it has seen a whole list.
    pub listed: bool,
    /// What it knows of tools that are other than before, and their definitions.
    pub tools: HashMap<String, (Arc<KnownTool>, Option<Arc<str>>)>,
    /// Tools that it has forgotten.
    pub gone: BTreeSet<String>,
}

impl Learned {
    /// Takes over what a sighting has made of `before`.
    pub fn take(&mut self, sighting: &Sighting, before: &ServiceTools, after: &ServiceTools) {
        self.listed |= after.listed;
        for (name, tool) in &after.tools {
            if before.tools.get(name) != Some(tool) {
                let text = sighting.tools.get(name).and_then(|definition| definition.text.clone());
                self.tools.insert(name.clone(), (Arc::clone(tool), text.filter(|_| tool.bytes > 0)));
                self.gone.remove(name);
            }
        }
        for name in before.tools.keys().filter(|name| !after.tools.contains_key(*name)) {
            self.tools.remove(name);
            self.gone.insert(name.clone());
        }
    }
}

/// What a sighting has made of which tools, in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// Pinned at first use, or taken over where there are no pins.
    pub pinned: Vec<String>,
    /// Held back, because nobody has accepted them yet.
    pub new: Vec<String>,
    /// Held back, because they are not what was pinned.
    pub changed: Vec<String>,
    /// As they were pinned, again.
    pub back: Vec<String>,
    /// Not there any more, and never pinned.
    pub gone: Vec<String>,
}

impl News {
    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Sighting {
    /// What is known of a service after this; `None` where it shows nothing that was not known.
    #[must_use]
    pub fn over(&self, before: &ServiceTools, pins: Pins) -> Option<ServiceTools> {
        let mut after = before.clone();
        let unknown = self.tools.keys().filter(|name| !before.tools.contains_key(*name)).count();
        if self.extent == Extent::Whole && before.tools.len().saturating_add(unknown) > TOOLS_MAX {
            // Room for what is there now; what was pinned may come back as it was.
            after.tools.retain(|name, tool| {
                self.tools.contains_key(name) || (pins != Pins::Off && tool.pinned.is_some())
            });
        }
        let mut bytes: usize = after.tools.values().map(|tool| tool.bytes).sum();
        for (name, definition) in &self.tools {
            let known = after.tools.get(name).cloned();
            let known = known.as_deref();
            if known.is_some_and(|known| known.hash == definition.hash && settled(known, pins)) {
                continue;
            }
            if known.is_none() && after.tools.len() >= TOOLS_MAX {
                continue;
            }
            bytes = bytes.saturating_sub(known.map_or(0, |known| known.bytes));
            let fits = definition.text.is_some() && bytes.saturating_add(definition.bytes) <= ALL_BYTES_MAX;
            let pinned = match (pins, known) {
                (Pins::Off, _) => Some(Pinned { hash: definition.hash, by_operator: false }),
                (_, Some(known)) => known.pinned,
                (Pins::FirstUse, None) if !before.listed && fits => {
                    Some(Pinned { hash: definition.hash, by_operator: false })
                }
                (_, None) => None,
            };
            let tool = KnownTool {
                hash: definition.hash,
                hint: definition.hint,
                schema: definition.schema.clone().filter(|_| fits),
                bytes: if fits { definition.bytes } else { 0 },
                pinned,
            };
            bytes = bytes.saturating_add(tool.bytes);
            after.tools.insert(name.clone(), Arc::new(tool));
        }
        if self.extent == Extent::Whole {
            after.listed = true;
        }
        (after != *before).then_some(after)
    }
}

/// Whether nothing is left to do about a definition that was seen before.
fn settled(known: &KnownTool, pins: Pins) -> bool {
    pins != Pins::Off || known.pinned.is_some_and(|pinned| pinned.hash == known.hash)
}

impl ServiceTools {
    /// What is other than `before`, for the trail.
    #[must_use]
    pub fn news_since(&self, before: &Self, pins: Pins) -> News {
        let mut news = News::default();
        let mut names: Vec<&String> = self.tools.keys().collect();
        names.sort();
        for name in names {
            let Some(now) = self.tools.get(name) else { continue };
            let list = match (before.tools.get(name), now.held_back(pins)) {
                (None, None) => &mut news.pinned,
                (None, Some(_)) => &mut news.new,
                (Some(was), _) if was.hash == now.hash && was.pinned == now.pinned => continue,
                (Some(was), None) if was.held_back(pins).is_some() => &mut news.back,
                (Some(_), None) => &mut news.pinned,
                (Some(_), Some(HeldBack::New)) => &mut news.new,
                (Some(_), Some(HeldBack::Changed)) => &mut news.changed,
            };
            list.push(name.clone());
        }
        news.gone = before.tools.keys().filter(|name| !self.tools.contains_key(*name)).cloned().collect();
        news.gone.sort();
        news
    }

    /// What is known after `learned` has come on top of what the store has. A pin that the store has stays as it is
    /// there: another node may have been first, or an operator has accepted something meanwhile.
    #[must_use]
    pub fn joined(&self, learned: &Learned, pins: Pins) -> Self {
        let mut after = self.clone();
        after.listed |= learned.listed;
        for name in &learned.gone {
            after.tools.remove(name);
        }
        for (name, (tool, _)) in &learned.tools {
            let pinned = match self.tools.get(name) {
                _ if pins == Pins::Off => tool.pinned,
                Some(stored) => stored.pinned,
                None => tool.pinned.filter(|_| !self.listed),
            };
            after.tools.insert(name.clone(), Arc::new(KnownTool { pinned, ..(**tool).clone() }));
        }
        after
    }
}
