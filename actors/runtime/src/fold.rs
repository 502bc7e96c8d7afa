//! Stage 5, fold: live entities, loaded from snapshot and events, cached, and passivated.
//!
//! A turn's events are folded as soon as it is decided, so that the next command in the same group sees them;
//! nothing leaves the partition before the commit. If a commit fails for good, the partition's memory is
//! dropped.

pub mod cache;
pub mod write;

use actors_core::{Instance, Origin, Registry};
use bus_client::history::LastEvent;
use bus_client::{Bus, StoredEvent};
use bus_schemas::{EntityAddress, Hash, Revision, TraceContext};
use serde::{Deserialize, Serialize};

pub use self::cache::{Cache, Cached};

/// Live entities that a partition keeps. A small entity takes about a kilobyte; eight partitions stay below a
/// hundred megabytes.
pub const CACHE_ENTITIES_MAX: usize = 8_192;
/// Events after which an entity gets a new snapshot: reading that many costs about as much as reading a
/// snapshot.
pub const SNAPSHOT_EVENTS: u64 = 128;

/// Why an entity cannot go on: an event that this program does not know, or a broken chain.
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

/// A snapshot as stored.
#[derive(Debug, Serialize, Deserialize)]
pub struct EntitySnapshot {
    /// The revision.
    pub revision: Revision,
    /// The chain hash.
    pub hash: Hash,
    /// A sequence of the event stream below all later events of the entity.
    pub events: u64,
    /// The state.
    pub state: serde_json::Value,
    /// The request that began the entity, if its kind keeps that.
    #[serde(default)]
    pub origin: Option<Origin>,
}

/// The name of an entity's snapshot.
pub fn snapshot_name(entity: &EntityAddress) -> String {
    format!("entity.{}.{}", entity.kind, entity.key)
}

/// Loads an entity: reads its snapshot and its last event in parallel, then the events between them if there
/// are any.
///
/// An error means that the bus did not answer; an entity that cannot be read is [`Stopped`].
pub async fn load(
    bus: &Bus,
    registry: &Registry,
    entity: &EntityAddress,
) -> Result<Loaded, bus_client::Error> {
    let (snapshot, last) = futures::try_join!(stored_snapshot(bus, entity), bus.last_event(entity))?;
    let place = last.as_ref().and_then(LastEvent::place);
    let snapshot = match usable(snapshot, place) {
        Ok(snapshot) => snapshot,
        Err(stopped) => return Ok(Loaded { instance: Err(stopped), snapshot: Revision(0) }),
    };
    let (mut instance, from, revision) = restore(registry, entity, snapshot);
    let history = match last {
        Some(last) if place != Some((instance.revision(), instance.hash())) => {
            bus.history_upto(entity, last, revision, from).await
        }
        _ => Ok(Vec::new()),
    };
    let history = match history {
        Ok(history) => history,
        // Another read would give the same result: only this entity must wait for a human.
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

/// The snapshot of an entity; `None` if it cannot be read.
async fn stored_snapshot(
    bus: &Bus,
    entity: &EntityAddress,
) -> Result<Option<EntitySnapshot>, bus_client::Error> {
    match bus.get_snapshot(&snapshot_name(entity)).await {
        Ok(bytes) => Ok(bytes.and_then(|bytes| rmp_serde::from_slice(&bytes).ok())),
        Err(bus_client::Error::Blob { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The snapshot, if loading may start from it. `last` is the revision and hash of the entity's last event. A
/// snapshot at or before that event is used; one of another history is not. A snapshot ahead of the event
/// stream means that events are missing there: going on would give their revisions out a second time.
pub fn usable(
    snapshot: Option<EntitySnapshot>,
    last: Option<(Revision, Hash)>,
) -> Result<Option<EntitySnapshot>, Stopped> {
    let (Some(found), Some((revision, hash))) = (&snapshot, last) else { return Ok(snapshot) };
    if found.revision > revision {
        let ahead = found.revision;
        let reason = format!("its snapshot is of revision {ahead}, and the event stream ends at {revision}");
        return Err(Stopped { reason });
    }
    let another = found.revision == revision && found.hash != hash;
    Ok(snapshot.filter(|_| !another))
}

/// The request that began an entity, from its first event.
fn origin(first: &StoredEvent) -> Option<Origin> {
    let correlation = first.correlation.filter(|_| first.event.revision == Revision(1))?;
    Some(Origin { correlation, trace: first.traceparent.as_deref().and_then(TraceContext::parse) })
}

/// A live entity from its snapshot. If the snapshot cannot be read, more events have to be.
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

/// Folds stored events; stops at the first that is unknown or does not follow.
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
