//! The view of a breaker: only that it exists. Its state changes with time alone, so it is queried from the
//! breaker itself.

use bus_schemas::events::breaker::Event;
use bus_schemas::{Key, Revision, Timestamp};
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};

use super::view::{View, time};

/// A breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// The dependency, which is the breaker's key.
    pub dependency: Key,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// The breaker's revision.
    pub revision: Revision,
}

impl View for Breaker {
    type Event = Event;
    const TABLE: &'static str = "breakers";
    const COLUMNS: &'static [(&'static str, &'static str)] = &[("updated_at", "INTEGER NOT NULL")];

    fn fold(view: &mut Option<Self>, id: &Key, _event: &Event, at: Timestamp, revision: Revision) {
        *view = Some(Self { dependency: id.clone(), updated_at: at, revision });
    }
    fn revision(&self) -> Revision {
        self.revision
    }
    fn columns(&self) -> Vec<Value> {
        vec![time(self.updated_at)]
    }
}
