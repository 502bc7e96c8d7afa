//! The state of a halt: whether it is active, and the watching lanes.

use std::collections::BTreeSet;

use bus_schemas::commands::halt::Standstill;
use bus_schemas::events::halt::Event;
use bus_schemas::{Key, Revision, Timestamp};
use serde::{Deserialize, Serialize};

/// A halt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The active halt; `None` if the scope is not halted.
    pub active: Option<ActiveHalt>,
    /// Whether it was active before and ended.
    #[serde(default)]
    pub was_resumed: bool,
    /// The halt's revision.
    pub revision: Revision,
    /// The revision in which it was last made or ended.
    pub changed: Revision,
    /// The lanes that are told.
    pub lanes: BTreeSet<Key>,
}

/// An active halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveHalt {
    /// The reason.
    pub reason: String,
    /// The caller.
    pub by: String,
    /// How long running work has to end by itself, in milliseconds.
    pub grace_ms: u64,
    /// When it began.
    pub since: Timestamp,
}

impl ActiveHalt {
    /// The halt, as a resume tells it.
    pub(super) fn standstill(&self) -> Standstill {
        Standstill { reason: self.reason.clone(), by: self.by.clone(), since: self.since }
    }
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    state.revision = state.revision.next();
    if !matches!(event, Event::Watched { .. }) {
        state.changed = state.revision;
    }
    match event {
        Event::Halted { reason, by, grace_ms, at } => {
            let since = state.active.as_ref().map_or(*at, |active| active.since);
            let (reason, by, grace_ms) = (reason.clone(), by.clone(), *grace_ms);
            state.active = Some(ActiveHalt { reason, by, grace_ms, since });
        }
        Event::Resumed { .. } => (state.active, state.was_resumed) = (None, true),
        Event::Watched { lane } => drop(state.lanes.insert(lane.clone())),
    }
}
