//! Stage 5, fold: entities are loaded from snapshots and the event stream, modelled after `fold::load`
//! with the real `restore` and `replay`; snapshots of entities are written.

use actors_core::Origin;
use actors_runtime::fold::{self, EntitySnapshot, Loaded, Stopped};
use bus_schemas::{EntityAddress, Revision};

use super::{Happening, OwnerId, World};
use crate::coverage::Reached;
use crate::faults::Defect;
use crate::invariants::Check;

/// The pause before an entity whose history could not be read is loaded again.
const LOAD_PAUSE_MS: u64 = 100;

impl World {
    /// Reads an entity for an owner.
    pub(super) fn load(&mut self, id: OwnerId, entity: &EntityAddress) -> Check {
        if self.fault(self.faults.load_fails, Reached::LoadFailed) {
            self.soon(LOAD_PAUSE_MS, Happening::Load(id, entity.clone()));
            return Ok(());
        }
        let stored = self.store.snapshots.get(&fold::snapshot_name(entity));
        let snapshot = stored.and_then(|bytes| rmp_serde::from_slice::<EntitySnapshot>(bytes).ok());
        let (mut instance, from, revision) = fold::restore(&self.registry, entity, snapshot);
        if revision > Revision(0) {
            self.coverage.note(Reached::EntityFromSnapshot);
        }
        let history = self.store.history(entity, revision, from);
        let first = history.first().filter(|stored| stored.event.revision == Revision(1));
        if let Some(correlation) = first.map(|stored| stored.correlation) {
            instance.begin(Origin { correlation, trace: None });
        }
        let events = history.iter().map(|stored| &stored.event);
        let loaded = Loaded { instance: fold::replay(instance, events), snapshot: revision };
        let newest = self.owners.get(&id).is_some_and(|owner| self.audit.writer(owner.partition) == Some(id));
        if newest {
            self.audit.loads_are_current(entity, &loaded)?;
        }
        let loaded = self.spoiled(entity, loaded);
        let way = self.latency();
        self.soon(way, Happening::Loaded(id, entity.clone(), loaded));
        Ok(())
    }

    /// Defects on the way from what was read to who asked for it.
    fn spoiled(&self, entity: &EntityAddress, loaded: Loaded) -> Loaded {
        let Ok(instance) = &loaded.instance else { return loaded };
        let fresh = || self.registry.make(&entity.kind).expect("the kind is known");
        let instance = match self.defect {
            Some(Defect::LoadsStopEntities) => Err(Stopped { reason: "it is not to be read".to_owned() }),
            Some(Defect::LoadsLoseState) => {
                let (revision, hash, origin) = (instance.revision(), instance.hash(), instance.origin());
                let empty = EntitySnapshot { revision, hash, events: 0, state: fresh().state(), origin };
                Ok(fold::restore(&self.registry, entity, Some(empty)).0)
            }
            Some(Defect::LoadsLoseAnEvent) => {
                let history = self.store.history(entity, Revision(0), 0);
                let rest = history.split_last().map_or(&[][..], |(_, rest)| rest);
                fold::replay(fresh(), rest.iter().map(|stored| &stored.event))
            }
            _ => return loaded,
        };
        Loaded { instance, snapshot: loaded.snapshot }
    }

    /// An owner has an entity.
    pub(super) fn loaded(&mut self, id: OwnerId, entity: EntityAddress, loaded: Loaded) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        owner.loading.retain(|loading| *loading != entity);
        owner.core.loaded(entity, loaded);
        self.wake(id);
    }

    /// Snapshots that have become true with a commit.
    pub(super) fn write_entity_snapshots(&mut self, id: OwnerId) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        let events = owner.stream_sequence;
        for (entity, mut snapshot) in owner.core.take_entity_snapshots(events) {
            self.note(format_args!("snapshot of `{entity}` at {}", snapshot.revision));
            if self.defect == Some(Defect::SnapshotClaimsMore) {
                snapshot.revision = Revision(snapshot.revision.0 - 1);
            }
            let bytes = rmp_serde::to_vec(&snapshot).expect("a snapshot is plain data");
            self.store_snapshot(fold::snapshot_name(&entity), bytes.into());
        }
    }
}
