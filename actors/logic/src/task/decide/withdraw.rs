//! `withdraw`, `give-back` and `return-issue`: an attempt is taken back through no fault of its own.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::task::Failure;
use bus_schemas::events::task::{Event, WithdrawnBy};
use bus_schemas::jobs::FailureClass;

use super::super::state::State;
use super::{Draft, attempt, check_current, is_current, is_shown};

/// Workers may give one task back so often in a row before that is a failure: whoever holds a task in
/// earnest has it wait in its queue, and then it is no row.
pub(super) const WITHDRAWALS_MAX: u32 = 20;
/// Issues in a row that nobody begins: a worker may end for reasons of its own, and hardly ever so often
/// as it is told of one job.
const UNBEGUN_MAX: u32 = 5;

/// From whoever holds it: none of `attempts_max` is used up, and the next attempt waits at once.
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

/// From its worker: none of `attempts_max` is used up. Given back again and again, the next one waits for
/// a pause that grows.
pub(super) fn give_back(
    state: &State,
    (attempt, token): (u32, &str),
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    draft.is_told_by_worker = true;
    if !is_current(state, attempt) {
        // Said twice, or of one that was taken back before: it is given back.
        return draft.done();
    }
    check_current(state, attempt, token, context)?;
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

/// From the owner: nobody began it.
pub(super) fn return_issue(
    state: &State,
    (attempt, token): (u32, &str),
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    if !is_current(state, attempt) || !is_shown(state, token) {
        return draft.done();
    }
    if state.unbegun >= UNBEGUN_MAX {
        let message = format!("{} issues in a row were begun by no worker", UNBEGUN_MAX + 1);
        let hint = "it may end the process of whoever is told of it: see the last words of its workers";
        let code = "issued-too-often";
        attempt::end_attempt(&mut draft, failure(FailureClass::Poison, code, message, hint));
    } else {
        take_back(&mut draft, "no worker began it".to_owned(), WithdrawnBy::Owner);
    }
    draft.done()
}

fn take_back(draft: &mut Draft<'_>, reason: String, by: WithdrawnBy) {
    let attempt = draft.state.attempt;
    // What was begun may have happened: the next attempt finds out before it does anything else.
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
