//! What upstreams have said about their lists: the names that stood in them, and whether they tell when one changes. In
//! memory only, to find out who must hear of a change that people made; no decision reads it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::{
    names::ServiceName,
    service::{Service, Upstream},
};
use wire::{
    Raw,
    mcp::{ListChange, ListKind},
};

/// The most names of one list that are remembered; of a longer one not all are known.
const NAMES_MAX: usize = 4_096;
/// The longest name that is remembered (bytes).
const NAME_BYTES_MAX: usize = 1_024;

/// What is known, by service. It belongs to a service's upstream: another upstream's lists are others.
#[derive(Default)]
pub struct Lists(Mutex<HashMap<ServiceName, Known>>);

struct Known {
    upstream: Upstream,
    names: HashMap<ListKind, Names>,
    tells: BTreeSet<ListChange>,
}

#[derive(Default)]
struct Names {
    seen: Arc<BTreeSet<String>>,
    /// Some were not remembered.
    has_more: bool,
}

impl Known {
    fn of(upstream: &Upstream) -> Self {
        Self { upstream: upstream.clone(), names: HashMap::new(), tells: BTreeSet::new() }
    }
}

impl Lists {
    /// Takes over the names in a list, or in one page of it. What was seen before stays.
    pub(crate) fn learn(&self, service: &Service, kind: ListKind, list: Raw<'_>) {
        self.with(service, |known| {
            let names = known.names.entry(kind).or_default();
            for element in list.elements() {
                let Some(name) = element.get(kind.element_name()).and_then(Raw::as_str) else { continue };
                if names.seen.contains(&*name) {
                    continue;
                }
                if names.seen.len() >= NAMES_MAX || name.len() > NAME_BYTES_MAX {
                    names.has_more = true;
                    continue;
                }
                Arc::make_mut(&mut names.seen).insert(name.into_owned());
            }
        });
    }

    /// Takes over of which changes an upstream of the legacy era tells, from its answer to `initialize`.
    pub(crate) fn greeted(&self, service: &Service, capabilities: Raw<'_>) {
        let tells = |change: &ListChange| {
            let declared = capabilities.get(change.capability()).and_then(|list| list.get("listChanged"));
            declared.and_then(Raw::as_bool) == Some(true)
        };
        let tells = ListChange::ALL.into_iter().filter(tells).collect();
        self.with(service, |known| known.tells = tells);
    }

    /// The names in a list; `None` where not all of them are known.
    pub(crate) fn names(&self, service: &Service, kind: ListKind) -> Option<Arc<BTreeSet<String>>> {
        self.with(service, |known| {
            let names = known.names.get(&kind).filter(|names| !names.has_more)?;
            Some(Arc::clone(&names.seen))
        })
    }

    /// Of which changes its clients may expect to be told.
    pub(crate) fn told_by(&self, service: &Service) -> Vec<ListChange> {
        self.with(service, |known| known.tells.iter().copied().collect())
    }

    fn with<T>(&self, service: &Service, act: impl FnOnce(&mut Known) -> T) -> T {
        let mut all = self.lock();
        let known = all.entry(service.name.clone()).or_insert_with(|| Known::of(&service.upstream));
        if known.upstream != service.upstream {
            *known = Known::of(&service.upstream);
        }
        act(known)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceName, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
