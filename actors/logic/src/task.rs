//! `task`: one goal, from its submission to its end. The key is `<root>` or `<root>.<step>…`.
//!
//! A task without plan is a *leaf*: attempt by attempt, an agent works on it. A task with a plan
//! is done by its children, one for each step.
//!
//! ```text
//! leaf:   queued → running → completed
//!           ▲        ├──→ input required ──(answer)──→ queued
//!           └ backoff ┴──→ failed                    (any) ──→ canceled
//! plan:   children ──(all settled)──→ completed | failed | canceled
//! ```
//!
//! Invariants:
//! - At most one attempt is current, and only who shows its token is heard; attempts are never reused.
//! - A final state is told to the parent and to the queue in the decision that reaches it.
//! - A task with a plan ends after all its started children.
//! - A failure while a side effect is under way is ambiguous. Before anything else is done for the task, its
//!   agent says what became of the effect, or else a person is asked.
//! - A tree uses no more than its budget allows, but for what calls use beyond what they reserved.
//! - A step that is optional satisfies the steps after it however it ends.
//! - A step of the work is recorded once; its record stands for all later attempts.
//! - An answer counts for the question that it names, and for no other one.
//!
//! | command | leads to |
//! | --- | --- |
//! | `submit` | `submitted`, then `queued`, or `planned` and `child-started`…; from a parent also `rejected` |
//! | `assign` | `job-issued` and the job with its lease; otherwise the queue's slot is released |
//! | `withdraw`, `give-back` | `attempt-withdrawn`, then `queued`, or `backoff-started` where workers give it back in a row |
//! | `return-issue` | `attempt-withdrawn`, then `queued`; the sixth time in a row `failed` as poison |
//! | `record-step` | `step-recorded`… |
//! | `expire-lease`, `expire-progress`, `fail-job` | `attempt-failed`, then `backoff-started`, `queued`, `input-required` or `failed` |
//! | `end-backoff` | `queued` |
//! | `record-effect` | `effect-recorded` |
//! | `complete-job` | `completed`, or `planned` and `child-started`… |
//! | `require-input`, `provide-input` | `input-required`; `input-provided`, `queued` |
//! | `settle-child` | `child-settled`, `child-started`…, and the end when all are settled |
//! | `cancel` | `cancel-requested`, `canceled` (after the children) |
//! | `expire-deadline` | `failed` (with a plan: `attempt-failed`, and `failed` after the children) |
//! | `retry` | `retried`, then `queued` or `child-started`… |
//! | `reserve`, `settle`, `count-job`, `expire-reservations`, `expire-wall-clock` (to the root) | `reserved`, `settled`, `job-counted`, or `budget-exceeded`: the lane holds the tree |
//! | `extend-budget`, and the answer to a budget's question | `budget-extended`; without more, the end |
//! | `sweep` | nothing new: whoever it waits for is told again |
//!
//! | query | answered with |
//! | --- | --- |
//! | `describe`, `explain` | the task; what it waits for |
//! | `wait` | the task once it has ended |
//! | `renew` | a lease, to whoever shows the token; refused to everybody else |

mod account;
mod check;
mod decide;
mod draft;
mod state;
mod view;

#[cfg(test)]
mod tests;

use actors_core::{Context, Decision, Entity, Refusal, View};
use bus_schemas::commands::task::{Command, Query};
use bus_schemas::events::task::Event;
use bus_schemas::halts::Halts;
use bus_schemas::{EntityAddress, Timestamp};

pub use account::{Account, Held};
pub use state::{Child, Effect, Phase, State};
pub use view::view;

pub(crate) use check::submission as check_submission;
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
    const RESTS_UNDER_HALT: bool = true;

    fn admit(
        state: &State,
        command: &Command,
        halts: &Halts,
        context: (&EntityAddress, Timestamp),
    ) -> Result<(), Refusal> {
        decide::admit(state, command, halts, context)
    }

    fn admit_query(
        state: &State,
        query: &Query,
        halts: &Halts,
        context: (&EntityAddress, Timestamp),
    ) -> Result<(), Refusal> {
        decide::admit_query(state, query, halts, context)
    }

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
