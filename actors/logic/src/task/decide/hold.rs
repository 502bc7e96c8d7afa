//! `hold` and `ease`: a halt of this task and what is below it, handed on to its queue.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::queue;
use bus_schemas::events::task::Event;
use smol_str::SmolStr;

use super::super::state::State;
use super::Draft;

/// The queue gives nothing to the tree, and takes back what runs of it.
pub(super) fn hold(
    state: &State,
    (cause, reason, grace_ms): (SmolStr, String, u64),
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    let root = draft.key().clone();
    let hold = queue::Command::Hold { cause, root, reason, interrupt: true, grace_ms };
    draft.send(draft.queue_key(), &hold);
    draft.done()
}

/// The cause holds no longer.
pub(super) fn ease(state: &State, cause: SmolStr, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    draft.send(draft.queue_key(), &queue::Command::Ease { cause });
    draft.done()
}
