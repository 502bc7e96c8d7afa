//! Commands: the outcome of one.

use bus_schemas::views::command::CommandStatus;
use bus_schemas::views::silent::Silent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which partition to ask.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowCommand {
    /// The entity that received the command, as `<kind>/<key>`: then only its partition is asked. Default:
    /// all partitions.
    pub entity: Option<String>,
}

/// A command with its outcome.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct CommandView {
    /// The command's outcome.
    #[serde(flatten)]
    pub status: CommandStatus,
    /// Commands of the same id in other partitions, each for another entity: ids belong to their partition.
    #[serde(default)]
    pub others: Vec<CommandStatus>,
    /// Partitions that did not answer. If there are any, the id may be known there.
    #[serde(default)]
    pub silent: Vec<Silent>,
}
