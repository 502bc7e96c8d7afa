//! Commands for `halt`: stopping all work of a scope. The key is the scope: `all`, `lane.<lane>`,
//! `agent.<agent>`, or `task.<task>` for a task and everything below it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{Key, Revision, Timestamp};

/// A command for a halt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Halts the scope: no work begins, and running work is stopped.
    Halt {
        /// The reason. Required: others will ask.
        reason: String,
        /// How long running work has to end by itself before it is killed, in milliseconds, at most 60,000.
        #[serde(default = "default_grace_ms")]
        grace_ms: u64,
    },
    /// Ends the halt: work resumes gradually. For a halt that has ended already, changes the rate, or
    /// removes it if none is given. Answers with the halt that ended, a [`Standstill`], or `null` if it had ended
    /// before.
    Resume {
        /// The reason.
        reason: String,
        /// Jobs per minute that may begin at first, in each lane, until all work runs again.
        #[serde(default)]
        per_minute: Option<u32>,
        /// The revision of the halt that is meant: a halt that was made or ended after it does not end. Absent
        /// for whatever halt there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        revision: Option<Revision>,
    },
    /// From a lane: it wants to be told of `all`. A repeat changes nothing.
    Watch {
        /// The lane.
        lane: Key,
    },
    /// From a lane that is held by this halt and has heard nothing for long: its hold is eased if no halt
    /// covers it any more. The halt does not change.
    Confirm {
        /// The lane.
        lane: Key,
    },
}
crate::wire::wire_command!(Command, "halt");

/// What stands still, by a halt or a pause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Standstill {
    /// The reason.
    pub reason: String,
    /// The caller who made it.
    pub by: String,
    /// When it began.
    pub since: Timestamp,
}

fn default_grace_ms() -> u64 {
    5_000
}
