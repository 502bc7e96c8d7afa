//! `broker`: what is common to a whole lane. The key is the lane.
//!
//! What waits lies in the queues of the lane, one in each partition. As long as nothing bounds the lane as
//! a whole it is *open*: its queues begin attempts by themselves, and it knows neither. With a bound (jobs
//! at once, in a minute or on a day, a window, a hold, a gradual release, a strict order) it *governs*:
//! each queue says what waits and runs, and nothing begins there without leave.
//!
//! States of an attempt while it governs: waiting → running (with leave) → gone. States of an agent: its
//! skills, its capacity, and how many jobs of this lane it runs.
//!
//! Invariants:
//! - It gives no leave before each queue has said what runs there, so that its bounds hold for what began
//!   while it was open too.
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
//! | `join` | `joined` if it is new; the rules |
//! | `report` | `adopted`…, `enqueued`…, `reported` behind the last piece |
//! | `enqueue` | `enqueued` (a later attempt replaces an earlier one), `assigned` and leave |
//! | `release` | `released` if it waits or runs, `assigned` |
//! | `offer-agent` | `agent-offered` if it is new, `assigned`…; leave that the agent cannot use is taken back |
//! | `apply-config` | `configured` if the settings say something new, `assigned`… |
//! | `pause` | `paused` |
//! | `resume` | `resumed`, `assigned`; refused for what is not paused |
//! | `set-cap` | `cap-set` if it is new, `assigned`… |
//! | `set-limits` | `limits-set` if they are new, `assigned`… |
//! | `hold` | `held` if it is new, or takes back sooner; leave is taken back, and what runs is withdrawn where it interrupts, after its grace |
//! | `recall` (timer, or from itself) | nothing; what runs in the scope of a hold is withdrawn |
//! | `vacate` (from itself) | nothing; leave that an agent cannot use is taken back |
//! | `ease` | `eased`, `assigned` |
//! | `probe` | `probes-allowed`, `assigned`… |
//! | `wake` | `assigned`… |
//!
//! Any of them may begin or end the governing: `governing-begun`, `governing-ended`.
//!
//! The rules of a lane stand in the settings `lanes`: a lane that does not know them asks `config/lanes`,
//! and is told of each activation.

mod bounds;
mod decide;
mod explain;
mod offer;
mod pause;
mod policies;
mod recall;
mod state;
#[cfg(test)]
mod tests;
mod valve;

use actors_core::{Context, Decision, Entity, Refusal, View};
use bus_schemas::commands::broker::{Command, Query};
use bus_schemas::events::broker::Event;

pub use state::{Offer, Running, State, Waiting};

/// The kind `broker`.
#[derive(Debug)]
pub struct Broker;

impl Entity for Broker {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = Query;

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn view(state: &State, query: Query, context: &Context<'_>) -> Result<View, Refusal> {
        Ok(explain::view(state, query, context))
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
