//! Halts: what is halted, why, and since when; halting, and resuming gradually.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus_schemas::commands::halt::{Command, Standstill};
use bus_schemas::halts::Scope;
use bus_schemas::wire::WireCommand;
use bus_schemas::{EntityAddress, Key, Revision};
use gateway_api::halts::{Halt, HaltChanged, HaltPage, NewHalt, ResumeHalt};
use gateway_api::paging::Paging;

use super::ask::{Answer, Call, read};
use super::cursor;
use super::extract::{Id, Json, OptionalJson, Query};
use super::problem::Problem;
use super::tasks::{VISIBLE_PATIENCE, behind};

/// Default grace period for running work, in milliseconds.
const GRACE_MS: u64 = 5_000;

/// Lists halts, by scope.
pub async fn list(call: Call, Query(paging): Query<Paging>) -> Answer<HaltPage> {
    let (after, limit) = cursor::page(&paging)?;
    let page = call.projections.reader.halts(after, limit).await?;
    Ok(axum::Json(HaltPage { halts: page.items, next_cursor: page.next.as_ref().map(cursor::write) }))
}

/// Halts a scope: no effect begins in it.
pub async fn create(call: Call, Json(body): Json<NewHalt>) -> Result<Response, Problem> {
    let NewHalt { scope, reason, grace_ms } = body;
    // Looked up beforehand: the halt itself makes a lane known.
    let known = is_known(&call, &scope).await?;
    let command = Command::Halt { reason, grace_ms: grace_ms.unwrap_or(GRACE_MS) };
    let accepted = call.ask(&scope, &command).await?;
    let halt = at(&call, &scope, accepted.revision).await?;
    let status = if accepted.events > 0 { StatusCode::CREATED } else { StatusCode::OK };
    let told = HaltChanged { halt, known, already_resumed: false, ended: None };
    Ok((status, [(header::LOCATION, "/v1/halts")], axum::Json(told)).into_response())
}

/// Ends a halt: work resumes gradually.
pub async fn resume(
    call: Call,
    Id(scope): Id,
    OptionalJson(body): OptionalJson<ResumeHalt>,
) -> Answer<HaltChanged> {
    let ResumeHalt { reason, per_minute, revision } = body;
    let reason = reason.unwrap_or_else(|| "resumed".to_owned());
    let known = is_known(&call, &scope).await?;
    // What was not seen does not end: a halt made in this moment stays.
    let seen = call.projections.reader.halt(&scope).await?.map_or(Revision(0), |halt| halt.revision);
    let revision = Some(revision.map_or(seen, Revision));
    let accepted = call.ask(&scope, &Command::Resume { reason, per_minute, revision }).await?;
    let ended: Option<Standstill> = read(&EntityAddress::new(Command::KIND, scope.clone()), accepted.result)?;
    let halt = at(&call, &scope, accepted.revision).await?;
    Ok(axum::Json(HaltChanged { halt, known, already_resumed: ended.is_none(), ended }))
}

/// Whether the scope names something known.
async fn is_known(call: &Call, scope: &Key) -> Result<bool, Problem> {
    let reader = &call.projections.reader;
    Ok(match Scope::parse(scope) {
        Some(Scope::All) => true,
        Some(Scope::Lane(lane)) => reader.lane(&lane).await?.is_some(),
        Some(Scope::Agent(agent)) => reader.agent(&agent).await?.is_some_and(|known| known.card.is_some()),
        Some(Scope::Task(task)) => reader.task(&task).await?.is_some(),
        // The entity refuses it.
        None => false,
    })
}

/// The halt as of a revision: what was acknowledged is shown.
async fn at(call: &Call, scope: &Key, revision: Revision) -> Result<Halt, Problem> {
    let found = call.projections.until(VISIBLE_PATIENCE, |reader| {
        let scope = scope.clone();
        async move { Ok(reader.halt(&scope).await?.filter(|halt| halt.revision >= revision)) }
    });
    found.await?.ok_or_else(|| behind(call))
}
