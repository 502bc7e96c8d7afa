//! The state of a redrive: its entries, their progress, and its rate.

use std::collections::{BTreeSet, VecDeque};

use bus_schemas::commands::redrive::{EntryOutcome, Filter};
use bus_schemas::events::redrive::Event;
use bus_schemas::{Key, Timestamp};
use serde::{Deserialize, Serialize};

/// A redrive; without `filter` it was never started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Selects the dead letters.
    pub filter: Option<Filter>,
    /// Entries per second.
    pub rate: u32,
    /// Its state.
    pub status: Status,
    /// Whether nothing is sent until it is resumed.
    pub paused: bool,
    /// Whether all of its entries are known.
    pub complete: bool,
    /// Every entry that was added.
    pub known: BTreeSet<Key>,
    /// Entries that were not sent yet, in order.
    pub queue: VecDeque<Key>,
    /// Sent entries without an outcome.
    pub under_way: BTreeSet<Key>,
    /// When entries were last sent.
    pub sent_at: Timestamp,
    /// How many commands were done.
    pub redriven: u64,
    /// How many failed again.
    pub returned: u64,
    /// How many were not tried.
    pub skipped: u64,
}

/// The status of a redrive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Its entries are gathered, sent and settled.
    #[default]
    Running,
    /// All of its entries were tried.
    Completed,
    /// Nothing more is sent.
    Canceled,
}

impl Status {
    /// The state as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Canceled => "canceled",
        }
    }
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::Started { filter, rate, .. } => {
            state.filter = Some(filter.clone());
            state.rate = *rate;
        }
        Event::EntriesAdded { entries, last } => {
            state.known.extend(entries.iter().cloned());
            state.queue.extend(entries.iter().cloned());
            state.complete |= last;
        }
        Event::EntriesSent { entries, at } => {
            state.sent_at = *at;
            // They are the first of the queue: entries are sent in order, each once.
            state.queue.drain(..entries.len().min(state.queue.len()));
            state.under_way.extend(entries.iter().cloned());
        }
        Event::EntrySettled { entry, outcome, .. } => {
            state.under_way.remove(entry);
            match outcome {
                EntryOutcome::Redriven => state.redriven += 1,
                EntryOutcome::Returned => state.returned += 1,
                EntryOutcome::Skipped => state.skipped += 1,
            }
        }
        Event::Paused { .. } => state.paused = true,
        Event::Resumed { rate, .. } => {
            state.paused = false;
            state.rate = *rate;
        }
        Event::Canceled { .. } => {
            state.status = Status::Canceled;
            state.queue.clear();
        }
        Event::Completed { .. } => state.status = Status::Completed,
    }
}
