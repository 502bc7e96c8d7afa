//! `task`: one goal, from its submission to its end. The key is `<root>` or `<root>.<step>…`.
//!
//! A task without a plan is a *leaf*: agents work on it, attempt by attempt. A task with a plan is done by
//! its child tasks, one per step.
//!
//! ```text
//! leaf:   queued → running → completed
//!           ▲        ├──→ input required ──(answer)──→ queued
//!           └ backoff ┴──→ failed                    (any) ──→ canceled
//! plan:   children ──(all settled)──→ completed | failed | canceled
//! ```
//!
//! Invariants:
//! - At most one attempt is current, and only commands with its token are accepted; attempt numbers are never
//!   reused.
//! - The parent and the queue are told of a final state in the decision that reaches it.
//! - A task with a plan ends after all its started children.
//! - A failure while a side effect is in progress is ambiguous. Before the task continues, its agent reports
//!   the outcome of the effect, or else a person is asked.
//! - A tree uses no more than its budget allows, except for what calls use beyond their reservations.
//! - An optional step satisfies the steps after it however it ends.
//! - A step of the work is recorded once; its record holds for all later attempts.
//! - An answer counts only for the question that it names.
//!
//! | command | leads to |
//! | --- | --- |
//! | `submit` | `submitted`, then `queued`, or `planned` and `child-started`…; from a parent also `rejected` |
//! | `fork` (of a gateway, or of the forked parent) | `submitted`, `forked`, `step-recorded` and `effect-recorded` of attempt 0, then `queued`, or `planned`, `child-started`… and `child-settled`… |
//! | `assign` | `job-issued` and the job with its lease; otherwise the queue's slot is released |
//! | `withdraw`, `give-back` | `attempt-withdrawn`, then `queued`, or `backoff-started` where workers give it back in a row |
//! | `return-issue` | `attempt-withdrawn`, then `queued`; the sixth time in a row `failed` as poison |
//! | `record-step` | `step-recorded`… |
//! | `expire-lease`, `expire-progress`, `fail-job` | `attempt-failed`, then `backoff-started`, `queued`, `input-required` or `failed` |
//! | `end-backoff` | `queued` |
//! | `record-effect` | `effect-recorded` |
//! | `complete-job` | `completed`, or `planned` and `child-started`… |
//! | `require-input`, `answer` | `input-required`; `answered`, `queued` |
//! | `settle-child` | `child-settled`, `child-started`…, and the end when all are settled |
//! | `cancel` | `cancel-requested`, `canceled` (after the children) |
//! | `expire-deadline` | `failed` (with a plan: `attempt-failed`, and `failed` after the children) |
//! | `retry` | `retried`, then `queued` or `child-started`… |
//! | `reserve`, `settle`, `count-job`, `expire-reservations`, `expire-wall-clock` (to the root) | `reserved`, `settled`, `job-counted`, or `budget-exceeded`: the lane holds the tree |
//! | `extend-budget`, and the answer to a budget's question | `budget-extended`; without more, the end |
//! | `sweep` | nothing new: whatever the task waits for is told again |
//!
//! | query | answered with |
//! | --- | --- |
//! | `describe`, `explain` | the task; what it waits for |
//! | `wait` | the task once it has ended |
//! | `renew` | a lease, to the worker with the token; refused to all others |

mod account;
mod check;
mod decide;
mod draft;
mod gate;
pub mod recorded;
mod state;
mod view;

#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal, View};
use bus_schemas::commands::task::{Command, Query};
use bus_schemas::events::task::Event;

pub use account::{Account, Held};
pub use gate::admit;
pub use state::{Child, Effect, Phase, State};
pub use view::view;

pub(crate) use check::{owned, submission as check_submission};
pub(crate) use draft::within_bounds;

/// The kind `task`.
#[derive(Debug)]
pub struct Task;

impl Entity for Task {
    type State = State;
    type Command = Command;
    type Event = Event;
    type Query = Query;
    const KEEPS_ORIGIN: bool = true;

    fn view(state: &State, query: Query, context: &Context<'_>) -> Result<View, Refusal> {
        decide::answer(state, query, context)
    }

    fn decide(state: &State, command: Command, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
        decide::decide(state, command, context)
    }
    fn fold(state: &mut State, event: &Event) {
        state::fold(state, event);
    }
}
