//! Tasks: goals with their bounds, and their progress.

use bus_schemas::commands::task::Plan;
use bus_schemas::settings::Budget;
use bus_schemas::views::task::{Task, TaskState};
use bus_schemas::{Key, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The filter and the page of a list of tasks.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListTasks {
    /// Only tasks in this state.
    pub state: Option<TaskState>,
    /// Only tasks of this owner.
    pub owner: Option<String>,
    /// Only tasks in this lane.
    pub lane: Option<String>,
    /// Only direct children of this task.
    pub parent: Option<String>,
    /// True: only tasks without a parent. False: only tasks with one.
    pub root: Option<bool>,
    /// Rows in the page. Default: 50.
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
    /// The page to return: `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// The consistency of a task that is read.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShowTask {
    /// True: the owner of the task's partition answers, with everything that was acknowledged before. False, the
    /// default: the read model answers, which may be some milliseconds behind.
    pub consistent: bool,
}

/// A goal with its bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// The goal, in words.
    pub goal: String,
    /// The task's id; the same id with the same content is the same task. Default: a new id.
    pub id: Option<Key>,
    /// The priority, 0 (last) to 9 (first). Default: 5.
    #[schemars(range(max = 9))]
    pub priority: Option<u8>,
    /// The lane that the task's jobs wait in. Default: `default`.
    pub lane: Option<Key>,
    /// The skill that the task needs. Default: `plan`, for a goal that an orchestrator splits.
    pub skill: Option<String>,
    /// Input for the agent beside the goal.
    #[serde(default)]
    pub input: Value,
    /// A plan made by the caller: then no orchestrator is asked.
    pub plan: Option<Plan>,
    /// The deadline, in milliseconds since 1970. Cannot be combined with `deadline_ms`.
    pub deadline: Option<Timestamp>,
    /// The deadline, in milliseconds from now.
    #[schemars(range(min = 1))]
    #[serde(deserialize_with = "bus_schemas::wire::time", default)]
    pub deadline_ms: Option<u64>,
    /// Attempts at most. Default: by the settings for the skill, 3 unless changed.
    #[schemars(range(min = 1, max = 100))]
    pub attempts_max: Option<u32>,
    /// What the task and its descendants may use. Default: as the settings say.
    pub budget: Option<Budget>,
}

impl NewTask {
    /// A task with a goal and nothing else.
    pub fn of(goal: impl Into<String>) -> Self {
        Self {
            goal: goal.into(),
            id: None,
            priority: None,
            lane: None,
            skill: None,
            input: Value::Null,
            plan: None,
            deadline: None,
            deadline_ms: None,
            attempts_max: None,
            budget: None,
        }
    }
}

/// The reason for canceling a task.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CancelTask {
    /// The reason, for people; kept in the log.
    pub reason: String,
}

/// The end of a task that a retry undoes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryTask {
    /// The task's `end_id`: a retry of an earlier end is refused.
    #[serde(deserialize_with = "bus_schemas::wire::some_int64")]
    pub end: u64,
}

/// Where a task is forked.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkTask {
    /// The revision of the task up to which the new one has what it had.
    #[serde(deserialize_with = "bus_schemas::wire::some_int64")]
    pub at: u64,
    /// The id of the new task. Default: `<id>-at-<revision>`. The same fork again changes nothing.
    #[serde(default)]
    pub name: Option<Key>,
}

/// An answer to a task's question.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerTask {
    /// The task's `question_id`: an answer to an earlier question is refused.
    #[serde(deserialize_with = "bus_schemas::wire::some_int64")]
    pub question: u64,
    /// The answer to the task's question.
    pub answer: Value,
}

/// An extension of a tree's budget.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtendBudget {
    /// The amount to add in each dimension; time counts from now.
    pub extend: Budget,
    /// The reason, for people; kept in the log.
    #[serde(default)]
    pub reason: String,
}

/// The artifact to download.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneArtifact {
    /// The step of the plan that made it. Required when several steps made an artifact of this name.
    pub step: Option<String>,
}

/// A page of tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskPage {
    /// The tasks, newest first.
    pub tasks: Vec<Task>,
    /// The cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}
