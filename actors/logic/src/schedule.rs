//! `schedule`: goals that recur. The key is the schedule's name.
//!
//! States: none → waiting ⇄ paused → ended (a `once` that fired) or none again (deleted).
//!
//! Invariants: it fires each due time at most once; what was missed while nobody ran it fires
//! once, and then goes on from now; the submitted task is named `<name>-<due>`, so that a
//! repeated `fire` can not make a second one.
//!
//! | command | leads to |
//! | --- | --- |
//! | `create` | `created`, the timer `fire`; the same again nothing |
//! | `fire` | `fired`, `submit` for the task, the next timer; another due time than the awaited: nothing |
//! | `pause` | `paused`, no timer |
//! | `resume` | `resumed` from now on, the timer `fire` |
//! | `delete` | `deleted`, no timer |

mod decide;
pub(crate) mod recurrence;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal};
use bus_schemas::commands::schedule::Command;
use bus_schemas::events::schedule::Event;
use bus_schemas::wire::NoQuery;

pub use state::State;

/// The kind `schedule`.
#[derive(Debug)]
pub struct Schedule;

impl Entity for Schedule {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = NoQuery;
    const RESTS_UNDER_HALT: bool = true;

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
