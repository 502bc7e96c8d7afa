//! The tasks of the HTTP interface. They are converted from and to the bus's types here, so that the
//! one can change without the other.

use bus_schemas::Key;
use bus_schemas::commands::task::{Failure, Plan, PlanStep};
use bus_schemas::jobs::Artifact;
use bus_schemas::views::task::{Task, TaskState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::budget::{AccountView, BudgetView};

/// A goal with its bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// What is wanted, in words.
    pub goal: String,
    /// Whose work it is: fairness is between owners. Default: `anonymous`.
    pub owner: Option<String>,
    /// 0 (last) to 9 (first). Default: 5.
    #[schema(maximum = 9)]
    pub priority: Option<u8>,
    /// The broker's lane. Default: `default`.
    #[schema(value_type = Option<String>)]
    pub lane: Option<Key>,
    /// The skill that the agent needs. Default: `plan`, for a goal that an orchestrator splits.
    pub skill: Option<String>,
    /// What the agent needs to know beside the goal.
    #[serde(default)]
    pub input: Value,
    /// A plan made by the caller: then no orchestrator is asked.
    pub plan: Option<NewPlan>,
    /// In how many milliseconds from now it must be done.
    #[schema(minimum = 1)]
    #[serde(deserialize_with = "crate::rest::extract::time", default)]
    pub deadline_ms: Option<u64>,
    /// How often it is tried. Default: 3.
    #[schema(minimum = 1, maximum = 100)]
    pub attempts_max: Option<u32>,
    /// What it and everything below it may use. Default: as the settings say.
    pub budget: Option<BudgetView>,
}

/// Child tasks as a directed acyclic graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPlan {
    /// The steps, in any order.
    pub steps: Vec<NewStep>,
}

/// One child task of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewStep {
    /// Names the step; the child is `<task>.<step>`.
    pub step: String,
    /// What is wanted.
    pub goal: String,
    /// The skill that the agent needs.
    pub skill: String,
    /// What the agent needs to know beside the goal.
    #[serde(default)]
    pub input: Value,
    /// The steps that must be completed first.
    #[serde(default)]
    pub after: Vec<String>,
    /// Whether the task can complete although this step failed.
    #[serde(default)]
    pub optional: bool,
}

impl From<NewPlan> for Plan {
    fn from(plan: NewPlan) -> Self {
        let step = |step: NewStep| PlanStep {
            step: step.step.into(),
            goal: step.goal,
            skill: step.skill.into(),
            input: step.input,
            after: step.after.into_iter().map(Into::into).collect(),
            optional: step.optional,
        };
        Self { steps: plan.steps.into_iter().map(step).collect() }
    }
}

/// Why to stop.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CancelTask {
    /// For people; kept in the log.
    pub reason: String,
}

/// Which end to undo.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryTask {
    /// The task's `end_id`: a task that was retried since then is not retried again. The latest end when absent.
    #[serde(deserialize_with = "crate::rest::extract::int64", default)]
    pub end: Option<u64>,
}

/// An answer.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProvideInput {
    /// The task's `question_id`: an answer to a question that is over is refused.
    #[serde(deserialize_with = "crate::rest::extract::some_int64")]
    pub question: u64,
    /// The answer to the task's question.
    pub answer: Value,
}

/// The A2A life cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = TaskState)]
pub enum State {
    /// Accepted; waits for an agent.
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

impl From<TaskState> for State {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Submitted => Self::Submitted,
            TaskState::Working => Self::Working,
            TaskState::InputRequired => Self::InputRequired,
            TaskState::AuthRequired => Self::AuthRequired,
            TaskState::Completed => Self::Completed,
            TaskState::Failed => Self::Failed,
            TaskState::Canceled => Self::Canceled,
            TaskState::Rejected => Self::Rejected,
        }
    }
}

/// A task. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskView {
    /// Its key.
    pub id: String,
    /// How far it is.
    pub state: State,
    /// What is wanted.
    pub goal: String,
    /// Whose work it is.
    pub owner: String,
    /// 0 (last) to 9 (first).
    pub priority: u8,
    /// The broker's lane.
    pub lane: String,
    /// The skill it needs.
    pub skill: String,
    /// The task above it.
    pub parent: Option<String>,
    /// Its children.
    pub children: Vec<String>,
    /// Which attempt is the current one; 0 before the first.
    pub attempt: u32,
    /// The agent of the current attempt.
    pub agent: Option<String>,
    /// When it was submitted.
    pub submitted_at: u64,
    /// When it last changed.
    pub updated_at: u64,
    /// When it must be done.
    pub deadline: Option<u64>,
    /// The question it waits with.
    pub question: Option<String>,
    /// Names that question: an answer says which one it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question_id: Option<u64>,
    /// What came out.
    pub artifacts: Vec<ArtifactView>,
    /// A small answer.
    pub result: Value,
    /// Why it, or its last attempt, failed.
    pub failure: Option<FailureView>,
    /// Names its end, once it has ended: a retry says which one it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_id: Option<u64>,
    /// What it and everything below it may use, and has used; absent for a child, and for a tree without
    /// bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<AccountView>,
    /// How many events it has.
    pub revision: u64,
}

/// Something an agent made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArtifactView {
    /// A file name.
    pub name: String,
    /// The media type.
    pub media_type: String,
    /// BLAKE3 of the bytes, hexadecimal.
    pub hash: String,
    /// How many bytes.
    pub bytes: u64,
    /// The step of the plan that made it; empty for a task without plan.
    pub step: String,
}

/// Why a task failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureView {
    /// `transient`, `permanent`, `ambiguous`, `budget`, `canceled` or `poison`.
    pub class: String,
    /// A stable word for programs.
    pub code: String,
    /// One sentence for people.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<Artifact> for ArtifactView {
    fn from(artifact: Artifact) -> Self {
        let Artifact { name, media_type, hash, bytes, step } = artifact;
        Self { name, media_type, hash: hash.to_hex(), bytes, step: step.to_string() }
    }
}

impl From<Failure> for FailureView {
    fn from(failure: Failure) -> Self {
        let class: &'static str = failure.class.into();
        Self { class: class.to_owned(), code: failure.code, message: failure.message, hint: failure.hint }
    }
}

impl From<Task> for TaskView {
    fn from(task: Task) -> Self {
        let text = |key: Key| key.to_string();
        Self {
            id: text(task.id),
            state: task.state.into(),
            goal: task.goal,
            owner: task.owner.to_string(),
            priority: task.priority,
            lane: text(task.lane),
            skill: task.skill.to_string(),
            parent: task.parent.map(text),
            children: task.children.into_iter().map(text).collect(),
            attempt: task.attempt,
            agent: task.agent.map(text),
            submitted_at: task.submitted_at.0,
            updated_at: task.updated_at.0,
            deadline: task.deadline.map(|deadline| deadline.0),
            question: task.question,
            question_id: task.question_id.map(|id| id.0),
            artifacts: task.artifacts.into_iter().map(Into::into).collect(),
            result: task.result,
            failure: task.failure.map(Into::into),
            end_id: task.end_id.map(|id| id.0),
            budget: task.budget.map(Into::into),
            revision: task.revision.0,
        }
    }
}

/// One page of tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    /// Newest first.
    pub tasks: Vec<TaskView>,
    /// Where the next page begins; null at the end.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}
