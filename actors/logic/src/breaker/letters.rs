//! The dead letters of a dependency: redriven as probes if no other work waits, and all of them when the
//! dependency works again.

use actors_core::{Context, Decision, Key};
use bus_schemas::commands::breaker::Phase;
use bus_schemas::commands::redrive;
use bus_schemas::events::breaker::Event;

use super::state::State;
use super::{decide, tell};

/// The most dead letters that are kept by name: about as many as a policy needs as probes. A redrive finds
/// the others.
const LETTERS_MAX: usize = 16;
/// Dead letters per second that are tried: one by one, as other work would come.
const TRY_RATE: u32 = 1;

/// Notes a waiting dead letter.
pub(super) fn note(state: &State, entry: Key, context: &Context<'_>) -> Decision<Event> {
    let recent = state.letters.values().filter(|at| state.is_recent(**at, context.now)).count();
    if state.letters.contains_key(&entry) || recent >= LETTERS_MAX {
        return Decision::none();
    }
    let noted = Event::LetterNoted { entry, at: context.now };
    let after = decide::folded(state, &noted);
    let decision = Decision::event(noted);
    // In the half-open phase the timer renews itself once it is set.
    match state.phase == Phase::HalfOpen && !state.has_to_try() {
        true => decide::renew(decision, &after, context.now),
        false => decision,
    }
}

/// Redrives as many dead letters as the policy needs as probes: the work that lanes let through had no
/// outcome, because none waits or it does not call the dependency.
pub(super) fn attempt(decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    let wanted = state.policy.successes.saturating_sub(state.probed).min(state.policy.probes);
    let entries: Vec<Key> = state.letters.keys().take(wanted as usize).cloned().collect();
    if entries.is_empty() {
        return decision;
    }
    let redrive = redrive_key("probe", context);
    let filter = redrive::Filter { dependency: Some(context.entity.key.clone()), ..Default::default() };
    let start = redrive::Command::Start {
        filter,
        rate: TRY_RATE,
        reason: format!("`{}` is half-open, and no other work is tried", context.entity),
    };
    let add = redrive::Command::AddEntries { entries: entries.clone(), last: true };
    let count = entries.len();
    let tried = Event::LettersTried { entries, redrive: redrive.clone(), at: context.now };
    let decision = decision.and(tried).send(redrive.clone(), &start).send(redrive.clone(), &add);
    tell::tried(decision, &redrive, count, context)
}

/// The dead letters to redrive when the breaker closes; `None` if the dependency has caused none.
pub(super) fn drain(state: &State, context: &Context<'_>) -> Option<redrive::Filter> {
    let dependency = Some(context.entity.key.clone());
    let filter = redrive::Filter { dependency, since: state.ill_since, ..Default::default() };
    state.has_letters.then_some(filter)
}

/// The key of a redrive that this decision starts. The dependency keeps its dots: `agent.x.y` and `agent.x_y`
/// are two breakers, whose redrives must not share a key.
pub(super) fn redrive_key(purpose: &str, context: &Context<'_>) -> Key {
    let name = format!("{purpose}-{}-{}", context.entity.key, context.revision.next());
    Key::parse(&name).expect("a checked dependency and a number make a key")
}
