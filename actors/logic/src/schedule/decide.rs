//! Decides the commands of a schedule.

use actors_core::{Context, Decision, Key, Refusal, Timestamp};
use bus_schemas::commands::schedule::{Command, Recurrence};
use bus_schemas::commands::task::{self, Submit};
use bus_schemas::events::schedule::Event;

use super::recurrence;
use super::state::{Plan, State};
use crate::task::check_submission;

/// The only timer of a schedule.
const FIRE: &str = "fire";
/// Leaves room for `-<due>` in the task's key.
const NAME_BYTES_MAX: usize = 128;

/// What a command leads to.
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

/// Makes or replaces it.
fn create(
    state: &State,
    recurrence: Recurrence,
    task: Submit,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let same = |plan: &Plan| plan.recurrence == recurrence && plan.task == task;
    if !state.paused && state.plan.as_ref().is_some_and(same) {
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
    let next = recurrence::next(&recurrence, context.now);
    check_task(
        &recurrence,
        &task,
        &task_key(context, next.unwrap_or(context.now)),
        next.unwrap_or(context.now),
    )?;
    Ok(await_next(Decision::event(Event::Created { recurrence, task, next }), next))
}

/// It is due: submits the task, unless this is not the time that it waits for.
fn fire(state: &State, due: Timestamp, context: &Context<'_>) -> Decision<Event> {
    let Some(plan) = state.plan.as_ref().filter(|_| state.next == Some(due)) else {
        return Decision::none();
    };
    if context.now < due {
        // Somebody sent it early: the timer stands.
        return await_next(Decision::none(), state.next);
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

/// The template must be a submission that a task accepts whenever the schedule fires.
fn check_task(recurrence: &Recurrence, task: &Submit, key: &Key, due: Timestamp) -> Result<(), Refusal> {
    if task.deadline.is_some() && !matches!(recurrence, Recurrence::Once { .. }) {
        return Err(Refusal::new("invalid-deadline", "a task that recurs can not have one fixed deadline"));
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
