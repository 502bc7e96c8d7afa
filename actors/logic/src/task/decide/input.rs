//! `require-input` and `provide-input`: a question, and its answer.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::events::task::Event;
use serde_json::Value;

use super::super::check::GOAL_BYTES_MAX;
use super::super::state::{Phase, State};
use super::{Draft, check_current};

/// All answers go into every later job; a longer dialogue is a conversation.
const ANSWERS_MAX: usize = 100;

/// From a worker: it can not go on without an answer.
pub(super) fn require(
    state: &State,
    attempt: u32,
    prompt: String,
    authorization: bool,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if state.phase == Phase::Answer && state.attempt == attempt && state.question.as_ref() == Some(&prompt) {
        return Ok(Decision::none());
    }
    check_current(state, attempt, context)?;
    if !(1..=GOAL_BYTES_MAX).contains(&prompt.len()) {
        return Err(Refusal::new(
            "invalid-prompt",
            format!("the question must have 1 to {GOAL_BYTES_MAX} bytes, has {}", prompt.len()),
        ));
    }
    if state.answers.len() >= ANSWERS_MAX {
        return Err(Refusal::new(
            "too-many-questions",
            format!("a task asks at most {ANSWERS_MAX} questions"),
        )
        .hint("fail the job and say what is missing"));
    }
    if let Some((effect, _)) = state.open_effects().next() {
        return Err(Refusal::new("effect-open", format!("the effect `{effect}` has begun and not ended"))
            .hint("say how it ended, then ask"));
    }
    let mut draft = Draft::of(state, context);
    draft.leave_phase();
    draft.emit(Event::InputRequired { attempt, prompt, authorization });
    draft.done()
}

/// The answer.
pub(super) fn provide(
    state: &State,
    answer: Value,
    by: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if state.phase != Phase::Answer {
        return Err(Refusal::new("no-question", format!("the task `{}` asks nothing", context.entity.key))
            .hint("read the task: its state says what it waits for"));
    }
    let mut draft = Draft::of(state, context);
    draft.emit(Event::InputProvided { answer, by });
    draft.queue(state.attempt.saturating_add(1));
    draft.done_with_view()
}
