//! The status of a command, as its partition remembers it: queried at the address `command/<id>`.
//!
//! A partition answers for commands that came to it, while it remembers their ids. A client that knows the
//! entity asks its partition; any other asks all partitions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::ids::{CommandId, Key, Kind, Revision};
use crate::record::Turn;

/// The kind under which partitions are queried for commands. No entity has it.
pub const COMMAND: Kind = Kind::from_static("command");

/// The status of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandStatus {
    /// The command.
    pub id: CommandId,
    /// Its state.
    pub state: CommandState,
    /// The entity that decided it, `<kind>/<key>`; `null` while it is pending or unknown.
    pub entity: Option<String>,
    /// The entity's revision after the command; `null` if it caused no event.
    pub revision: Option<Revision>,
    /// How many events it caused.
    pub events: u32,
    /// The code of the refusal, for programs.
    pub code: Option<SmolStr>,
    /// The reason of the refusal, in a sentence.
    pub message: Option<String>,
    /// The dead letter that the command became.
    pub dead_letter: Option<Key>,
}

/// The state of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::IntoStaticStr)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum CommandState {
    /// Waiting, or being committed.
    Pending,
    /// Accepted, and the effects are committed.
    Accepted,
    /// Refused, and the refusal is committed.
    Refused,
    /// Not remembered: the command never came, is still in the durable inbox, or was forgotten.
    Unknown,
}

impl CommandStatus {
    /// A status without details.
    pub fn only(id: CommandId, state: CommandState) -> Self {
        let (entity, revision, code, message, dead_letter) = (None, None, None, None, None);
        Self { id, state, entity, revision, events: 0, code, message, dead_letter }
    }
    /// The status of a command that a committed turn decided.
    pub fn decided(turn: &Turn) -> Self {
        let state = if turn.refusal.is_some() { CommandState::Refused } else { CommandState::Accepted };
        let dead = turn.dead.as_ref().and_then(|dead| Key::parse(&dead.entry).ok());
        Self {
            entity: Some(turn.entity.to_string()),
            revision: turn.events.last().map(|event| event.revision),
            events: u32::try_from(turn.events.len()).unwrap_or(u32::MAX),
            code: turn.refusal.as_ref().map(|refusal| refusal.code.clone()),
            message: turn.refusal.as_ref().map(|refusal| refusal.message.clone()),
            dead_letter: dead,
            ..Self::only(turn.command.id, state)
        }
    }
}
