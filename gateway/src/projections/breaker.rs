//! The view of a breaker: that there is one. How it stands changes with time alone, and is asked of the
//! breaker itself.

use bus_schemas::events::breaker::Event;
use bus_schemas::{Key, Revision, Timestamp};
use rusqlite::types::Value;
use serde::{Deserialize, Serialize};

use super::view::{View, time};

/// A breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// What it is about.
    pub dependency: Key,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// How many events it has.
    pub revision: Revision,
}

impl View for Breaker {
    type Event = Event;
    const TABLE: &'static str = "breakers";
    const COLUMNS: &'static [&'static str] = &["updated_at"];

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
