//! `breaker`: whether a dependency may be called. The key is the dependency.
//!
//! ```text
//!             (too many calls fail or are slow; trip)
//!    closed ─────────────────────────────────────────→ open ⟲ (trip)
//!      ▲  ▲                                            │ ▲ │
//!      │  └────────────────(reset)─────────────────────┘ │ │ (the open time is over)
//!      │                                  (a probe fails, │ │
//!      │ (enough probes succeed; reset)          or trip) │ ▼
//!      └───────────────────────────────────────────────half-open
//! ```
//!
//! | from | to | by |
//! | --- | --- | --- |
//! | closed | open | the failure rate, the slow rate, failures in a row, `trip` |
//! | open | half-open | the timer `end-open`; never when it was tripped |
//! | open | open | `trip`, which holds until `reset`; another reason replaces the first |
//! | half-open | open | a probe that failed or was slow, `trip` |
//! | half-open | closed | `successes` probes in a row, `reset` |
//! | open | closed | `reset` |
//!
//! Invariants (`breaker_legal`):
//! - There are no other transitions.
//! - A tripped breaker stays open until it is reset.
//! - While half-open at most `probes` permits are out, and each comes back: by a report, by its
//!   timer, or because the state changes.
//! - A breaker that opened by itself has the timer `end-open`.
//! - The window holds the calls of the last `window_ms`, rounded up to a bucket; no older call opens it.
//!
//! | command | leads to |
//! | --- | --- |
//! | `report` | `reported`, and `opened` or `closed` where it decides; nothing while open |
//! | `watch` | `watched` once; the lane is told to hold at once when open |
//! | `request-probe` | `probe-granted` while half-open and a permit is free; the reply says so |
//! | `trip`, `reset` | `opened`, `closed` |
//! | `untrip` | `closed` if it is still open for that reason |
//! | `configure` | `configured` if it is new |
//! | `apply-settings` | `configured` if the settings say something else |
//! | `end-open` | `half-opened`; lanes may try with a few jobs |
//! | `expire-probe` | `probe-expired` |
//! | `renew-probes` | lanes may try with a few more jobs; `letters-tried` where dead letters wait |
//! | `note-letter` | `letter-noted`, of the first ones |
//!
//! Each transition is sent to the watching lanes and noted in `healer/log`. When the breaker closes, a
//! redrive sends the dead letters that the dependency has caused since it began to fail.

mod decide;
mod letters;
mod policy;
mod state;
mod tell;
#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal, View};
use bus_schemas::commands::breaker::{Command, Query};
use bus_schemas::events::breaker::Event;

pub use state::{Counts, State};

/// The kind `breaker`.
#[derive(Debug)]
pub struct Breaker;

impl Entity for Breaker {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = Query;

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn view(state: &State, query: Query, context: &Context<'_>) -> Result<View, Refusal> {
        let Query::Describe = query;
        decide::check_dependency(context)?;
        Ok(View::of(&decide::describe(state, context)))
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
