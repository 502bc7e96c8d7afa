//! Lanes: what waits and runs in each, and what limits it now; their rules, and pauses.

use bus_schemas::commands::halt::Standstill;
use bus_schemas::views::lane::Lane;
use bus_schemas::views::silent::Silent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A change of a lane's rules.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeLane {
    /// A merge patch (RFC 7396) of `concurrent`, `per_minute`, `per_day`, `weights`, `ageing`, `maintenance`
    /// and `paused`, as in the settings `lanes`; null removes a bound.
    pub rules: Map<String, Value>,
    /// The reason, for people.
    pub reason: String,
    /// Whether the lane may be unknown so far. Default: false, so that a misspelled name changes nothing.
    #[serde(default)]
    pub new: bool,
}

/// The reason for pausing a lane.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseLane {
    /// The reason, for whoever is on call.
    pub reason: String,
}

/// How to resume a lane.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeLane {
    /// The reason, for people. Default: `resumed`.
    pub reason: Option<String>,
    /// Jobs that may begin in the first minute. Each minute that uses its number up doubles it; a failure
    /// brings the first number back. Default: one job at first, and one more for each that is done.
    #[schemars(range(min = 1))]
    pub per_minute: Option<u32>,
    /// The revision at which the lane was read: one that was made or ended after it stays. Default: the
    /// gateway reads the lane itself.
    #[serde(deserialize_with = "bus_schemas::wire::int64", default)]
    pub revision: Option<u64>,
}

/// A page of lanes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LanePage {
    /// The lanes, by name.
    pub lanes: Vec<Lane>,
    /// Lanes of the page, and settings, that did not answer.
    #[serde(default)]
    pub silent: Vec<Silent>,
    /// The cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// A lane after it was paused or resumed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LanePaused {
    /// The lane after the change.
    #[serde(flatten)]
    pub lane: Lane,
    /// Whether the lane is paused.
    pub paused: bool,
    /// Jobs that may begin in the first minute; null when no rate was given.
    pub per_minute: Option<u32>,
    /// Whether the lane was resumed before: work that was still coming back gradually resumes at once, or at
    /// this rate.
    pub already_resumed: bool,
    /// The pause that ended now; null if none did.
    pub ended: Option<Standstill>,
}

/// A lane after its rules were changed.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LaneChanged {
    /// The lane after the change.
    #[serde(flatten)]
    pub lane: Lane,
    /// The active version of the settings `lanes`.
    pub active: u64,
    /// The version that was active before.
    pub former: u64,
    /// Whether the lane already runs the active version.
    pub applied: bool,
}
