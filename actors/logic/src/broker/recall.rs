//! What a hold takes back: at once, or when its grace is over.

use actors_core::{Decision, Key};
use bus_schemas::Timestamp;
use bus_schemas::commands::broker::{Command, HoldScope};
use bus_schemas::commands::task;
use bus_schemas::events::broker::Event;
use smol_str::{SmolStr, format_smolstr};

use super::state::State;

/// After the grace, so that a worker can say first how its work ended: it hears of a halt some milliseconds
/// later than the lane, and ends its work when the grace is over by its own clock. A worker that says
/// nothing by then is not waited for.
const WORD_MS: u64 = 2_000;

/// What is in the scope waits. What runs there goes on where there is no grace, and is taken back when
/// it is over.
pub(super) fn hold(state: &State, held: Event, grace: Option<u64>, now: Timestamp) -> Decision<Event> {
    let Event::Held { cause, scope, reason, .. } = &held else { return Decision::none() };
    let runs = !state.runs_in(scope).is_empty();
    let decision = match grace {
        Some(0) => withdraw(state, scope, cause, reason),
        Some(grace) if runs => {
            let at = now.plus_ms(grace.saturating_add(WORD_MS));
            Decision::none().set_timer(&timer(cause), at, &Command::Recall { cause: cause.clone() })
        }
        _ => Decision::none(),
    };
    let known = state.valves().get(cause);
    let is_same =
        known.is_some_and(|valve| valve.is_closed() && valve.scope() == scope && valve.reason == *reason);
    if is_same { decision } else { decision.and(held) }
}

/// Timer: the grace is over. Nothing, if the cause holds no longer.
pub(super) fn recall(state: &State, cause: &SmolStr) -> Decision<Event> {
    match state.valves().get(cause).filter(|valve| valve.is_closed()) {
        Some(valve) => withdraw(state, valve.scope(), cause, &valve.reason),
        None => Decision::none(),
    }
}

fn withdraw(state: &State, scope: &HoldScope, cause: &SmolStr, reason: &str) -> Decision<Event> {
    let withdraw = |decision: Decision<Event>, (task, attempt): (Key, u32)| {
        decision.send(task, &task::Command::Withdraw { attempt, reason: format!("{cause}: {reason}") })
    };
    state.runs_in(scope).into_iter().fold(Decision::none(), withdraw)
}

fn timer(cause: &SmolStr) -> SmolStr {
    format_smolstr!("recall-{cause}")
}
