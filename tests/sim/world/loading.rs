//! Stage 5, fold: entities are loaded from snapshots and the event stream, modelled after `fold::load`
//! with the real `restore` and `replay`; snapshots of entities are written.

use actors_core::Origin;
use actors_runtime::fold::{self, EntitySnapshot, Loaded, Stopped};
use actors_runtime::journal::Commit;
use bus_schemas::{EntityAddress, Hash, Revision};
use bytes::Bytes;

use super::{Happening, Owner, OwnerId, World};
use crate::coverage::Reached;
use crate::faults::Defect;
use crate::invariants::Check;

/// The pause before an entity whose history could not be read is loaded again.
const LOAD_PAUSE_MS: u64 = 100;
/// Snapshots that are written at once.
const ROUND_MAX: usize = 4;
/// How long an owner waits to hear of its snapshots.
const TIMEOUT_MS: u64 = 1_000;
/// How the names of entities' snapshots begin.
const NAME: &str = "entity.";

/// What an owner hears of a snapshot: whose, of which revision, and whether it is stored.
pub type Written = (EntityAddress, Revision, bool);

impl World {
    /// Reads an entity for an owner.
    pub(super) fn load(&mut self, id: OwnerId, entity: &EntityAddress) -> Check {
        if self.fault(self.faults.load_fails, Reached::LoadFailed) {
            self.soon(LOAD_PAUSE_MS, Happening::Load(id, entity.clone()));
            return Ok(());
        }
        let stored = self.store.snapshots.get(&fold::snapshot_name(entity));
        let snapshot = stored.and_then(|bytes| rmp_serde::from_slice::<EntitySnapshot>(bytes).ok());
        let last = self.store.last_event(entity);
        let usable = match self.defect {
            Some(Defect::StaleSnapshotsTakenForCurrent) => Ok(snapshot),
            _ => fold::usable(snapshot, last),
        };
        let loaded = match usable {
            Ok(snapshot) => self.read_entity(entity, snapshot, last),
            Err(stopped) => Loaded { instance: Err(stopped), snapshot: Revision(0) },
        };
        let newest = self.owners.get(&id).is_some_and(|owner| self.audit.writer(owner.partition) == Some(id));
        if newest {
            self.audit.loads_are_current(entity, &loaded)?;
        }
        let loaded = self.spoiled(entity, loaded);
        let way = self.latency();
        self.soon(way, Happening::Loaded(id, entity.clone(), loaded));
        Ok(())
    }

    /// An entity from its snapshot and the events behind it.
    fn read_entity(
        &mut self,
        entity: &EntityAddress,
        snapshot: Option<EntitySnapshot>,
        last: Option<(Revision, Hash)>,
    ) -> Loaded {
        let (mut instance, from, revision) = fold::restore(&self.registry, entity, snapshot);
        let current = last == Some((instance.revision(), instance.hash()));
        if revision > Revision(0) {
            self.coverage.note(Reached::EntityFromSnapshot);
            self.coverage.note(match current {
                true => Reached::EntityFromSnapshotAlone,
                false => Reached::SnapshotOvertaken,
            });
        }
        if self.defect == Some(Defect::StaleSnapshotsTakenForCurrent) && revision > Revision(0) {
            return Loaded { instance: Ok(instance), snapshot: revision };
        }
        let history = self.store.history(entity, revision, from);
        let first = history.first().filter(|stored| stored.event.revision == Revision(1));
        if let Some(correlation) = first.map(|stored| stored.correlation) {
            instance.begin(Origin { correlation, trace: None });
        }
        let events = history.iter().map(|stored| &stored.event);
        Loaded { instance: fold::replay(instance, events), snapshot: revision }
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

    /// Sends the next snapshots of entities on their way, when none are.
    pub(super) fn write_entity_snapshots(&mut self, owner: &mut Owner) {
        if owner.writing {
            return;
        }
        let snapshots = owner.core.take_entity_snapshots(ROUND_MAX);
        if snapshots.is_empty() {
            return;
        }
        owner.writing = true;
        let (mut written, mut heard): (Vec<Written>, _) = (Vec::new(), 1);
        for (entity, mut snapshot) in snapshots {
            self.note(format_args!("snapshot of `{entity}` at {}", snapshot.revision));
            let revision = snapshot.revision;
            if self.defect == Some(Defect::SnapshotClaimsMore) {
                snapshot.revision = Revision(revision.0 - 1);
            }
            let bytes = rmp_serde::to_vec(&snapshot).expect("a snapshot is plain data");
            let way = self.store_snapshot(fold::snapshot_name(&entity), bytes.into());
            heard = heard.max(way.unwrap_or(TIMEOUT_MS).min(TIMEOUT_MS));
            written.push((entity, revision, way.is_some_and(|way| way < TIMEOUT_MS)));
        }
        let way = self.latency();
        self.soon(heard + way, Happening::SnapshotsWritten(owner.id, written));
    }

    /// An owner hears what became of its snapshots.
    pub(super) fn snapshots_written(&mut self, id: OwnerId, written: Vec<Written>) {
        let Some(owner) = self.owners.get_mut(&id) else { return };
        owner.writing = false;
        for (entity, revision, stored) in written {
            owner.core.snapshot_written(&entity, revision, stored);
        }
        self.wake(id);
    }

    /// A snapshot is at the server. That of an entity says nothing that is not in the event stream.
    pub(super) fn snapshot_arrives(&mut self, name: String, bytes: Bytes) -> Check {
        if let Some((kind, key)) = name.strip_prefix(NAME).and_then(|rest| rest.split_once('.')) {
            let entity = format!("{kind}/{key}").parse().expect("an owner named it");
            let snapshot: EntitySnapshot = rmp_serde::from_slice(&bytes).expect("an owner wrote it");
            self.audit.snapshots_are_published(&self.store, &entity, &snapshot)?;
        }
        self.store.snapshots.insert(name, bytes);
        Ok(())
    }

    /// A defect: what is decided and not committed has snapshots.
    pub(super) fn write_early(&mut self, owner: &Owner, commit: &Commit) {
        let record = self.store.read_record(&commit.bytes).expect("an owner wrote it");
        for turn in record.turns.iter().filter(|turn| !turn.events.is_empty()) {
            let mut live = owner.core.entities().filter(|(entity, _)| **entity == turn.entity);
            let Some((entity, Ok(instance))) = live.next().map(|(entity, live)| (entity, &live.instance))
            else {
                continue;
            };
            let (revision, hash, state) = (instance.revision(), instance.hash(), instance.state());
            let early = EntitySnapshot { revision, hash, events: 0, state, origin: instance.origin() };
            let bytes = rmp_serde::to_vec(&early).expect("a snapshot is plain data");
            self.store_snapshot(fold::snapshot_name(entity), bytes.into());
        }
    }
}
