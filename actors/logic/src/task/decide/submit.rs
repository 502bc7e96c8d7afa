//! `submit`: starts a task.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::task::{Failure, Submit};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::FailureClass;

use super::super::check;
use super::super::state::State;
use super::{Draft, budget, children};

/// Starts the task. The same submission again gets the same reply.
pub(super) fn submit(
    state: &State,
    submission: Submit,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let key = &context.entity.key;
    let submission = check::owned(submission, context)?;
    if let Some(first) = &state.submission {
        if *first == submission {
            return Draft::of(state, context).done_with_view();
        }
        return Err(Refusal::new("task-exists", format!("the task `{key}` was submitted with other words"))
            .hint("read it, or submit under another key"));
    }
    check::parent(&submission, key)?;
    let mut draft = Draft::of(state, context);
    let at = context.now;
    if let Err(refusal) = check::submission(&submission, key, at) {
        if submission.parent.is_none() {
            return Err(refusal);
        }
        return reject(draft, submission, refusal);
    }
    let plan = submission.plan.clone();
    draft.emit(Event::Submitted { submission, at });
    draft.await_deadline();
    budget::await_wall_clock(&mut draft);
    match plan {
        None => draft.queue(1),
        Some(plan) => children::begin(&mut draft, plan),
    }
    draft.done_with_view()
}

/// Ends a child that cannot be done as asked: its parent waits for an end and would not learn of a refusal.
pub(super) fn reject(
    mut draft: Draft<'_>,
    submission: Submit,
    refusal: Refusal,
) -> Result<Decision<Event>, Refusal> {
    let Refusal { code, message, hint, .. } = refusal;
    let class = FailureClass::Permanent;
    let failure = Failure { class, code: code.to_string(), message, hint, dependency: None };
    let at = draft.now();
    draft.emit(Event::Submitted { submission, at });
    draft.emit(Event::Rejected { failure });
    draft.tell_parent();
    draft.done_with_view()
}
