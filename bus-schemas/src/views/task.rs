//! The view of a task.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use smol_str::SmolStr;
use strum::{EnumIter, EnumString, IntoStaticStr};

use crate::commands::task::{Failure, Usage};
use crate::ids::{Key, Revision, Timestamp};
use crate::jobs::Artifact;
use crate::settings::Budget;

/// The states of the A2A life cycle.
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
    IntoStaticStr,
    EnumString,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum TaskState {
    /// Accepted; waits for an agent.
    #[default]
    Submitted,
    /// An agent or child tasks work on it.
    Working,
    /// Waits for an answer.
    InputRequired,
    /// Waits for an authorization.
    AuthRequired,
    /// Completed.
    Completed,
    /// Failed.
    Failed,
    /// Canceled.
    Canceled,
    /// Rejected: it could not be done as asked.
    Rejected,
}

impl TaskState {
    /// Whether the task has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Canceled | Self::Rejected)
    }
}

/// A task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Task {
    /// The key of the task.
    pub id: Key,
    /// Its state.
    pub state: TaskState,
    /// The goal.
    pub goal: String,
    /// The owner of the work.
    pub owner: SmolStr,
    /// The priority, 0 (lowest) to 9 (highest).
    pub priority: u8,
    /// The lane.
    pub lane: Key,
    /// The skill that the task needs.
    pub skill: SmolStr,
    /// The parent task.
    pub parent: Option<Key>,
    /// The child tasks.
    pub children: Vec<Key>,
    /// The number of the current attempt; 0 before the first.
    pub attempt: u32,
    /// The agent of the current attempt.
    pub agent: Option<Key>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it must be done.
    pub deadline: Option<Timestamp>,
    /// The question that it waits with.
    pub question: Option<String>,
    /// The id of that question, which an answer must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question_id: Option<Revision>,
    /// The artifacts.
    pub artifacts: Vec<Artifact>,
    /// The result.
    pub result: Value,
    /// The failure.
    pub failure: Option<Failure>,
    /// The id of its end, once it has ended, which a retry must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_id: Option<Revision>,
    /// The budget and usage of the task and everything below it; absent for a child, and for a tree without
    /// limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Account>,
    /// The task's revision.
    pub revision: Revision,
}

/// The budget of a tree, kept by its root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Account {
    /// The limits.
    pub limits: Budget,
    /// The usage.
    #[serde(serialize_with = "with_zeros")]
    pub used: Usage,
    /// The reserved budget of running calls.
    #[serde(serialize_with = "with_zeros")]
    pub reserved: Usage,
    /// Why the tree is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exceeded: Option<Exceeded>,
}

/// Writes zeros as well, for readers of an account; events leave them out.
fn with_zeros<S: Serializer>(usage: &Usage, serializer: S) -> Result<S::Ok, S::Error> {
    let Usage { tokens, money_micros, tool_calls, jobs } = *usage;
    let all =
        [("tokens", tokens), ("money_micros", money_micros), ("tool_calls", tool_calls), ("jobs", jobs)];
    serializer.collect_map(all)
}

/// A limit that did not allow what was requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exceeded {
    /// The limit.
    pub dimension: Dimension,
    /// The question.
    pub question: String,
    /// The id of the question.
    pub question_id: Revision,
    /// Who should answer.
    pub asks: SmolStr,
    /// When it was exceeded.
    pub at: Timestamp,
}

impl Task {
    /// The task as readers see it: if its tree is paused for its budget, it waits for an answer, whatever
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
    /// The state as readers see it.
    pub fn shown_state(&self) -> TaskState {
        let is_paused = self.budget.as_ref().is_some_and(|account| account.exceeded.is_some());
        if is_paused && !self.state.is_final() { TaskState::InputRequired } else { self.state }
    }
}

/// A dimension of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr, EnumIter)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Dimension {
    /// Model tokens.
    Tokens,
    /// Money.
    MoneyMicros,
    /// Tool calls.
    ToolCalls,
    /// Jobs.
    Jobs,
    /// Time since the submission.
    WallClock,
}

/// The answer to `explain`: what a task waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Why {
    /// The task.
    pub task: Key,
    /// Its state.
    pub state: TaskState,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// The reason, in a sentence.
    pub reason: String,
    /// What would end the wait; empty for a task that has ended.
    pub moves: String,
    /// Since when, as far as its events tell.
    pub since: Timestamp,
    /// When the wait ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The lane in which it waits.
    pub lane: Key,
    /// The skill that the task needs.
    pub skill: SmolStr,
    /// The children that have not ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Key>,
}

/// What a task waits for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr, EnumString,
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
    /// The end of the pause before a retry.
    Backoff,
    /// An answer of a person.
    Answer,
    /// More budget.
    Budget,
    /// Its children.
    Children,
}
