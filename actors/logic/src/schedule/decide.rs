//! Decides the commands of a schedule.

use actors_core::{Context, Decision, Key, Refusal, Timestamp};
use bus_schemas::commands::schedule::{Command, Recurrence};
use bus_schemas::commands::task::{self, Submit};
use bus_schemas::events::schedule::Event;

use super::recurrence;
use super::state::{Plan, State};
use crate::task::{check_submission, owned};

/// The only timer of a schedule.
const FIRE: &str = "fire";
/// The longest name in bytes: leaves room for `-<due>` in the task's key.
const NAME_BYTES_MAX: usize = 128;

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    match command {
        Command::Create { recurrence, task } => create(state, recurrence, task, context),
        Command::Fire { due } => Ok(fire(state, due, context)),
        Command::Pause => {
            existing(state, context)?;
            Ok(if state.paused {
                Decision::none()
            } else {
                Decision::event(Event::Paused).cancel_timer(FIRE)
            })
        }
        Command::Resume => {
            let plan = existing(state, context)?;
            if !state.paused {
                return Ok(Decision::none());
            }
            let next = recurrence::next(&plan.recurrence, context.now);
            Ok(await_next(Decision::event(Event::Resumed { next }), next))
        }
        Command::Delete if state.plan.is_none() => Ok(Decision::none()),
        Command::Delete => Ok(Decision::event(Event::Deleted).cancel_timer(FIRE)),
    }
}

/// Creates or replaces the schedule.
fn create(
    state: &State,
    recurrence: Recurrence,
    task: Submit,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let task = owned(task, context)?;
    let same = |plan: &Plan| plan.recurrence == recurrence && plan.task == task;
    if state.plan.as_ref().is_some_and(same) {
        return Ok(Decision::none());
    }
    let name = context.entity.key.as_str();
    if name.contains('.') || name.len() > NAME_BYTES_MAX {
        return Err(Refusal::new(
            "invalid-name",
            format!("a schedule's name has at most {NAME_BYTES_MAX} bytes and no dot"),
        )
        .hint("choose another name, such as `nightly-report`"));
    }
    recurrence::check(&recurrence, context.now)?;
    let first = first(state, &recurrence, context.now);
    let due = first.unwrap_or(context.now);
    check_task(&recurrence, &task, &task_key(context, due), due)?;
    // A paused schedule waits for `resume`, whatever replaces it.
    let next = first.filter(|_| !state.paused);
    Ok(await_next(Decision::event(Event::Created { recurrence, task, next }), next))
}

/// When it first fires. An interval that replaces another keeps its due time: replaced again and again, it
/// would otherwise never be due.
fn first(state: &State, recurrence: &Recurrence, now: Timestamp) -> Option<Timestamp> {
    let next = recurrence::next(recurrence, now);
    let every = |recurrence: &Recurrence| matches!(recurrence, Recurrence::Every { .. });
    let keeps = every(recurrence) && state.plan.as_ref().is_some_and(|plan| every(&plan.recurrence));
    let awaited = state.next.filter(|_| keeps);
    next.map(|next| awaited.map_or(next, |awaited| awaited.min(next)))
}

/// The schedule is due: submits the task, unless it waits for another due time.
fn fire(state: &State, due: Timestamp, context: &Context<'_>) -> Decision<Event> {
    let Some(plan) = state.plan.as_ref().filter(|_| state.next == Some(due)) else {
        return Decision::none();
    };
    if context.now < due {
        // A command that somebody sent early: the timer stays. The timer itself: the clock was ahead when it was set.
        let next =
            recurrence::next(&plan.recurrence, context.now).filter(|next| *next < due && context.by_timer);
        let decision =
            next.map_or_else(Decision::none, |next| Decision::event(Event::Moved { next: Some(next) }));
        return await_next(decision, next.or(state.next));
    }
    let task = task_key(context, due);
    let next = recurrence::following(&plan.recurrence, due, context.now);
    let submit = task::Command::Submit(plan.task.clone());
    await_next(
        Decision::event(Event::Fired { due, task: task.clone(), next }).send_settled(task, &submit),
        next,
    )
}

fn existing<'a>(state: &'a State, context: &Context<'_>) -> Result<&'a Plan, Refusal> {
    state.plan.as_ref().ok_or_else(|| {
        Refusal::new("schedule-not-found", format!("there is no schedule `{}`", context.entity.key))
            .hint("create it first")
    })
}

/// Checks that a task accepts the submission whenever the schedule fires.
fn check_task(recurrence: &Recurrence, task: &Submit, key: &Key, due: Timestamp) -> Result<(), Refusal> {
    if task.deadline.is_some() && !matches!(recurrence, Recurrence::Once { .. }) {
        return Err(Refusal::new("invalid-deadline", "a recurring task cannot have one fixed deadline"));
    }
    check_submission(task, key, due)
}

fn task_key(context: &Context<'_>, due: Timestamp) -> Key {
    Key::parse(&format!("{}-{}", context.entity.key, due.0))
        .expect("a checked name of at most 128 bytes and a number of at most 20 digits make a key")
}

fn await_next(decision: Decision<Event>, next: Option<Timestamp>) -> Decision<Event> {
    match next {
        Some(due) => decision.set_timer(FIRE, due, &Command::Fire { due }),
        None => decision.cancel_timer(FIRE),
    }
}
