//! `withdraw`, `give-back` and `return-issue`: an attempt is taken back without a failure.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::Hash;
use bus_schemas::commands::task::Failure;
use bus_schemas::events::task::{Event, WithdrawnBy};
use bus_schemas::jobs::FailureClass;

use super::super::state::State;
use super::{Draft, IssueRef, attempt, check_current, is_current};

/// How often in a row workers may give a task back before that is a failure. An attempt that a hold keeps
/// waiting in its queue in between does not count.
pub(super) const WITHDRAWALS_MAX: u32 = 20;
/// How many issues in a row may not be begun: a worker may end for its own reasons, and hardly ever so often
/// just when it gets this job.
const UNBEGUN_MAX: u32 = 5;

/// From its lane or the budget: takes the attempt back. It does not count towards `attempts_max`, and the
/// next one waits at once.
pub(super) fn withdraw(
    state: &State,
    attempt: u32,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    if is_current(state, attempt) {
        take_back(&mut draft, reason, WithdrawnBy::Holder);
    }
    draft.done()
}

/// From its worker: gives the attempt back. It does not count towards `attempts_max`; after several in a row,
/// the next one waits for a growing pause.
pub(super) fn give_back(
    state: &State,
    issue: IssueRef<'_>,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    draft.is_told_by_worker = true;
    if !is_current(state, issue.attempt) {
        // A repeat, or an attempt that was taken back before: it is returned already.
        return draft.done();
    }
    check_current(state, issue, context)?;
    if state.withdrawals >= WITHDRAWALS_MAX {
        let message = format!("attempts were given back {WITHDRAWALS_MAX} times in a row: {reason}");
        let hint = "nothing holds it, so nothing will let it go on: see why its agent gives it back";
        let code = "withdrawn-too-often";
        attempt::end_attempt(&mut draft, failure(FailureClass::Transient, code, message, hint));
    } else {
        take_back(&mut draft, reason, WithdrawnBy::Worker);
    }
    draft.done()
}

/// From the partition's owner: no worker began the attempt.
pub(super) fn return_issue(
    state: &State,
    attempt: u32,
    token: Hash,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    if !is_current(state, attempt) || state.token != Some(token) {
        return draft.done();
    }
    if state.unbegun >= UNBEGUN_MAX {
        let message = format!("{} issues in a row were begun by no worker", UNBEGUN_MAX + 1);
        let hint = "the task may crash its worker: read the worker's log";
        let code = "issued-too-often";
        attempt::end_attempt(&mut draft, failure(FailureClass::Poison, code, message, hint));
    } else {
        take_back(&mut draft, "no worker began it".to_owned(), WithdrawnBy::Owner);
    }
    draft.done()
}

fn take_back(draft: &mut Draft<'_>, reason: String, by: WithdrawnBy) {
    let attempt = draft.state.attempt;
    // An effect in progress may have happened: the next attempt finds that out before it does anything else.
    draft.give_up_effects("the attempt was taken back before it was said how it ended");
    draft.leave_phase();
    draft.emit(Event::AttemptWithdrawn { attempt, reason, by });
    match draft.state.withdrawals {
        2.. if by == WithdrawnBy::Worker => attempt::back_off(draft, draft.state.withdrawals - 1),
        _ => draft.queue(attempt.saturating_add(1)),
    }
}

fn failure(class: FailureClass, code: &str, message: String, hint: &str) -> Failure {
    let (code, hint) = (code.to_owned(), Some(hint.to_owned()));
    Failure { class, code, message, hint, dependency: None }
}
