//! Events of `redrive`. Subject `<prefix>.evt.redrive.<key>`, ordered per redrive. Consumers: projections.
//! Since v0.2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commands::redrive::{EntryOutcome, Filter};
use crate::ids::{Key, Timestamp};

/// An event of a redrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// The redrive began; its entries are looked for.
    Started {
        /// Selects the dead letters.
        filter: Filter,
        /// Entries per second.
        rate: u32,
        /// The caller who asked for it.
        by: String,
        /// The reason.
        reason: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// Entries were added.
    EntriesAdded {
        /// The entries that were not added before.
        entries: Vec<Key>,
        /// Whether these are the last ones.
        last: bool,
    },
    /// Entries were sent.
    EntriesSent {
        /// The entries.
        entries: Vec<Key>,
        /// The time of the event.
        at: Timestamp,
    },
    /// The outcome of an entry is known.
    EntrySettled {
        /// The entry.
        entry: Key,
        /// The outcome.
        outcome: EntryOutcome,
        /// The reason, if it was not done.
        reason: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The redrive was paused: nothing is sent.
    Paused {
        /// The caller who asked for it.
        by: String,
        /// The reason.
        reason: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The redrive was resumed.
    Resumed {
        /// Entries per second.
        rate: u32,
        /// The caller who asked for it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The redrive was canceled: final, nothing more is sent.
    Canceled {
        /// The caller who asked for it.
        by: String,
        /// The reason.
        reason: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The redrive is complete: final, all entries were tried.
    Completed {
        /// The time of the event.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "redrive", 1);
