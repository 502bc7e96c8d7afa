//! What a hold takes back: at once, or when its grace is over. What has leave and has not begun waits
//! again in any case.

use actors_core::{Context, Decision, Key};
use bus_schemas::commands::broker::{Command, HoldScope};
use bus_schemas::commands::{queue, task};
use bus_schemas::events::broker::Event;
use smol_str::{SmolStr, format_smolstr};

use super::decide::queue_of;
use super::state::State;
use super::valve::Valve;

/// After the grace, so that a worker can say first how its work ended: it hears of a halt some milliseconds
/// later than the lane, and ends its work when the grace is over by its own clock. A worker that says
/// nothing by then is not waited for.
const WORD_MS: u64 = 2_000;

/// What is in the scope waits. What runs there goes on where there is no grace, and is taken back when
/// it is over.
pub(super) fn hold(
    state: &State,
    (cause, scope, reason): (SmolStr, HoldScope, String),
    grace: Option<u64>,
    context: &Context<'_>,
) -> Decision<Event> {
    let at = context.now;
    let mut decision = revoke(Decision::none(), state, &scope, context);
    let recall_at = grace.map(|grace| match grace {
        0 => at,
        grace => at.plus_ms(grace.saturating_add(WORD_MS)),
    });
    match recall_at {
        Some(now) if now == at => decision = withdraw(decision, state, &scope, (&cause, &reason)),
        // What runs may be known later than this: an open lane asks its queues first.
        Some(until) => {
            let recall = Command::Recall { cause: cause.clone() };
            decision = decision.set_timer(&timer(&cause), until, &recall);
        }
        None => {}
    }
    let known = state.valves().get(&cause);
    let is_same =
        known.is_some_and(|valve| valve.is_closed() && *valve.scope() == scope && valve.reason == reason);
    if is_same { decision } else { decision.and(Event::Held { cause, scope, reason, recall_at, at }) }
}

/// Timer: the grace is over. Nothing, if the cause holds no longer.
pub(super) fn recall(state: &State, cause: &SmolStr, context: &Context<'_>) -> Decision<Event> {
    match state.valves().get(cause).filter(|valve| valve.is_closed()) {
        Some(valve) => {
            let decision = revoke(Decision::none(), state, valve.scope(), context);
            withdraw(decision, state, valve.scope(), (cause, &valve.reason))
        }
        None => Decision::none(),
    }
}

/// All that is known to run now, and that a hold had taken back before.
pub(super) fn due(decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    let is_due = |valve: &Valve| valve.is_closed() && valve.recall_at.is_some_and(|at| at <= context.now);
    let due = state.valves().iter().filter(|(_, valve)| is_due(valve));
    due.fold(decision, |decision, (cause, valve)| {
        withdraw(decision, state, valve.scope(), (cause, &valve.reason))
    })
}

/// What has leave in the scope and has not begun waits again.
fn revoke(
    decision: Decision<Event>,
    state: &State,
    scope: &HoldScope,
    context: &Context<'_>,
) -> Decision<Event> {
    state.runs_in(scope).into_iter().fold(decision, |decision, (task, attempt)| {
        let to = queue_of(&task, context);
        decision.send(to, &queue::Command::Revoke { task, attempt })
    })
}

fn withdraw(
    decision: Decision<Event>,
    state: &State,
    scope: &HoldScope,
    (cause, reason): (&SmolStr, &str),
) -> Decision<Event> {
    let withdraw = |decision: Decision<Event>, (task, attempt): (Key, u32)| {
        decision.send(task, &task::Command::Withdraw { attempt, reason: format!("{cause}: {reason}") })
    };
    state.runs_in(scope).into_iter().fold(decision, withdraw)
}

fn timer(cause: &SmolStr) -> SmolStr {
    format_smolstr!("recall-{cause}")
}
