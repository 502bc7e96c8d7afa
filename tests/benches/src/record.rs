//! What the bare loop writes: one record for each group, as MessagePack, and JSON for everybody else.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Everything a group of commands caused.
#[derive(Debug, Serialize)]
pub(crate) struct Record {
    /// When it was closed, milliseconds since 1970.
    pub at: u64,
    /// The commands with their effects.
    pub turns: Vec<Turn>,
}

/// One command and what it led to.
#[derive(Debug, Serialize)]
pub(crate) struct Turn {
    /// The command's id.
    pub id: Uuid,
    /// For whom.
    pub key: String,
    /// The command as it came.
    pub command: Bytes,
    /// The event.
    pub event: Bytes,
    /// What the caller is told.
    pub reply: Bytes,
}

/// What an entity can be told.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Command {
    /// Counts one.
    Touch {
        /// Makes the command as large as a measurement wants it.
        #[serde(rename = "note")]
        _note: String,
    },
}

/// What happened to an entity: enough for a reader to tell it from every other event.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Event<'a> {
    /// The probe counted one.
    Touched {
        /// How often it was touched, which is its revision too.
        count: u64,
        /// The command that led to it.
        cause: &'a Uuid,
        /// Milliseconds since 1970.
        at: u64,
    },
}

/// The answer to a command.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub(crate) enum Reply<'a> {
    /// The command was applied.
    Accepted {
        /// The command.
        command_id: &'a Uuid,
        /// The entity's revision after it.
        revision: u64,
    },
}
