//! How entities enter and leave memory: a new entity begins empty, any other is loaded, and an entity leaves
//! after its snapshot.

use bus_schemas::{EntityAddress, Revision};

use super::Core;
use crate::fold::{EntitySnapshot, Loaded};

impl Core {
    /// Whether an entity must enter memory before a command for it can be decided.
    pub(super) fn waits_for(&self, entity: &EntityAddress) -> bool {
        self.is_ours(entity) && self.registry.knows(&entity.kind) && !self.cache.holds(entity)
    }

    /// Whether an entity has never had an event, so that there is nothing to load.
    pub(super) fn is_new(&self, entity: &EntityAddress) -> bool {
        self.state.seen.is_new(entity)
    }

    /// Puts an entity into the cache if it is new; `true` if so.
    pub(super) fn begin(&mut self, entity: EntityAddress) -> bool {
        if !self.is_new(&entity) {
            return false;
        }
        let Some(instance) = self.registry.make(&entity.kind) else { return false };
        self.cache.insert(entity, Loaded { instance: Ok(instance), snapshot: Revision(0) });
        true
    }

    /// Takes the snapshot of an entity that was just decided, if one is due. It is taken now, because a busy
    /// entity has no quiet moment.
    pub(super) fn snapshot(&mut self, entity: &EntityAddress) {
        if let Some(snapshot) = self.cache.snapshot(entity, self.events_place) {
            self.snapshots.entry(self.group.number).or_default().push((entity.clone(), snapshot));
        }
    }

    /// Releases the snapshots and entities of all groups up to `fanned_out`: their events are published.
    pub(super) fn passivate(&mut self) {
        let open = self.snapshots.split_off(&(self.fanned_out + 1));
        let ready = std::mem::replace(&mut self.snapshots, open);
        self.cache.write(ready.into_values().flatten());
        if let Some(entities) = self.settings.bounds.cache_entities() {
            self.cache.keep(entities);
        }
        self.cache.passivate(self.fanned_out, self.events_place);
    }

    /// At most `bound` entity snapshots to write: they are committed, and their events are published.
    pub fn take_entity_snapshots(&mut self, bound: usize) -> Vec<(EntityAddress, EntitySnapshot)> {
        self.cache.take_snapshots(bound)
    }

    /// Handles the outcome of writing a snapshot.
    pub fn snapshot_written(&mut self, entity: &EntityAddress, revision: Revision, stored: bool) {
        self.cache.written(entity, revision, stored);
    }
}
