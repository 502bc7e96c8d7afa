//! `config`: settings that are changed while the system runs. The key is their name.
//!
//! ```text
//! proposed ──(activate)──→ active ──(activate of another, rollback)──→ former ──(rollback)──→ active
//! ```
//!
//! Version 0 is what the program comes with: it holds until another version is activated, and can be
//! activated as every other. Versions count up from 1.
//!
//! Invariants:
//! - Exactly one version holds; the event that activates one says which one ends.
//! - A version holds only after its document was checked in that very decision: by the types and
//!   bounds of the program that decides, which may have changed since it was proposed.
//! - A rollback goes to what held before the active version, one step further each time, and never
//!   back to what was rolled back.
//! - Every watcher is told of the version that holds: when it begins to watch, and at each activation.
//!
//! | command | leads to |
//! | --- | --- |
//! | `propose` | `proposed` with the next number; a document with mistakes is refused: `invalid-config` |
//! | `activate` | `activated`, and `apply-config` for the watchers; of the active version nothing |
//! | `rollback` | `rolled-back`, and `apply-config` for the watchers |
//! | `watch` | `watched` once, and `apply-config` each time |
//! | `unwatch` | `unwatched` once |
//! | `tell` | nothing; `apply-config` for more watchers, as long as the version holds |
//! | `report-applied` | `applied` if it is news |

mod decide;
mod describe;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal, View};
use bus_schemas::commands::config::{Command, Query};
use bus_schemas::events::config::Event;

pub use state::{State, Version, fold};

/// The kind `config`.
#[derive(Debug)]
pub struct Config;

impl Entity for Config {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = Query;

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn view(state: &State, query: Query, context: &Context<'_>) -> Result<View, Refusal> {
        describe::view(state, &query, context)
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
