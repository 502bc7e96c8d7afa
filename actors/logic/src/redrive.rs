//! `redrive`: redrives many dead letters at a rate. The key is the redrive.
//!
//! ```text
//! gathering ──(last entries)──→ running ──(all settled)──→ completed
//!     │ ▲                         │ ▲
//!  (pause) (resume)            (pause) (resume)            (any) ──(cancel)──→ canceled
//! ```
//!
//! Entries are sent while more are gathered. A logged timer sends the next ones, so a redrive goes on
//! wherever its partition moves.
//!
//! Invariants:
//! - An entry is added once and sent once.
//! - At most `rate` entries per second are sent; missed time is not made up for.
//! - Every entry waits, is in progress or is settled, and is counted so.
//!
//! | command | leads to |
//! | --- | --- |
//! | `start` | `started`; the same again nothing; another one is refused: `redrive-exists` |
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
use bus_schemas::commands::redrive::Command;
use bus_schemas::events::redrive::Event;
use bus_schemas::wire::NoQuery;

pub use decide::{ENTRIES_MAX, RATE_MAX};
pub use state::{State, Status};

/// The kind `redrive`.
#[derive(Debug)]
pub struct Redrive;

impl Entity for Redrive {
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
