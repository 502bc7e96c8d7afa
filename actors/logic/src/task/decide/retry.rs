//! `retry`: retries a failed or canceled task, with a fresh count of attempts.

use actors_core::{Context, Decision, EntityAddress, Refusal, Revision};
use bus_schemas::commands::task::Command;
use bus_schemas::events::task::Event;
use bus_schemas::views::task::TaskState;
use bus_schemas::wire::WireCommand;

use super::super::state::State;
use super::{Draft, attempt, budget, children, final_refusal};

/// Retries the task. People retry the root, and the root retries what failed below it.
pub(super) fn retry(
    state: &State,
    end: Option<Revision>,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    match check(state, end, context) {
        Ok(()) => {}
        Err(_) if is_told_by_parent(state, context) => {
            // The parent waits for an end and would not learn of a refusal.
            if state.status.is_final() {
                draft.tell_parent();
            }
            return draft.done();
        }
        Err(refusal) => return Err(refusal),
    }
    draft.emit(Event::Retried { by: context.by(), at: context.now });
    draft.await_deadline();
    // Before anything is queued, so that holds cover it when it arrives.
    budget::reopen(&mut draft);
    if state.plan.is_some() {
        retry_children(&mut draft);
        children::start_ready(&mut draft);
        children::conclude(&mut draft);
    } else {
        draft.queue(state.attempt.saturating_add(1));
    }
    draft.done_with_view()
}

fn is_told_by_parent(state: &State, context: &Context<'_>) -> bool {
    let parent = state.submission.as_ref().and_then(|submission| submission.parent.clone());
    let parent = parent.map(|key| EntityAddress::new(Command::KIND, key).to_string());
    parent.is_some_and(|parent| context.caller.is_some_and(|caller| *caller == parent))
}

fn check(state: &State, end: Option<Revision>, context: &Context<'_>) -> Result<(), Refusal> {
    let key = &context.entity.key;
    let is_child = key.parent().is_some();
    if is_child && !is_told_by_parent(state, context) {
        return Err(Refusal::new("retry-the-root", format!("the task `{key}` is a step of a plan"))
            .hint(format!("retry `{}`: it retries the steps that failed", key.root())));
    }
    if !state.status.is_final() {
        return Err(Refusal::new("task-not-final", format!("the task `{key}` has not ended"))
            .hint("wait for its end, or cancel it"));
    }
    if end.is_some_and(|end| state.end_id != Some(end)) {
        return Err(Refusal::new("retried-already", format!("`{key}` was retried, and has ended once more"))
            .hint("read how it ended now, and retry that end"));
    }
    if !attempt::is_retryable(state.status) {
        return Err(final_refusal(state, context).hint("submit a new task"));
    }
    let deadline = state.submission.as_ref().and_then(|submission| submission.deadline);
    if deadline.is_some_and(|deadline| deadline <= context.now) {
        return Err(Refusal::new("deadline-passed", format!("the deadline of `{key}` has passed"))
            .hint("submit it again with a later deadline"));
    }
    Ok(())
}

/// Reopens the steps that did not complete.
fn retry_children(draft: &mut Draft<'_>) {
    let failed: Vec<_> = draft
        .state
        .children
        .iter()
        .filter(|(_, child)| child.end.is_some_and(|end| end != TaskState::Completed))
        .map(|(step, child)| (step.clone(), child.key.clone()))
        .collect();
    for (step, child) in failed {
        draft.emit(Event::ChildStarted { step, child: child.clone() });
        draft.send(child, &Command::Retry { end: None });
    }
}
