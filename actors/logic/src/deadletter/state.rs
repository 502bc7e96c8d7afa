//! What a dead letter remembers: the entry, what is sent instead of it, and how far it is.

use bus_schemas::commands::deadletter::{Entry, class};
use bus_schemas::events::deadletter::Event;
use bus_schemas::payload::Payload;
use bus_schemas::{CommandId, EntityAddress, Key};
use serde::{Deserialize, Serialize};

/// The entry, once there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What, why, and from where.
    pub entry: Option<Entry>,
    /// How far it is.
    pub status: Status,
    /// What is sent instead of the entry's payload.
    pub payload: Option<Payload>,
    /// Whether its side effect may have happened already.
    pub ambiguous: bool,
    /// For whom it is, where an edit said so.
    pub to: Option<EntityAddress>,
    /// How often it was edited.
    pub edits: u32,
    /// How often it was redriven.
    pub redrives: u32,
    /// How often it was redriven since it was edited last.
    pub redrives_since_edit: u32,
    /// The redrive that is under way.
    pub redrive: Option<CommandId>,
    /// To whom the latest redrive went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<EntityAddress>,
    /// The campaign that the redrive under way belongs to.
    pub campaign: Option<Key>,
}

/// How far a dead letter is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nobody has done anything about it.
    #[default]
    Waiting,
    /// It is on its way again.
    Redriving,
    /// It was done after all.
    Redriven,
    /// It was given up.
    Dropped,
}

impl Status {
    /// The word for it.
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
        Event::RedriveStarted { redrive, number, campaign, to, .. } => {
            state.status = Status::Redriving;
            state.target = Some(to.clone());
            state.redrives = *number;
            state.redrives_since_edit = state.redrives_since_edit.saturating_add(1);
            state.redrive = Some(*redrive);
            state.campaign.clone_from(campaign);
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
        self.campaign = None;
    }
}
