//! `record-step`: steps within an attempt, which run at least once and are recorded once.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::{INLINE_BYTES_MAX, StepResult};

use super::super::state::{State, result_bytes};
use super::{Draft, IssueRef, check_current};

/// The longest name in bytes: a name, not a description.
const NAME_BYTES_MAX: usize = 128;
/// The most steps and effects of a task: for more, use several tasks.
pub(super) const STEPS_MAX: usize = 10_000;
/// The most steps in one command.
const AT_ONCE_MAX: usize = 16;

/// From a worker: records completed steps.
pub(super) fn record(
    state: &State,
    issue: IssueRef<'_>,
    steps: Vec<StepResult>,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_current(state, issue, context)?;
    let mut draft = Draft::of(state, context);
    if steps.is_empty() {
        return Err(Refusal::new("invalid-step", format!("a report holds 1 to {AT_ONCE_MAX} steps")));
    }
    add(&mut draft, issue.attempt, steps)?;
    draft.done()
}

/// Adds steps; a known one has no effect.
pub(super) fn add(draft: &mut Draft<'_>, attempt: u32, steps: Vec<StepResult>) -> Result<(), Refusal> {
    if steps.len() > AT_ONCE_MAX {
        let message = format!("a report holds at most {AT_ONCE_MAX} steps, not {}", steps.len());
        return Err(Refusal::new("invalid-step", message).hint("report them as they are done"));
    }
    for step in steps {
        check(&step)?;
        if let Some(done) = draft.state.steps.get(&step.name) {
            if done.input == step.input {
                continue;
            }
            let message = format!("the step `{}` was done with another input", step.name);
            return Err(Refusal::new("step-changed", message)
                .hint("a step's name and input must be the same in every attempt"));
        }
        if draft.state.steps.size() + draft.state.effects.size() >= STEPS_MAX {
            let message = format!("a task has at most {STEPS_MAX} steps and effects");
            return Err(Refusal::new("too-many-steps", message).hint("split it into several tasks"));
        }
        draft.emit(Event::StepRecorded { attempt, step });
    }
    Ok(())
}

fn check(step: &StepResult) -> Result<(), Refusal> {
    if !(1..=NAME_BYTES_MAX).contains(&step.name.len()) {
        let message = format!("a step's name must have 1 to {NAME_BYTES_MAX} bytes, has {}", step.name.len());
        return Err(Refusal::new("invalid-step", message));
    }
    let length = result_bytes(&step.result);
    if length > INLINE_BYTES_MAX {
        let message =
            format!("the result of step `{}` has {length} bytes, at most {INLINE_BYTES_MAX}", step.name);
        return Err(Refusal::new("step-too-large", message)
            .hint("store it as a blob, and give the step `{\"blob\": \"<hash>\"}` as its result"));
    }
    Ok(())
}
