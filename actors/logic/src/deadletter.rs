//! `deadletter`: what could not be done, why, and where it came from. The key is the entry.
//!
//! States: nothing yet, recorded. Invariant: an entry, once recorded, never changes.
//!
//! | command | leads to |
//! | --- | --- |
//! | `record` | `recorded`; the same again nothing; another one is refused: `entry-exists` |

mod decide;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal};
use bus_schemas::commands::deadletter::Command;
use bus_schemas::events::deadletter::Event;

pub use state::State;

/// The kind `deadletter`.
#[derive(Debug)]
pub struct DeadLetter;

impl Entity for DeadLetter {
    type State = State;
    type Command = Command;
    type Event = Event;

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
