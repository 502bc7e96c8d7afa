//! Commands for `probe`: an entity that only counts, for measurements and health checks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A command for a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// Adds one to the count; `note` is not kept.
    Touch {
        /// Any text, to make the command as large as a measurement needs.
        #[serde(default)]
        note: String,
    },
    /// Panics during the decision, to show what happens to a poison command.
    #[serde(deserialize_with = "crate::wire::no_fields")]
    Panic,
    /// Adds one to the count, then sends `Touch` to another probe.
    Forward {
        /// The other probe's key.
        to: crate::Key,
    },
    /// Adds one to the count after `after_ms`.
    TouchLater {
        /// Milliseconds from now.
        after_ms: u64,
    },
}
crate::wire::wire_command!(Command, "probe");
