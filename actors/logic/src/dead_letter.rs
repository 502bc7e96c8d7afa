//! `dead-letter`: a command or task that could not be done, with its reason and origin. The key is the entry.
//!
//! ```text
//! waiting ──(redrive)──→ redriving ──(done)──→ redriven
//!   ▲  │                     │  │                 │
//!   │  └──(drop)──→ dropped ◀┘  │          (fails again)
//!   └──────(fails again)────────┴─────────────────┘
//! ```
//!
//! Invariants:
//! - The recorded entry never changes; an edit is kept beside it.
//! - Every entry is in one of the four states: the recorded ones are the waiting, redriven and dropped ones.
//! - A command that fails again keeps its entry.
//! - One payload is redriven at most [`REDRIVES_MAX`] times.
//! - A redrive sends at most one command, under the correlation and the trace of the original.
//! - An edited task is submitted anew at each redrive, under a key of that redrive.
//! - Only the failed task, or the one submitted in its place, reports how it ended.
//!
//! | command | leads to |
//! | --- | --- |
//! | `record` | `recorded`, and a report to the breaker of the dependency that failed; nothing for the same entry; `returned` for a failed task that fails again; an entry of another command gets a key of its own |
//! | `edit` | `edited` |
//! | `redrive` | `redrive-started` and the command; of a failed task `retry` of its root, of an edited one `submit` |
//! | `settle-redrive` | `redriven` or `returned`, and the redrive is told |
//! | `drop` | `dropped` |

mod bury;
mod decide;
mod resubmit;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal, View};
use bus_schemas::commands::dead_letter::{Command, Payloads, Query};
use bus_schemas::events::dead_letter::Event;

pub(crate) use bury::Letters;
pub use decide::{REDRIVES_MAX, TASK_CALLER};
pub use state::{State, Status};

/// The kind `dead-letter`.
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
