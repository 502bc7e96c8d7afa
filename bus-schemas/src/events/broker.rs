//! Events of `broker`. Subject `<prefix>.evt.broker.<lane>`, ordered per lane.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{Key, Timestamp};

/// What happened to a lane's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// An attempt waits.
    Enqueued {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
        /// The skill it needs.
        skill: SmolStr,
        /// 0 (last) to 9 (first).
        priority: u8,
        /// Whose work it is.
        owner: SmolStr,
        /// Since when.
        since: Timestamp,
    },
    /// An agent got an attempt.
    Assigned {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
        /// The agent.
        agent: Key,
    },
    /// An attempt left the queue, or its slot became free.
    Released {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
    },
    /// What an agent offers.
    AgentOffered {
        /// The agent.
        agent: Key,
        /// Its skills.
        skills: Vec<SmolStr>,
        /// Jobs at once.
        capacity: u32,
    },
    /// The lane's bound.
    CapSet {
        /// Jobs at once; none is no bound.
        concurrent: Option<u32>,
    },
}
crate::wire::wire_event!(Event, "broker", 1);
