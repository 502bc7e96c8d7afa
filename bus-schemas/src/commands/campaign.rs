//! Commands for `campaign`: many dead letters redriven at a rate. The key is the campaign.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{Key, Timestamp};

/// What a campaign can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Begins it. A gateway finds the entries that its filter means, and adds them.
    Start {
        /// Which dead letters.
        #[serde(default)]
        filter: Filter,
        /// Entries a second, 1 to 1000.
        #[serde(default = "default_rate")]
        #[schemars(range(min = 1, max = 1_000))]
        rate: u32,
        /// Who.
        #[serde(default)]
        by: String,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// From a gateway: entries that the filter means. One that was added before is not added again.
    AddEntries {
        /// The entries, at most 1,000.
        entries: Vec<Key>,
        /// Whether these are the last ones.
        #[serde(default)]
        last: bool,
    },
    /// Sends nothing until resumed.
    Pause {
        /// Who.
        #[serde(default)]
        by: String,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// Goes on.
    Resume {
        /// Entries a second from now on, 1 to 1000; none for as before.
        #[serde(default)]
        rate: Option<u32>,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// Ends it: what was not sent stays where it is.
    Cancel {
        /// Who.
        #[serde(default)]
        by: String,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// From a dead letter: what came of it.
    SettleEntry {
        /// The entry.
        entry: Key,
        /// What came of it.
        outcome: EntryOutcome,
        /// Why, where it was not done.
        #[serde(default)]
        reason: String,
    },
    /// Timer: the next entries are due.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    SendNext,
}
crate::wire::wire_command!(Command, "campaign");

fn default_rate() -> u32 {
    10
}

/// Which dead letters: those that wait and for which all of these hold. Nothing said means every one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Of this class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<SmolStr>,
    /// Meant for this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SmolStr>,
    /// Meant for a key that begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SmolStr>,
    /// Failed by this dependency: the key of a breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependency: Option<Key>,
    /// Given up at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Given up before this time. A campaign means nothing that came after its start in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
}

/// What came of one entry of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum EntryOutcome {
    /// It was done.
    Redriven,
    /// It failed again, and waits.
    Returned,
    /// It was not tried: it no longer waited, or could not be redriven.
    Skipped,
}
