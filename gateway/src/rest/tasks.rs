//! Tasks: submitting, listing, showing, canceling, retrying, answering.

mod budget;
mod dto;
mod submit;
mod why;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, State};
use bus_schemas::commands::task::Command;
use bus_schemas::views::task::{Task, TaskState};
use bus_schemas::{EntityAddress, Key, Kind, Revision};
use serde::Deserialize;
use utoipa::IntoParams;

use super::ask::{Accepted, CALLER, ask};
use super::extract::{Id, Json, OptionalJson, Query};
use super::layer::Caller;
use super::problem::{Problem, code};
use super::{Edge, cursor};
use crate::projections::TaskFilter;

pub use budget::{__path_extend, BudgetView, extend};
pub use dto::NewPlan;
use dto::{CancelTask, ProvideInput, RetryTask, State as TaskStateName, TaskPage, TaskView};
pub use submit::{__path_create, create};
pub use why::{__path_why, why};

/// How long a request waits for the read model to show what was just acknowledged.
pub const VISIBLE_PATIENCE: Duration = Duration::from_secs(2);
/// How long events take from the log to the stream, on a slow disk.
const FANOUT_PATIENCE: Duration = Duration::from_millis(200);
/// Rows of a page when nothing else is asked for.
const LIMIT_DEFAULT: u32 = 50;
/// Rows of a page at most: a page is held in memory as a whole.
const LIMIT_MAX: u32 = 200;

/// Which tasks to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListTasks {
    /// In this state.
    #[param(value_type = Option<TaskStateName>)]
    state: Option<TaskState>,
    /// Of this owner.
    owner: Option<String>,
    /// In this lane.
    lane: Option<String>,
    /// Directly below this task.
    parent: Option<String>,
    /// True: only tasks without a parent. False: only tasks with one.
    root: Option<bool>,
    /// Rows of the page, 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Checks how many rows a page may have.
pub fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(LIMIT_DEFAULT);
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::new(code::INVALID_QUERY, format!("`limit` is 1 to {LIMIT_MAX}, and {limit} was asked for"))
        .hint("for more than one page send `next_cursor` of the page before as `cursor`"))
}

/// Lists tasks, newest first.
#[utoipa::path(get, path = "/v1/tasks", operation_id = "listTasks", tag = "tasks", params(ListTasks),
    responses((status = 200, description = "as it is now", body = TaskPage)))]
pub async fn list(
    State(edge): State<Arc<Edge>>,
    Query(query): Query<ListTasks>,
) -> Result<axum::Json<TaskPage>, Problem> {
    if query.parent.is_some() && query.root.is_some() {
        return Err(Problem::new(code::INVALID_QUERY, "`parent` and `root` exclude each other"));
    }
    let limit = limit(query.limit)?;
    let after = cursor::read(query.cursor.as_deref())?;
    let filter = TaskFilter {
        state: query.state,
        owner: query.owner,
        lane: query.lane,
        parent: query.parent,
        root: query.root,
    };
    let page = edge.projections.reader.tasks(filter, after, limit).await?;
    Ok(axum::Json(TaskPage {
        tasks: page.items.into_iter().map(TaskView::from).collect(),
        next_cursor: page.next.as_ref().map(cursor::write),
    }))
}

/// Shows a task. One that was just submitted is waited for.
#[utoipa::path(get, path = "/v1/tasks/{id}", operation_id = "showTask", tag = "tasks", params(("id" = String, Path, description = "the task; steps of a plan are `<task>.<step>`")),
    responses((status = 200, description = "as it is now", body = TaskView)))]
pub async fn show(State(edge): State<Arc<Edge>>, Id(id): Id) -> Result<axum::Json<TaskView>, Problem> {
    Ok(axum::Json(find(&edge, &id).await?.into()))
}

/// A task. One that the read model does not show is unknown once everything that had happened when it was asked for is
/// applied; only for one that was just changed, or may be on its way out of the log, is there a wait.
pub async fn find(edge: &Edge, id: &Key) -> Result<Task, Problem> {
    if let Some(task) = edge.projections.reader.task(id).await? {
        return Ok(task);
    }
    if edge.recent.holds(id) {
        return find_at(edge, id, Revision(1)).await?.ok_or_else(|| missing(edge, id));
    }
    let head = edge.bus.events_state().await.map_err(|_| behind(edge))?.last_sequence;
    if !edge.projections.reached(head, VISIBLE_PATIENCE).await {
        return Err(behind(edge));
    }
    let task = match is_fanning_out(edge, id).await {
        true => find_within(edge, id, Revision(1), FANOUT_PATIENCE).await?,
        false => edge.projections.reader.task(id).await?,
    };
    task.ok_or_else(|| missing(edge, id))
}

/// Whether the task's partition has committed something whose events may not be in the stream yet.
async fn is_fanning_out(edge: &Edge, id: &Key) -> bool {
    let topology = edge.bus.topology();
    let partition = EntityAddress::new(Kind::from_static("task"), id.clone()).partition(topology.partitions);
    let log = topology.log(partition);
    match tokio::join!(edge.bus.state_of(&log), edge.bus.mark(partition)) {
        (Ok(log), Ok(mark)) => log.last_sequence > mark.upto.0,
        // What can not be known may be so.
        _ => true,
    }
}

async fn find_at(edge: &Edge, id: &Key, revision: Revision) -> Result<Option<Task>, Problem> {
    find_within(edge, id, revision, VISIBLE_PATIENCE).await
}

async fn find_within(
    edge: &Edge,
    id: &Key,
    revision: Revision,
    patience: Duration,
) -> Result<Option<Task>, Problem> {
    let found = edge.projections.until(patience, |reader| {
        let id = id.clone();
        async move { Ok(reader.task(&id).await?.filter(|task| task.revision >= revision)) }
    });
    Ok(found.await?)
}

/// Not there, or not there yet: a read model that is behind does not know.
fn missing(edge: &Edge, id: &Key) -> Problem {
    let progress = edge.projections.progress();
    if progress.caught_up && progress.connected {
        return Problem::new(code::TASK_NOT_FOUND, format!("there is no task `{id}`"))
            .hint("`GET /v1/tasks` lists what there is");
    }
    behind(edge)
}

/// The read model can not answer yet.
pub fn behind(edge: &Edge) -> Problem {
    let lag = edge.projections.progress().lag();
    Problem::new(code::READ_MODEL_BEHIND, format!("the read model is {lag} messages behind"))
        .hint("try again; `/ready` shows how far it is")
        .again()
}

/// What an entity answered, as the task that it is now.
async fn answered(edge: &Edge, id: &Key, accepted: Accepted) -> Result<Task, Problem> {
    if let Ok(task) = serde_json::from_value::<Task>(accepted.result) {
        return Ok(task);
    }
    find_at(edge, id, accepted.revision).await?.ok_or_else(|| behind(edge))
}

async fn change(
    edge: &Edge,
    caller: Caller,
    id: Key,
    command: Command,
) -> Result<axum::Json<TaskView>, Problem> {
    let accepted = ask(edge, caller, id.clone(), &command).await?;
    Ok(axum::Json(answered(edge, &id, accepted).await?.into()))
}

/// Stops a task and everything below it.
#[utoipa::path(post, path = "/v1/tasks/{id}/cancel", operation_id = "cancelTask", tag = "tasks", params(("id" = String, Path)), request_body = Option<CancelTask>,
    responses((status = 200, description = "as it is now", body = TaskView)))]
pub async fn cancel(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    OptionalJson(body): OptionalJson<CancelTask>,
) -> Result<axum::Json<TaskView>, Problem> {
    let command = Command::Cancel { reason: body.reason, by: CALLER.into() };
    change(&edge, caller, id, command).await
}

/// Tries a failed task once more, with a fresh count of attempts.
#[utoipa::path(post, path = "/v1/tasks/{id}/retry", operation_id = "retryTask", tag = "tasks", params(("id" = String, Path)), request_body = Option<RetryTask>,
    responses((status = 200, description = "as it is now", body = TaskView)))]
pub async fn retry(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    OptionalJson(RetryTask { end }): OptionalJson<RetryTask>,
) -> Result<axum::Json<TaskView>, Problem> {
    change(&edge, caller, id, Command::Retry { end: end.map(Revision), by: CALLER.into() }).await
}

/// Answers the question that a task waits with.
#[utoipa::path(post, path = "/v1/tasks/{id}/input", operation_id = "provideInput", tag = "tasks", params(("id" = String, Path)), request_body = ProvideInput,
    responses((status = 200, description = "as it is now", body = TaskView)))]
pub async fn input(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    Json(body): Json<ProvideInput>,
) -> Result<axum::Json<TaskView>, Problem> {
    let command =
        Command::ProvideInput { question: Revision(body.question), answer: body.answer, by: CALLER.into() };
    change(&edge, caller, id, command).await
}
