//! Commands for `chaos`: disturbing a system on purpose, for a bounded time. The key is the name of one
//! experiment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantNames};

use crate::ids::{Key, PartitionId, Timestamp};

/// A command for an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Begins the experiment. Refused if the configuration allows none. Answers with a [`Description`].
    Start {
        /// The disturbance.
        experiment: Experiment,
        /// Duration in milliseconds, 1 to 600,000. The experiment ends by itself then.
        for_ms: u64,
        /// The reason. Required: others will ask.
        reason: String,
    },
    /// Ends the experiment early. Answers with a [`Description`].
    Stop {
        /// The reason.
        #[serde(default)]
        reason: String,
    },
    /// From `fill-inbox`: takes a place in a partition's queue and does nothing.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Fill,
    /// Timer: the duration is over.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    End,
}
crate::wire::wire_command!(Command, "chaos");

/// A query of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with a [`Description`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
}
crate::wire::wire_query!(Query, "chaos");

/// A disturbance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Experiment {
    /// Kills workers of an agent in the middle of their work, as a crash would.
    KillWorker {
        /// The agent.
        agent: Key,
        /// Only workers of this host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<Key>,
        /// Repeats the kill after this many milliseconds, 1,000 to 600,000; once if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        every_ms: Option<u64>,
    },
    /// Opens a breaker, as a person's trip would.
    TripBreaker {
        /// The key of the breaker, such as `tool.git`.
        dependency: Key,
    },
    /// Drops some replies of hosts.
    DropAcks {
        /// Percentage of replies to drop, 1 to 100.
        #[schemars(range(min = 1, max = 100))]
        percent: u8,
        /// Only on this host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<Key>,
    },
    /// Delays commands or replies.
    Delay {
        /// The delay in milliseconds, 1 to 10,000.
        by_ms: u64,
        /// What is delayed.
        #[serde(default)]
        of: Delayed,
        /// Only on this host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<Key>,
    },
    /// Makes queues count as full, so that callers are refused as `busy`; or, with a rate, fills them with
    /// commands that do nothing.
    FillInbox {
        /// Only the queue of this partition.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partition: Option<PartitionId>,
        /// Commands per second in each queue, 1 to 5,000; if absent, queues count as full.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        per_second: Option<u32>,
    },
    /// Pauses a host: it does nothing and renews no lease, then goes on.
    PauseHost {
        /// The host.
        host: Key,
    },
}

/// What a delay applies to.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    IntoStaticStr,
    Display,
    EnumString,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Delayed {
    /// Replies to asks.
    #[default]
    Answers,
    /// What comes into a partition: asks, durable commands and mail.
    Inbox,
}

/// What ended an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr, Display)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum EndCause {
    /// Its duration was over.
    TimeOver,
    /// A caller stopped it.
    Stopped,
}

/// How an experiment ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// What ended the experiment.
    pub cause: EndCause,
    /// The reason, if a caller stopped it and gave one.
    pub reason: String,
    /// The caller who stopped it; empty if none did.
    pub by: String,
    /// When it ended.
    pub at: Timestamp,
}

/// The current state of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// The disturbance.
    pub experiment: Experiment,
    /// The reason.
    pub reason: String,
    /// The caller who started it.
    pub by: String,
    /// When it began.
    pub since: Timestamp,
    /// When it ends by itself, at the latest.
    pub until: Timestamp,
    /// How it ended; `null` while it runs.
    pub ended: Option<Ended>,
}
