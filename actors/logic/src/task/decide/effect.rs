//! `record-effect`: the ledger of side effects.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::EffectStep;
use bus_schemas::text::is_line;
use serde_json::Value;
use smol_str::SmolStr;

use super::super::state::{Effect, Phase, State, result_bytes};
use super::step::STEPS_MAX;
use super::{Draft, IssueRef, check_current, input};

/// The longest name in bytes: a name, not a description.
const EFFECT_BYTES_MAX: usize = 128;
/// The largest result of one effect in bytes: larger results are artifacts.
const RESULT_BYTES_MAX: usize = 16 * 1024;
/// The largest sum of a task's effect results in bytes: each later job contains all of them.
const RESULTS_BYTES_MAX: usize = 256 * 1024;
/// The longest idempotency key in bytes: longer than any hash in hexadecimal digits.
const KEY_BYTES_MAX: usize = 128;

/// A step of a side effect, as reported.
pub(super) struct Record {
    pub(super) attempt: u32,
    pub(super) token: SmolStr,
    pub(super) effect: String,
    pub(super) step: EffectStep,
    pub(super) detail: String,
    pub(super) key: Option<SmolStr>,
    pub(super) result: Value,
}

/// Records a step in the ledger.
pub(super) fn record(
    state: &State,
    record: Record,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let Record { attempt, token, effect, step, detail, key, mut result } = record;
    let known = state.effects.get(&effect);
    // The outcome of an ambiguous effect is found after the attempt, and often after the task.
    if !finds_out(known, step) || attempt > state.attempt {
        check_current(state, IssueRef { attempt, token: &token }, context)?;
    }
    if key.as_ref().is_some_and(|key| !(1..=KEY_BYTES_MAX).contains(&key.len())) {
        let message = format!("an idempotency key must have 1 to {KEY_BYTES_MAX} bytes");
        return Err(Refusal::new("invalid-effect", message));
    }
    if !(1..=EFFECT_BYTES_MAX).contains(&effect.len()) || !is_line(&effect) {
        let bytes = effect.len();
        let message =
            format!("an effect's name must have 1 to {EFFECT_BYTES_MAX} bytes of visible text, has {bytes}");
        return Err(Refusal::new("invalid-effect", message));
    }
    if known.is_none() && state.effects.size() + state.steps.size() >= STEPS_MAX {
        let message = format!("a task has at most {STEPS_MAX} steps and effects");
        return Err(Refusal::new("too-many-effects", message).hint("split it into several tasks"));
    }
    if is_repeated(known, attempt, step) {
        return Ok(Decision::none());
    }
    if !is_legal(known, attempt, step) {
        return Err(illegal(known, &effect, step));
    }
    let length = result_bytes(&result);
    if length > RESULT_BYTES_MAX || state.results_bytes + length > RESULTS_BYTES_MAX {
        // Without room for the result, a later attempt is told only that the effect was done.
        result = Value::Null;
    }
    let mut draft = Draft::of(state, context);
    let is_asked = state.phase == Phase::Answer && state.asked_effect.as_ref() == Some(&effect);
    draft.emit(Event::EffectRecorded { attempt, effect, step, detail, key, result });
    if is_asked && step != EffectStep::Ambiguous {
        input::go_on(&mut draft);
    }
    draft.done()
}

/// Whether this reports the outcome of an ambiguous effect.
fn finds_out(known: Option<&Effect>, step: EffectStep) -> bool {
    use EffectStep::{Ambiguous, Completed, Failed, Reconciled};
    matches!(step, Reconciled)
        || known.is_some_and(|known| known.step == Ambiguous) && matches!(step, Completed | Failed)
}

/// Whether this step may follow. A later attempt may intend an effect again that was certainly not done;
/// after an ambiguous end the outcome must be found first.
fn is_legal(known: Option<&Effect>, attempt: u32, step: EffectStep) -> bool {
    use EffectStep::{Ambiguous, Completed, Failed, Intended, Reconciled, Started};
    let Some(known) = known else { return step == Intended };
    match (known.step, step) {
        (Intended, Started) | (Started, Completed | Failed | Ambiguous) => known.attempt == attempt,
        (Failed | Reconciled | Intended, Intended) => known.attempt < attempt || known.step != Intended,
        (Ambiguous, Reconciled | Completed | Failed) => true,
        _ => false,
    }
}

/// Whether this is a repeat. `started` never is: a second worker must not begin as well.
fn is_repeated(known: Option<&Effect>, attempt: u32, step: EffectStep) -> bool {
    step != EffectStep::Started && known.is_some_and(|known| known.step == step && known.attempt == attempt)
}

fn illegal(known: Option<&Effect>, effect: &str, step: EffectStep) -> Refusal {
    let Some(known) = known else {
        return refuse(format!("the effect `{effect}` cannot be {} before it is intended", name(step)))
            .hint("record `intended` first");
    };
    let refusal = refuse(format!(
        "the effect `{effect}` is {} since attempt {}, and cannot become {}",
        name(known.step),
        known.attempt,
        name(step)
    ));
    match known.step {
        EffectStep::Completed => refusal.hint("skip the effect: it was done"),
        EffectStep::Started => refusal.hint("say how it ended; if nobody knows, `ambiguous`"),
        EffectStep::Ambiguous => refusal.hint("find out how it ended and record `completed` or `failed`"),
        _ => refusal.hint("the order is intended, started, then completed, failed or ambiguous"),
    }
}

fn refuse(message: String) -> Refusal {
    Refusal::new("illegal-effect-step", message)
}

fn name(step: EffectStep) -> &'static str {
    match step {
        EffectStep::Intended => "intended",
        EffectStep::Started => "started",
        EffectStep::Completed => "completed",
        EffectStep::Failed => "failed",
        EffectStep::Ambiguous => "ambiguous",
        EffectStep::Reconciled => "reconciled",
    }
}
