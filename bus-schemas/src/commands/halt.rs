//! Commands for `halt`: what must stand still. The key is the scope: `all`, `lane.<lane>`,
//! `agent.<agent>`, `task.<task>` for a task and everything below it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::Key;

/// What a halt can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Nothing in the scope begins any more, and what runs is stopped.
    Halt {
        /// Why. Required: somebody will ask.
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
        /// How long running work has to end by itself, in milliseconds, before it is killed: at most
        /// 60,000.
        #[serde(default = "default_grace_ms")]
        grace_ms: u64,
    },
    /// Work goes on, slowly at first. Said again of what was lifted: at this rate from now on, or at
    /// once where there is none.
    Lift {
        /// Why.
        reason: String,
        /// Who.
        #[serde(default)]
        by: String,
        /// Jobs that may begin in a minute, in each lane, until all that there is runs again.
        #[serde(default)]
        per_minute: Option<u32>,
    },
    /// From a lane: it wants to hear of `all`. Harmless twice.
    Watch {
        /// The lane.
        lane: Key,
    },
    /// From a lane that holds for it, and has heard nothing for long: it is eased where nothing halts it
    /// any more. Nothing happens here.
    Confirm {
        /// The lane.
        lane: Key,
    },
}
crate::wire::wire_command!(Command, "halt");

fn default_grace_ms() -> u64 {
    5_000
}
