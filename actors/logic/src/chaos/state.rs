//! The state of an experiment: what it disturbs, and how it ended.

use bus_schemas::commands::chaos::Description;
use bus_schemas::events::chaos::Event;
use serde::{Deserialize, Serialize};

/// An experiment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The experiment; `None` before it was started.
    pub begun: Option<Description>,
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::Started { experiment, reason, by, at, until } => {
            let (experiment, reason, by) = (experiment.clone(), reason.clone(), by.clone());
            state.begun =
                Some(Description { experiment, reason, by, since: *at, until: *until, ended: None });
        }
        Event::Ended(ended) => {
            if let Some(begun) = &mut state.begun {
                begun.ended = Some(ended.clone());
            }
        }
    }
}
