//! The live entities of a partition, and those that are leaving memory.
//!
//! An entity gets a snapshot before it leaves memory, so that waking it takes one round trip. It stays until
//! the snapshot is stored; a command in the meantime keeps it. Only an entity whose events are published may
//! leave, so a snapshot never holds uncommitted or unpublished state.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;

use actors_core::Instance;
use bus_schemas::{EntityAddress, Revision};
use lru::LruCache;

use super::{EntitySnapshot, Loaded, SNAPSHOT_EVENTS, Stopped};

/// The most entities that leave and whose snapshots are not stored yet: four batches. If a server stores
/// snapshots more slowly than entities arrive, further entities stay for a while.
const LEAVING_MAX: usize = 1_024;
/// The most entities above the bound that stay for that reason. Others leave without a snapshot, and are
/// rebuilt from their events.
const OVERHANG_MAX: usize = 1_024;
/// The most snapshots of busy entities that wait to be written. Later ones are skipped; the next comes soon.
const WAITING_MAX: usize = 1_024;

/// An entity in the cache.
pub struct Cached {
    /// The live entity, or why it stopped.
    pub instance: Result<Box<dyn Instance>, Stopped>,
    /// The group of its last turn. It must not leave the cache before that group's events are published.
    pub group: u64,
    /// The revision of the last stored snapshot.
    pub snapshot: Revision,
    /// The revision of the last snapshot taken.
    taken: Revision,
}

impl Cached {
    /// An entity that was just loaded.
    pub fn new(loaded: Loaded) -> Self {
        let Loaded { instance, snapshot } = loaded;
        Self { instance, group: 0, snapshot, taken: snapshot }
    }

    /// Its state, for gates; `None` if it stopped.
    pub fn memory(&self) -> Option<&dyn Any> {
        self.instance.as_ref().ok().map(|instance| instance.memory())
    }

    /// A snapshot of the entity. `events` is a sequence of the event stream below its later events.
    fn snapshot(&mut self, events: u64) -> Option<EntitySnapshot> {
        let instance = self.instance.as_ref().ok()?;
        let (revision, hash) = (instance.revision(), instance.hash());
        self.taken = revision;
        Some(EntitySnapshot { revision, hash, events, state: instance.state(), origin: instance.origin() })
    }

    /// Whether rebuilding it takes more than the stored snapshot and the last event.
    fn needs_snapshot(&self) -> bool {
        self.instance.as_ref().is_ok_and(|instance| instance.revision() > self.snapshot.next())
    }
}

/// The live entities of a partition.
pub struct Cache {
    entities: LruCache<EntityAddress, Cached>,
    bound: NonZeroUsize,
    /// Entities that leave once their snapshots are stored.
    leaving: BTreeMap<EntityAddress, Cached>,
    /// Snapshots that may be written.
    snapshots: VecDeque<(EntityAddress, EntitySnapshot)>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("entities", &self.len()).finish_non_exhaustive()
    }
}

impl Cache {
    /// An empty cache for `bound` entities.
    pub fn new(bound: usize) -> Self {
        Self {
            entities: LruCache::unbounded(),
            bound: NonZeroUsize::new(bound).unwrap_or(NonZeroUsize::MIN),
            leaving: BTreeMap::new(),
            snapshots: VecDeque::new(),
        }
    }
    /// Whether an entity is live.
    pub fn holds(&self, entity: &EntityAddress) -> bool {
        self.entities.contains(entity) || self.leaving.contains_key(entity)
    }
    /// A live entity that has not stopped. Does not count as a use.
    pub fn look(&self, entity: &EntityAddress) -> Option<&dyn Instance> {
        let cached = self.entities.peek(entity).or_else(|| self.leaving.get(entity));
        cached?.instance.as_deref().ok()
    }
    /// An entity, which becomes the most recently used. An entity that was leaving stays.
    pub fn get(&mut self, entity: &EntityAddress) -> Option<&mut Cached> {
        if let Some(cached) = self.leaving.remove(entity) {
            self.entities.put(entity.clone(), cached);
        }
        self.entities.get_mut(entity)
    }
    /// Adds a loaded entity.
    pub fn insert(&mut self, entity: EntityAddress, loaded: Loaded) {
        self.entities.put(entity, Cached::new(loaded));
    }
    /// Changes how many entities are kept.
    pub fn keep(&mut self, bound: usize) {
        self.bound = NonZeroUsize::new(bound).unwrap_or(NonZeroUsize::MIN);
    }
    /// Evicts the least recently used entities down to the bound, with snapshots where they need one. An
    /// entity whose events are not published stays, because its history could not be read back. `events` is a
    /// sequence of the event stream below all later events.
    pub fn passivate(&mut self, fanned_out: u64, events: u64) {
        while self.entities.len() > self.bound.get() {
            let Some((_, cached)) = self.entities.peek_lru().filter(|(_, cached)| cached.group <= fanned_out)
            else {
                break;
            };
            let (needs, full) = (cached.needs_snapshot(), self.leaving.len() >= LEAVING_MAX);
            if needs && full && self.entities.len() <= self.bound.get() + OVERHANG_MAX {
                break;
            }
            let Some((entity, mut cached)) = self.entities.pop_lru() else { break };
            if needs
                && !full
                && let Some(snapshot) = cached.snapshot(events)
            {
                self.snapshots.push_back((entity.clone(), snapshot));
                self.leaving.insert(entity, cached);
            }
        }
    }
    /// A snapshot of an entity that was just decided, if one is due. It is valid once that turn is committed
    /// and its events are published.
    pub fn snapshot(&mut self, entity: &EntityAddress, events: u64) -> Option<EntitySnapshot> {
        let cached = self.entities.peek_mut(entity)?;
        let revision = cached.instance.as_ref().ok()?.revision();
        (revision.0 >= cached.taken.0 + SNAPSHOT_EVENTS).then(|| cached.snapshot(events)).flatten()
    }
    /// Queues valid snapshots of entities that stay.
    pub fn write(&mut self, snapshots: impl IntoIterator<Item = (EntityAddress, EntitySnapshot)>) {
        let room = WAITING_MAX.saturating_sub(self.snapshots.len());
        self.snapshots.extend(snapshots.into_iter().take(room));
    }
    /// The next snapshots to write, at most `bound`.
    pub fn take_snapshots(&mut self, bound: usize) -> Vec<(EntityAddress, EntitySnapshot)> {
        let count = bound.min(self.snapshots.len());
        self.snapshots.drain(..count).collect()
    }
    /// Handles the outcome of a snapshot. Stored or not, the entity leaves unless it was used meanwhile:
    /// without a snapshot its events rebuild it.
    pub fn written(&mut self, entity: &EntityAddress, revision: Revision, stored: bool) {
        if self.leaving.get(entity).is_some_and(|cached| cached.taken <= revision) {
            self.leaving.remove(entity);
        }
        if let Some(cached) = self.entities.peek_mut(entity).filter(|_| stored) {
            cached.snapshot = cached.snapshot.max(revision);
        }
    }
    /// The live entities, most recently used first.
    pub fn iter(&self) -> impl Iterator<Item = (&EntityAddress, &Cached)> {
        self.entities.iter().chain(&self.leaving)
    }
    /// The number of live entities.
    pub fn len(&self) -> usize {
        self.entities.len() + self.leaving.len()
    }
    /// Whether no entity is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
