//! Schedules: goals that recur.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bus_schemas::commands::schedule::{Command, Recurrence};
use bus_schemas::commands::task::Submit;
use bus_schemas::{Key, Revision, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::Edge;
use super::ask::ask;
use super::extract::{Id, Json};
use super::layer::Caller;
use super::problem::{Problem, code};
use super::tasks::{BudgetView, NewPlan, VISIBLE_PATIENCE, behind};
use crate::projections::schedule::Schedule;

/// When a schedule fires, and what it submits.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    /// When it fires.
    pub recurrence: NewRecurrence,
    /// The task that it submits.
    pub task: ScheduledTask,
}

/// When a schedule fires.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "rule", rename_all = "kebab-case", deny_unknown_fields)]
pub enum NewRecurrence {
    /// Once.
    Once {
        /// Milliseconds since 1970.
        #[serde(deserialize_with = "crate::rest::extract::some_time")]
        at: u64,
    },
    /// Again and again.
    Every {
        /// Milliseconds between two.
        #[schema(minimum = 1000)]
        #[serde(deserialize_with = "crate::rest::extract::some_time")]
        every_ms: u64,
    },
    /// By a cron expression of five or six fields, in UTC.
    Cron {
        /// The expression.
        expression: String,
    },
}

impl From<NewRecurrence> for Recurrence {
    fn from(recurrence: NewRecurrence) -> Self {
        match recurrence {
            NewRecurrence::Once { at } => Self::Once { at: Timestamp(at) },
            NewRecurrence::Every { every_ms } => Self::Every { every_ms },
            NewRecurrence::Cron { expression } => Self::Cron { expression },
        }
    }
}

/// The task that a schedule submits: like a new task, without a deadline.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduledTask {
    /// What is wanted, in words.
    pub goal: String,
    /// Whose work it is. Default: `anonymous`.
    pub owner: Option<String>,
    /// 0 (last) to 9 (first). Default: 5.
    #[schema(maximum = 9)]
    pub priority: Option<u8>,
    /// The broker's lane. Default: `default`.
    #[schema(value_type = Option<String>)]
    pub lane: Option<Key>,
    /// The skill that the agent needs. Default: `plan`.
    pub skill: Option<String>,
    /// What the agent needs to know beside the goal.
    #[serde(default)]
    pub input: Value,
    /// A plan made by the caller.
    pub plan: Option<NewPlan>,
    /// How often it is tried. Default: 3.
    #[schema(minimum = 1, maximum = 100)]
    pub attempts_max: Option<u32>,
    /// What it and everything below it may use, each time. Default: as the settings say.
    pub budget: Option<BudgetView>,
}

impl From<ScheduledTask> for Submit {
    fn from(task: ScheduledTask) -> Self {
        let defaults = Self::new(task.goal);
        Self {
            owner: task.owner.map_or(defaults.owner.clone(), Into::into),
            priority: task.priority.unwrap_or(defaults.priority),
            lane: task.lane.unwrap_or(defaults.lane.clone()),
            skill: task.skill.map_or(defaults.skill.clone(), Into::into),
            input: task.input,
            plan: task.plan.map(Into::into),
            attempts_max: task.attempts_max,
            budget: task.budget.map(Into::into),
            ..defaults
        }
    }
}

/// All schedules.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ScheduleList {
    /// By name.
    pub schedules: Vec<Schedule>,
}

/// Lists schedules.
#[utoipa::path(get, path = "/v1/schedules", operation_id = "listSchedules", tag = "schedules", responses((status = 200, description = "as it is now", body = ScheduleList)))]
pub async fn list(State(edge): State<Arc<Edge>>) -> Result<axum::Json<ScheduleList>, Problem> {
    Ok(axum::Json(ScheduleList { schedules: edge.projections.reader.schedules().await? }))
}

/// Makes or replaces a schedule.
#[utoipa::path(put, path = "/v1/schedules/{name}", operation_id = "putSchedule", tag = "schedules", params(("name" = String, Path)), request_body = NewSchedule,
    responses((status = 201, description = "it was made", body = Schedule), (status = 200, body = Schedule, description = "there was one of this name")))]
pub async fn create(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(name): Id,
    Json(body): Json<NewSchedule>,
) -> Result<Response, Problem> {
    let before = edge.projections.reader.schedule(&name).await?;
    let command = Command::Create { recurrence: body.recurrence.into(), task: body.task.into() };
    let schedule = change(&edge, caller, &name, command).await?;
    let status =
        if before.is_some_and(|before| !before.deleted) { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, axum::Json(schedule)).into_response())
}

/// A schedule never fires again.
#[utoipa::path(delete, path = "/v1/schedules/{name}", operation_id = "deleteSchedule", tag = "schedules", params(("name" = String, Path)),
    responses((status = 204, description = "it is gone")))]
pub async fn delete(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(name): Id,
) -> Result<StatusCode, Problem> {
    let accepted = ask(&edge, caller, name.clone(), &Command::Delete).await?;
    // The entity takes a second deletion, and one of nothing at all.
    if accepted.revision > Revision(0) {
        at(&edge, &name, accepted.revision).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A schedule does not fire until it is resumed.
#[utoipa::path(post, path = "/v1/schedules/{name}/pause", operation_id = "pauseSchedule", tag = "schedules", params(("name" = String, Path)),
    responses((status = 200, description = "as it is now", body = Schedule)))]
pub async fn pause(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(name): Id,
) -> Result<axum::Json<Schedule>, Problem> {
    Ok(axum::Json(change(&edge, caller, &name, Command::Pause).await?))
}

/// A schedule fires again, from now on.
#[utoipa::path(post, path = "/v1/schedules/{name}/resume", operation_id = "resumeSchedule", tag = "schedules", params(("name" = String, Path)),
    responses((status = 200, description = "as it is now", body = Schedule)))]
pub async fn resume(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(name): Id,
) -> Result<axum::Json<Schedule>, Problem> {
    Ok(axum::Json(change(&edge, caller, &name, Command::Resume).await?))
}

async fn change(edge: &Edge, caller: Caller, name: &Key, command: Command) -> Result<Schedule, Problem> {
    let accepted = ask(edge, caller, name.clone(), &command).await?;
    let schedule = at(edge, name, accepted.revision).await?;
    if schedule.deleted {
        let detail = format!("there is no schedule `{name}`");
        return Err(Problem::new(code::SCHEDULE_NOT_FOUND, detail));
    }
    Ok(schedule)
}

/// The schedule as of a revision: what was acknowledged is shown.
async fn at(edge: &Edge, name: &Key, revision: Revision) -> Result<Schedule, Problem> {
    let found = edge.projections.until(VISIBLE_PATIENCE, |reader| {
        let name = name.clone();
        async move { Ok(reader.schedule(&name).await?.filter(|schedule| schedule.revision >= revision)) }
    });
    found.await?.ok_or_else(|| behind(edge))
}
