//! How entities come into memory and leave it: what is new begins empty, everything else waits to be
//! loaded, and what leaves does so behind its snapshot.

use bus_schemas::{EntityAddress, Revision};

use super::Core;
use crate::fold::{EntitySnapshot, Loaded};

impl Core {
    /// Whether a command for an entity cannot be decided before it is in memory.
    pub(super) fn waits_for(&self, entity: &EntityAddress) -> bool {
        self.is_ours(entity) && self.registry.knows(&entity.kind) && !self.cache.holds(entity)
    }

    /// Whether nothing ever happened to an entity, so that there is nothing to load.
    pub(super) fn is_new(&self, entity: &EntityAddress) -> bool {
        self.state.seen.is_new(entity)
    }

    /// Takes an entity in that is new; whether it is.
    pub(super) fn begin(&mut self, entity: EntityAddress) -> bool {
        if !self.is_new(&entity) {
            return false;
        }
        let Some(instance) = self.registry.make(&entity.kind) else { return false };
        self.cache.insert(entity, Loaded { instance: Ok(instance), snapshot: Revision(0) });
        true
    }

    /// Takes the snapshot of an entity that was just decided, if it is time for one: taken now, since an
    /// entity that is always busy has no quiet moment.
    pub(super) fn snapshot(&mut self, entity: &EntityAddress) {
        if let Some(snapshot) = self.cache.snapshot(entity, self.events_place) {
            self.snapshots.entry(self.group.number).or_default().push((entity.clone(), snapshot));
        }
    }

    /// The events of all groups up to `fanned_out` are out: snapshots of them are true, and entities
    /// without later ones may leave.
    pub(super) fn passivate(&mut self) {
        let open = self.snapshots.split_off(&(self.fanned_out + 1));
        let ready = std::mem::replace(&mut self.snapshots, open);
        self.cache.write(ready.into_values().flatten());
        if let Some(entities) = self.settings.bounds.cache_entities() {
            self.cache.keep(entities);
        }
        self.cache.passivate(self.fanned_out, self.events_place);
    }

    /// Snapshots of entities to write, at most `bound`: they are committed, and their events are out.
    pub fn take_entity_snapshots(&mut self, bound: usize) -> Vec<(EntityAddress, EntitySnapshot)> {
        self.cache.take_snapshots(bound)
    }

    /// What became of a snapshot.
    pub fn snapshot_written(&mut self, entity: &EntityAddress, revision: Revision, stored: bool) {
        self.cache.written(entity, revision, stored);
    }
}
