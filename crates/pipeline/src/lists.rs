//! What upstreams have said about their lists: the names in them, and whether they announce changes. In memory only,
//! to find out who must hear of a change that people made; no decision reads it.

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

#[cfg(test)]
mod tests {
    use domain::service::{HttpUpstream, Network, Pins, RefusalForm, UnknownMethods, UpstreamUrl};
    use wire::{Limits, json};

    use super::*;

    fn service(url: &str) -> Service {
        let url = UpstreamUrl::parse(url).unwrap();
        Service {
            name: ServiceName::parse("files").unwrap(),
            upstream: Upstream::Http(HttpUpstream { url, network: Network::Public, ca_pem: None }),
            unknown_methods: UnknownMethods::Refuse,
            refusals: RefusalForm::Error,
            trust_annotations: false,
            pins: Pins::FirstUse,
            credentials: Vec::new(),
            documentation: None,
        }
    }

    fn raw(text: &str) -> Raw<'_> {
        json::read(text.as_bytes(), &Limits::of_bytes(1 << 20)).unwrap()
    }

    #[test]
    fn names_are_gathered_page_by_page_and_belong_to_one_upstream() {
        let lists = Lists::default();
        let (here, elsewhere) = (service("https://one.test/mcp"), service("https://two.test/mcp"));
        assert_eq!(lists.names(&here, ListKind::Tools), None, "nothing was seen");
        lists.learn(&here, ListKind::Tools, raw(r#"[{"name":"a"},{"name":7},{"x":1}]"#));
        lists.learn(&here, ListKind::Tools, raw(r#"[{"name":"\u0062"},{"name":"a"}]"#));
        let names = lists.names(&here, ListKind::Tools).unwrap();
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(lists.names(&here, ListKind::Prompts), None);
        lists.learn(&elsewhere, ListKind::Tools, raw("[]"));
        assert_eq!(lists.names(&elsewhere, ListKind::Tools).unwrap().len(), 0);
        assert_eq!(lists.names(&here, ListKind::Tools), None, "another upstream has taken its place");
    }

    #[test]
    fn a_list_that_is_too_long_is_not_known_whole() {
        let (lists, here) = (Lists::default(), service("https://one.test/mcp"));
        let elements: Vec<_> = (0..=NAMES_MAX).map(|nth| format!("{{\"name\":\"{nth}\"}}")).collect();
        lists.learn(&here, ListKind::Tools, raw(&format!("[{}]", elements[1..].join(","))));
        assert_eq!(lists.names(&here, ListKind::Tools).unwrap().len(), NAMES_MAX);
        lists.learn(&here, ListKind::Tools, raw(&format!("[{}]", elements[0])));
        assert_eq!(lists.names(&here, ListKind::Tools), None);
        let long = format!("[{{\"uri\":\"{}\"}}]", "x".repeat(NAME_BYTES_MAX + 1));
        lists.learn(&here, ListKind::Resources, raw(&long));
        assert_eq!(lists.names(&here, ListKind::Resources), None);
    }

    #[test]
    fn a_server_tells_what_it_said_that_it_tells() {
        let (lists, here) = (Lists::default(), service("https://one.test/mcp"));
        assert!(lists.told_by(&here).is_empty());
        lists.greeted(
            &here,
            raw(r#"{"tools":{"listChanged":true},"prompts":{"listChanged":1},"resources":{}}"#),
        );
        assert_eq!(lists.told_by(&here), [ListChange::Tools]);
        lists.greeted(&here, raw(r#"{"tools":{}}"#));
        assert!(lists.told_by(&here).is_empty());
    }
}
