//! Events of `lane`. Subject `<prefix>.evt.lane.<lane>`, ordered per lane.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::lane::{HoldScope, Limits, Outcome, Running};
use crate::commands::queue::Entry;
use crate::ids::{Key, PartitionId, Timestamp};
use crate::settings::{Budget, Retry};

/// An event of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// A queue joined the lane.
    Joined {
        /// The queue's partition.
        partition: PartitionId,
    },
    /// The lane begins to govern: it gives leave to each attempt, because it has limits that all queues
    /// share. It gives no leave before every queue has reported what runs there.
    GoverningBegun {
        /// The time of the event.
        at: Timestamp,
    },
    /// The lane no longer governs: its queues begin attempts without leave.
    GoverningEnded {
        /// The time of the event.
        at: Timestamp,
    },
    /// A queue has reported all its running attempts.
    Reported {
        /// The queue's partition.
        partition: PartitionId,
    },
    /// A running attempt that began before the lane governed.
    Adopted(Running),
    /// An attempt waits.
    Enqueued(Entry),
    /// An attempt was assigned to an agent.
    Assigned {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
        /// The agent.
        agent: Key,
        /// The time of the event.
        #[serde(default, skip_serializing_if = "Timestamp::is_zero")]
        at: Timestamp,
    },
    /// An attempt left the queue, or its slot became free.
    Released {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
        /// How the attempt ended, if it ran.
        #[serde(default, skip_serializing_if = "Outcome::is_withdrawn")]
        outcome: Outcome,
    },
    /// An agent offered its skills and capacity.
    AgentOffered {
        /// The agent.
        agent: Key,
        /// The agent's skills.
        skills: Vec<SmolStr>,
        /// Concurrent jobs.
        capacity: u32,
        /// The dependencies of its work.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dependencies: Vec<Key>,
    },
    /// The limit of concurrent jobs changed.
    CapSet {
        /// Most concurrent jobs; `null` for no limit.
        concurrent: Option<u32>,
    },
    /// The lane's rules changed.
    LimitsSet {
        /// The rules.
        limits: Limits,
        /// The reason.
        reason: String,
        /// The caller who asked for it.
        by: String,
    },
    /// The settings changed the policies for the lane's tasks.
    PoliciesSet {
        /// The version of the settings.
        version: u64,
        /// The retry policies, if they changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry: Option<Retry>,
        /// The budget of trees that set none themselves, if it changed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget: Option<Budget>,
    },
    /// The lane took its rules from a version of the settings `lanes`.
    Configured {
        /// The version; 0 for the defaults.
        version: u64,
        /// The rules.
        limits: Limits,
        /// Whether no job begins at all.
        paused: bool,
        /// The time of the event.
        at: Timestamp,
    },
    /// The lane was paused: no job begins until a person resumes it.
    Paused {
        /// The reason.
        reason: String,
        /// The caller who asked for it.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The lane was resumed, gradually.
    Resumed {
        /// The reason.
        reason: String,
        /// The caller who asked for it.
        by: String,
        /// Jobs that may begin in the first minute.
        per_minute: Option<u32>,
        /// The time of the event.
        at: Timestamp,
    },
    /// The work of a scope is held.
    Held {
        /// The cause of the hold.
        cause: SmolStr,
        /// The held scope.
        scope: HoldScope,
        /// The reason.
        reason: String,
        /// When running attempts are taken back; `null` if they go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recall_at: Option<Timestamp>,
        /// The time of the event.
        at: Timestamp,
    },
    /// A hold ended, and its work is released gradually. For a hold that ended before: the new rate, or no
    /// limit if none is given.
    Eased {
        /// The cause of the hold.
        cause: SmolStr,
        /// Jobs per minute that may begin at first.
        per_minute: Option<u32>,
        /// The time of the event.
        at: Timestamp,
    },
    /// Some jobs may begin as probes in spite of the hold.
    ProbesAllowed {
        /// The cause of the hold.
        cause: SmolStr,
        /// The number of jobs.
        permits: u32,
    },
    /// The gradual release has ended: it limits nothing any more.
    EasingEnded {
        /// The cause of the hold.
        cause: SmolStr,
        /// The time of the event.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "lane", 1);
