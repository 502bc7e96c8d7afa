//! `require-input` and `answer`: a question, and its answer.

use actors_core::{Context, Decision, EntityAddress, Key, Refusal, Revision};
use bus_schemas::commands::{approval, change};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::EffectStep;
use bus_schemas::text::is_prose;
use bus_schemas::wire::WireCommand;
use serde_json::Value;
use smol_str::SmolStr;

use super::super::check::GOAL_BYTES_MAX;
use super::super::state::{Phase, State};
use super::{Draft, IssueRef, attempt, budget, check_current};

/// The most answers: each later job contains all of them.
const ANSWERS_MAX: usize = 100;

/// What a worker asks.
pub(super) struct Asked {
    pub(super) prompt: String,
    pub(super) authorization: bool,
    pub(super) approval: Option<Key>,
}

/// From a worker: it cannot go on without an answer.
pub(super) fn require(
    state: &State,
    issue: IssueRef<'_>,
    asked: Asked,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let Asked { prompt, authorization, approval } = asked;
    let attempt = issue.attempt;
    if state.phase == Phase::Answer && state.attempt == attempt && state.question.as_ref() == Some(&prompt) {
        return Ok(Decision::none());
    }
    check_current(state, issue, context)?;
    if !(1..=GOAL_BYTES_MAX).contains(&prompt.len()) {
        return Err(Refusal::new(
            "invalid-prompt",
            format!("the question must have 1 to {GOAL_BYTES_MAX} bytes, has {}", prompt.len()),
        ));
    }
    if !is_prose(&prompt) {
        return Err(Refusal::new("invalid-prompt", "the question holds characters that show nothing")
            .hint("leave out control characters and those that turn the direction of text"));
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
    draft.is_told_by_worker = true;
    draft.leave_phase();
    let (effect, asks, at) = (None, SmolStr::default(), context.now);
    if let Some(approval) = &approval {
        draft.send(approval.clone(), &approval::Command::Watch);
    }
    draft.emit(Event::InputRequired { attempt, prompt, authorization, effect, asks, approval, at });
    draft.done()
}

/// From an approval: the next attempt sees what became of it. Whether that covers the work is for the approval to say
/// when it is used, so this is no authorization.
pub(super) fn settle(
    state: &State,
    approval: &Key,
    outcome: SmolStr,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    if state.phase == Phase::Answer && state.approval.as_ref() == Some(approval) {
        draft.emit(Event::Answered { answer: outcome.as_str().into(), by: context.by() });
        draft.queue(state.attempt.saturating_add(1));
    }
    draft.done()
}

/// From a change: it is told how the task ends.
pub(super) fn follow(state: &State, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    let mut draft = Draft::of(state, context);
    let sender = context.caller.and_then(|caller| caller.parse::<EntityAddress>().ok());
    let Some(change) = sender.filter(|sender| sender.kind == change::Command::KIND).map(|sender| sender.key)
    else {
        return draft.done();
    };
    if state.change.as_ref() != Some(&change) {
        draft.emit(Event::Followed { change });
    }
    if state.status.is_final() {
        draft.tell_change();
    }
    draft.done()
}

/// The answer to the task's current question.
pub(super) fn provide(
    state: &State,
    question: Revision,
    answer: Value,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let exceeded = state.account.as_ref().and_then(|account| account.exceeded.as_ref());
    if let Some(exceeded) = exceeded.filter(|exceeded| exceeded.question_id == question) {
        return budget::answer(state, exceeded.dimension, &answer, context);
    }
    if state.question_id != Some(question) {
        let asked = exceeded.map(|exceeded| exceeded.question_id).or(state.question_id);
        return Err(not_asked(question, asked, context));
    }
    let (mut draft, by) = (Draft::of(state, context), context.by());
    match state.asked_effect.clone() {
        None => {
            draft.emit(Event::Answered { answer, by });
            draft.queue(state.attempt.saturating_add(1));
        }
        Some(effect) => {
            let found = read_found(&answer)?;
            let detail = format!("said by {by}");
            draft.emit(Event::Answered { answer, by });
            found_out(&mut draft, effect, found, detail);
        }
    }
    draft.done_with_view()
}

/// The refusal of an answer to another question than the current one.
fn not_asked(question: Revision, asked: Option<Revision>, context: &Context<'_>) -> Refusal {
    let key = &context.entity.key;
    match asked {
        None => Refusal::new("no-question", format!("the task `{key}` asks nothing"))
            .hint("read the task: its state says what it waits for"),
        Some(asked) => {
            let message = format!("question {question} of `{key}` is over; it asks question {asked} now");
            Refusal::new("question-over", message).hint("read the question that it asks now, and answer that")
        }
    }
}

/// The outcome of an effect that a person reports.
enum Found {
    Done,
    NotDone,
    Nothing,
}

fn read_found(answer: &Value) -> Result<Found, Refusal> {
    let text = answer.as_str().unwrap_or_default().trim().to_lowercase().replace(['-', '_'], " ");
    match (answer, text.as_str()) {
        (Value::Bool(true), _) | (_, "done" | "yes" | "true") => Ok(Found::Done),
        (Value::Bool(false), _) | (_, "not done" | "no" | "false") => Ok(Found::NotDone),
        (_, "give up") => Ok(Found::Nothing),
        _ => Err(Refusal::new("invalid-answer", "the answer does not say whether the effect was done")
            .hint("answer `done`, `not done` or `give up`")),
    }
}

fn found_out(draft: &mut Draft<'_>, effect: String, found: Found, detail: String) {
    let step = match found {
        Found::Done => EffectStep::Completed,
        Found::NotDone => EffectStep::Failed,
        Found::Nothing => {
            let failure = draft.state.failure.clone().expect("an attempt failed before the question");
            return attempt::fail_for_good(draft, failure);
        }
    };
    let attempt = draft.state.attempt;
    draft.emit(Event::EffectRecorded { attempt, effect, step, detail, key: None, result: Value::Null });
    go_on(draft);
}

/// Asks about the next ambiguous effect, or queues the task if there is none.
pub(super) fn go_on(draft: &mut Draft<'_>) {
    match draft.state.unsettled_effect() {
        Some(_) => ask_about_effect(draft),
        None => draft.queue(draft.state.attempt.saturating_add(1)),
    }
}

/// Asks the task's owner for the outcome of an effect, because no agent knows it.
pub(super) fn ask_about_effect(draft: &mut Draft<'_>) {
    let Some((effect, entry)) = draft.state.unsettled_effect() else { return };
    let detail = if entry.detail.is_empty() { String::new() } else { format!(" ({})", entry.detail) };
    let key = entry.key.as_ref().map(|key| format!(" Its idempotency key is `{key}`.")).unwrap_or_default();
    let prompt = format!(
        "Nobody knows whether the effect `{effect}` of attempt {} was done{detail}.{key} Find out, and answer \
         `done`, `not done` or `give up`.",
        entry.attempt
    );
    let (effect, asks) = (Some(effect.clone()), draft.submission().owner.clone());
    let (attempt, at) = (draft.state.attempt, draft.now());
    let approval = None;
    draft.emit(Event::InputRequired { attempt, prompt, authorization: false, effect, asks, approval, at });
}
