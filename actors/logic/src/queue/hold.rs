//! Holds of a task tree, by a halt or a used up budget. The whole tree is in this partition, so its lane need
//! not know.

use actors_core::{Context, Decision, Key};
use bus_schemas::commands::queue::Command;
use bus_schemas::commands::{lane, task};
use bus_schemas::events::queue::Event;
use smol_str::{SmolStr, format_smolstr};

use super::report;
use super::state::{State, fold};

/// Time after the grace, in milliseconds, for a worker to report how its work ended: it learns of a halt some
/// milliseconds after the queue, and ends its work when the grace is over by its own clock.
const WORD_MS: u64 = 2_000;
/// The most attempts in one decision: the record stays small, and the rest follows.
const ATTEMPTS_PER_DECISION_MAX: usize = 256;

/// Holds the work of a tree. Running attempts go on during the grace time, and are taken back when it is
/// over.
pub(super) fn hold(
    state: &State,
    held: Event,
    grace: Option<u64>,
    lane: &Key,
    context: &Context<'_>,
) -> Decision<Event> {
    let Event::Held { cause, root, reason, at } = &held else { return Decision::none() };
    let known = state.holds().get(cause);
    if known.is_some_and(|known| known.root != *root) {
        return move_hold(state, held, grace, lane, context);
    }
    let decision = match grace {
        Some(0) => withdraw(state, cause, root, reason, None, context),
        Some(grace) if state.running_in(root, None).next().is_some() => {
            let until = at.plus_ms(grace.saturating_add(WORD_MS));
            let recall = Command::Recall { cause: cause.clone(), after: None };
            Decision::none().set_timer(&timer(cause), until, &recall)
        }
        _ => Decision::none(),
    };
    if known.is_some_and(|hold| hold.reason == *reason) {
        return decision;
    }
    // Attempts in the tree lose their leave. Leave in transit is returned on arrival: a message about it
    // could cross it and reach the lane after the attempt has begun.
    let granted = state.waiting_in(root, None).filter(|(task, _)| state.granted(task).is_some());
    let granted: Vec<(Key, u32)> = granted.map(|(task, entry)| (task.clone(), entry.attempt)).collect();
    let outcome = lane::Outcome::default();
    granted.into_iter().fold(decision.and(held), |decision, (task, attempt)| {
        decision.send(lane.clone(), &lane::Command::Release { task, attempt, outcome })
    })
}

/// Ends the hold of the cause's former tree.
fn move_hold(
    state: &State,
    held: Event,
    grace: Option<u64>,
    lane: &Key,
    context: &Context<'_>,
) -> Decision<Event> {
    let Event::Held { cause, .. } = &held else { return Decision::none() };
    let mut decision = ease(state, cause.clone(), lane, context);
    let mut after = state.clone();
    decision.events.iter().for_each(|event| fold(&mut after, event));
    let then = hold(&after, held, grace, lane, context);
    decision.events.extend(then.events);
    decision.sends.extend(then.sends);
    decision.timers.extend(then.timers);
    decision
}

/// Ends a hold: attempts without another hold wait for leave again.
pub(super) fn ease(state: &State, cause: SmolStr, lane: &Key, context: &Context<'_>) -> Decision<Event> {
    let Some(hold) = state.holds().get(&cause) else { return Decision::none() };
    let decision = Decision::none().cancel_timer(&timer(&cause));
    let eased = Event::Eased { cause };
    let mut after = state.clone();
    fold(&mut after, &eased);
    tell(decision.and(eased), &after, &hold.root, None, lane, context)
}

/// Timer: the grace time is over. No effect if the hold has ended.
pub(super) fn recall(
    state: &State,
    cause: &SmolStr,
    after: Option<&Key>,
    context: &Context<'_>,
) -> Decision<Event> {
    match state.holds().get(cause) {
        Some(hold) => withdraw(state, cause, &hold.root, &hold.reason, after, context),
        None => Decision::none(),
    }
}

/// Tells the lane, if it governs, which attempts of a tree wait for leave.
pub(super) fn tell(
    mut decision: Decision<Event>,
    state: &State,
    root: &Key,
    after: Option<&Key>,
    lane: &Key,
    context: &Context<'_>,
) -> Decision<Event> {
    if !state.is_governed() {
        return decision;
    }
    let mut waiting = state.waiting_in(root, after).filter(|(task, _)| state.hold_of(task).is_none());
    let mut last = None;
    for (task, entry) in waiting.by_ref().take(ATTEMPTS_PER_DECISION_MAX) {
        decision = decision.send(lane.clone(), &lane::Command::Enqueue(report::entry(task, entry)));
        last = Some(task.clone());
    }
    match last.filter(|_| waiting.next().is_some()) {
        Some(after) => {
            decision.send(context.entity.key.clone(), &Command::Tell { root: root.clone(), after })
        }
        None => decision,
    }
}

/// Takes back the running attempts of a tree.
fn withdraw(
    state: &State,
    cause: &SmolStr,
    root: &Key,
    reason: &str,
    after: Option<&Key>,
    context: &Context<'_>,
) -> Decision<Event> {
    let mut runs = state.running_in(root, after);
    let (mut decision, mut last) = (Decision::none(), None);
    for (task, job) in runs.by_ref().take(ATTEMPTS_PER_DECISION_MAX) {
        let reason = format!("{cause}: {reason}");
        decision = decision.send(task.clone(), &task::Command::Withdraw { attempt: job.attempt, reason });
        last = Some(task.clone());
    }
    match last.filter(|_| runs.next().is_some()) {
        Some(after) => {
            let recall = Command::Recall { cause: cause.clone(), after: Some(after) };
            decision.send(context.entity.key.clone(), &recall)
        }
        None => decision,
    }
}

fn timer(cause: &SmolStr) -> SmolStr {
    format_smolstr!("recall-{cause}")
}
