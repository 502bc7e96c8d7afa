//! The dead letters that a dependency caused: redriven as probes where no other work is there to be
//! tried, and all of them when it is back.

use actors_core::{Context, Decision, Key};
use bus_schemas::commands::breaker::Phase;
use bus_schemas::commands::campaign;
use bus_schemas::events::breaker::Event;

use super::state::State;
use super::{decide, tell};

/// Letters that are known by name: as many as a policy usually tries before it is back. A campaign
/// finds the others.
const LETTERS_MAX: usize = 16;
/// Letters a second that are tried: one by one, as other work would come.
const TRY_RATE: u32 = 1;

/// A letter waits.
pub(super) fn note(state: &State, entry: Key, context: &Context<'_>) -> Decision<Event> {
    let recent = state.letters.values().filter(|at| state.is_recent(**at, context.now)).count();
    if state.letters.contains_key(&entry) || recent >= LETTERS_MAX {
        return Decision::none();
    }
    let noted = Event::LetterNoted { entry, at: context.now };
    let after = decide::folded(state, &noted);
    let decision = Decision::event(noted);
    // The timer of one that is half-open goes on by itself once it is set.
    match state.phase == Phase::HalfOpen && !state.has_to_try() {
        true => decide::renew(decision, &after, context.now),
        false => decision,
    }
}

/// Redrives as many as it takes to find out whether the dependency is back: nothing came of the work
/// that lanes let through, so none waits there, or it does not call.
pub(super) fn attempt(decision: Decision<Event>, state: &State, context: &Context<'_>) -> Decision<Event> {
    let wanted = state.policy.successes.saturating_sub(state.probed).min(state.policy.probes);
    let entries: Vec<Key> = state.letters.keys().take(wanted as usize).cloned().collect();
    if entries.is_empty() {
        return decision;
    }
    let campaign = campaign_key("probe", context);
    let filter = campaign::Filter { dependency: Some(context.entity.key.clone()), ..Default::default() };
    let start = campaign::Command::Start {
        filter,
        rate: TRY_RATE,
        by: context.entity.to_string(),
        reason: format!("`{}` is half-open, and no other work is tried", context.entity),
    };
    let add = campaign::Command::AddEntries { entries: entries.clone(), last: true };
    let count = entries.len();
    let tried = Event::LettersTried { entries, campaign: campaign.clone(), at: context.now };
    let decision = decision.and(tried).send(campaign.clone(), &start).send(campaign.clone(), &add);
    tell::tried(decision, &campaign, count, context)
}

/// Which letters are redriven when it closes; none where it has caused none.
pub(super) fn drain(state: &State, context: &Context<'_>) -> Option<campaign::Filter> {
    let dependency = Some(context.entity.key.clone());
    let filter = campaign::Filter { dependency, since: state.ill_since, ..Default::default() };
    state.has_letters.then_some(filter)
}

/// The name of a campaign of this decision.
pub(super) fn campaign_key(purpose: &str, context: &Context<'_>) -> Key {
    let dependency = context.entity.key.as_str().replace('.', "_");
    let name = format!("{purpose}-{dependency}-{}", context.revision.next());
    Key::parse(&name).expect("a checked dependency and a number make a key")
}
