//! Commands for `probe`: an entity that only counts, for measurements and health checks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a probe can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Counts one and keeps nothing of `note`.
    Touch {
        /// Any text: it makes the command as large as a measurement wants it.
        #[serde(default)]
        note: String,
    },
    /// Panics while deciding: shows what happens to a poison command.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Panic,
    /// Counts one, then sends `Touch` to another probe.
    Forward {
        /// The other probe's key.
        to: crate::Key,
    },
    /// Counts one when `after_ms` have passed.
    TouchLater {
        /// Milliseconds from now.
        after_ms: u64,
    },
}
crate::wire::wire_command!(Command, "probe");
