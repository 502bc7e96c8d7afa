//! `campaign`: many dead letters redriven at a rate. The key is the campaign.
//!
//! ```text
//! gathering ──(last entries)──→ running ──(all settled)──→ completed
//!     │ ▲                         │ ▲
//!  (pause) (resume)            (pause) (resume)            (any) ──(cancel)──→ canceled
//! ```
//!
//! Entries are sent while more are gathered. What is sent is due by a timer of the log, so a campaign
//! goes on wherever its host goes.
//!
//! Invariants:
//! - An entry is added once and sent once.
//! - At most `rate` entries a second are sent; time that was missed is not made up for.
//! - Every entry waits, is under way or is settled, and the counts say so.
//!
//! | command | leads to |
//! | --- | --- |
//! | `start` | `started`; the same again nothing; another one is refused: `campaign-exists` |
//! | `add-entries` | `entries-added` with those that are new; `completed` when there were none |
//! | `send-next` | `entries-sent`, and `redrive` for each; the next timer |
//! | `settle-entry` | `entry-settled`; `completed` with the last one |
//! | `pause`, `resume` | `paused`, `resumed` |
//! | `cancel` | `canceled`; what is under way is still counted |

mod decide;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal};
use bus_schemas::commands::campaign::Command;
use bus_schemas::events::campaign::Event;
use bus_schemas::wire::NoQuery;

pub use decide::{ENTRIES_MAX, RATE_MAX};
pub use state::{State, Status};

/// The kind `campaign`.
#[derive(Debug)]
pub struct Campaign;

impl Entity for Campaign {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = NoQuery;
    const RESTS_UNDER_HALT: bool = true;

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
