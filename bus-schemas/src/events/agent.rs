//! Events of `agent`. Subject `<prefix>.evt.agent.<name>`, ordered per agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::agent::AgentCard;
use crate::ids::{Key, Timestamp};

/// What happened to an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// A worker joined, or changed what it said.
    WorkerRegistered {
        /// The worker.
        worker: SmolStr,
        /// What the agent is.
        card: AgentCard,
        /// How many jobs the worker does at once.
        capacity: u32,
        /// The lanes it serves.
        lanes: Vec<Key>,
        /// When.
        at: Timestamp,
    },
    /// A worker left in good order.
    WorkerDeregistered {
        /// The worker.
        worker: SmolStr,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// A worker was silent for too long.
    WorkerLost {
        /// The worker.
        worker: SmolStr,
        /// When.
        at: Timestamp,
    },
    /// Its lanes give it nothing.
    Held {
        /// Who holds.
        cause: SmolStr,
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
    /// The cause holds no longer.
    Eased {
        /// Who held.
        cause: SmolStr,
        /// When.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "agent", 1);
