//! What settings and people say about the whole lane: its rules, and whether it is paused.

use actors_core::{Context, Refusal};
use bus_schemas::Timestamp;
use bus_schemas::commands::broker::HoldScope;
use bus_schemas::events::broker::Event;
use bus_schemas::settings::{ApplyConfig, Lanes};

use super::state::State;
use super::valve::Valve;
use crate::halt::check_reason;
use crate::rules;

/// The cause of a person's pause.
pub(super) const BY_HAND: &str = "pause";
/// The cause of a pause that stands in the settings.
pub(super) const BY_SETTINGS: &str = "config/lanes";

/// The rules of a version of the settings; none when the lane has them.
pub(super) fn apply_config(
    state: &State,
    config: &ApplyConfig,
    context: &Context<'_>,
) -> Result<Option<Event>, Refusal> {
    let lanes: Lanes = rules::read(config)?;
    let rules = lanes.lane(context.entity.key.as_str());
    let (version, paused) = (config.version, rules.paused);
    // As long as nobody has ever activated anything, what a person set stays.
    let is_untold = version == 0 && state.version().unwrap_or(0) == 0;
    let limits = if is_untold { state.limits().clone() } else { rules.limits() };
    let holds = holds(state, BY_SETTINGS);
    if state.version() == Some(version) && *state.limits() == limits && holds == paused {
        return Ok(None);
    }
    Ok(Some(Event::Configured { version, limits, paused, at: context.now }))
}

/// A person's pause; none when it is paused for this reason.
pub(super) fn pause(
    state: &State,
    reason: String,
    by: String,
    at: Timestamp,
) -> Result<Option<Event>, Refusal> {
    check_reason(&reason)?;
    let known = state.valves().get(BY_HAND);
    let is_same = known.is_some_and(|valve| valve.holds() && valve.reason == words(&reason, &by));
    Ok((!is_same).then_some(Event::Paused { reason, by, at }))
}

/// The end of a person's pause.
pub(super) fn resume(
    state: &State,
    reason: String,
    by: String,
    per_minute: Option<u32>,
    context: &Context<'_>,
) -> Result<Event, Refusal> {
    let lane = &context.entity.key;
    if per_minute == Some(0) {
        return Err(Refusal::new("invalid-rate", "a rate of 0 would be a pause").hint("give at least 1"));
    }
    // One that is released still may be told another rate.
    if !state.valves().contains_key(BY_HAND) {
        let refusal = Refusal::new("not-paused", format!("nobody paused the lane `{lane}` by hand"));
        return Err(match holds(state, BY_SETTINGS) {
            true => refusal.hint("the settings `lanes` pause it: `orrery config history lanes` says why"),
            false => refusal.hint(format!("`orrery lanes show {lane}` says what limits it")),
        });
    }
    Ok(Event::Resumed { reason, by, per_minute, at: context.now })
}

fn holds(state: &State, cause: &str) -> bool {
    state.valves().get(cause).is_some_and(Valve::holds)
}

/// What stands where the lane says what limits it.
fn words(reason: &str, by: &str) -> String {
    match by {
        "" => format!("paused: {reason}"),
        by => format!("paused by {by}: {reason}"),
    }
}

/// Applies what happened to the rules or to a pause.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::Configured { version, limits, paused, at } => {
            state.set_rules(*version, limits);
            match (*paused, holds(state, BY_SETTINGS)) {
                (true, false) => {
                    let reason = format!("paused by version {version} of the settings `lanes`");
                    close(state, BY_SETTINGS, reason, *at);
                }
                (false, true) => state.ease(BY_SETTINGS, None, *at),
                (true, true) | (false, false) => {}
            }
        }
        Event::Paused { reason, by, at } => close(state, BY_HAND, words(reason, by), *at),
        Event::Resumed { per_minute, at, .. } => state.ease(BY_HAND, *per_minute, *at),
        _ => {}
    }
}

fn close(state: &mut State, cause: &str, reason: String, at: Timestamp) {
    state.set_valve(&cause.into(), Some(Valve::closed(HoldScope::Lane, reason, at)));
}
