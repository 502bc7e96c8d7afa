//! `halt`: what must stand still, why, and since when. The key is the scope: `all`, `lane.<lane>`,
//! `agent.<agent>`, `task.<task>`.
//!
//! States: lifted (as at first) → halted → lifted.
//!
//! Workers, hosts and gateways read the events of this kind themselves, and stop without waiting for
//! anybody. What this entity tells the lanes makes that last: they give nothing to what is halted,
//! and take back what runs.
//!
//! Invariants: a halt has a reason; while it stands, every lane that it concerns was told `hold` last,
//! and afterwards `ease`.
//!
//! | command | leads to |
//! | --- | --- |
//! | `halt` | `halted` if anything is new; `hold` to the lanes, the agent or the task |
//! | `lift` | `lifted`; `ease` to the same; refused for what is not halted |
//! | `watch` | `watched` once, and `hold` when halted: only `all` is watched |
//! | `confirm` | nothing; `ease` to a lane that holds for what does not stand |

mod decide;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal};
use bus_schemas::commands::halt::Command;
use bus_schemas::events::halt::Event;
use bus_schemas::wire::NoQuery;

pub(crate) use decide::check_reason;
pub use state::{Standing, State};

/// The kind `halt`.
#[derive(Debug)]
pub struct Halt;

impl Entity for Halt {
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
