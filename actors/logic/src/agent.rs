//! `agent`: who does work of which skills, with how much capacity. The key is the agent's name.
//!
//! States: unknown, then a card and a set of live workers. A worker lives from `register` until it
//! deregisters or its heartbeat timer fires.
//!
//! Invariants: what the brokers were last offered is the summed capacity of the live workers of
//! each lane; a lane that nobody serves any more was offered 0.
//!
//! | command | leads to |
//! | --- | --- |
//! | `register` | `worker-registered` if anything is new; the timer `heartbeat-<worker>`; offers |
//! | `heartbeat` | the timer is set anew; refused for a worker that is not known |
//! | `deregister` | `worker-deregistered`, offers with what remains |
//! | `hold` | `held` if it is new; its lanes are told, now and when it serves another one |
//! | `ease` | `eased`, and its lanes are told |
//! | `miss-heartbeat` | `worker-lost`, offers with what remains |

mod decide;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal};
use bus_schemas::commands::agent::Command;
use bus_schemas::events::agent::Event;

pub use state::{State, Worker};

/// The kind `agent`.
#[derive(Debug)]
pub struct Agent;

impl Entity for Agent {
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
