//! `hold` and `ease`: a halt of this task and everything below it, passed on to its queue.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::queue;
use bus_schemas::events::task::Event;
use smol_str::SmolStr;

use super::super::state::State;
use super::Draft;

/// A hold, as commanded.
pub(super) struct Hold {
    pub(super) cause: SmolStr,
    pub(super) reason: String,
    pub(super) grace_ms: u64,
}

/// Makes the queue hold the tree, and take back its running attempts.
pub(super) fn hold(state: &State, hold: Hold, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let Hold { cause, reason, grace_ms } = hold;
    let mut draft = Draft::of(state, context);
    let root = draft.key().clone();
    let hold = queue::Command::Hold { cause, root, reason, interrupt: true, grace_ms };
    draft.send(draft.queue_key(), &hold);
    draft.done()
}

/// Ends a hold.
pub(super) fn ease(state: &State, cause: SmolStr, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    draft.send(draft.queue_key(), &queue::Command::Ease { cause });
    draft.done()
}
