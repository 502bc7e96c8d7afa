//! Halts: what is halted, why, and since when.

use bus_schemas::commands::halt::Standstill;
use bus_schemas::{Key, Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to halt, and why.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHalt {
    /// The scope: `all`, `lane.…`, `agent.…`, or `task.…` for a task and its descendants.
    pub scope: Key,
    /// The reason, for whoever is on call.
    pub reason: String,
    /// Grace period for running work before it is killed, in milliseconds. Default: 5,000.
    #[schemars(range(max = 60000))]
    #[serde(deserialize_with = "bus_schemas::wire::int64", default)]
    pub grace_ms: Option<u64>,
}

/// How to resume a halted scope.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeHalt {
    /// The reason, for people. Default: `resumed`.
    pub reason: Option<String>,
    /// Jobs that may begin in the first minute, in each lane; for `all` and lanes. Each minute that uses its
    /// number up doubles it; a failure brings the first number back. Default: one job at first, and one more
    /// for each that is done.
    #[schemars(range(min = 1))]
    pub per_minute: Option<u32>,
    /// The revision at which the halt was read: one that was made or ended after it stays. Default: the
    /// gateway reads the halt itself.
    #[serde(deserialize_with = "bus_schemas::wire::int64", default)]
    pub revision: Option<u64>,
}

/// A page of halts in force.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct HaltPage {
    /// The halts, by scope.
    pub halts: Vec<Halt>,
    /// The cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// A halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Halt {
    /// The scope: `all`, `lane.…`, `agent.…` or `task.…`.
    pub scope: Key,
    /// Whether the scope is halted.
    pub halted: bool,
    /// The reason for the halt, or for its end.
    pub reason: String,
    /// The caller who halted the scope or resumed it.
    pub by: String,
    /// When the scope was halted or resumed, in milliseconds since 1970.
    pub since: Timestamp,
    /// Grace period for running work, in milliseconds; null when the halt ended.
    pub grace_ms: Option<u64>,
    /// Jobs that may begin in the first minute, in each lane; null while halted, or when no rate was given.
    pub per_minute: Option<u32>,
    /// The halt's revision: the number of its events.
    pub revision: Revision,
}

/// A halt after it was made or ended.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct HaltChanged {
    /// The halt after the change.
    #[serde(flatten)]
    pub halt: Halt,
    /// Whether the lane, the agent or the task is known: a misspelled name halts nothing.
    pub known: bool,
    /// Whether the halt ended before: work that was still coming back gradually resumes at once, or at
    /// this rate.
    pub already_resumed: bool,
    /// The halt that ended now; null if none did.
    pub ended: Option<Standstill>,
}
