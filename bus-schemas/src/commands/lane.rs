//! Commands for `lane`: work under common rules, with a queue in each partition. The key is the lane.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::queue::Entry;
use crate::ids::{Key, PartitionId, Revision, Timestamp};
use crate::settings::ApplySettings;

/// The longest name of a lane: the key of its queues adds a partition's token.
pub const LANE_BYTES_MAX: usize = 128;

/// A command for a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// From a new queue: it wants the rules of the lane, now and whenever they change.
    Join {
        /// The queue's partition.
        partition: PartitionId,
    },
    /// From a queue of a lane that has begun to govern: the attempts that wait and run there.
    Report {
        /// The queue's partition.
        partition: PartitionId,
        /// The number of the rules that it answers.
        number: u64,
        /// The waiting attempts.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waiting: Vec<Entry>,
        /// The running attempts.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        running: Vec<Running>,
        /// Whether another report follows.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        more: bool,
    },
    /// From a queue, if the lane governs: an attempt waits for leave to begin.
    Enqueue(Entry),
    /// From a queue, if the lane governs: the attempt no longer waits, or its slot is free again. A repeat
    /// changes nothing.
    Release {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
        /// How the attempt ended, if it ran.
        #[serde(default, skip_serializing_if = "Outcome::is_withdrawn")]
        outcome: Outcome,
    },
    /// From an agent: its skills and capacity. Replaces what it sent before.
    OfferAgent {
        /// The agent.
        agent: Key,
        /// Its skills.
        skills: Vec<SmolStr>,
        /// Concurrent jobs over all its workers; 0 removes the agent.
        capacity: u32,
        /// The keys of the breakers that its work depends on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dependencies: Vec<Key>,
    },
    /// From `settings/lanes`: the rules of all lanes, of which this lane takes its own. Until settings are
    /// activated it keeps its rules.
    ApplySettings(ApplySettings),
    /// From a person: no job begins until the lane is resumed. Running jobs go on.
    Pause {
        /// The reason. Required: others will ask.
        reason: String,
    },
    /// From a person: resumes a paused lane gradually. During that, changes the rate, or removes it if none
    /// is given. Answers with the pause that ended, a [`super::halt::Standstill`], or `null` if it had ended
    /// before.
    Resume {
        /// The reason.
        #[serde(default)]
        reason: String,
        /// Jobs that may begin in the first minute. Doubles each minute; starts over after a failure.
        #[serde(default)]
        per_minute: Option<u32>,
        /// The revision of the lane whose pause is meant: a pause made or ended after it stays. Absent
        /// for whatever pause there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<Revision>,
    },
    /// Limits the concurrent jobs of this lane until settings are activated.
    SetCap {
        /// Most concurrent jobs; `null` for no limit.
        concurrent: Option<u32>,
    },
    /// Replaces the lane's rules until settings are activated.
    SetLimits {
        /// The rules.
        limits: Limits,
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// From a breaker or a halt: holds the work of a scope. The same cause again replaces its hold.
    Hold {
        /// The cause of the hold: `breaker/<dependency>`, `halt/<scope>`, `pause`.
        cause: SmolStr,
        /// The held scope.
        scope: HoldScope,
        /// The reason.
        reason: String,
        /// Whether running attempts are taken back.
        #[serde(default)]
        interrupt: bool,
        /// How long running attempts have to end by themselves before that, in milliseconds.
        #[serde(default, skip_serializing_if = "super::is_zero")]
        grace_ms: u64,
    },
    /// Timer: the grace time of a hold is over; attempts in its scope that still run are taken back.
    Recall {
        /// The cause of the hold.
        cause: SmolStr,
        /// From the lane itself, to continue a long recall: the last task handled.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Key>,
    },
    /// From the lane itself: takes back leave that an agent can no longer use, continuing after a task.
    Vacate {
        /// The agent, whose workers are gone or can do less.
        agent: Key,
        /// The last task handled.
        after: Key,
    },
    /// Ends a hold. The held work is released gradually: one job at first, one more for each that succeeds,
    /// and back to one after a failure. During that, changes the rate, or removes it if none is given.
    Ease {
        /// The cause of the hold.
        cause: SmolStr,
        /// Jobs that may begin in the first minute. Doubles each minute and starts over after a failure,
        /// until it no longer limits anything. Only for a hold of the whole lane.
        #[serde(default)]
        per_minute: Option<u32>,
    },
    /// From a breaker: lets some jobs begin as probes in spite of the hold.
    Probe {
        /// The cause of the hold.
        cause: SmolStr,
        /// The number of jobs.
        permits: u32,
    },
    /// Timer: a limit per time has expired.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Wake,
}
crate::wire::wire_command!(Command, "lane");

/// A query of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with a [`crate::views::lane::Lane`]: waiting and running attempts, and current limits.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
    /// Answers with a [`crate::views::lane::Waiting`]: what the lane knows of why a task waits.
    Explain {
        /// The task.
        task: Key,
        /// The skill that the task needs.
        skill: SmolStr,
    },
}
crate::wire::wire_query!(Query, "lane");

/// A running attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// The task.
    pub task: Key,
    /// The number of the attempt.
    pub attempt: u32,
    /// The owner of the work.
    pub owner: SmolStr,
    /// The agent that does it.
    pub agent: Key,
    /// When it began.
    pub at: Timestamp,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The attempt did not run, or its outcome is unknown.
    #[default]
    Withdrawn,
    /// The agent did its work.
    Done,
    /// The agent, or a dependency of it, failed.
    Failed,
}

impl Outcome {
    /// Whether it is the default, which is left out when encoded.
    pub fn is_withdrawn(&self) -> bool {
        *self == Self::Withdrawn
    }
}

/// The scope of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "over", rename_all = "kebab-case", deny_unknown_fields)]
pub enum HoldScope {
    /// The whole lane.
    Lane,
    /// One agent.
    Agent {
        /// The agent.
        agent: Key,
    },
    /// Agents that depend on a dependency.
    Dependency {
        /// The breaker's key.
        dependency: Key,
    },
}

/// The rules of a lane. A missing field means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most concurrent jobs.
    pub concurrent: Option<u32>,
    /// Most jobs begun in a minute of the clock.
    pub per_minute: Option<u32>,
    /// Most jobs begun in a day, in UTC.
    pub per_day: Option<u32>,
    /// Waiting time after which work rises by one priority, in milliseconds, at least 1,000.
    pub ageing_ms: Option<u64>,
    /// The order in which jobs begin.
    pub order: Order,
    /// Fairness weights by owner: an owner with weight 2 gets twice as many jobs as one with 1, the default.
    pub weights: BTreeMap<SmolStr, u32>,
    /// Maintenance windows, in which no job begins.
    pub windows: Vec<Window>,
}

/// The order in which the jobs of a lane begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By priority, fairness and age within a host; across hosts a job may begin up to 250 ms before a better
    /// one elsewhere.
    #[default]
    Host,
    /// By priority, fairness and age across the whole lane, which gives leave to each job.
    Strict,
}

/// A maintenance window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it begins: a cron expression in UTC.
    pub cron: String,
    /// Its length in milliseconds.
    pub duration_ms: u64,
}
