//! Decides the commands of a redrive.

use std::collections::BTreeSet;

use actors_core::{Context, Decision, Refusal};
use bus_schemas::commands::dead_letter;
use bus_schemas::commands::redrive::{Command, EntryOutcome, Filter};
use bus_schemas::events::redrive::Event;
use bus_schemas::text::is_line;
use bus_schemas::{Key, Timestamp};

use super::state::{State, Status};
use crate::text::words;

/// The highest rate, in entries per second: a tenth of what one partition decides.
pub const RATE_MAX: u32 = 1_000;
/// The most entries of one redrive: all of them are in its memory. Further dead letters need another redrive.
pub const ENTRIES_MAX: usize = 100_000;
/// The most entries of one command: with the longest keys they still fit into one.
const PAGE_MAX: usize = 1_000;
/// The longest class, kind or key prefix, in bytes: longer than the longest key.
const FILTER_BYTES_MAX: usize = 256;
/// How many times per second entries are sent at most; at higher rates several are sent at a time.
const SENDS_PER_SECOND_MAX: u32 = 10;
/// The timer for the next entries.
const TIMER: &str = "send-next";

/// The decision on a command.
pub(super) fn decide(
    state: &State,
    command: Command,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    if let Command::Start { filter, rate, reason } = command {
        return start(state, filter, rate, words(reason), context);
    }
    if state.filter.is_none() {
        let key = &context.entity.key;
        return Err(Refusal::new("redrive-not-found", format!("there is no redrive `{key}`"))
            .hint("`orrery redrives` shows what there is"));
    }
    match command {
        Command::Start { .. } | Command::SendNext => Ok(send_next(state, context)),
        Command::AddEntries { entries, last } => add_entries(state, entries, last, context),
        Command::SettleEntry { entry, outcome, reason } => {
            Ok(settle_entry(state, entry, outcome, words(reason), context))
        }
        Command::Pause { reason } => {
            check_running(state, context)?;
            if state.paused {
                return Ok(Decision::none());
            }
            let (by, reason) = (context.by(), words(reason));
            Ok(Decision::event(Event::Paused { by, reason, at: context.now }).cancel_timer(TIMER))
        }
        Command::Resume { rate } => resume(state, rate, context),
        Command::Cancel { reason } => {
            if state.status == Status::Canceled {
                return Ok(Decision::none());
            }
            check_running(state, context)?;
            let (by, reason) = (context.by(), words(reason));
            Ok(Decision::event(Event::Canceled { by, reason, at: context.now }).cancel_timer(TIMER))
        }
    }
}

fn start(
    state: &State,
    filter: Filter,
    rate: u32,
    reason: String,
    context: &Context<'_>,
) -> Result<Decision<Event>, Refusal> {
    check_rate(rate)?;
    check_filter(&filter)?;
    match &state.filter {
        None => {
            let (by, at) = (context.by(), context.now);
            Ok(Decision::event(Event::Started { filter, rate, by, reason, at }))
        }
        Some(known) if *known == filter => Ok(Decision::none()),
        Some(_) => {
            let key = &context.entity.key;
            Err(Refusal::new("redrive-exists", format!("the redrive `{key}` redrives something else"))
                .hint("start it under another name"))
        }
    }
}

/// Refuses times that cannot be written, and invalid words.
fn check_filter(filter: &Filter) -> Result<(), Refusal> {
    let refuse = |message: String| {
        Err(Refusal::new("invalid-filter", message)
            .hint("leave out the fields that the filter does not need"))
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
    Err(Refusal::new("redrive-final", format!("the redrive `{}` is {status}", context.entity.key))
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
    // Several gateways may gather the entries: pages after the last one are repeats.
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

/// The milliseconds between two sends, and how many entries each has: never more than the rate.
pub(super) fn pace(rate: u32) -> (u64, usize) {
    let batch = (rate / SENDS_PER_SECOND_MAX).max(1);
    (u64::from(batch * 1_000).div_ceil(u64::from(rate.max(1))), batch as usize)
}

/// When the next entries may be sent: a pause after the last ones, and not before now.
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
    let redrive =
        dead_letter::Command::Redrive { reason: String::new(), in_redrive: Some(context.entity.key.clone()) };
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

fn resume(state: &State, rate: Option<u32>, context: &Context<'_>) -> Result<Decision<Event>, Refusal> {
    check_running(state, context)?;
    let rate = rate.unwrap_or(state.rate);
    check_rate(rate)?;
    if !state.paused && rate == state.rate {
        return Ok(Decision::none());
    }
    let decision = Decision::event(Event::Resumed { rate, by: context.by(), at: context.now });
    Ok(match state.queue.is_empty() {
        true => decision,
        false => decision.set_timer(TIMER, due(state, context), &Command::SendNext),
    })
}
