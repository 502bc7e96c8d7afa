//! Events of `campaign`. Subject `<prefix>.evt.campaign.<key>`, ordered per campaign. Consumers:
//! projections. Since v0.2.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::commands::campaign::{EntryOutcome, Filter};
use crate::ids::{Key, Timestamp};

/// What happened to a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// It exists; its entries are looked for.
    Started {
        /// Which dead letters.
        filter: Filter,
        /// Entries a second.
        rate: u32,
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// These entries belong to it.
    EntriesAdded {
        /// Those that were not added before.
        entries: Vec<Key>,
        /// Whether there are no more.
        last: bool,
    },
    /// These entries are being redriven.
    EntriesSent {
        /// The entries.
        entries: Vec<Key>,
        /// When.
        at: Timestamp,
    },
    /// It is known what came of an entry.
    EntrySettled {
        /// The entry.
        entry: Key,
        /// What.
        outcome: EntryOutcome,
        /// Why, where it was not done.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// Nothing is sent.
    Paused {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// It goes on.
    Resumed {
        /// Entries a second.
        rate: u32,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// Final: nothing more is sent.
    Canceled {
        /// Who.
        by: String,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// Final: all of its entries were tried.
    Completed {
        /// When.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "campaign", 1);
