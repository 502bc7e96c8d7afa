//! Commands for `redrive`: redrives many dead letters at a rate. The key is the redrive.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{Key, Timestamp};

/// A command for a redrive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Begins the redrive. A gateway finds the entries that match the filter, and adds them.
    Start {
        /// Selects the dead letters.
        #[serde(default)]
        filter: Filter,
        /// Entries per second, 1 to 1,000.
        #[serde(default = "default_rate")]
        #[schemars(range(min = 1, max = 1_000))]
        rate: u32,
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// From a gateway: matching entries. An entry that was added before is not added again.
    AddEntries {
        /// The entries, at most 1,000.
        entries: Vec<Key>,
        /// Whether these are the last entries.
        #[serde(default)]
        last: bool,
    },
    /// Sends nothing until it is resumed.
    Pause {
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// Resumes sending.
    Resume {
        /// Entries per second from now on, 1 to 1,000; unchanged if absent.
        #[serde(default)]
        rate: Option<u32>,
    },
    /// Ends the redrive: entries that were not sent stay as they are.
    Cancel {
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// From a dead letter: the outcome of its redrive.
    SettleEntry {
        /// The entry.
        entry: Key,
        /// The outcome.
        outcome: EntryOutcome,
        /// The reason, if it was not done.
        #[serde(default)]
        reason: String,
    },
    /// Timer: the next entries are due.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    SendNext,
}
crate::wire::wire_command!(Command, "redrive");

fn default_rate() -> u32 {
    10
}

/// Selects dead letters: those that wait and match all fields that are set. An empty filter selects all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RedriveFilter")]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<SmolStr>,
    /// The kind of the addressed entity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SmolStr>,
    /// A prefix of the addressed entity's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SmolStr>,
    /// The key of the breaker of the dependency that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependency: Option<Key>,
    /// Given up at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Given up before this time. Dead letters from after the start of the redrive are never selected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
}

/// The outcome of one entry of a redrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum EntryOutcome {
    /// The command was done.
    Redriven,
    /// The command failed again; the dead letter waits.
    Returned,
    /// The entry was not tried: it no longer waited, or could not be redriven.
    Skipped,
}
