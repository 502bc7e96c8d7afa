//! `halt`: stops all work of a scope. The key is the scope: `all`, `lane.<lane>`, `agent.<agent>`,
//! `task.<task>`.
//!
//! States: not halted (as at first) → halted → not halted.
//!
//! Workers, hosts and gateways read the events of this kind and stop at once by themselves. The messages of
//! this entity to lanes make that last: they give no jobs to what is halted, and take back running attempts.
//!
//! Invariants: a halt has a reason; while it is active, the last message to every lane in its scope was
//! `hold`, and afterwards `ease`.
//!
//! | command | leads to |
//! | --- | --- |
//! | `halt` | `halted` if anything is new; `hold` to the lanes, the agent or the task |
//! | `resume` | `resumed`; `ease` to the same; refused for what is not halted |
//! | `watch` | `watched` once, and `hold` when halted: only `all` is watched |
//! | `confirm` | nothing; `ease` to a lane that still holds for a halt that is over |

mod decide;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Kind, Refusal};
use bus_schemas::commands::halt::Command;
use bus_schemas::commands::{redrive, schedule, task};
use bus_schemas::events::halt::Event;
use bus_schemas::wire::{NoQuery, WireCommand};

pub(crate) use decide::{check_meant, check_reason};
pub use state::{ActiveHalt, State};

/// The kinds whose timers lead to work: they are suspended while everything is halted.
pub static RESTING: [Kind; 3] = [task::Command::KIND, redrive::Command::KIND, schedule::Command::KIND];

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
