//! Schedules: goals that recur.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bus_schemas::commands::schedule::Command;
use bus_schemas::commands::task::Submit;
use bus_schemas::{Key, Revision};
use gateway_api::paging::Paging;
use gateway_api::schedules::{NewSchedule, Schedule, SchedulePage, ScheduledTask};
use gateway_api::{NextStep, code};

use super::ask::{Answer, Call};
use super::cursor;
use super::extract::{Id, Json, Query};
use super::problem::Problem;
use super::tasks::{VISIBLE_PATIENCE, behind};

/// Lists schedules, by name.
pub async fn list(call: Call, Query(paging): Query<Paging>) -> Answer<SchedulePage> {
    let (after, limit) = cursor::page(&paging)?;
    let page = call.projections.reader.schedules(after, limit).await?;
    Ok(axum::Json(SchedulePage { schedules: page.items, next_cursor: page.next.as_ref().map(cursor::write) }))
}

/// Shows a schedule.
pub async fn show(call: Call, Id(name): Id) -> Answer<Schedule> {
    let known = call.projections.reader.schedule(&name).await?.filter(|known| !known.deleted);
    known.map(axum::Json).ok_or_else(|| unknown(&name))
}

/// Creates or replaces a schedule.
pub async fn create(call: Call, Id(name): Id, Json(body): Json<NewSchedule>) -> Result<Response, Problem> {
    let before = call.projections.reader.schedule(&name).await?;
    let command = Command::Create { recurrence: body.recurrence, task: submission(body.task) };
    let schedule = change(&call, &name, command).await?;
    let status =
        if before.is_some_and(|before| !before.deleted) { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, axum::Json(schedule)).into_response())
}

/// Deletes a schedule: it never fires again.
pub async fn delete(call: Call, Id(name): Id) -> Answer<Schedule> {
    let accepted = call.ask(&name, &Command::Delete).await?;
    // The entity accepts a second deletion, and that of a schedule that never existed.
    if accepted.revision == Revision(0) {
        return Err(unknown(&name));
    }
    Ok(axum::Json(at(&call, &name, accepted.revision).await?))
}

/// Pauses a schedule: it does not fire until it is resumed.
pub async fn pause(call: Call, Id(name): Id) -> Answer<Schedule> {
    Ok(axum::Json(change(&call, &name, Command::Pause).await?))
}

/// Resumes a schedule: it fires again from now on.
pub async fn resume(call: Call, Id(name): Id) -> Answer<Schedule> {
    Ok(axum::Json(change(&call, &name, Command::Resume).await?))
}

async fn change(call: &Call, name: &Key, command: Command) -> Result<Schedule, Problem> {
    let accepted = call.ask(name, &command).await?;
    let schedule = at(call, name, accepted.revision).await?;
    if schedule.deleted { Err(unknown(name)) } else { Ok(schedule) }
}

fn unknown(name: &Key) -> Problem {
    Problem::new(code::SCHEDULE_NOT_FOUND, format!("there is no schedule `{name}`"))
        .next(NextStep::ListSchedules)
}

/// The schedule as of a revision: what was acknowledged is shown.
async fn at(call: &Call, name: &Key, revision: Revision) -> Result<Schedule, Problem> {
    let found = call.projections.until(VISIBLE_PATIENCE, |reader| {
        let name = name.clone();
        async move { Ok(reader.schedule(&name).await?.filter(|schedule| schedule.revision >= revision)) }
    });
    found.await?.ok_or_else(|| behind(call))
}

/// The submission that a schedule repeats.
fn submission(task: ScheduledTask) -> Submit {
    let defaults = Submit::new(task.goal);
    Submit {
        priority: task.priority.unwrap_or(defaults.priority),
        lane: task.lane.unwrap_or(defaults.lane.clone()),
        skill: task.skill.map_or(defaults.skill.clone(), Into::into),
        input: task.input,
        plan: task.plan,
        attempts_max: task.attempts_max,
        budget: task.budget,
        ..defaults
    }
}
