//! `record-effect`: the ledger of side effects.

use actors_core::{Context, Decision, Refusal};
use bus_schemas::events::task::Event;
use bus_schemas::jobs::EffectStep;

use super::super::state::{Effect, State};
use super::{Draft, check_current};

/// A name, not a description.
const EFFECT_BYTES_MAX: usize = 128;
/// The ledger is part of the state; a task with more effects is several tasks.
const EFFECTS_MAX: usize = 1_000;

/// One step of one side effect.
pub(super) fn record(
    state: &State,
    attempt: u32,
    effect: String,
    step: EffectStep,
    detail: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    let known = state.effects.get(&effect);
    // Finding out comes after the attempt, and often after the task.
    if step != EffectStep::Reconciled || attempt > state.attempt {
        check_current(state, attempt, context)?;
    }
    if !(1..=EFFECT_BYTES_MAX).contains(&effect.len()) {
        return Err(Refusal::new(
            "invalid-effect",
            format!("an effect's name must have 1 to {EFFECT_BYTES_MAX} bytes, has {}", effect.len()),
        ));
    }
    if known.is_none() && state.effects.len() >= EFFECTS_MAX {
        return Err(Refusal::new("too-many-effects", format!("a task has at most {EFFECTS_MAX} effects")));
    }
    if is_repeated(known, attempt, step) {
        return Ok(Decision::none());
    }
    if !is_legal(known, attempt, step) {
        return Err(illegal(known, &effect, step));
    }
    let mut draft = Draft::of(state, context);
    draft.emit(Event::EffectRecorded { attempt, effect, step, detail });
    draft.done()
}

/// Which step may follow. A later attempt may intend again what is not done for sure; after
/// an ambiguous end there is only one when a person retried the task.
fn is_legal(known: Option<&Effect>, attempt: u32, step: EffectStep) -> bool {
    use EffectStep::{Ambiguous, Completed, Failed, Intended, Reconciled, Started};
    let Some(known) = known else { return step == Intended };
    match (known.step, step) {
        (Intended, Started) | (Started, Completed | Failed | Ambiguous) => known.attempt == attempt,
        (Failed | Reconciled | Ambiguous | Intended, Intended) => {
            known.attempt < attempt || known.step == Failed
        }
        (Ambiguous, Reconciled) => true,
        _ => false,
    }
}

/// Whether it was said before. Not so for `started`: a second worker must not begin as well.
fn is_repeated(known: Option<&Effect>, attempt: u32, step: EffectStep) -> bool {
    step != EffectStep::Started && known.is_some_and(|known| known.step == step && known.attempt == attempt)
}

fn illegal(known: Option<&Effect>, effect: &str, step: EffectStep) -> Refusal {
    let Some(known) = known else {
        return refuse(format!("the effect `{effect}` can not be {} before it is intended", name(step)))
            .hint("record `intended` first");
    };
    let refusal = refuse(format!(
        "the effect `{effect}` is {} since attempt {}, and can not become {}",
        name(known.step),
        known.attempt,
        name(step)
    ));
    match known.step {
        EffectStep::Completed => refusal.hint("skip the effect: it was done"),
        EffectStep::Started => refusal.hint("say how it ended; if nobody knows, `ambiguous`"),
        EffectStep::Ambiguous => refusal.hint("find out how it ended and record `reconciled`"),
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
