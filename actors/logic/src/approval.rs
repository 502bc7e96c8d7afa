//! `approval`: whether a person allows calls of tools.
//!
//! States: waiting → approved, rejected, timed out or canceled; approved → used, lapsed or revoked.
//!
//! Invariants: a request never changes, and has exactly one outcome; only a person gives one; an approval is for the
//! bytes that the ids of its calls bind, works for one task, and ends by itself.
//!
//! | command | leads to |
//! | --- | --- |
//! | `request` | `requested`; nothing for an equal one |
//! | `approve`, `reject` | `approved`, `rejected` while it waits; nothing for a repeat by the same person |
//! | `cancel` | `canceled` while it waits, `revoked` before the use; nothing afterwards |
//! | `use` | `used` by its task for exactly the approved calls; nothing for a repeat |
//! | `expire` | `timed-out` while it waits, `lapsed` before the use |

mod decide;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal};
use bus_schemas::commands::approval::Command;
use bus_schemas::events::approval::Event;
use bus_schemas::wire::NoQuery;

pub use state::{Phase, State};

/// The kind `approval`.
#[derive(Debug)]
pub struct Approval;

impl Entity for Approval {
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
