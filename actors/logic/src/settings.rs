//! `settings`: settings that change while the system runs. The key is their name.
//!
//! ```text
//! proposed ──(activate)──→ active ──(activate of another, rollback)──→ former ──(rollback)──→ active
//! ```
//!
//! Version 0 is the default of the program: it is active until another version is activated, and can be
//! activated like any other. Versions count up from 1.
//!
//! Invariants:
//! - Exactly one version is active; an activation event names the version that it replaces.
//! - A version is active only after its document was checked in the same decision, by the types and bounds of
//!   the deciding program, which may have changed since it was proposed.
//! - A rollback activates what was active before the active version, one step further each time, and never
//!   what was rolled back.
//! - Every watcher is told of the active version: when it begins to watch, and at each activation.
//!
//! | command | leads to |
//! | --- | --- |
//! | `propose` | `proposed` with the next number; a document with mistakes is refused: `invalid-settings` |
//! | `activate` | `activated`, and `apply-settings` for the watchers; of the active version nothing |
//! | `rollback` | `rolled-back`, and `apply-settings` for the watchers |
//! | `watch` | `watched` once, and `apply-settings` each time |
//! | `unwatch` | `unwatched` once |
//! | `tell` | nothing; `apply-settings` for more watchers, while the version is active |
//! | `report-applied` | `applied` if it is news |

mod decide;
mod describe;
mod state;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal, View};
use bus_schemas::commands::settings::{Command, Query};
use bus_schemas::events::settings::Event;

pub use state::{State, Version, fold};

/// The kind `settings`.
#[derive(Debug)]
pub struct Settings;

impl Entity for Settings {
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
