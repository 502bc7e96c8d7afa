//! Stage 5, fold: live entities, loaded from snapshot and tail, cached, passivated.
//!
//! A turn's events are folded as soon as it is decided, so that the next command in the same group
//! sees them; nobody outside does before the commit. A commit that fails for good takes the whole
//! partition's memory with it.

use std::num::NonZeroUsize;

use actors_core::{Instance, Origin, Registry};
use bus_client::{Bus, StoredEvent};
use bus_schemas::{Body, EntityAddress, Hash, Revision, TraceContext};
use lru::LruCache;
use serde::{Deserialize, Serialize};

/// Live entities that a partition keeps. A small entity takes about a kilobyte; eight partitions
/// stay below a hundred megabytes.
pub const CACHE_ENTITIES_MAX: usize = 8_192;
/// Events after which an entity gets a new snapshot: reading so many costs about what reading a
/// snapshot costs.
pub const SNAPSHOT_EVENTS: u64 = 128;

/// An entity in the cache.
pub struct Cached {
    /// The live entity, or why it stopped.
    pub instance: Result<Box<dyn Instance>, Stopped>,
    /// The group of its last turn: it must not leave the cache before that group's events are out.
    pub group: u64,
    /// The revision of its last snapshot.
    pub snapshot: Revision,
}

/// An entity that can not go on: an event that this program does not know, or a broken chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The cause, with the revision.
    pub reason: String,
}

/// A loaded entity.
pub struct Loaded {
    /// The live entity, or why it stopped.
    pub instance: Result<Box<dyn Instance>, Stopped>,
    /// The revision of its snapshot.
    pub snapshot: Revision,
}

/// A snapshot as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub struct EntitySnapshot {
    /// The revision.
    pub revision: Revision,
    /// The chain hash.
    pub hash: Hash,
    /// The event stream's sequence behind which later events stand.
    pub events: u64,
    /// The state.
    pub state: serde_json::Value,
    /// The request that began the entity, where its kind keeps that.
    #[serde(default)]
    pub origin: Option<Origin>,
}

impl Cached {
    /// Whether a command begins an experiment.
    pub fn is_experiment(&self, body: &Body) -> bool {
        self.instance.as_ref().is_ok_and(|instance| instance.is_experiment(body))
    }
}

/// The live entities of a partition.
pub struct Cache {
    entities: LruCache<EntityAddress, Cached>,
    bound: NonZeroUsize,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache").field("entities", &self.entities.len()).finish_non_exhaustive()
    }
}

impl Cache {
    /// An empty cache.
    pub fn new(bound: usize) -> Self {
        Self { entities: LruCache::unbounded(), bound: NonZeroUsize::new(bound).unwrap_or(NonZeroUsize::MIN) }
    }
    /// Whether an entity is live.
    pub fn holds(&self, entity: &EntityAddress) -> bool {
        self.entities.contains(entity)
    }
    /// A live entity that goes on, looked at without being used.
    pub fn look(&self, entity: &EntityAddress) -> Option<&dyn Instance> {
        self.entities.peek(entity)?.instance.as_deref().ok()
    }
    /// An entity, now the most recently used.
    pub fn get(&mut self, entity: &EntityAddress) -> Option<&mut Cached> {
        self.entities.get_mut(entity)
    }
    /// Takes a loaded entity in.
    pub fn insert(&mut self, entity: EntityAddress, loaded: Loaded) {
        let cached = Cached { instance: loaded.instance, group: 0, snapshot: loaded.snapshot };
        self.entities.put(entity, cached);
    }
    /// Changes how many entities are kept.
    pub fn keep(&mut self, bound: usize) {
        self.bound = NonZeroUsize::new(bound).unwrap_or(NonZeroUsize::MIN);
    }
    /// Lets the least recently used entities go until the bound holds. One whose events are not out
    /// yet stays: its history could not be read back.
    pub fn passivate(&mut self, fanned_out: u64) {
        while self.entities.len() > self.bound.get() {
            match self.entities.peek_lru() {
                Some((_, cached)) if cached.group <= fanned_out => drop(self.entities.pop_lru()),
                _ => break,
            }
        }
    }
    /// A snapshot of an entity as it was just decided, if it is time for one. It is true once that
    /// turn is committed; the place in the event stream is for the caller to fill in.
    pub fn snapshot(&mut self, entity: &EntityAddress) -> Option<EntitySnapshot> {
        let cached = self.entities.peek_mut(entity)?;
        let instance = cached.instance.as_ref().ok()?;
        let revision = instance.revision();
        if revision.0 < cached.snapshot.0 + SNAPSHOT_EVENTS {
            return None;
        }
        cached.snapshot = revision;
        let (hash, state, origin) = (instance.hash(), instance.state(), instance.origin());
        Some(EntitySnapshot { revision, hash, events: 0, state, origin })
    }
    /// The live entities, most recently used first.
    pub fn iter(&self) -> impl Iterator<Item = (&EntityAddress, &Cached)> {
        self.entities.iter()
    }
    /// How many are live.
    pub fn len(&self) -> usize {
        self.entities.len()
    }
    /// Whether none is live.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }
}

/// The name of an entity's snapshot.
pub fn snapshot_name(entity: &EntityAddress) -> String {
    format!("entity.{}.{}", entity.kind, entity.key)
}

/// Loads an entity: its snapshot, then its events after it.
///
/// An error means that the bus did not answer; an entity that can not be read is [`Stopped`].
pub async fn load(
    bus: &Bus,
    registry: &Registry,
    entity: &EntityAddress,
) -> Result<Loaded, bus_client::Error> {
    let stored = bus.get_snapshot(&snapshot_name(entity)).await?;
    let snapshot = stored.and_then(|bytes| rmp_serde::from_slice::<EntitySnapshot>(&bytes).ok());
    let (mut instance, from, revision) = restore(registry, entity, snapshot);
    let history = match bus.history(entity, revision, from).await {
        Ok(history) => history,
        // Reading it again would give the same: only this entity must wait for a human.
        Err(error @ (bus_client::Error::Event { .. } | bus_client::Error::Blob { .. })) => {
            return Ok(Loaded { instance: Err(Stopped { reason: error.to_string() }), snapshot: revision });
        }
        Err(error) => return Err(error),
    };
    if let Some(origin) = history.first().and_then(origin) {
        instance.begin(origin);
    }
    Ok(Loaded { instance: replay(instance, history.iter().map(|stored| &stored.event)), snapshot: revision })
}

/// The request that began an entity, from its first event.
fn origin(first: &StoredEvent) -> Option<Origin> {
    let correlation = first.correlation.filter(|_| first.event.revision == Revision(1))?;
    Some(Origin { correlation, trace: first.traceparent.as_deref().and_then(TraceContext::parse) })
}

/// A live entity as the snapshot has it; a snapshot that can not be read only costs the longer way.
pub fn restore(
    registry: &Registry,
    entity: &EntityAddress,
    snapshot: Option<EntitySnapshot>,
) -> (Box<dyn Instance>, u64, Revision) {
    if let Some(snapshot) = snapshot
        && let Some(Ok(mut instance)) =
            registry.restore(&entity.kind, snapshot.revision, snapshot.hash, snapshot.state)
    {
        if let Some(origin) = snapshot.origin {
            instance.begin(origin);
        }
        return (instance, snapshot.events + 1, snapshot.revision);
    }
    let fresh = registry.make(&entity.kind).expect("the inbox refuses kinds that the registry does not know");
    (fresh, 0, Revision(0))
}

/// Folds stored events, and stops at the first that is unknown or does not follow.
pub fn replay<'a>(
    mut instance: Box<dyn Instance>,
    events: impl IntoIterator<Item = &'a bus_schemas::record::Event>,
) -> Result<Box<dyn Instance>, Stopped> {
    for event in events {
        if event.revision != instance.revision().next() {
            let reason = format!("revision {} follows {}", event.revision, instance.revision());
            return Err(Stopped { reason });
        }
        let expected = instance.hash().link(event.revision, &event.event_type, event.schema, &event.body);
        if expected != event.hash {
            return Err(Stopped { reason: format!("the chain is broken at revision {}", event.revision) });
        }
        instance
            .replay(event)
            .map_err(|error| Stopped { reason: format!("at revision {}: {error}", event.revision) })?;
    }
    Ok(instance)
}
