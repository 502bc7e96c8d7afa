//! `queue`: the part of a lane in one partition. The key is `<token>.<lane>`.
//!
//! States of an attempt: waiting (with leave or without) → running → gone. In an open lane, an attempt begins
//! with the next worker whose claim fits; if the lane governs, each attempt first needs its leave.
//!
//! Invariants:
//! - A task waits once or runs once, never both.
//! - No attempt begins before the lane has sent its rules, none that a hold covers, and if the lane governs
//!   none without its leave.
//! - A claim is used once, for at most as many attempts as it has places.
//! - The order is: the highest priority; the owner with the fewest running jobs, and of those the one served
//!   longest ago; the longest wait; the key.
//!
//! | command | leads to |
//! | --- | --- |
//! | `enqueue` | `enqueued` (a later attempt replaces an earlier one); the lane is told where it governs |
//! | `release` | `released` if it waits or runs; the lane is told where it governs |
//! | `take` | `assigned`… |
//! | `rules` | `rules-set` if they are new; all that waits and runs is reported where the lane begins to govern |
//! | `grant`, `revoke` | `granted`, `revoked`; what does not wait is released to the lane |
//! | `hold`, `ease` | `held`, `eased`; what runs is withdrawn where it interrupts, after its grace; the lane is told of what waits where it governs |
//! | `recall` (timer, or from itself) | nothing; what runs in the scope of a hold is withdrawn |
//! | `report`, `tell` (from itself) | nothing; the lane is told the rest |

mod decide;
mod hold;
mod report;
mod state;
mod view;

#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Opening, Refusal, Taking, View};
use bus_schemas::EntityAddress;
use bus_schemas::commands::queue::{Command, Query, Take};
use bus_schemas::events::queue::Event;

pub use state::{Running, State, Waiting};

/// The kind `queue`.
#[derive(Debug)]
pub struct Queue;

impl Entity for Queue {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = Query;

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn view(state: &State, query: Query, context: &Context<'_>) -> Result<View, Refusal> {
        Ok(view::view(state, query, context))
    }
    fn openings(state: &State, entity: &EntityAddress) -> Vec<Opening> {
        view::openings(state, entity)
    }
    fn take(taking: &Taking<'_>) -> Option<Command> {
        let Taking { id, agent, claim } = *taking;
        Some(Command::Take(Take {
            claim: id,
            agent: agent.clone(),
            worker: claim.worker.clone(),
            skills: claim.skills.clone(),
            places: claim.places,
            token: claim.token,
        }))
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
