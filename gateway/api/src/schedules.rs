//! Schedules: goals that recur.

use bus_schemas::commands::schedule::Recurrence;
use bus_schemas::commands::task::{Plan, Submit};
use bus_schemas::settings::Budget;
use bus_schemas::{Key, Revision, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// When a schedule fires, and what it submits.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    /// When the schedule fires.
    pub recurrence: Recurrence,
    /// The task that the schedule submits.
    pub task: ScheduledTask,
}

/// The task that a schedule submits: like a new task, without a deadline.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduledTask {
    /// The goal, in words.
    pub goal: String,
    /// The priority, 0 (last) to 9 (first). Default: 5.
    #[schemars(range(max = 9))]
    pub priority: Option<u8>,
    /// The lane that the task's jobs wait in. Default: `default`.
    pub lane: Option<Key>,
    /// The skill that the task needs. Default: `plan`.
    pub skill: Option<String>,
    /// Input for the agent beside the goal.
    #[serde(default)]
    pub input: Value,
    /// A plan made by the caller: then no orchestrator is asked.
    pub plan: Option<Plan>,
    /// Attempts at most. Default: by the settings for the skill, 3 unless changed.
    #[schemars(range(min = 1, max = 100))]
    pub attempts_max: Option<u32>,
    /// What the task and its descendants may use, each time. Default: as the settings say.
    pub budget: Option<Budget>,
}

/// A page of schedules.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SchedulePage {
    /// The schedules, by name.
    pub schedules: Vec<Schedule>,
    /// The cursor of the next page; null on the last page.
    pub next_cursor: Option<String>,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Schedule {
    /// The schedule's name.
    pub name: Key,
    /// When the schedule fires.
    pub recurrence: Recurrence,
    /// The task that the schedule submits.
    pub task: Submit,
    /// Whether the schedule is paused.
    pub paused: bool,
    /// Whether the schedule was deleted, and never fires again. Lists leave deleted schedules out.
    pub deleted: bool,
    /// When the schedule fires next, in milliseconds since 1970.
    pub next: Option<Timestamp>,
    /// How often the schedule has fired since it was made.
    pub fired: u64,
    /// The id of the task that the schedule submitted last.
    pub last_task: Option<Key>,
    /// The time of the last change, in milliseconds since 1970.
    pub updated_at: Timestamp,
    /// The schedule's revision: the number of its events.
    pub revision: Revision,
}
