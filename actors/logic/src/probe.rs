//! `probe`: an entity that only counts, for measurements and health checks.
//!
//! States: a number. Invariant: the count is the number of its events.
//!
//! | command | leads to |
//! | --- | --- |
//! | `touch` | `touched` |
//! | `panic` | a panic, which the runtime turns into a dead letter |
//! | `forward` | `touched`, and `touch` for another probe |
//! | `touch-later` | a timer that sends `touch` |

mod decide;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal};
use bus_schemas::commands::probe::Command;
use bus_schemas::events::probe::Event;
use bus_schemas::wire::NoQuery;

pub use state::State;

/// The kind `probe`.
#[derive(Debug)]
pub struct Probe;

impl Entity for Probe {
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
