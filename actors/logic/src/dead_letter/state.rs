//! The state of a dead letter: the entry, its edit, and its status.

use bus_schemas::commands::dead_letter::{Entry, class};
use bus_schemas::events::dead_letter::Event;
use bus_schemas::payload::Payload;
use bus_schemas::{CommandId, EntityAddress, Key};
use serde::{Deserialize, Serialize};

/// A dead letter; without `entry` it was never recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What could not be done, why, and where it came from.
    pub entry: Option<Entry>,
    /// Its state.
    pub status: Status,
    /// The edited payload, sent in place of the entry's.
    pub payload: Option<Payload>,
    /// Whether its side effect may have happened already.
    pub ambiguous: bool,
    /// The receiver, if an edit changed it.
    pub to: Option<EntityAddress>,
    /// How often it was edited.
    pub edits: u32,
    /// How often it was redriven.
    pub redrives: u32,
    /// How often it was redriven since its last edit.
    pub redrives_since_edit: u32,
    /// The id of the try in progress.
    pub redrive: Option<CommandId>,
    /// The receiver of the last try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<EntityAddress>,
    /// The redrive that the try in progress is part of.
    pub in_redrive: Option<Key>,
}

/// The status of a dead letter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The entry waits for somebody to act.
    #[default]
    Waiting,
    /// Its command was sent again.
    Redriving,
    /// The command was done.
    Redriven,
    /// The entry was given up.
    Dropped,
}

impl Status {
    /// The state as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Redriving => "redriving",
            Self::Redriven => "redriven",
            Self::Dropped => "dropped",
        }
    }
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    match event {
        Event::Recorded { entry } => {
            state.ambiguous = entry.class == class::JOB_AMBIGUOUS;
            state.entry = Some(entry.clone());
        }
        Event::Edited { version, payload, to, .. } => {
            state.edits = *version;
            state.payload = Some(payload.clone());
            state.to = to.clone().or(state.to.take());
            state.redrives_since_edit = 0;
        }
        Event::RedriveStarted { redrive, number, in_redrive, to, .. } => {
            state.status = Status::Redriving;
            state.target = Some(to.clone());
            state.redrives = *number;
            state.redrives_since_edit = state.redrives_since_edit.saturating_add(1);
            state.redrive = Some(*redrive);
            state.in_redrive.clone_from(in_redrive);
        }
        Event::Redriven { .. } => state.rest(Status::Redriven),
        Event::Returned { code, .. } => {
            state.ambiguous |= code == class::JOB_AMBIGUOUS;
            state.rest(Status::Waiting);
        }
        Event::Dropped { .. } => state.rest(Status::Dropped),
    }
}

impl State {
    fn rest(&mut self, status: Status) {
        self.status = status;
        self.redrive = None;
        self.in_redrive = None;
    }
}
