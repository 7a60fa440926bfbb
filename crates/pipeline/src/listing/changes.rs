//! When an agent's list changes because people changed something: policy, role, scope, pins. Listeners are told,
//! except those whose list stays the same.

use domain::{policy::Rights, world::World};
use futures_util::{Stream, stream};
use wire::{
    Raw,
    mcp::{ListChange, ListKind},
};

use super::{Catalog, shows_named};

impl Catalog {
    /// Each change of a list of `wanted` from now on.
    pub(crate) fn changes(self, wanted: Vec<ListChange>) -> impl Stream<Item = ListChange> + Send + use<> {
        let changes = self.freshness.subscribe();
        let before = self.freshness.current();
        let told: Vec<ListChange> = Vec::new();
        stream::unfold((self, wanted, changes, before, told), async |state| {
            let (catalog, wanted, mut changes, mut before, mut told) = state;
            loop {
                if let Some(change) = told.pop() {
                    return Some((change, (catalog, wanted, changes, before, told)));
                }
                // An error means that the gateway is about to end.
                changes.changed().await.ok()?;
                let now = catalog.freshness.current();
                told =
                    wanted.iter().copied().filter(|change| catalog.differs(&before, &now, *change)).collect();
                before = now;
            }
        })
    }

    /// Takes over of which changes the upstream tells.
    pub(crate) fn greeted(&self, capabilities: Raw<'_>) {
        self.lists.greeted(&self.service, capabilities);
    }

    /// Whether the agent sees something else in one of these lists than before. Of a list that nobody has asked for
    /// here, only what decides about it is known: it counts as changed where that has.
    fn differs(&self, before: &World, now: &World, change: ListChange) -> bool {
        let (Some(rights_before), Some(rights_now)) = (self.rights(before), self.rights(now)) else {
            // Without any right the stream itself ends.
            return false;
        };
        let waits = |rights: Rights<'_>| rights.may_hold(self.approve_at, self.has_model);
        if change == ListChange::Tools && waits(rights_before) != waits(rights_now) {
            return true;
        }
        change.lists().iter().any(|kind| {
            let service = self.service.name.as_str();
            let same_pins =
                *kind != ListKind::Tools || before.tools.service(service) == now.tools.service(service);
            if same_pins && rights_before.shows_alike(&rights_now, *kind) {
                return false;
            }
            let shows = |world: &World, rights: Rights<'_>, name: &str| {
                let is_held_back =
                    *kind == ListKind::Tools && world.tools.held_back(&self.service, name).is_some();
                shows_named(Some(rights), *kind, name) && !is_held_back
            };
            self.lists.names(&self.service, *kind).is_none_or(|names| {
                names.iter().any(|name| shows(before, rights_before, name) != shows(now, rights_now, name))
            })
        })
    }

    pub(super) fn rights<'w>(&self, world: &'w World) -> Option<Rights<'w>> {
        let agent = world.agents.get(&self.caller.agent.name)?;
        Rights::of(world, agent, self.service.name.as_str()).ok()
    }
}
