//! Commands for `broker`: the queue of one lane. The key is the lane.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{Key, Timestamp};

/// What a broker can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// From a task: an attempt waits for an agent.
    Enqueue {
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
        /// Since when it waits.
        since: Timestamp,
    },
    /// From a task: the attempt no longer waits, or its slot is free again. Harmless twice.
    Release {
        /// The task.
        task: Key,
        /// Which attempt.
        attempt: u32,
    },
    /// From an agent: what it can do and how much at once. Replaces what it said before.
    OfferAgent {
        /// The agent.
        agent: Key,
        /// Its skills.
        skills: Vec<SmolStr>,
        /// Jobs at once, over all its workers; 0 takes it out.
        capacity: u32,
    },
    /// Bounds the jobs of this lane that run at once; none is no bound.
    SetCap {
        /// Jobs at once.
        concurrent: Option<u32>,
    },
}
crate::wire::wire_command!(Command, "broker");
