//! Events of `broker`. Subject `<prefix>.evt.broker.<lane>`, ordered per lane.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::broker::{HoldScope, Limits, Outcome, Running};
use crate::commands::queue::Entry;
use crate::ids::{Key, PartitionId, Timestamp};
use crate::settings::{Budget, Retry};

/// What happened to a lane's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// A queue wants the rules.
    Joined {
        /// The queue's partition.
        partition: PartitionId,
    },
    /// The lane gives leave to each attempt from now on: it has bounds that all queues share. It gives
    /// none before every queue has said what runs there.
    GoverningBegun {
        /// When.
        at: Timestamp,
    },
    /// Its queues begin attempts without asking.
    GoverningEnded {
        /// When.
        at: Timestamp,
    },
    /// A queue has said all that runs there.
    Reported {
        /// The queue's partition.
        partition: PartitionId,
    },
    /// An attempt that began before the lane governed.
    Adopted(Running),
    /// An attempt waits.
    Enqueued(Entry),
    /// An agent got an attempt.
    Assigned {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
        /// The agent.
        agent: Key,
        /// When.
        #[serde(default, skip_serializing_if = "Timestamp::is_zero")]
        at: Timestamp,
    },
    /// An attempt left the queue, or its slot became free.
    Released {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
        /// How the attempt ended, where it ran.
        #[serde(default, skip_serializing_if = "Outcome::is_withdrawn")]
        outcome: Outcome,
    },
    /// What an agent offers.
    AgentOffered {
        /// The agent.
        agent: Key,
        /// Its skills.
        skills: Vec<SmolStr>,
        /// Jobs at once.
        capacity: u32,
        /// What its work depends on.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dependencies: Vec<Key>,
    },
    /// The lane's bound.
    CapSet {
        /// Jobs at once; none is no bound.
        concurrent: Option<u32>,
    },
    /// The lane has other rules.
    LimitsSet {
        /// The rules.
        limits: Limits,
        /// Why.
        reason: String,
        /// Who.
        by: String,
    },
    /// The settings say this of the tasks of the lane.
    PoliciesSet {
        /// The version of the settings.
        version: u64,
        /// How attempts are tried again, where that changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry: Option<Retry>,
        /// What a tree may use that does not say so itself, where that changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget: Option<Budget>,
    },
    /// The lane has the rules of a version of the settings `lanes`.
    Configured {
        /// Which version; 0 for the defaults.
        version: u64,
        /// The rules.
        limits: Limits,
        /// Whether no job begins at all.
        paused: bool,
        /// When.
        at: Timestamp,
    },
    /// No job begins until a person resumes it.
    Paused {
        /// Why.
        reason: String,
        /// Who.
        by: String,
        /// When.
        at: Timestamp,
    },
    /// What was paused goes on, gradually.
    Resumed {
        /// Why.
        reason: String,
        /// Who.
        by: String,
        /// Jobs that may begin in the first minute.
        per_minute: Option<u32>,
        /// When.
        at: Timestamp,
    },
    /// What is in the scope waits.
    Held {
        /// Who holds.
        cause: SmolStr,
        /// What is held.
        scope: HoldScope,
        /// Why.
        reason: String,
        /// When what runs is taken back; none where it goes on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recall_at: Option<Timestamp>,
        /// When.
        at: Timestamp,
    },
    /// The cause holds no longer; what waited is released gradually. Said again of what is released so
    /// already: at this rate from now on, or at once where there is none.
    Eased {
        /// Who held.
        cause: SmolStr,
        /// Jobs that may begin in a minute at first.
        per_minute: Option<u32>,
        /// When.
        at: Timestamp,
    },
    /// So many jobs may try although the cause holds.
    ProbesAllowed {
        /// Who holds.
        cause: SmolStr,
        /// How many.
        permits: u32,
    },
    /// What the cause held is released: it bounds nothing any more.
    EasingEnded {
        /// Who held.
        cause: SmolStr,
        /// When.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "broker", 1);
