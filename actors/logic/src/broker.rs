//! `broker`: which waiting attempt goes to which agent. The key is the lane.
//!
//! States of an attempt: waiting → running → gone. States of an agent: its skills, its capacity,
//! and how many jobs of this lane it runs.
//!
//! Invariants:
//! - No agent is given more than it offers, and the lane no more than its cap. What runs when a
//!   bound shrinks keeps running, and counts until it is released.
//! - A task waits once or runs once, never both.
//! - After each decision nothing waits that could be assigned.
//! - First the highest priority; then the owner with the fewest running jobs, and of those the
//!   one served longest ago; then who waits longest; then the key. Of the agents the one with the
//!   most free capacity, then the name.
//!
//! | command | leads to |
//! | --- | --- |
//! | `enqueue` | `enqueued` (a later attempt replaces an earlier one), `assigned` |
//! | `release` | `released` if it waits or runs, `assigned` |
//! | `offer-agent` | `agent-offered` if it is new, `assigned`… |
//! | `apply-config` | `configured` if the settings say something new, `assigned`… |
//! | `pause` | `paused` |
//! | `resume` | `resumed`, `assigned`; refused for what is not paused |
//! | `set-cap` | `cap-set` if it is new, `assigned`… |
//! | `set-limits` | `limits-set` if they are new, `assigned`… |
//! | `hold` | `held` if it is new; what runs is withdrawn where it interrupts, after its grace |
//! | `recall` (timer) | nothing; what runs in the scope of a hold is withdrawn |
//! | `ease` | `eased`, `assigned` |
//! | `probe` | `probes-allowed`, `assigned`… |
//! | `wake` | `assigned`… |
//! | `describe`, `explain` | nothing; the reply is the lane, or what a task waits for |
//!
//! The rules of a lane stand in the settings `lanes`: a lane that does not know them asks `config/lanes`,
//! and is told of each activation.

mod bounds;
mod decide;
mod explain;
mod pause;
mod policies;
mod queue;
mod recall;
mod state;
#[cfg(test)]
mod tests;
mod valve;

use actors_core::{Context, Decision, Entity, Refusal};
use bus_schemas::commands::broker::Command;
use bus_schemas::events::broker::Event;

pub use state::{Offer, Running, State, Waiting};

/// The kind `broker`.
#[derive(Debug)]
pub struct Broker;

impl Entity for Broker {
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
