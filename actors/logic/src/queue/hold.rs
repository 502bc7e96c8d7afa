//! Holds of a task tree: a halt, or a budget that is used up. The whole tree lies in this partition, and
//! so its lane need not know.

use actors_core::{Decision, Key};
use bus_schemas::commands::queue::Command;
use bus_schemas::commands::{broker, task};
use bus_schemas::events::queue::Event;
use smol_str::{SmolStr, format_smolstr};

use super::report;
use super::state::{State, fold};

/// After the grace, so that a worker can say first how its work ended: it hears of a halt some milliseconds
/// later than the queue, and ends its work when the grace is over by its own clock.
const WORD_MS: u64 = 2_000;

/// What is in the tree waits. What runs there goes on where there is no grace, and is taken back when
/// it is over.
pub(super) fn hold(state: &State, held: Event, grace: Option<u64>, lane: &Key) -> Decision<Event> {
    let Event::Held { cause, root, reason, at } = &held else { return Decision::none() };
    if state.holds().get(cause).is_some_and(|known| known.root != *root) {
        return move_hold(state, held, grace, lane);
    }
    let runs = state.all_running().any(|(task, _)| task.is_within(root));
    let mut decision = match grace {
        Some(0) => withdraw(state, root, cause, reason),
        Some(grace) if runs => {
            let until = at.plus_ms(grace.saturating_add(WORD_MS));
            Decision::none().set_timer(&timer(cause), until, &Command::Recall { cause: cause.clone() })
        }
        _ => Decision::none(),
    };
    let known = state.holds().get(cause);
    if known.is_some_and(|hold| hold.root == *root && hold.reason == *reason) {
        return decision;
    }
    // The lane gives no leave to what is held.
    let waiting = state
        .all_waiting()
        .filter(|(task, _)| state.is_governed() && task.is_within(root) && state.hold_of(task).is_none());
    for (task, entry) in waiting {
        let (task, attempt, outcome) = (task.clone(), entry.attempt, broker::Outcome::default());
        decision = decision.send(lane.clone(), &broker::Command::Release { task, attempt, outcome });
    }
    decision.and(held)
}

/// A cause that held another tree lets go of that one.
fn move_hold(state: &State, held: Event, grace: Option<u64>, lane: &Key) -> Decision<Event> {
    let Event::Held { cause, .. } = &held else { return Decision::none() };
    let mut decision = ease(state, cause.clone(), lane);
    let mut after = state.clone();
    decision.events.iter().for_each(|event| fold(&mut after, event));
    let then = hold(&after, held, grace, lane);
    decision.events.extend(then.events);
    decision.sends.extend(then.sends);
    decision.timers.extend(then.timers);
    decision
}

/// The cause holds no longer: what no other one holds waits for leave again.
pub(super) fn ease(state: &State, cause: SmolStr, lane: &Key) -> Decision<Event> {
    let Some(hold) = state.holds().get(&cause) else { return Decision::none() };
    let mut decision = Decision::none();
    let others =
        |task: &Key| state.holds().iter().any(|(other, hold)| *other != cause && task.is_within(&hold.root));
    if state.is_governed() {
        for (task, entry) in state.all_waiting().filter(|(task, _)| task.is_within(&hold.root)) {
            if !others(task) {
                let entry = report::entry(task, entry);
                decision = decision.send(lane.clone(), &broker::Command::Enqueue(entry));
            }
        }
    }
    decision.cancel_timer(&timer(&cause)).and(Event::Eased { cause })
}

/// Timer: the grace is over. Nothing, if the cause holds no longer.
pub(super) fn recall(state: &State, cause: &SmolStr) -> Decision<Event> {
    match state.holds().get(cause) {
        Some(hold) => withdraw(state, &hold.root, cause, &hold.reason),
        None => Decision::none(),
    }
}

fn withdraw(state: &State, root: &Key, cause: &SmolStr, reason: &str) -> Decision<Event> {
    let runs = state.all_running().filter(|(task, _)| task.is_within(root));
    runs.fold(Decision::none(), |decision, (task, job)| {
        let withdraw = task::Command::Withdraw { attempt: job.attempt, reason: format!("{cause}: {reason}") };
        decision.send(task.clone(), &withdraw)
    })
}

fn timer(cause: &SmolStr) -> SmolStr {
    format_smolstr!("recall-{cause}")
}
