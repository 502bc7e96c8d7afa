//! The quarantined entities, which refuse commands: known to the whole process, and one of its gates.
//!
//! The events of `healer/quarantine` say which they are; the host follows them. Hosts may learn of a change
//! at different moments: a refusal in a record stays a refusal, whoever decides the command again.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use actors_runtime::{Gate, GateRequest};
use bus_schemas::envelope::code;
use bus_schemas::{EntityAddress, Key, Refusal};

/// The quarantined entities. Cheap to clone; all clones share one list.
#[derive(Debug, Clone, Default)]
pub struct Quarantine {
    entities: Arc<RwLock<HashSet<EntityAddress>>>,
}

impl Quarantine {
    /// Whether the entity is quarantined.
    pub fn holds(&self, entity: &EntityAddress) -> bool {
        let entities = self.entities.read().unwrap_or_else(PoisonError::into_inner);
        // Usually the list is empty.
        !entities.is_empty() && entities.contains(entity)
    }
    /// Quarantines an entity.
    pub fn add(&self, entity: EntityAddress) {
        self.entities.write().unwrap_or_else(PoisonError::into_inner).insert(entity);
    }
    /// Releases an entity.
    pub fn remove(&self, entity: &EntityAddress) {
        self.entities.write().unwrap_or_else(PoisonError::into_inner).remove(entity);
    }
    /// The number of quarantined entities.
    pub fn len(&self) -> usize {
        self.entities.read().unwrap_or_else(PoisonError::into_inner).len()
    }
    /// Whether no entity is quarantined.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Gate for Quarantine {
    fn admit(&self, request: &GateRequest<'_>) -> Result<(), Refusal> {
        let entity = request.entity;
        if !self.holds(entity) {
            return Ok(());
        }
        let refusal = Refusal::new(code::ENTITY_QUARANTINED, format!("`{entity}` is quarantined"));
        Err(refusal.hint(format!(
            "`orrery heal log` says why; `orrery heal release {entity}` lets it take commands"
        )))
    }
    fn withholds(&self, entity: &EntityAddress, _: &Key, _: &Key) -> bool {
        self.holds(entity)
    }
}
