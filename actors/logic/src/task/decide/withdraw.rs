//! `withdraw`: an attempt is taken back through no fault of its own.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::task::Failure;
use bus_schemas::events::task::Event;
use bus_schemas::jobs::FailureClass;

use super::super::state::{Phase, State};
use super::{Draft, attempt};

/// Workers may give one task back so often in a row before that is a failure: whoever holds a task in
/// earnest has it wait in its lane, and then it is no row.
pub(super) const WITHDRAWALS_MAX: u32 = 20;

/// The attempt is taken back, and none of `attempts_max` is used up. The next one waits at once where
/// the lane or the budget's keeper took it back, since they hold what they take; where a worker gave
/// it back again and again, the next one waits for a pause that grows.
pub(super) fn withdraw(
    state: &State,
    attempt: u32,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    if state.attempt != attempt || !matches!(state.phase, Phase::Issued | Phase::Running) {
        return draft.done();
    }
    let failure = |class, code: &str, message: String, hint: Option<String>| {
        let code = code.to_owned();
        Failure { class, code, message, hint, dependency: None }
    };
    if state.open_effects().next().is_some() {
        // What was begun may have happened: that is for the ledger to say, whoever stopped it.
        attempt::end_attempt(&mut draft, failure(FailureClass::Ambiguous, "withdrawn", reason, None));
        return draft.done();
    }
    // Mail has no caller: it is of the lane, or of the keeper of the budget. A worker says its name.
    let held = context.caller.is_none();
    if !held && state.withdrawals >= WITHDRAWALS_MAX {
        let message = format!("attempts were given back {WITHDRAWALS_MAX} times in a row: {reason}");
        let hint =
            Some("nothing holds it, so nothing will let it go on: see why its agent gives it back".into());
        let failure = failure(FailureClass::Transient, "withdrawn-too-often", message, hint);
        attempt::end_attempt(&mut draft, failure);
        return draft.done();
    }
    draft.leave_phase();
    draft.emit(Event::AttemptWithdrawn { attempt, reason, held });
    match draft.state.withdrawals {
        0 | 1 => draft.queue(attempt.saturating_add(1)),
        count => attempt::back_off(&mut draft, count - 1),
    }
    draft.done()
}
