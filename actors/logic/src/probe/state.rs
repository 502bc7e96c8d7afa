//! The state of a probe: how often it was touched.

use bus_schemas::events::probe::Event;
use serde::{Deserialize, Serialize};

/// A counter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How often it was touched.
    pub count: u64,
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::Touched { count } => state.count = *count,
    }
}
