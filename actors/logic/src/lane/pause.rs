//! Rules and pauses of the whole lane, by settings and by people.

use actors_core::{Context, Refusal};
use bus_schemas::commands::halt::Standstill;
use bus_schemas::commands::lane::HoldScope;
use bus_schemas::events::lane::Event;
use bus_schemas::settings::{ApplySettings, Lanes};
use bus_schemas::{Revision, Timestamp};
use serde::{Deserialize, Serialize};

use super::state::State;
use super::throttle::Throttle;
use crate::halt::{check_meant, check_reason};
use crate::rules;

/// The cause of a person's pause.
pub(super) const BY_HAND: &str = "pause";
/// The cause of a pause in the settings.
pub(super) const BY_SETTINGS: &str = "settings/lanes";

/// The pauses of a lane by people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pauses {
    /// The pause that stands; `None` if the lane is not paused by hand.
    pub standing: Option<Standstill>,
    /// The revision in which the lane was last paused or resumed by hand.
    pub changed: Revision,
}

/// The rules of a version of the settings; `None` if the lane has them already.
pub(super) fn apply_settings(
    state: &State,
    config: &ApplySettings,
    context: &Context<'_>,
) -> Result<Option<Event>, Refusal> {
    let lanes: Lanes = rules::read(config)?;
    let rules = lanes.lane(context.entity.key.as_str());
    let (version, paused) = (config.version, rules.paused);
    // Until a version was activated, a person's rules stay.
    let is_untold = version == 0 && state.version().unwrap_or(0) == 0;
    let limits = if is_untold { state.limits().clone() } else { rules.limits() };
    let holds = holds(state, BY_SETTINGS);
    if state.version() == Some(version) && *state.limits() == limits && holds == paused {
        return Ok(None);
    }
    Ok(Some(Event::Configured { version, limits, paused, at: context.now }))
}

/// A person's pause; `None` if the lane is paused for this reason already.
pub(super) fn pause(state: &State, reason: String, context: &Context<'_>) -> Result<Option<Event>, Refusal> {
    check_reason(&reason)?;
    let (by, at) = (context.by(), context.now);
    let known = state.throttles().get(BY_HAND);
    let is_same = known.is_some_and(|throttle| throttle.holds() && throttle.reason == words(&reason, &by));
    Ok((!is_same).then_some(Event::Paused { reason, by, at }))
}

/// The end of a person's pause.
pub(super) fn resume(
    state: &State,
    reason: String,
    per_minute: Option<u32>,
    meant: Option<Revision>,
    context: &Context<'_>,
) -> Result<Event, Refusal> {
    let lane = &context.entity.key;
    if per_minute == Some(0) {
        return Err(Refusal::new("invalid-rate", "a rate of 0 would be a pause").hint("give at least 1"));
    }
    // A pause that is released gradually may take another rate.
    if !state.throttles().contains_key(BY_HAND) {
        let refusal = Refusal::new("not-paused", format!("nobody paused the lane `{lane}` by hand"));
        return Err(match holds(state, BY_SETTINGS) {
            true => refusal.hint("the settings `lanes` pause it: `orrery settings history lanes` says why"),
            false => refusal.hint(format!("`orrery lanes show {lane}` says what limits it")),
        });
    }
    check_meant(meant, state.pauses().changed, state.pauses().standing.as_ref())?;
    Ok(Event::Resumed { reason, by: context.by(), per_minute, at: context.now })
}

fn holds(state: &State, cause: &str) -> bool {
    state.throttles().get(cause).is_some_and(Throttle::holds)
}

/// The reason of a pause with its caller.
fn words(reason: &str, by: &str) -> String {
    format!("paused by {by}: {reason}")
}

/// Applies an event of the rules or of a pause.
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
        Event::Paused { reason, by, at } => {
            close(state, BY_HAND, words(reason, by), *at);
            state.set_pause(Some(Standstill { reason: reason.clone(), by: by.clone(), since: *at }));
        }
        Event::Resumed { per_minute, at, .. } => {
            state.ease(BY_HAND, *per_minute, *at);
            state.set_pause(None);
        }
        _ => {}
    }
}

fn close(state: &mut State, cause: &str, reason: String, at: Timestamp) {
    state.set_throttle(&cause.into(), Some(Throttle::closed(HoldScope::Lane, reason, at)));
}
