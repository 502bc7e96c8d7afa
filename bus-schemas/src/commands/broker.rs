//! Commands for `broker`: the queue of one lane. The key is the lane.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::queue::Entry;
use crate::ids::{Key, PartitionId, Timestamp};
use crate::settings::ApplyConfig;

/// The longest name of a lane: the key of its queues has room for a partition's token beside it.
pub const LANE_BYTES_MAX: usize = 128;

/// What a broker can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// From a queue that begins: it wants the rules of the lane, now and whenever they change.
    Join {
        /// The queue's partition.
        partition: PartitionId,
    },
    /// From a queue of a lane that has begun to govern: what waits and runs there.
    Report {
        /// The queue's partition.
        partition: PartitionId,
        /// The number of the rules that it answers.
        number: u64,
        /// What waits.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waiting: Vec<Entry>,
        /// What runs.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        running: Vec<Running>,
        /// Whether more follows.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        more: bool,
    },
    /// From a queue, where the lane governs: an attempt waits for leave.
    Enqueue(Entry),
    /// From a queue, where the lane governs: the attempt no longer waits, or its slot is free again.
    /// Harmless twice.
    Release {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
        /// How the attempt ended, where it ran.
        #[serde(default, skip_serializing_if = "Outcome::is_withdrawn")]
        outcome: Outcome,
    },
    /// From an agent: what it can do and how much at once. Replaces what it said before.
    OfferAgent {
        /// The agent.
        agent: Key,
        /// Its skills.
        skills: Vec<SmolStr>,
        /// Jobs at once, over all its workers; 0 takes it out.
        capacity: u32,
        /// What its work depends on: the keys of breakers.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dependencies: Vec<Key>,
    },
    /// From `config/lanes`: the rules of all lanes. This lane takes its own, and they replace those
    /// before; as long as nobody has activated anything it keeps what it has.
    ApplyConfig(ApplyConfig),
    /// From a person: no job begins until it is resumed. What runs goes on.
    Pause {
        /// Why. Required: somebody will ask.
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// From a person: what was paused goes on, gradually. Said again while that goes on: at this rate
    /// from now on, or at once where there is none.
    Resume {
        /// Why.
        #[serde(default)]
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
        /// Jobs that may begin in the first minute; twice as many in each that follows, and so many
        /// again after a failure.
        #[serde(default)]
        per_minute: Option<u32>,
    },
    /// Bounds the jobs of this lane that run at once, until settings are activated; none is no bound.
    SetCap {
        /// Jobs at once.
        concurrent: Option<u32>,
    },
    /// The lane's rules, until settings are activated; they replace those before.
    SetLimits {
        /// The rules.
        limits: Limits,
        /// Why.
        #[serde(default)]
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// From a breaker, a halt or a person: what is in the scope waits. The same cause again replaces
    /// what it said before.
    Hold {
        /// Who holds: `breaker/<dependency>`, `halt/<scope>`, `pause`.
        cause: SmolStr,
        /// What is held.
        scope: HoldScope,
        /// Why.
        reason: String,
        /// Whether what runs is taken back.
        #[serde(default)]
        interrupt: bool,
        /// How long what runs may take to end by itself before that, in milliseconds.
        #[serde(default, skip_serializing_if = "super::is_zero")]
        grace_ms: u64,
    },
    /// Timer: the grace of a hold is over, and what still runs in its scope is taken back.
    Recall {
        /// Who holds.
        cause: SmolStr,
        /// From itself, where it is much: goes on behind this task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Key>,
    },
    /// From itself: leave that an agent cannot use any more is taken back, behind this task.
    Vacate {
        /// The agent, whose workers are gone or can do less.
        agent: Key,
        /// The last task of which it was taken back.
        after: Key,
    },
    /// The cause holds no longer. What waited is released gradually: one job at first, one more for
    /// each that is done, and back to one when one fails. Said again while that goes on: at this rate
    /// from now on, or at once where there is none.
    Ease {
        /// Who held.
        cause: SmolStr,
        /// Jobs that may begin in the first minute; twice as many in each that follows, and so many again
        /// after a failure, until a minute has room for all that there is. Only for the whole lane.
        #[serde(default)]
        per_minute: Option<u32>,
    },
    /// From a breaker: so many jobs may try, although the cause holds.
    Probe {
        /// Who holds.
        cause: SmolStr,
        /// How many.
        permits: u32,
    },
    /// Timer: a bound of time is over.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Wake,
}
crate::wire::wire_command!(Command, "broker");

/// What a broker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with a [`crate::views::lane::Lane`]: who waits, what runs, and what limits it now.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
    /// Answers with a [`crate::views::lane::Waiting`]: what limits a task, as far as the lane knows.
    Explain {
        /// The task.
        task: Key,
        /// The skill that it needs.
        skill: SmolStr,
    },
}
crate::wire::wire_query!(Query, "broker");

/// An attempt that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Running {
    /// The task.
    pub task: Key,
    /// Which attempt.
    pub attempt: u32,
    /// Whose work it is.
    pub owner: SmolStr,
    /// The agent that has it.
    pub agent: Key,
    /// Since when.
    pub at: Timestamp,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It did not run, or nobody knows.
    #[default]
    Withdrawn,
    /// The agent did what it could.
    Done,
    /// The agent, or what it depends on, failed.
    Failed,
}

impl Outcome {
    /// Whether it says nothing: left out where it is written.
    pub fn is_withdrawn(&self) -> bool {
        *self == Self::Withdrawn
    }
}

/// What a hold is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "over", rename_all = "kebab-case", deny_unknown_fields)]
pub enum HoldScope {
    /// Everything in the lane.
    Lane,
    /// One agent.
    Agent {
        /// The agent.
        agent: Key,
    },
    /// Agents that depend on this.
    Dependency {
        /// The breaker's key.
        dependency: Key,
    },
}

/// The rules of a lane. What is missing is not bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Jobs at once.
    pub concurrent: Option<u32>,
    /// Jobs begun in a minute of the clock.
    pub per_minute: Option<u32>,
    /// Jobs begun in a day, in UTC.
    pub per_day: Option<u32>,
    /// What waits for so long, in milliseconds, is one priority higher. At least 1,000.
    pub ageing_ms: Option<u64>,
    /// In which order jobs begin.
    pub order: Order,
    /// How many jobs an owner gets when others get one. 1 for who is not named.
    pub weights: BTreeMap<SmolStr, u32>,
    /// Times in which no job begins.
    pub windows: Vec<Window>,
}

/// In which order the jobs of a lane begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// By priority, fairness and age within a host; between hosts a job may begin up to 250 ms before a
    /// better one elsewhere.
    #[default]
    Host,
    /// By priority, fairness and age over the whole lane, which gives leave to each job.
    Strict,
}

/// A maintenance window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// When it begins: a cron expression in UTC.
    pub cron: String,
    /// How long it lasts, in milliseconds.
    pub duration_ms: u64,
}
