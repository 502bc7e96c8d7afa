//! Tasks: submitting, listing, showing, canceling, retrying, answering.

mod fork;
mod submit;
mod why;

use std::time::Duration;

use bus_schemas::commands::task::{self, Command};
use bus_schemas::views::task::Task;
use bus_schemas::{EntityAddress, Key, Kind, Revision};
use gateway_api::tasks::{AnswerTask, CancelTask, ExtendBudget, ListTasks, RetryTask, ShowTask, TaskPage};
use gateway_api::{NextStep, code};

use super::ask::{Accepted, Answer, Call, PATIENCE};
use super::cursor;
use super::extract::{Id, Json, OptionalJson, Query};
use super::problem::Problem;
use crate::projections::TaskFilter;

pub use fork::fork;
pub use submit::create;
pub use why::why;

/// Timeout for the read model to show what was just acknowledged.
pub const VISIBLE_PATIENCE: Duration = Duration::from_secs(2);
/// How long events take from the log to the stream on a slow disk.
const FANOUT_PATIENCE: Duration = Duration::from_millis(200);
/// Default number of rows in a page.
const LIMIT_DEFAULT: u32 = 50;
/// The most rows in a page, which is held in memory as a whole.
const LIMIT_MAX: u32 = 200;

/// Checks the requested number of rows.
pub fn limit(asked: Option<u32>) -> Result<u32, Problem> {
    let limit = asked.unwrap_or(LIMIT_DEFAULT);
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::new(code::INVALID_QUERY, format!("`limit` is 1 to {LIMIT_MAX}, and {limit} was asked for"))
        .hint("for more than one page send `next_cursor` of the page before as `cursor`"))
}

/// Lists tasks, newest first.
pub async fn list(call: Call, Query(query): Query<ListTasks>) -> Answer<TaskPage> {
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
    let page = call.projections.reader.tasks(filter, after, limit).await?;
    Ok(axum::Json(TaskPage { tasks: page.items, next_cursor: page.next.as_ref().map(cursor::write) }))
}

/// Shows a task. Waits for one that was just submitted.
pub async fn show(call: Call, Id(id): Id, Query(ShowTask { consistent }): Query<ShowTask>) -> Answer<Task> {
    let task = match consistent {
        true => call.query(&id, &task::Query::Describe, PATIENCE).await?,
        false => find(&call, &id).await?,
    };
    Ok(axum::Json(task))
}

/// A task. One that the read model does not show is unknown once the read model has applied everything that
/// existed at the request. Only a task that was just changed, or whose events may be on their way out of the
/// log, is waited for.
pub async fn find(call: &Call, id: &Key) -> Result<Task, Problem> {
    if let Some(task) = call.projections.reader.task(id).await? {
        return Ok(task);
    }
    if call.recent.holds(id) {
        return find_at(call, id, Revision(1)).await?.ok_or_else(|| missing(call, id));
    }
    let head = call.bus.events_state().await.map_err(|_| behind(call))?.last_sequence;
    if !call.projections.reached(head, VISIBLE_PATIENCE).await {
        return Err(behind(call));
    }
    let task = match is_fanning_out(call, id).await {
        true => find_within(call, id, Revision(1), FANOUT_PATIENCE).await?,
        false => call.projections.reader.task(id).await?,
    };
    task.ok_or_else(|| missing(call, id))
}

/// Whether the task's partition has committed something whose events may not be in the stream yet.
async fn is_fanning_out(call: &Call, id: &Key) -> bool {
    let topology = call.bus.topology();
    let partition = EntityAddress::new(Kind::from_static("task"), id.clone()).partition(topology.partitions);
    let log = topology.log(partition);
    match tokio::join!(call.bus.state_of(&log), call.bus.mark(partition)) {
        (Ok(log), Ok(mark)) => log.last_sequence > mark.upto.0,
        // Without an answer it may be so.
        _ => true,
    }
}

async fn find_at(call: &Call, id: &Key, revision: Revision) -> Result<Option<Task>, Problem> {
    find_within(call, id, revision, VISIBLE_PATIENCE).await
}

async fn find_within(
    call: &Call,
    id: &Key,
    revision: Revision,
    patience: Duration,
) -> Result<Option<Task>, Problem> {
    let found = call.projections.until(patience, |reader| {
        let id = id.clone();
        async move { Ok(reader.task(&id).await?.filter(|task| task.revision >= revision)) }
    });
    Ok(found.await?)
}

/// The task does not exist, or not yet: a read model that is behind cannot tell.
fn missing(call: &Call, id: &Key) -> Problem {
    let progress = call.projections.progress();
    if progress.caught_up && progress.connected {
        return Problem::new(code::TASK_NOT_FOUND, format!("there is no task `{id}`"))
            .next(NextStep::ListTasks);
    }
    behind(call)
}

/// The read model cannot answer yet.
pub fn behind(call: &Call) -> Problem {
    let lag = call.projections.progress().lag();
    Problem::new(code::READ_MODEL_BEHIND, format!("the read model is {lag} messages behind"))
        .next(NextStep::AwaitReadModel)
        .retryable()
}

/// The task after an accepted command.
async fn answered(call: &Call, id: &Key, accepted: Accepted) -> Result<Task, Problem> {
    if let Ok(task) = serde_json::from_value::<Task>(accepted.result) {
        return Ok(task);
    }
    find_at(call, id, accepted.revision).await?.ok_or_else(|| behind(call))
}

async fn change(call: &Call, id: Key, command: Command) -> Answer<Task> {
    let accepted = call.ask(&id, &command).await?;
    answered(call, &id, accepted).await.map(axum::Json)
}

/// Cancels a task and its descendants.
pub async fn cancel(call: Call, Id(id): Id, OptionalJson(body): OptionalJson<CancelTask>) -> Answer<Task> {
    let command = Command::Cancel { reason: body.reason };
    change(&call, id, command).await
}

/// Retries a failed task, with a fresh count of attempts.
pub async fn retry(call: Call, Id(id): Id, Json(RetryTask { end }): Json<RetryTask>) -> Answer<Task> {
    change(&call, id, Command::Retry { end: Some(Revision(end)) }).await
}

/// Answers the question that a task waits for.
pub async fn answer(call: Call, Id(id): Id, Json(body): Json<AnswerTask>) -> Answer<Task> {
    let command = Command::Answer { question: Revision(body.question), answer: body.answer };
    change(&call, id, command).await
}

/// Extends the budget of a task and its descendants. A tree that was paused for its budget goes on.
pub async fn extend_budget(call: Call, Id(id): Id, Json(body): Json<ExtendBudget>) -> Answer<Task> {
    let ExtendBudget { extend, reason } = body;
    let command = Command::ExtendBudget { extend, reason };
    change(&call, id, command).await
}
