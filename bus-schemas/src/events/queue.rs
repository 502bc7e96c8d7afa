//! Events of `queue`. Subject `<prefix>.evt.queue.<token>.<lane>`, ordered per queue.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::lane::Outcome;
use crate::commands::queue::{Entry, Rules};
use crate::ids::{CommandId, Key, Timestamp};

/// An event of a queue: the part of a lane in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Event {
    /// An attempt waits.
    Enqueued(Entry),
    /// The lane gave leave to an attempt.
    Granted {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
        /// The agent whose worker the leave is for.
        agent: Key,
    },
    /// The leave was taken back, and the attempt waits.
    Revoked {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
    },
    /// An attempt was assigned to a worker.
    Assigned {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
        /// The agent.
        agent: Key,
        /// The worker.
        worker: SmolStr,
        /// The worker's claim.
        claim: CommandId,
        /// The time of the event.
        at: Timestamp,
    },
    /// An attempt no longer waits, or has ended.
    Released {
        /// The task.
        task: Key,
        /// The number of the attempt.
        attempt: u32,
        /// How the attempt ended, if it ran.
        #[serde(default, skip_serializing_if = "Outcome::is_withdrawn")]
        outcome: Outcome,
    },
    /// The lane's rules changed.
    RulesSet(Rules),
    /// A task and everything below it are held.
    Held {
        /// The cause of the hold.
        cause: SmolStr,
        /// The held task.
        root: Key,
        /// The reason.
        reason: String,
        /// When it began.
        at: Timestamp,
    },
    /// The hold has ended.
    Eased {
        /// The cause of the hold.
        cause: SmolStr,
    },
}
crate::wire::wire_event!(Event, "queue", 1);
