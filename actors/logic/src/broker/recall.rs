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
/// Attempts of which one decision tells, with two messages each: a record stays small, and the rest follows.
const TOLD_MAX: usize = 256;

/// What is in the scope waits. What runs there goes on where there is no grace, and is taken back when
/// it is over.
pub(super) fn hold(
    state: &State,
    (cause, scope, reason): (SmolStr, HoldScope, String),
    grace: Option<u64>,
    context: &Context<'_>,
) -> Decision<Event> {
    let at = context.now;
    let mut valve = Valve::closed(scope, reason, at);
    valve.recall_at = grace.map(|grace| match grace {
        0 => at,
        grace => at.plus_ms(grace.saturating_add(WORD_MS)),
    });
    let known = state.valves().get(&cause).filter(|known| known.says(&valve));
    if let Some(known) = known {
        valve = known.clone();
    }
    let is_known = known.is_some();
    let decision = take_back(Decision::none(), state, (&cause, &valve), None, context);
    let decision = match valve.recall_at.filter(|until| *until > at) {
        // What runs may be known later than this: an open lane asks its queues first.
        Some(until) => {
            let recall = Command::Recall { cause: cause.clone(), after: None };
            decision.set_timer(&timer(&cause), until, &recall)
        }
        None => decision,
    };
    let (scope, reason, recall_at) = (valve.scope().clone(), valve.reason, valve.recall_at);
    if is_known { decision } else { decision.and(Event::Held { cause, scope, reason, recall_at, at }) }
}

/// Timer: the grace is over. Nothing, if the cause holds no longer.
pub(super) fn recall(
    state: &State,
    cause: &SmolStr,
    after: Option<&Key>,
    context: &Context<'_>,
) -> Decision<Event> {
    match state.valves().get(cause).filter(|valve| valve.is_closed()) {
        Some(valve) => take_back(Decision::none(), state, (cause, valve), after, context),
        None => Decision::none(),
    }
}

/// All that is known to run now, and that a hold had taken back before.
pub(super) fn due(decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    let due = state.valves().iter().filter(|(_, valve)| valve.is_closed() && valve.is_due(context.now));
    due.fold(decision, |decision, hold| take_back(decision, state, hold, None, context))
}

/// Leave that an agent cannot use any more is taken back; what has begun with it goes on.
pub(super) fn vacate(
    mut decision: Decision<Event>,
    state: &State,
    agent: &Key,
    after: Option<&Key>,
    context: &Context<'_>,
) -> Decision<Event> {
    let mut runs = state.running_after(after).filter(|(_, job)| job.agent == *agent);
    let mut last = None;
    for (task, job) in runs.by_ref().take(TOLD_MAX) {
        decision = revoke(decision, task, job.attempt, context);
        last = Some(task.clone());
    }
    match last.filter(|_| runs.next().is_some()) {
        Some(after) => {
            let vacate = Command::Vacate { agent: agent.clone(), after };
            decision.send(context.entity.key.clone(), &vacate)
        }
        None => decision,
    }
}

/// In the scope of a hold: what has leave and has not begun waits again; once the hold takes back what
/// runs, that is withdrawn.
fn take_back(
    mut decision: Decision<Event>,
    state: &State,
    (cause, valve): (&SmolStr, &Valve),
    after: Option<&Key>,
    context: &Context<'_>,
) -> Decision<Event> {
    let is_due = valve.is_due(context.now);
    let mut runs = state.running_after(after).filter(|(_, job)| state.concerns(valve, job));
    let mut last = None;
    for (task, job) in runs.by_ref().take(TOLD_MAX) {
        decision = revoke(decision, task, job.attempt, context);
        if is_due {
            let reason = format!("{cause}: {}", valve.reason);
            decision = decision.send(task.clone(), &task::Command::Withdraw { attempt: job.attempt, reason });
        }
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

fn revoke(decision: Decision<Event>, task: &Key, attempt: u32, context: &Context<'_>) -> Decision<Event> {
    let to = queue_of(task, context);
    decision.send(to, &queue::Command::Revoke { task: task.clone(), attempt })
}

fn timer(cause: &SmolStr) -> SmolStr {
    format_smolstr!("recall-{cause}")
}
