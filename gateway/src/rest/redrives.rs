//! Redrives: many dead letters redriven at a rate; started, paused, resumed, canceled.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus_schemas::commands::redrive::{Command, Filter};
use bus_schemas::{Key, Revision, Timestamp};
use gateway_api::dead_letters::Reason;
use gateway_api::paging::Paging;
use gateway_api::redrives::{NewRedrive, Redrive, RedrivePage, ResumeRedrive};
use gateway_api::{NextStep, code};
use uuid::Uuid;

use super::ask::{Answer, Call};
use super::cursor;
use super::extract::{Id, Json, OptionalJson, Query, key};
use super::problem::Problem;
use super::tasks::{VISIBLE_PATIENCE, behind};

/// Default rate, in entries per second.
const RATE: u32 = 10;

/// Lists redrives of many dead letters, newest first.
pub async fn list(call: Call, Query(paging): Query<Paging>) -> Answer<RedrivePage> {
    let (after, limit) = cursor::page(&paging)?;
    let page = call.projections.reader.redrives(after, limit).await?;
    Ok(axum::Json(RedrivePage { redrives: page.items, next_cursor: page.next.as_ref().map(cursor::write) }))
}

/// Redrives every waiting dead letter that matches a filter, at a rate.
pub async fn create(call: Call, Json(body): Json<NewRedrive>) -> Result<Response, Problem> {
    let filter = filter(&body)?;
    let id = match body.name {
        Some(name) => name,
        None => key(&Uuid::now_v7().to_string())?,
    };
    let command = Command::Start { filter, rate: body.rate.unwrap_or(RATE), reason: body.reason };
    let accepted = call.ask(&id, &command).await?;
    let redrive = at(&call, &id, accepted.revision).await?;
    let status = if accepted.events > 0 { StatusCode::CREATED } else { StatusCode::OK };
    let location = [(header::LOCATION, format!("/v1/redrives/{id}"))];
    Ok((status, location, axum::Json(redrive)).into_response())
}

/// Shows a redrive's progress.
pub async fn show(call: Call, Id(id): Id) -> Answer<Redrive> {
    let found = call.projections.reader.redrive(&id).await?;
    found.map(axum::Json).ok_or_else(|| {
        Problem::new(code::REDRIVE_NOT_FOUND, format!("there is no redrive `{id}`"))
            .next(NextStep::ListRedrives)
    })
}

/// Pauses a redrive: it sends nothing until it is resumed.
pub async fn pause(call: Call, Id(id): Id, OptionalJson(body): OptionalJson<Reason>) -> Answer<Redrive> {
    let Reason { reason } = body;
    change(&call, &id, Command::Pause { reason }).await
}

/// Resumes a redrive.
pub async fn resume(
    call: Call,
    Id(id): Id,
    OptionalJson(body): OptionalJson<ResumeRedrive>,
) -> Answer<Redrive> {
    change(&call, &id, Command::Resume { rate: body.rate }).await
}

/// Cancels a redrive: entries that were not sent stay waiting.
pub async fn cancel(call: Call, Id(id): Id, OptionalJson(body): OptionalJson<Reason>) -> Answer<Redrive> {
    let Reason { reason } = body;
    change(&call, &id, Command::Cancel { reason }).await
}

async fn change(call: &Call, id: &Key, command: Command) -> Answer<Redrive> {
    let accepted = call.ask(id, &command).await?;
    at(call, id, accepted.revision).await.map(axum::Json)
}

/// The redrive as of a revision: what was acknowledged is shown.
async fn at(call: &Call, id: &Key, revision: Revision) -> Result<Redrive, Problem> {
    let found = call.projections.until(VISIBLE_PATIENCE, |reader| {
        let id = id.clone();
        async move { Ok(reader.redrive(&id).await?.filter(|redrive| redrive.revision >= revision)) }
    });
    found.await?.ok_or_else(|| behind(call))
}

/// The filter; a problem where no condition is given, or `all` together with another one.
fn filter(redrive: &NewRedrive) -> Result<Filter, Problem> {
    let filter = Filter {
        class: redrive.class.as_deref().map(Into::into),
        kind: redrive.kind.as_deref().map(Into::into),
        key: redrive.key.as_deref().map(Into::into),
        dependency: redrive.dependency.clone(),
        since: redrive.since.map(Timestamp),
        before: redrive.before.map(Timestamp),
    };
    if redrive.all == (filter == Filter::default()) {
        return Ok(filter);
    }
    let detail = "give either conditions for dead letters, or `all`";
    Err(Problem::new(code::INVALID_BODY, detail).hint("`/v1/openapi.json` has the schema"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[test]
    fn a_redrive_of_everything_must_be_said() {
        let read = |body: Value| super::filter(&serde_json::from_value(body).unwrap());
        assert!(read(json!({"all": true})).is_ok() && read(json!({"class": "poison"})).is_ok());
        assert!(read(json!({})).is_err() && read(json!({"all": true, "class": "poison"})).is_err());
    }
}
