//! Commands for `chaos`: disturbing a system on purpose, for a bounded time. The key is the name of one
//! experiment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Key, PartitionId, Timestamp};

/// What an experiment can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Begins it. Refused where the configuration allows none. Answers with a [`Description`].
    Start {
        /// What is disturbed, and how.
        experiment: Experiment,
        /// How long, in milliseconds, 1 to 600,000. It ends by itself then.
        for_ms: u64,
        /// Why. Required: whoever meets it will ask.
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// Ends it early. Answers with a [`Description`].
    Stop {
        /// Why.
        #[serde(default)]
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
    },
    /// From `fill-inbox`: takes a place in a partition's queue. Nothing happens.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Fill,
    /// Timer: its time is over.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    End,
}
crate::wire::wire_command!(Command, "chaos");

/// What an experiment answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::VariantNames)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Query {
    /// Answers with a [`Description`].
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Describe,
}
crate::wire::wire_query!(Query, "chaos");

/// What is disturbed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Experiment {
    /// The workers of an agent end as in a crash, in the middle of what they do.
    KillWorker {
        /// Whose workers.
        agent: Key,
        /// Only those of this host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<Key>,
        /// Again and again after so many milliseconds, 1,000 to 600,000; once where nothing is said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        every_ms: Option<u64>,
    },
    /// A breaker is open, as if somebody had tripped it.
    TripBreaker {
        /// Which: the key of its entity, such as `tool.git`.
        dependency: Key,
    },
    /// Hosts do not send some of their answers.
    DropAcks {
        /// So many of a hundred, 1 to 100.
        #[schemars(range(min = 1, max = 100))]
        percent: u8,
        /// Only this host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<Key>,
    },
    /// Commands are taken late, or answers leave late.
    Delay {
        /// By so many milliseconds, 1 to 10,000.
        by_ms: u64,
        /// What is late.
        #[serde(default)]
        of: Delayed,
        /// Only on this host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<Key>,
    },
    /// Queues are full, so that callers are told `busy`; or, with a rate, get as many commands that
    /// lead to nothing.
    FillInbox {
        /// Only that of this partition.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        partition: Option<PartitionId>,
        /// Commands a second in each queue, 1 to 5,000; where nothing is said queues count as full.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        per_second: Option<u32>,
    },
    /// A host does nothing and renews nothing, as if it had been stopped, and then goes on.
    PauseHost {
        /// Which.
        host: Key,
    },
}

/// What is late.
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
    strum::IntoStaticStr,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Delayed {
    /// Answers to asks.
    #[default]
    Answers,
    /// What comes into a partition: asks, durable commands and mail.
    Inbox,
}

/// What ended an experiment.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::IntoStaticStr,
    strum::Display,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum EndCause {
    /// Its time was over.
    TimeOver,
    /// Somebody stopped it.
    Stopped,
}

/// How an experiment ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// What ended it.
    pub cause: EndCause,
    /// Why, where somebody stopped it and said so.
    pub reason: String,
    /// Who, where somebody stopped it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// An experiment as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Description {
    /// What is disturbed, and how.
    pub experiment: Experiment,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// It ends by itself then, if it has not ended before.
    pub until: Timestamp,
    /// How it ended; none while it goes on.
    pub ended: Option<Ended>,
}
