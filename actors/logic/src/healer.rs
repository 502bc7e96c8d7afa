//! `healer`: the record of healing actions, and the quarantine.
//!
//! | key | content |
//! | --- | --- |
//! | `<host>` | the actions and observations of a host's healer |
//! | `log` | what entities did by themselves, such as a breaker that opened |
//! | `quarantine` | the entities that take no commands |
//!
//! The record of a healer is its events; its state only counts them, and so stays small.
//!
//! Invariants: an entity is quarantined once, and released once after that. A healer cannot be quarantined:
//! it could not be released.
//!
//! | command | leads to |
//! | --- | --- |
//! | `note` | `acted` |
//! | `quarantine` | `quarantined`, unless it is |
//! | `release` | `released`; refused for an entity that is not quarantined |

mod decide;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal};
use bus_schemas::commands::healer::Command;
use bus_schemas::events::healer::Event;
use bus_schemas::wire::NoQuery;

pub use state::State;

/// The kind `healer`.
#[derive(Debug)]
pub struct Healer;

impl Entity for Healer {
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
