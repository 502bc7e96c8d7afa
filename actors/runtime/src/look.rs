//! Entities as seen from outside their partition: a projection that is loaded once and kept up to date by
//! events. It writes nothing to the bus and decides nothing.

use std::collections::BTreeMap;

use actors_core::{Instance, Registry};
use bus_client::{Bus, StoredEvent};
use bus_schemas::{EntityAddress, Key, Kind};
use serde::de::DeserializeOwned;

use crate::fold;

/// The projected entities.
pub struct Look {
    registry: Registry,
    entities: BTreeMap<EntityAddress, Box<dyn Instance>>,
}

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Look").field("entities", &self.entities.len()).finish_non_exhaustive()
    }
}

impl Look {
    /// An empty projection.
    pub fn new(registry: Registry) -> Self {
        Self { registry, entities: BTreeMap::new() }
    }

    /// Loads every entity of a kind that has events. An entity that cannot be read is logged and left out. An
    /// error means that the bus did not answer.
    pub async fn load_all(&mut self, bus: &Bus, kind: &Kind) -> Result<(), bus_client::Error> {
        for last in bus.latest_events(&bus.subjects().events(Some(kind))).await? {
            self.load(bus, &last.entity).await?;
        }
        Ok(())
    }

    /// Applies an event. A known event changes nothing; after a gap, as when the connection was lost, the
    /// entity is loaded anew.
    pub async fn take(&mut self, bus: &Bus, stored: &StoredEvent) -> Result<(), bus_client::Error> {
        let (entity, event) = (&stored.entity, &stored.event);
        if !self.registry.knows(&entity.kind) {
            return Ok(());
        }
        let Some(instance) = self.entities.get_mut(entity) else { return self.load(bus, entity).await };
        if event.revision <= instance.revision() {
            return Ok(());
        }
        let follows = event.revision == instance.revision().next();
        if follows && instance.replay(event).is_ok() {
            return Ok(());
        }
        self.load(bus, entity).await
    }

    /// The keys of a kind's entities.
    pub fn keys(&self, kind: &Kind) -> Vec<Key> {
        self.entities.keys().filter(|entity| entity.kind == *kind).map(|entity| entity.key.clone()).collect()
    }

    /// The state of each entity of a kind, as a snapshot would hold it.
    pub fn states<S: DeserializeOwned>(&self, kind: &Kind) -> Vec<(Key, S)> {
        let of_kind = self.entities.iter().filter(|(entity, _)| entity.kind == *kind);
        let states = of_kind.filter_map(|(entity, instance)| {
            Some((entity.key.clone(), serde_json::from_value(instance.state()).ok()?))
        });
        states.collect()
    }

    async fn load(&mut self, bus: &Bus, entity: &EntityAddress) -> Result<(), bus_client::Error> {
        match fold::load(bus, &self.registry, entity).await?.instance {
            Ok(instance) => drop(self.entities.insert(entity.clone(), instance)),
            Err(stopped) => {
                tracing::warn!(%entity, reason = stopped.reason, "an entity cannot be read");
                self.entities.remove(entity);
            }
        }
        Ok(())
    }
}
