//! The state of a healer: how often it acted, and which entities are quarantined.

use std::collections::{BTreeMap, BTreeSet};

use bus_schemas::commands::healer::Action;
use bus_schemas::events::healer::Event;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A healer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The number of actions, by action.
    pub acts: BTreeMap<Action, u64>,
    /// The quarantined entities, as `<kind>/<key>`.
    pub quarantined: BTreeSet<SmolStr>,
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    let action = match event {
        Event::Acted(act) => act.action,
        Event::Quarantined { entity, .. } => {
            state.quarantined.insert(SmolStr::new(entity.to_string()));
            Action::Quarantine
        }
        Event::Released { entity, .. } => {
            state.quarantined.remove(entity.to_string().as_str());
            Action::Release
        }
    };
    *state.acts.entry(action).or_default() += 1;
}
