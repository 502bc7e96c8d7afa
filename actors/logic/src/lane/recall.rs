//! What a hold takes back: running attempts at once or after its grace time. An attempt with leave that has
//! not begun waits again in any case.

use actors_core::{Context, Decision, Key};
use bus_schemas::commands::lane::{Command, HoldScope};
use bus_schemas::commands::{queue, task};
use bus_schemas::events::lane::Event;
use smol_str::{SmolStr, format_smolstr};

use super::decide::queue_of;
use super::state::State;
use super::throttle::Throttle;

/// Time after the grace, in milliseconds, for a worker to report how its work ended: it learns of a halt some
/// milliseconds after the lane, and ends its work when the grace is over by its own clock. A later worker is
/// not waited for.
const WORD_MS: u64 = 2_000;
/// The most attempts in one decision, with two messages each: the record stays small, and the rest follows.
const ATTEMPTS_PER_DECISION_MAX: usize = 256;

/// A hold, as commanded.
pub(super) struct Hold {
    pub(super) cause: SmolStr,
    pub(super) scope: HoldScope,
    pub(super) reason: String,
    /// The grace time of running attempts in milliseconds; `None` leaves them alone.
    pub(super) grace: Option<u64>,
}

/// Holds the work of a scope. Running attempts go on during the grace time, and are taken back when it is
/// over.
pub(super) fn hold(state: &State, hold: Hold, context: &Context<'_>) -> Decision<Event> {
    let Hold { cause, scope, reason, grace } = hold;
    let at = context.now;
    let mut throttle = Throttle::closed(scope, reason, at);
    throttle.recall_at = grace.map(|grace| match grace {
        0 => at,
        grace => at.plus_ms(grace.saturating_add(WORD_MS)),
    });
    let known = state.throttles().get(&cause).filter(|known| known.says(&throttle));
    if let Some(known) = known {
        throttle = known.clone();
    }
    let is_known = known.is_some();
    let decision = take_back(Decision::none(), state, &cause, &throttle, None, context);
    let decision = match throttle.recall_at.filter(|until| *until > at) {
        // Running attempts may become known later: an open lane asks its queues first.
        Some(until) => {
            let recall = Command::Recall { cause: cause.clone(), after: None };
            decision.set_timer(&timer(&cause), until, &recall)
        }
        None => decision,
    };
    let (scope, reason, recall_at) = (throttle.scope().clone(), throttle.reason, throttle.recall_at);
    if is_known { decision } else { decision.and(Event::Held { cause, scope, reason, recall_at, at }) }
}

/// Timer: the grace time is over. No effect if the hold has ended.
pub(super) fn recall(
    state: &State,
    cause: &SmolStr,
    after: Option<&Key>,
    context: &Context<'_>,
) -> Decision<Event> {
    match state.throttles().get(cause).filter(|throttle| throttle.is_closed()) {
        Some(throttle) => take_back(Decision::none(), state, cause, throttle, after, context),
        None => Decision::none(),
    }
}

/// Takes back running attempts that have become known after their hold took effect.
pub(super) fn due(decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    let due =
        state.throttles().iter().filter(|(_, throttle)| throttle.is_closed() && throttle.is_due(context.now));
    due.fold(decision, |decision, (cause, throttle)| {
        take_back(decision, state, cause, throttle, None, context)
    })
}

/// Takes back leave that an agent can no longer use; attempts that have begun go on.
pub(super) fn vacate(
    mut decision: Decision<Event>,
    state: &State,
    agent: &Key,
    after: Option<&Key>,
    context: &Context<'_>,
) -> Decision<Event> {
    let mut runs = state.running_after(after).filter(|(_, job)| job.agent == *agent);
    let mut last = None;
    for (task, job) in runs.by_ref().take(ATTEMPTS_PER_DECISION_MAX) {
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

/// Within the scope of a hold: attempts with leave that have not begun wait again; if the hold is due to take
/// back running attempts, those are withdrawn.
fn take_back(
    mut decision: Decision<Event>,
    state: &State,
    cause: &SmolStr,
    throttle: &Throttle,
    after: Option<&Key>,
    context: &Context<'_>,
) -> Decision<Event> {
    let is_due = throttle.is_due(context.now);
    let mut runs = state.running_after(after).filter(|(_, job)| state.concerns(throttle, job));
    let mut last = None;
    for (task, job) in runs.by_ref().take(ATTEMPTS_PER_DECISION_MAX) {
        decision = revoke(decision, task, job.attempt, context);
        if is_due {
            let reason = format!("{cause}: {}", throttle.reason);
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
