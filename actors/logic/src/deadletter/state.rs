//! What a dead letter remembers: the entry.

use bus_schemas::commands::deadletter::Entry;
use bus_schemas::events::deadletter::Event;
use serde::{Deserialize, Serialize};

/// The entry, once there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What, why, and from where.
    pub entry: Option<Entry>,
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::Recorded { entry } => state.entry = Some(entry.clone()),
    }
}
