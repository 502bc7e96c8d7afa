//! Redrives: many dead letters, redriven at a rate.

use bus_schemas::commands::redrive::Filter;
use bus_schemas::{Key, Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The filter and the rate of a redrive. All given conditions must hold.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRedrive {
    /// The redrive's name; the same name with the same filter is the same redrive. Default: a new name.
    pub name: Option<Key>,
    /// Every waiting dead letter. Required when no other condition is given.
    #[serde(default)]
    pub all: bool,
    /// Only dead letters of this class.
    pub class: Option<String>,
    /// Only dead letters meant for an entity of this kind.
    pub kind: Option<String>,
    /// Only dead letters meant for an entity whose key begins with this.
    pub key: Option<String>,
    /// Only dead letters that failed because of this dependency: the key of a breaker.
    pub dependency: Option<Key>,
    /// Only dead letters recorded at this time or later, in milliseconds since 1970.
    #[serde(deserialize_with = "bus_schemas::wire::time", default)]
    pub since: Option<u64>,
    /// Only dead letters recorded before this time, in milliseconds since 1970.
    #[serde(deserialize_with = "bus_schemas::wire::time", default)]
    pub before: Option<u64>,
    /// Entries per second. Default: 10.
    #[schemars(range(min = 1, max = 1000))]
    pub rate: Option<u32>,
    /// The reason, for people.
    #[serde(default)]
    pub reason: String,
}

/// How to resume a redrive.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeRedrive {
    /// The new rate, in entries per second. Default: unchanged.
    #[schemars(range(min = 1, max = 1000))]
    pub rate: Option<u32>,
}

/// A page of redrives.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RedrivePage {
    /// The redrives, newest first.
    pub redrives: Vec<Redrive>,
    /// The cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// The state of a redrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum RedriveState {
    /// Entries are still being collected; those already found are being sent.
    Gathering,
    /// Entries are being sent, or results are awaited.
    Running,
    /// Nothing is sent until the redrive is resumed.
    Paused,
    /// All entries were tried.
    Completed,
    /// The redrive was canceled: nothing more is sent.
    Canceled,
}

/// A redrive of many dead letters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Redrive {
    /// The redrive's name.
    pub id: Key,
    /// The redrive's state.
    pub state: RedriveState,
    /// The filter for dead letters.
    pub filter: Filter,
    /// Entries per second.
    pub rate: u32,
    /// Entries found so far.
    pub entries: u64,
    /// Whether all entries are known.
    pub gathered: bool,
    /// Entries that were sent.
    pub sent: u64,
    /// Entries that succeeded.
    pub redriven: u64,
    /// Entries that failed again, and wait.
    pub returned: u64,
    /// Entries that were not tried.
    pub skipped: u64,
    /// The latest failure of an entry.
    pub last_failure: Option<String>,
    /// The caller who started the redrive.
    pub by: String,
    /// The reason, for people.
    pub reason: String,
    /// When the redrive was started, in milliseconds since 1970.
    pub started_at: Timestamp,
    /// When the redrive ended, in milliseconds since 1970.
    pub ended_at: Option<Timestamp>,
    /// The redrive's revision: the number of its events.
    pub revision: Revision,
}
