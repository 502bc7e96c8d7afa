//! `agent`: the workers, skills and capacity of an agent. The key is the agent's name.
//!
//! States: unknown, then a card and a set of live workers. A worker lives from `register` until it
//! deregisters, or until no host has heard of it for too long: its claims and renewals are its heartbeat, and
//! none of them is logged. A manifest declares an agent that hosts run; its versions only go up.
//!
//! Invariants: the last offer to each lane is the summed capacity of the live workers of that lane; a lane
//! that no worker serves any more was offered 0.
//!
//! | command | leads to |
//! | --- | --- |
//! | `register` | `worker-registered` if anything is new; offers |
//! | `deregister` | `worker-deregistered`, offers with what remains |
//! | `hold` | `held` if it is new; its lanes are told, now and when it serves another one |
//! | `ease` | `eased`, and its lanes are told |
//! | `lose-worker` | `worker-lost`, offers with what remains |
//! | `load` | `manifest-loaded` with the next number, if the version is above the former one; of the same manifest nothing |
//! | `unload` | `manifest-unloaded` once |
//! | `report-health` | `health-reported` if it is news of the manifest in force |

mod decide;
mod declare;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal, View};
use bus_schemas::commands::agent::{Command, Query};
use bus_schemas::events::agent::Event;

pub use state::{State, Worker};

/// The kind `agent`.
#[derive(Debug)]
pub struct Agent;

impl Entity for Agent {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = Query;

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn view(state: &State, query: Query, context: &Context<'_>) -> Result<View, Refusal> {
        decide::view(state, &query, context)
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
