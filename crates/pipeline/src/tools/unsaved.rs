//! What was learned and is not in the store yet. Whatever the store says meanwhile, it stays known here.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use domain::{
    names::ServiceName,
    service::{Pins, Service},
    tools::{Catalogue, Learned, ServiceTools, Sighting, place_of},
};
use tokio::sync::Notify;

/// What every service's lists have told since they were last kept.
#[derive(Default)]
pub(crate) struct Unsaved {
    services: Mutex<BTreeMap<ServiceName, Waiting>>,
    pub(super) changed: Notify,
}

/// What waits to be kept of one service.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) place: [u8; 32],
    pub(super) pins: Pins,
    pub(super) learned: Learned,
    /// Moves with each sighting.
    number: u64,
}

impl Unsaved {
    /// What is known with this sighting, and nothing else. `known` is what was known, and `put` makes the rest of the
    /// node know what is new. No two sightings lose each other's news.
    pub(crate) fn sight(
        &self,
        service: &Service,
        sighting: &Sighting,
        known: impl FnOnce() -> Option<Arc<ServiceTools>>,
        put: impl FnOnce(Arc<ServiceTools>),
    ) -> Arc<ServiceTools> {
        let place = place_of(&service.upstream);
        let mut services = self.lock();
        let before = known().filter(|known| known.place == place);
        let before = before.unwrap_or_else(|| Arc::new(ServiceTools::unseen(place)));
        let Some(after) = sighting.over(&before, service.pins) else { return before };
        let waiting = services.entry(service.name.clone()).or_insert_with(|| Waiting {
            place,
            pins: service.pins,
            learned: Learned::default(),
            number: 0,
        });
        if waiting.place != place {
            (waiting.place, waiting.learned) = (place, Learned::default());
        }
        waiting.pins = service.pins;
        waiting.number += 1;
        waiting.learned.take(sighting, &before, &after);
        let after = Arc::new(after);
        put(Arc::clone(&after));
        drop(services);
        self.changed.notify_one();
        after
    }

    /// What the store knows, with what it does not know yet.
    pub(crate) fn over(
        &self,
        stored: &HashMap<ServiceName, Arc<ServiceTools>>,
        services: &HashMap<ServiceName, Arc<Service>>,
    ) -> Catalogue {
        let all = stored.iter().map(|(name, tools)| (name.clone(), Arc::clone(tools)));
        let mut catalogue = Catalogue::of(all, services);
        for (name, waiting) in self.lock().iter() {
            let Some(service) = services.get(name) else { continue };
            if place_of(&service.upstream) == waiting.place {
                let known = catalogue.service(name.as_str()).cloned();
                let known = known.unwrap_or_else(|| Arc::new(ServiceTools::unseen(waiting.place)));
                let joined = known.joined(&waiting.learned, service.pins);
                catalogue = catalogue.with(name, Arc::new(joined));
            }
        }
        catalogue
    }

    /// The services that have something to be kept.
    pub(super) fn names(&self) -> Vec<ServiceName> {
        self.lock().keys().cloned().collect()
    }

    pub(super) fn of(&self, name: &ServiceName) -> Option<Waiting> {
        self.lock().get(name).cloned()
    }

    /// What `kept` held is in the store, and known from there. What came since still waits.
    pub(super) fn settle(&self, name: &ServiceName, kept: &Waiting) {
        let mut services = self.lock();
        if services.get(name).is_some_and(|waiting| waiting.number == kept.number) {
            services.remove(name);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Waiting>> {
        self.services.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
