//! `schedule`: recurring goals. The key is the schedule's name.
//!
//! States: none → waiting ⇄ paused → ended (a `once` that fired) or none again (deleted).
//!
//! Invariants: it fires each due time at most once; times that were missed fire once together, and then it
//! goes on from now; the submitted task is named `<name>-<due>`, so that a repeated `fire` cannot make a
//! second one; a replaced schedule stays paused if it was, and an interval that replaces another is due no
//! later than that one was.
//!
//! | command | leads to |
//! | --- | --- |
//! | `create` | `created`, and the timer `fire` where it is not paused; the same again nothing |
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

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
