//! The state of an approval: the request, and how it stands.

use bus_schemas::commands::approval::{Request, ToolCall};
use bus_schemas::events::approval::Event;
use bus_schemas::{Key, Timestamp};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// An approval; without `asked` nobody asked for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// What was asked, and by whom.
    pub asked: Option<Asked>,
    /// How it stands.
    pub phase: Phase,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The request.
    pub request: Request,
    /// Its calls with their ids.
    pub tools: Vec<ToolCall>,
    /// The caller who asked.
    pub by: String,
    /// When it is over without an answer.
    pub answer_by: Timestamp,
}

impl Asked {
    /// The ids of the calls.
    pub fn ids(&self) -> impl Iterator<Item = &SmolStr> {
        self.tools.iter().map(|call| &call.id)
    }
}

/// How an approval stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// A person is asked.
    #[default]
    Waiting,
    /// A person approved.
    Approved { by: String, use_by: Timestamp },
    /// A person rejected.
    Rejected { by: String },
    /// Nobody answered in time.
    TimedOut,
    /// The request was withdrawn.
    Canceled { by: String },
    /// A task used the approval.
    Used { task: Key },
    /// The approval was not used in time.
    Lapsed,
    /// The approval was withdrawn.
    Revoked { by: String },
}

/// Applies an event.
pub(super) fn fold(state: &mut State, event: &Event) {
    state.phase = match event {
        Event::Requested { request, tools, by, answer_by, .. } => {
            let (request, tools) = (request.clone(), tools.clone());
            state.asked = Some(Asked { request, tools, by: by.clone(), answer_by: *answer_by });
            Phase::Waiting
        }
        Event::Approved { by, use_by, .. } => Phase::Approved { by: by.clone(), use_by: *use_by },
        Event::Rejected { by, .. } => Phase::Rejected { by: by.clone() },
        Event::TimedOut { .. } => Phase::TimedOut,
        Event::Canceled { by, .. } => Phase::Canceled { by: by.clone() },
        Event::Used { task, .. } => Phase::Used { task: task.clone() },
        Event::Lapsed { .. } => Phase::Lapsed,
        Event::Revoked { by, .. } => Phase::Revoked { by: by.clone() },
    };
}
