//! `cancel` and `expire-deadline`: stop a task and everything below it.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::task::Failure;
use bus_schemas::events::task::Event;
use bus_schemas::views::task::TaskState;

use super::super::state::State;
use super::{Draft, attempt, children, final_refusal};

/// Cancels the task.
pub(super) fn cancel(
    state: &State,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    if state.status == TaskState::Canceled || (state.cancel.is_some() && !state.status.is_final()) {
        return draft.done_with_view();
    }
    if state.status.is_final() {
        return Err(final_refusal(state, context).hint("there is nothing left to cancel"));
    }
    let was_stopping = state.is_stopping();
    draft.emit(Event::CancelRequested { reason: reason.clone(), by: context.by() });
    if state.plan.is_some() {
        if !was_stopping {
            children::stop_children(&mut draft, &reason);
        }
        children::conclude(&mut draft);
    } else {
        draft.give_up_effects("canceled while it was under way");
        draft.end(Event::Canceled { reason, at: context.now });
    }
    draft.done_with_view()
}

/// Timer: the deadline has passed.
pub(super) fn expire_deadline(state: &State, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    let Some(deadline) = draft.submission().deadline else { return draft.done() };
    if state.status.is_final() || state.is_stopping() {
        return draft.done();
    }
    if context.now < deadline {
        // The command was sent early: the timer stays.
        draft.await_deadline();
        return draft.done();
    }
    give_up(&mut draft, attempt::deadline_failure(), "the deadline has come");
    draft.done()
}

/// Fails the task and everything below it.
pub(super) fn give_up(draft: &mut Draft<'_>, failure: Failure, reason: &str) {
    if draft.state.plan.is_some() {
        draft.emit(Event::AttemptFailed { attempt: draft.state.attempt, failure });
        children::stop_children(draft, reason);
        children::conclude(draft);
    } else {
        draft.give_up_effects(&format!("{reason} while it was under way"));
        attempt::fail_for_good(draft, failure);
    }
}
