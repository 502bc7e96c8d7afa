//! What a halt remembers: whether it stands, and who wants to hear of it.

use std::collections::BTreeSet;

use bus_schemas::events::halt::Event;
use bus_schemas::{Key, Timestamp};
use serde::{Deserialize, Serialize};

/// A halt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Why and since when it stands; none when nothing is halted.
    pub standing: Option<Standing>,
    /// Whether it stood before, and was lifted.
    #[serde(default)]
    pub was_lifted: bool,
    /// The lanes that hear of it.
    pub lanes: BTreeSet<Key>,
}

/// A halt that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// How long running work has to end by itself, in milliseconds.
    pub grace_ms: u64,
    /// Since when.
    pub since: Timestamp,
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::Halted { reason, by, grace_ms, at } => {
            let since = state.standing.as_ref().map_or(*at, |standing| standing.since);
            let (reason, by, grace_ms) = (reason.clone(), by.clone(), *grace_ms);
            state.standing = Some(Standing { reason, by, grace_ms, since });
        }
        Event::Lifted { .. } => (state.standing, state.was_lifted) = (None, true),
        Event::Watched { lane } => drop(state.lanes.insert(lane.clone())),
    }
}
