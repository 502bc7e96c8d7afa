//! Commands for `queue`: the part of a lane that lies in one partition. The key is
//! `<token>.<lane>`, with the partition's token ([`crate::ids::PartitionId::token`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::broker::{Limits, Outcome};
use crate::ids::{CommandId, Key, PartitionId, Timestamp};
use crate::settings::{Budget, Retry};

/// What a queue can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// From a task: an attempt waits for a worker.
    Enqueue(Entry),
    /// From a task: the attempt no longer waits, or has ended. Harmless twice.
    Release {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
        /// How the attempt ended, where it ran.
        #[serde(default, skip_serializing_if = "Outcome::is_withdrawn")]
        outcome: Outcome,
    },
    /// From the host: a worker has places.
    Take(Take),
    /// From the lane: its rules. Each replaces the one before.
    Rules(Rules),
    /// From the lane, where it governs: this attempt may begin, with this agent.
    Grant {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
        /// The agent whose worker it is for.
        agent: Key,
    },
    /// From the lane, where it governs: an attempt that was granted and has not begun waits again.
    Revoke {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
    },
    /// From a task: nothing of it and of what is below it begins.
    Hold {
        /// Who holds.
        cause: SmolStr,
        /// The task at the top.
        root: Key,
        /// Why.
        reason: String,
        /// Whether what runs is taken back.
        #[serde(default, skip_serializing_if = "crate::wire::is_default")]
        interrupt: bool,
        /// How long what runs may take to end by itself before that, in milliseconds.
        #[serde(default, skip_serializing_if = "super::is_zero")]
        grace_ms: u64,
    },
    /// From a task: the cause holds no longer.
    Ease {
        /// Who held.
        cause: SmolStr,
    },
    /// Timer: the grace of a hold is over, and what still runs in its scope is taken back.
    Recall {
        /// Who holds.
        cause: SmolStr,
        /// From itself, where it is much: goes on behind this task.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Key>,
    },
    /// From itself: goes on telling the lane, where it governs, which attempts of a held or eased tree wait for
    /// leave, behind this task.
    Tell {
        /// The task at the top.
        root: Key,
        /// The last task that was told.
        after: Key,
    },
    /// From itself: goes on telling the lane what waits and runs here, behind this task.
    Report {
        /// The last task that was told.
        after: Key,
    },
}
crate::wire::wire_command!(Command, "queue");

/// What a queue answers.
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

/// An attempt that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The task.
    pub task: Key,
    /// Which attempt.
    pub attempt: u32,
    /// The skill it needs.
    pub skill: SmolStr,
    /// 0 (last) to 9 (first).
    pub priority: u8,
    /// Whose work it is.
    pub owner: SmolStr,
    /// Since when it waits.
    pub since: Timestamp,
}

/// A worker with places, as the host offers it to a queue that has work for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// The claim that it came with.
    pub claim: CommandId,
    /// The agent.
    pub agent: Key,
    /// The worker.
    pub worker: SmolStr,
    /// What it can do.
    pub skills: Vec<SmolStr>,
    /// How many jobs it can begin.
    pub places: u32,
    /// Drawn at random by the host: makes the tokens of the jobs unguessable.
    pub secret: SmolStr,
}

/// What a lane says to its queues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Whether the lane gives leave to each attempt: it has bounds that all queues share.
    pub governed: bool,
    /// Counts how often the lane began to govern, so that a report is told from one before.
    pub number: u64,
    /// What decides the order here; the bounds are kept by the lane.
    pub limits: Limits,
    /// How attempts are tried again.
    #[serde(skip_serializing_if = "crate::wire::is_default")]
    pub retry: Retry,
    /// What a tree may use that does not say so itself.
    #[serde(skip_serializing_if = "crate::wire::is_default")]
    pub budget: Budget,
}

/// The address of a lane's queue in a partition.
pub fn key(lane: &Key, partition: PartitionId, partitions: u16) -> Key {
    let text = format!("{}.{lane}", partition.token(partitions));
    Key::parse(&text).expect("a lane's name leaves room for a token")
}

/// The lane that a queue is a part of.
pub fn lane(queue: &Key) -> Option<Key> {
    Key::parse(queue.as_str().split_once('.')?.1).ok()
}
