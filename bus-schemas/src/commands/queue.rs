//! Commands for `queue`: the part of a lane in one partition. The key is `<token>.<lane>`, with the
//! partition's token ([`crate::ids::PartitionId::token`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::lane::{Limits, Outcome};
use crate::ids::{CommandId, Hash, Key, PartitionId, Timestamp};
use crate::settings::{Budget, Retry};

/// A command for a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// From a task: an attempt waits for a worker.
    Enqueue(Entry),
    /// From a task: the attempt no longer waits, or has ended. A repeat changes nothing.
    Release {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
        /// How the attempt ended, if it ran.
        #[serde(default, skip_serializing_if = "Outcome::is_withdrawn")]
        outcome: Outcome,
    },
    /// From the host: a worker has places for jobs.
    Take(Take),
    /// From the lane: its rules, which replace the previous ones.
    Rules(Rules),
    /// From the lane, if it governs: this attempt may begin with this agent.
    Grant {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
        /// The agent whose worker the leave is for.
        agent: Key,
    },
    /// From the lane, if it governs: an attempt with leave that has not begun waits again.
    Revoke {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
    },
    /// From a task: holds the task and everything below it.
    Hold {
        /// The cause of the hold.
        cause: SmolStr,
        /// The held task, the root of the held tree.
        root: Key,
        /// The reason.
        reason: String,
        /// Whether running attempts are taken back.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        interrupt: bool,
        /// How long running attempts have to end by themselves before that, in milliseconds.
        #[serde(default, skip_serializing_if = "super::is_zero")]
        grace_ms: u64,
    },
    /// From a task: ends the hold.
    Ease {
        /// The cause of the hold.
        cause: SmolStr,
    },
    /// Timer: the grace time of a hold is over; attempts in its scope that still run are taken back.
    Recall {
        /// The cause of the hold.
        cause: SmolStr,
        /// From the queue itself, to continue a long recall: the last task handled.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Key>,
    },
    /// From the queue itself, if the lane governs: goes on telling the lane which attempts of a held or eased
    /// tree wait for leave.
    Tell {
        /// The root of the tree.
        root: Key,
        /// The last task that the lane was told of.
        after: Key,
    },
    /// From the queue itself: goes on reporting its waiting and running attempts to the lane.
    Report {
        /// The last task that was reported.
        after: Key,
    },
}
crate::wire::wire_command!(Command, "queue");

/// A query of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with a [`crate::views::lane::Part`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
    /// Answers with a [`crate::views::lane::Waiting`].
    Explain {
        /// The task.
        task: Key,
    },
}
crate::wire::wire_query!(Query, "queue");

/// A waiting attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The task.
    pub task: Key,
    /// The number of the attempt.
    pub attempt: u32,
    /// The skill that the attempt needs.
    pub skill: SmolStr,
    /// The priority, 0 (lowest) to 9 (highest).
    pub priority: u8,
    /// The owner of the work.
    pub owner: SmolStr,
    /// When it began to wait.
    pub since: Timestamp,
}

/// A worker with places, as the host offers it to a queue with open work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// The claim.
    pub claim: CommandId,
    /// The agent.
    pub agent: Key,
    /// The worker.
    pub worker: SmolStr,
    /// The skills of the worker.
    pub skills: Vec<SmolStr>,
    /// How many jobs it can begin.
    pub places: u32,
    /// The SHA-256 hash of the token of the jobs, from the claim.
    pub token: Hash,
}

/// A lane's rules for its queues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Whether the lane gives leave to each attempt, because it has limits that all queues share.
    pub governed: bool,
    /// How often the lane began to govern: tells a current report from an older one.
    pub number: u64,
    /// The rules for the order; the lane itself enforces the limits.
    pub limits: Limits,
    /// The retry policies.
    #[serde(skip_serializing_if = "crate::wire::is_default")]
    pub retry: Retry,
    /// The budget of a task tree that sets none itself.
    #[serde(skip_serializing_if = "crate::wire::is_default")]
    pub budget: Budget,
}

/// The key of a lane's queue in a partition.
pub fn key(lane: &Key, partition: PartitionId, partitions: u16) -> Key {
    let text = format!("{}.{lane}", partition.token(partitions));
    Key::parse(&text).expect("a lane's name leaves room for a token")
}

/// The lane of a queue.
pub fn lane(queue: &Key) -> Option<Key> {
    Key::parse(queue.as_str().split_once('.')?.1).ok()
}
