//! Events of `agent`. Subject `<prefix>.evt.agent.<name>`, ordered per agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::agent::AgentCard;
use crate::ids::{Key, Timestamp};
use crate::manifests::AgentManifest;

/// An event of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// A worker joined, or replaced what it had sent.
    WorkerRegistered {
        /// The worker.
        worker: SmolStr,
        /// The agent's card.
        card: AgentCard,
        /// How many jobs the worker does at once.
        capacity: u32,
        /// The lanes it serves.
        lanes: Vec<Key>,
        /// The time of the event.
        at: Timestamp,
    },
    /// A worker left in good order.
    WorkerDeregistered {
        /// The worker.
        worker: SmolStr,
        /// The reason.
        reason: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// A worker was silent for too long.
    WorkerLost {
        /// The worker.
        worker: SmolStr,
        /// The time of the event.
        at: Timestamp,
    },
    /// Lanes hold the agent's jobs.
    Held {
        /// The cause of the hold.
        cause: SmolStr,
        /// The reason.
        reason: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The hold has ended.
    Eased {
        /// The cause of the hold.
        cause: SmolStr,
        /// The time of the event.
        at: Timestamp,
    },
    /// A manifest declares the agent from now on.
    ManifestLoaded {
        /// The number of the manifest.
        number: u32,
        /// The manifest.
        manifest: Box<AgentManifest>,
        /// The caller.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// The manifest is no longer in force.
    ManifestUnloaded {
        /// The reason.
        reason: String,
        /// The caller.
        by: String,
        /// The time of the event.
        at: Timestamp,
    },
    /// A host reported whether it runs the agent of the manifest.
    HealthReported {
        /// The host.
        host: SmolStr,
        /// Why it does not; empty if it does.
        problem: String,
        /// The time of the event.
        at: Timestamp,
    },
}
crate::wire::wire_event!(Event, "agent", 1);
