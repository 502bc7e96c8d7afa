//! The task as readers see it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

use crate::commands::task::{Failure, Usage};
use crate::ids::{Key, Revision, Timestamp};
use crate::jobs::Artifact;
use crate::settings::Budget;

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
    /// Names that question: an answer says which one it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question_id: Option<Revision>,
    /// What came out.
    pub artifacts: Vec<Artifact>,
    /// A small answer.
    pub result: Value,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Names its end, once it has ended: a retry says which one it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_id: Option<Revision>,
    /// What it and everything below it may use, and has used; none for a child, and for a tree without
    /// bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Account>,
    /// How many events it has.
    pub revision: Revision,
}

/// The budget of a tree, kept by its root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// What it may use.
    pub limits: Budget,
    /// What was used.
    pub used: Usage,
    /// What calls that are under way may use.
    pub reserved: Usage,
    /// Why it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceeded: Option<Exceeded>,
}

/// A bound that did not allow what was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exceeded {
    /// Which.
    pub dimension: Dimension,
    /// The question.
    pub question: String,
    /// Names the question.
    pub question_id: Revision,
    /// Whom it asks.
    pub asks: SmolStr,
    /// Since when.
    pub at: Timestamp,
}

impl Task {
    /// The task as it is shown: one whose tree is paused for its budget waits for an answer, whatever
    /// else it would wait for.
    #[must_use]
    pub fn shown(mut self) -> Self {
        self.state = self.shown_state();
        let exceeded = self.budget.as_ref().and_then(|account| account.exceeded.as_ref());
        if let Some(exceeded) = exceeded.filter(|_| !self.state.is_final()) {
            (self.question, self.question_id) = (Some(exceeded.question.clone()), Some(exceeded.question_id));
        }
        self
    }
    /// Its state as it is shown.
    pub fn shown_state(&self) -> TaskState {
        let is_paused = self.budget.as_ref().is_some_and(|account| account.exceeded.is_some());
        if is_paused && !self.state.is_final() { TaskState::InputRequired } else { self.state }
    }
}

/// What a budget bounds.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::IntoStaticStr,
    strum::EnumIter,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Dimension {
    /// Tokens of models.
    Tokens,
    /// Money.
    MoneyMicros,
    /// Calls of tools.
    ToolCalls,
    /// Jobs.
    Jobs,
    /// Time since the submission.
    WallClock,
}

/// The reply to `explain`: what a task waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// The task.
    pub task: Key,
    /// How far it is.
    pub state: TaskState,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// In a sentence.
    pub reason: String,
    /// What would move it; empty for a task that has ended.
    pub moves: String,
    /// Since when, as far as its events say.
    pub since: Timestamp,
    /// When it goes on by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The lane in which it waits.
    pub lane: Key,
    /// The skill that it needs.
    pub skill: SmolStr,
    /// The children that have not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Key>,
}

/// What a task can wait for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    JsonSchema,
    strum::IntoStaticStr,
    strum::EnumString,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum WaitsFor {
    /// Nothing: it has ended.
    Nothing,
    /// An agent, from its lane.
    Lane,
    /// The worker's report.
    Worker,
    /// The end of a pause.
    Backoff,
    /// An answer of a person.
    Answer,
    /// More budget.
    Budget,
    /// Its children.
    Children,
}
