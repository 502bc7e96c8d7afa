//! Changes of repositories: listed, scheduled, canceled.

use bus_schemas::commands::change::{Command, Schedule};
use bus_schemas::{Key, Revision};
use gateway_api::changes::{CancelChange, Change, ChangePage, ListChanges, NewChange};
use gateway_api::{NextStep, code};

use super::ask::{Answer, Call};
use super::cursor;
use super::extract::{Id, Json, Query};
use super::problem::Problem;
use super::tasks::{VISIBLE_PATIENCE, behind, limit};

/// Lists changes, newest first.
pub async fn list(call: Call, Query(query): Query<ListChanges>) -> Answer<ChangePage> {
    let (limit, after) = (limit(query.limit)?, cursor::read(query.cursor.as_deref())?);
    let page = call.projections.reader.changes(query.state, after, limit).await?;
    Ok(axum::Json(ChangePage { changes: page.items, next_cursor: page.next.as_ref().map(cursor::write) }))
}

/// Shows a change.
pub async fn show(call: Call, Id(id): Id) -> Answer<Change> {
    call.projections.reader.change(&id).await?.map(axum::Json).ok_or_else(|| {
        Problem::new(code::CHANGE_NOT_FOUND, format!("there is no change `{id}`")).next(NextStep::ListChanges)
    })
}

/// Schedules a change. An equal repeat shows it as it stands.
pub async fn schedule(call: Call, Id(id): Id, Json(body): Json<NewChange>) -> Answer<Change> {
    let NewChange { repo, target, files, message, expect, dry_run, full_base, ground } = body;
    let schedule = Schedule { repo, target, files, message, expect, dry_run, full_base, ground };
    let accepted = call.ask(&id, &Command::Schedule(schedule)).await?;
    at(&call, &id, accepted.revision).await
}

/// Cancels a change: what was written is removed again.
pub async fn cancel(call: Call, Id(id): Id, Json(body): Json<CancelChange>) -> Answer<Change> {
    let accepted = call.ask(&id, &Command::Cancel { reason: body.reason }).await?;
    at(&call, &id, accepted.revision).await
}

/// The change as of a revision: what was acknowledged is shown.
async fn at(call: &Call, id: &Key, revision: Revision) -> Answer<Change> {
    let found = call.projections.until(VISIBLE_PATIENCE, |reader| {
        let id = id.clone();
        async move { Ok(reader.change(&id).await?.filter(|known| known.revision >= revision)) }
    });
    found.await?.map(axum::Json).ok_or_else(|| behind(call))
}
