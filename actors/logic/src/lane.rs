//! `lane`: the common rules of a lane. The key is the lane.
//!
//! Waiting attempts are in the queues of the lane, one in each partition. While no limit applies to the lane
//! as a whole it is *open*: its queues begin attempts by themselves, and the lane does not know them. With a
//! limit (concurrent jobs, jobs per minute or day, a window, a hold, a gradual release, a strict order) it
//! *governs*: each queue reports its waiting and running attempts, and none begins without the lane's leave.
//!
//! States of an attempt while the lane governs: waiting → running (with leave) → gone. State of an agent: its
//! skills, its capacity, and how many jobs of this lane it runs.
//!
//! Invariants:
//! - The lane gives no leave before each queue has reported its running attempts, so that its limits also
//!   count what began while it was open.
//! - No agent gets more jobs than it offers, and the lane no more than its cap. When a limit shrinks, running
//!   attempts go on, and count until they are released.
//! - A task waits once or runs once, never both.
//! - After each decision no attempt waits that could be assigned.
//! - The order is: the highest priority; the owner with the fewest running jobs, and of those the one served
//!   longest ago; the longest wait; the key. Of the agents, the one with the most free capacity, then the
//!   name.
//!
//! | command | leads to |
//! | --- | --- |
//! | `join` | `joined` if it is new; the rules |
//! | `report` | `adopted`…, `enqueued`…, `reported` behind the last piece |
//! | `enqueue` | `enqueued` (a later attempt replaces an earlier one), `assigned` and leave |
//! | `release` | `released` if it waits or runs, `assigned` |
//! | `offer-agent` | `agent-offered` if it is new, `assigned`…; leave that the agent cannot use is taken back |
//! | `apply-settings` | `configured` if the settings say something new, `assigned`… |
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
//! The rules of a lane are in the settings `lanes`: a lane that does not know them watches `settings/lanes`,
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
mod throttle;

use actors_core::{Context, Decision, Entity, Refusal, View};
use bus_schemas::commands::lane::{Command, Query};
use bus_schemas::events::lane::Event;

pub use state::{Offer, Running, State, Waiting};

/// The kind `lane`.
#[derive(Debug)]
pub struct Lane;

impl Entity for Lane {
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
