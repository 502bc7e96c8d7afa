//! Decides the commands of a campaign.

use std::collections::BTreeSet;

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::campaign::{Command, EntryOutcome, Filter};
use bus_schemas::commands::deadletter;
use bus_schemas::events::campaign::Event;
use bus_schemas::text::is_line;
use bus_schemas::{Key, Timestamp};

use super::state::{State, Status};
use crate::text::{name, words};

/// The highest rate, in entries a second: a tenth of what one partition decides.
pub const RATE_MAX: u32 = 1_000;
/// Entries of one campaign: all of them are in its memory. What waits beyond is another campaign's.
pub const ENTRIES_MAX: usize = 100_000;
/// Entries of one command: with keys of the longest kind it still fits into one.
const PAGE_MAX: usize = 1_000;
/// A class, a kind or the beginning of a key: longer than the longest key.
const FILTER_BYTES_MAX: usize = 256;
/// How many times a second entries are sent at the most; at higher rates each time has several.
const SENDS_PER_SECOND_MAX: u32 = 10;
/// The timer of the next entries.
const TIMER: &str = "send-next";

/// What a command leads to.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if let Command::Start { filter, rate, by, reason } = command {
        return start(state, filter, rate, (name(by), words(reason)), context);
    }
    if state.filter.is_none() {
        let key = &context.entity.key;
        return Err(Refusal::new("campaign-not-found", format!("there is no campaign `{key}`"))
            .hint("`orrery dead campaigns` shows what there is"));
    }
    match command {
        Command::Start { .. } | Command::SendNext => Ok(send_next(state, context)),
        Command::AddEntries { entries, last } => add_entries(state, entries, last, context),
        Command::SettleEntry { entry, outcome, reason } => {
            Ok(settle_entry(state, entry, outcome, reason, context))
        }
        Command::Pause { by, reason } => {
            check_running(state, context)?;
            if state.paused {
                return Ok(Decision::none());
            }
            let (by, reason) = (name(by), words(reason));
            Ok(Decision::event(Event::Paused { by, reason, at: context.now }).cancel_timer(TIMER))
        }
        Command::Resume { rate, by } => resume(state, rate, name(by), context),
        Command::Cancel { by, reason } => {
            if state.status == Status::Canceled {
                return Ok(Decision::none());
            }
            check_running(state, context)?;
            let (by, reason) = (name(by), words(reason));
            Ok(Decision::event(Event::Canceled { by, reason, at: context.now }).cancel_timer(TIMER))
        }
    }
}

fn start(
    state: &State,
    filter: Filter,
    rate: u32,
    (by, reason): (String, String),
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_rate(rate)?;
    check_filter(&filter)?;
    match &state.filter {
        None => Ok(Decision::event(Event::Started { filter, rate, by, reason, at: context.now })),
        Some(known) if *known == filter => Ok(Decision::none()),
        Some(_) => {
            let key = &context.entity.key;
            Err(Refusal::new("campaign-exists", format!("the campaign `{key}` redrives something else"))
                .hint("start it under another name"))
        }
    }
}

/// Refuses times that nobody can write, and words that are none.
fn check_filter(filter: &Filter) -> Result<(), Refusal> {
    let refuse = |message: String| {
        Err(Refusal::new("invalid-filter", message).hint("leave out what is not to be filtered by"))
    };
    let mut words = [&filter.class, &filter.kind, &filter.key].into_iter().flatten();
    if !words.all(|word| word.len() <= FILTER_BYTES_MAX && is_line(word)) {
        return refuse(format!("each word of a filter has at most {FILTER_BYTES_MAX} bytes of visible text"));
    }
    if filter.since.max(filter.before).is_none_or(|time| time <= Timestamp::MAX) {
        return Ok(());
    }
    refuse(format!("a time of the filter is later than {}", Timestamp::MAX.to_rfc3339()))
}

fn check_rate(rate: u32) -> Result<(), Refusal> {
    if (1..=RATE_MAX).contains(&rate) {
        return Ok(());
    }
    Err(Refusal::new("invalid-rate", format!("a rate is 1 to {RATE_MAX} entries a second, not {rate}"))
        .hint("give a rate within these bounds"))
}

fn check_running(state: &State, context: &Context<'_>) -> Result<(), Refusal> {
    if state.status == Status::Running {
        return Ok(());
    }
    let status = state.status.as_str();
    Err(Refusal::new("campaign-final", format!("the campaign `{}` is {status}", context.entity.key))
        .hint("start another one"))
}

fn add_entries(
    state: &State,
    entries: Vec<Key>,
    last: bool,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if entries.len() > PAGE_MAX {
        let message = format!("at most {PAGE_MAX} entries are added at once, not {}", entries.len());
        return Err(Refusal::new("invalid-entries", message).hint("add them in several commands"));
    }
    // Several gateways may look for them: what comes after the last ones is theirs once more.
    if state.complete || state.status != Status::Running {
        return Ok(Decision::none());
    }
    let mut seen = BTreeSet::new();
    let is_new = |entry: &Key| !state.known.contains(entry) && seen.insert(entry.clone());
    let mut fresh: Vec<Key> = entries.into_iter().filter(is_new).collect();
    let room = ENTRIES_MAX - state.known.len().min(ENTRIES_MAX);
    let is_full = fresh.len() >= room;
    fresh.truncate(room);
    let last = last || is_full;
    if fresh.is_empty() && !last {
        return Ok(Decision::none());
    }
    let was_idle = state.queue.is_empty();
    let has_more = !fresh.is_empty();
    let decision = Decision::event(Event::EntriesAdded { entries: fresh, last });
    if was_idle && has_more && !state.paused {
        return Ok(decision.set_timer(TIMER, due(state, context), &Command::SendNext));
    }
    let is_over = last && !has_more && was_idle && state.under_way.is_empty();
    Ok(if is_over { decision.and(Event::Completed { at: context.now }) } else { decision })
}

/// The milliseconds between two sendings, and how many entries each has: never more than the rate.
pub(super) fn pace(rate: u32) -> (u64, usize) {
    let batch = (rate / SENDS_PER_SECOND_MAX).max(1);
    (u64::from(batch * 1_000).div_ceil(u64::from(rate.max(1))), batch as usize)
}

/// When the next entries may be sent: a pause behind the last ones, and not before now.
fn due(state: &State, context: &Context<'_>) -> Timestamp {
    context.now.max(state.sent_at.plus_ms(pace(state.rate).0))
}

/// Timer: sends the next entries.
fn send_next(state: &State, context: &Context<'_>) -> Decision<Event> {
    if state.paused || state.status != Status::Running || state.queue.is_empty() {
        return Decision::none();
    }
    let (pause_ms, batch) = pace(state.rate);
    let entries: Vec<Key> = state.queue.iter().take(batch).cloned().collect();
    let redrive = deadletter::Command::Redrive {
        by: format!("campaign/{}", context.entity.key),
        reason: String::new(),
        campaign: Some(context.entity.key.clone()),
    };
    let mut decision = Decision::event(Event::EntriesSent { entries: entries.clone(), at: context.now });
    for entry in entries {
        decision = decision.send(entry, &redrive);
    }
    match state.queue.len() > batch {
        true => decision.set_timer(TIMER, context.now.plus_ms(pause_ms), &Command::SendNext),
        false => decision,
    }
}

fn settle_entry(
    state: &State,
    entry: Key,
    outcome: EntryOutcome,
    reason: String,
    context: &Context<'_>,
) -> Decision<Event> {
    if !state.under_way.contains(&entry) {
        return Decision::none();
    }
    let is_last = state.complete && state.queue.is_empty() && state.under_way.len() == 1;
    let decision = Decision::event(Event::EntrySettled { entry, outcome, reason, at: context.now });
    if is_last && state.status == Status::Running {
        return decision.and(Event::Completed { at: context.now }).cancel_timer(TIMER);
    }
    decision
}

fn resume(
    state: &State,
    rate: Option<u32>,
    by: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_running(state, context)?;
    let rate = rate.unwrap_or(state.rate);
    check_rate(rate)?;
    if !state.paused && rate == state.rate {
        return Ok(Decision::none());
    }
    let decision = Decision::event(Event::Resumed { rate, by, at: context.now });
    Ok(match state.queue.is_empty() {
        true => decision,
        false => decision.set_timer(TIMER, due(state, context), &Command::SendNext),
    })
}
