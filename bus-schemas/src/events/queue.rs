//! Events of `queue`. Subject `<prefix>.evt.queue.<token>.<lane>`, ordered per queue.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::commands::broker::Outcome;
use crate::commands::queue::{Entry, Rules};
use crate::ids::{CommandId, Key, Timestamp};

/// What happened to the part of a lane in one partition.
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
        /// Which attempt.
        attempt: u32,
        /// The agent whose worker it is for.
        agent: Key,
    },
    /// The leave is gone, and the attempt waits.
    Revoked {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
    },
    /// A worker got an attempt.
    Assigned {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
        /// The agent.
        agent: Key,
        /// The worker.
        worker: SmolStr,
        /// The claim that it came with.
        claim: CommandId,
        /// When.
        at: Timestamp,
    },
    /// An attempt no longer waits, or has ended.
    Released {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
        /// How the attempt ended, where it ran.
        #[serde(default, skip_serializing_if = "Outcome::is_withdrawn")]
        outcome: Outcome,
    },
    /// The lane's rules.
    RulesSet(Rules),
    /// Nothing of a task and of what is below it begins.
    Held {
        /// Who holds.
        cause: SmolStr,
        /// The task at the top.
        root: Key,
        /// Why.
        reason: String,
        /// Since when.
        at: Timestamp,
    },
    /// The cause holds no longer.
    Eased {
        /// Who held.
        cause: SmolStr,
    },
}
crate::wire::wire_event!(Event, "queue", 1);
