//! The entities that take no commands for now: known to the whole process, read by the stage `decide`.
//!
//! Who is in it stands in the events of `healer/quarantine`; the host follows them. A host may hear of
//! it a moment later than another: what a record says was refused was refused, whoever decides it again.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use bus_schemas::EntityAddress;

/// The entities that take no commands. Cheap to clone; all clones are the same list.
#[derive(Debug, Clone, Default)]
pub struct Quarantine {
    entities: Arc<RwLock<HashSet<EntityAddress>>>,
}

impl Quarantine {
    /// Whether the entity takes no commands.
    pub fn holds(&self, entity: &EntityAddress) -> bool {
        let entities = self.entities.read().unwrap_or_else(PoisonError::into_inner);
        // Nearly always nobody is in it.
        !entities.is_empty() && entities.contains(entity)
    }
    /// Keeps an entity from commands.
    pub fn add(&self, entity: EntityAddress) {
        self.entities.write().unwrap_or_else(PoisonError::into_inner).insert(entity);
    }
    /// Lets an entity take commands.
    pub fn remove(&self, entity: &EntityAddress) {
        self.entities.write().unwrap_or_else(PoisonError::into_inner).remove(entity);
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.entities.read().unwrap_or_else(PoisonError::into_inner).len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
