//! The task as readers see it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::commands::task::Failure;
use crate::ids::{Key, Revision, Timestamp};
use crate::jobs::Artifact;

/// The A2A life cycle.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Default,
    strum::IntoStaticStr,
    strum::EnumString,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum TaskState {
    /// Accepted; waits for an agent.
    #[default]
    Submitted,
    /// An agent works on it, or its children do.
    Working,
    /// Waits for an answer.
    InputRequired,
    /// Waits for an authorization.
    AuthRequired,
    /// Done.
    Completed,
    /// Not done.
    Failed,
    /// Stopped.
    Canceled,
    /// Could not be done as asked.
    Rejected,
}

impl TaskState {
    /// Whether nothing more happens by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// Its key.
    pub id: Key,
    /// How far it is.
    pub state: TaskState,
    /// What is wanted.
    pub goal: String,
    /// Whose work it is.
    pub owner: SmolStr,
    /// 0 (last) to 9 (first).
    pub priority: u8,
    /// The broker's lane.
    pub lane: Key,
    /// The skill it needs.
    pub skill: SmolStr,
    /// The task above it.
    pub parent: Option<Key>,
    /// Its children.
    pub children: Vec<Key>,
    /// Which attempt is the current one; 0 before the first.
    pub attempt: u32,
    /// The agent of the current attempt.
    pub agent: Option<Key>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it must be done.
    pub deadline: Option<Timestamp>,
    /// The question it waits with.
    pub question: Option<String>,
    /// What came out.
    pub artifacts: Vec<Artifact>,
    /// A small answer.
    pub result: Value,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// How many events it has.
    pub revision: Revision,
}
