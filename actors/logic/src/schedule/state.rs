//! The state of a schedule: its recurrence, its task, and whether it is paused.

use bus_schemas::Timestamp;
use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::commands::task::Submit;
use bus_schemas::events::schedule::Event;
use serde::{Deserialize, Serialize};

/// A schedule; without `plan` it was never created, or was deleted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// When it fires and what it submits.
    pub plan: Option<Plan>,
    /// When it fires next; `None` if it ended or is paused.
    pub next: Option<Timestamp>,
    /// Whether it waits for `resume`.
    pub paused: bool,
    /// How often it has fired since it was created.
    pub fired: u64,
}

/// The content of `create`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// When it fires.
    pub recurrence: Recurrence,
    /// The task that it submits.
    pub task: Submit,
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::Created { recurrence, task, next } => {
            let plan = Plan { recurrence: recurrence.clone(), task: task.clone() };
            *state = State { plan: Some(plan), next: *next, paused: state.paused, fired: 0 };
        }
        Event::Fired { next, .. } => {
            state.next = *next;
            state.fired += 1;
        }
        Event::Paused => {
            state.next = None;
            state.paused = true;
        }
        Event::Resumed { next } => {
            state.next = *next;
            state.paused = false;
        }
        Event::Moved { next } => state.next = *next,
        Event::Deleted => *state = State::default(),
    }
}
