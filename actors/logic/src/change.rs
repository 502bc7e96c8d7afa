//! `change`: a change of a repository, from its request to the merge.
//!
//! States: scheduled → proposed → (approved) → applied → branched → syntax passed → tests started → tests passed →
//! merged or tested. From each of them: rolled back, or stopped with its task.
//!
//! Invariants: steps come in this order, each once; an end is final, except that of a failed task, which may be retried
//! while nothing was written; a change that is stopped after its commit exists is rolled back by a task of its own.
//!
//! | command | leads to |
//! | --- | --- |
//! | `schedule` | `scheduled`, `submit` and `follow` for the task; nothing for an equal one |
//! | `adopt` | `scheduled`, `follow` for the task, where nobody scheduled it |
//! | `record` | the event of the step; nothing for a step that was made |
//! | `cancel` | `cancel-requested`, `cancel` for the task; nothing after the end |
//! | `settle-task` | `stopped` where the change has no end yet, and `submit` for a task that rolls back; from that task `rolled-back` or `rollback-failed` |

mod decide;
mod gate;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal};
use bus_schemas::commands::change::Command;
use bus_schemas::events::change::Event;
use bus_schemas::wire::NoQuery;

pub use gate::{WRITERS, admit_no_writes};
pub use state::State;

/// The kind `change`.
#[derive(Debug)]
pub struct Change;

impl Entity for Change {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = NoQuery;

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
