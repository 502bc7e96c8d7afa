//! The limits that keep the whole lane from beginning one more job now.

use bus_schemas::Timestamp;
use bus_schemas::commands::lane::{HoldScope, Window};
use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::views::lane::{Block, Limit};

use super::state::{Begun, State};
use crate::schedule::recurrence;

/// The limits that are reached. If empty, one more job may begin.
pub(super) fn of(state: &State, now: Timestamp) -> Vec<Block> {
    let (limits, begun) = (state.limits(), state.begun());
    let (minute, day) = Begun::next(now);
    let block = |what, reason: String, until| Block { what, reason, cause: None, until };
    let mut blocks = Vec::new();
    for (cause, throttle) in
        state.throttles().iter().filter(|(_, throttle)| *throttle.scope() == HoldScope::Lane)
    {
        let running = u32::try_from(state.running_count()).unwrap_or(u32::MAX);
        if throttle.allows_at(running, now) == 0 {
            let what = if throttle.is_closed() { Limit::Held } else { Limit::Easing };
            blocks.push(Block { cause: Some(cause.clone()), ..block(what, throttle.reason.clone(), None) });
        }
        if let Some(cap) = throttle.rate_reached(now) {
            let reason = format!("{cap} jobs begin in this minute at most while it is released");
            let easing = block(Limit::Easing, reason, Some(minute));
            blocks.push(Block { cause: Some(cause.clone()), ..easing });
        }
    }
    if let Some(cap) = limits.concurrent.filter(|cap| state.running_count() >= *cap as usize) {
        blocks.push(block(Limit::Concurrent, format!("{cap} jobs run at once at most"), None));
    }
    if let Some(cap) = limits.per_minute.filter(|cap| begun.in_minute(now) >= *cap) {
        blocks.push(block(Limit::PerMinute, format!("{cap} jobs begin in a minute at most"), Some(minute)));
    }
    if let Some(cap) = limits.per_day.filter(|cap| begun.in_day(now) >= *cap) {
        blocks.push(block(Limit::PerDay, format!("{cap} jobs begin on a day at most"), Some(day)));
    }
    for window in &limits.windows {
        if let Some(end) = end_of(window, now) {
            let reason = format!("maintenance, each `{}`", window.cron);
            blocks.push(block(Limit::Window, reason, Some(end)));
        }
    }
    blocks
}

/// The end of the window that contains `now`.
fn end_of(window: &Window, now: Timestamp) -> Option<Timestamp> {
    let recurrence = Recurrence::Cron { expression: window.cron.clone() };
    // The last start that could still contain `now` is the first one after this.
    let earliest = Timestamp(now.0.saturating_sub(window.duration_ms));
    let begin = recurrence::next(&recurrence, earliest).filter(|begin| *begin <= now)?;
    Some(begin.plus_ms(window.duration_ms))
}
