//! `deadletter`: what could not be done, why, and where it came from. The key is the entry.
//!
//! ```text
//! waiting ──(redrive)──→ redriving ──(done)──→ redriven
//!   ▲  │                     │  │                 │
//!   │  └──(drop)──→ dropped ◀┘  │          (fails again)
//!   └──────(fails again)────────┴─────────────────┘
//! ```
//!
//! Invariants:
//! - The entry as it was recorded never changes; an edit stands beside it.
//! - Every entry is in one of the four states: what came in is what waits, is redriven or is dropped.
//! - What fails again is the same entry, never another one.
//! - One payload is redriven at most [`REDRIVES_MAX`] times.
//! - A redrive sends at most one command, under the correlation and the trace of the original.
//! - A task that was edited is submitted anew at each redrive, under a key that only this redrive has.
//! - Only the task that failed, or the one that was submitted in its place, says how it ended.
//!
//! | command | leads to |
//! | --- | --- |
//! | `record` | `recorded`, and the breaker of what it failed by hears of it; the same again nothing; a failed task that fails again `returned`; another entry goes to a key of its own |
//! | `edit` | `edited` |
//! | `redrive` | `redrive-started` and the command; of a failed task `retry` of its root, of an edited one `submit` |
//! | `settle-redrive` | `redriven` or `returned`, and the campaign is told |
//! | `drop` | `dropped` |

mod decide;
mod resubmit;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal, View};
use bus_schemas::commands::deadletter::{Command, Payloads, Query};
use bus_schemas::events::deadletter::Event;

pub use decide::{REDRIVES_MAX, TASK_CALLER};
pub use state::{State, Status};

/// The kind `deadletter`.
#[derive(Debug)]
pub struct DeadLetter;

impl Entity for DeadLetter {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = Query;

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn view(state: &State, query: Query, context: &Context<'_>) -> Result<View, Refusal> {
        let Query::Describe = query;
        let entry = state.entry.as_ref().ok_or_else(|| decide::not_found(context))?;
        let (recorded, edited) = (entry.payload.clone(), state.payload.clone());
        Ok(View::of(&Payloads { recorded, edited }))
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
