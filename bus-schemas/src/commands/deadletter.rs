//! Commands for `deadletter`: what could not be done. The key is the entry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{CommandId, Timestamp};

/// What a dead letter can be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    /// From the runtime or a task: this could not be done. The payload lies in the dead-letter stream.
    Record(Entry),
}
crate::wire::wire_command!(Command, "deadletter");

/// What could not be done, why, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `poison`, `malformed-command`, `unknown-kind`, `job-failed` …
    pub class: SmolStr,
    /// For people.
    pub reason: String,
    /// The kind it was meant for, as written.
    pub kind: String,
    /// The key it was meant for, as written.
    pub key: String,
    /// The command.
    pub command_id: CommandId,
    /// What everything caused by one request shares.
    pub correlation: CommandId,
    /// The W3C trace, if there is one.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
}
