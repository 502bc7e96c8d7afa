//! Campaigns: many dead letters redriven at a rate, paused, resumed, canceled.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus_schemas::commands::campaign::Command;
use bus_schemas::{Key, Revision};
use uuid::Uuid;

use super::dto::{ListRedrives, NewRedrive, Reason, RedrivePage, ResumeRedrive};
use crate::projections::campaign::Campaign;
use crate::rest::ask::{CALLER, ask};
use crate::rest::extract::{Id, Json, OptionalJson, Query};
use crate::rest::layer::Caller;
use crate::rest::problem::{Problem, code};
use crate::rest::tasks::{VISIBLE_PATIENCE, behind, limit};
use crate::rest::{Edge, cursor};

/// Entries a second where nothing is said.
const RATE: u32 = 10;

/// Lists redrives of many dead letters, newest first.
#[utoipa::path(get, path = "/v1/redrives", operation_id = "listRedrives", tag = "dead letters", params(ListRedrives),
    responses((status = 200, description = "as it is now", body = RedrivePage)))]
pub async fn list(
    State(edge): State<Arc<Edge>>,
    Query(query): Query<ListRedrives>,
) -> Result<axum::Json<RedrivePage>, Problem> {
    let (limit, after) = (limit(query.limit)?, cursor::read(query.cursor.as_deref())?);
    let page = edge.projections.reader.campaigns(after, limit).await?;
    Ok(axum::Json(RedrivePage { redrives: page.items, next_cursor: page.next.as_ref().map(cursor::write) }))
}

/// Redrives every waiting dead letter that a filter means, at a rate.
#[utoipa::path(post, path = "/v1/redrives", operation_id = "startRedrive", tag = "dead letters", request_body = NewRedrive,
    responses((status = 201, description = "it was started", body = Campaign), (status = 200, description = "it was started before", body = Campaign)))]
pub async fn create(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<NewRedrive>,
) -> Result<Response, Problem> {
    let filter = body.filter()?;
    let id = match body.name {
        Some(name) => name,
        None => crate::rest::extract::key(&Uuid::now_v7().to_string())?,
    };
    let Reason { by, reason } = Reason { by: body.by, reason: body.reason }.or(CALLER);
    let command = Command::Start { filter, rate: body.rate.unwrap_or(RATE), by, reason };
    let accepted = ask(&edge, caller, id.clone(), &command).await?;
    let campaign = at(&edge, &id, accepted.revision).await?;
    let status = if accepted.events > 0 { StatusCode::CREATED } else { StatusCode::OK };
    let location = [(header::LOCATION, format!("/v1/redrives/{id}"))];
    Ok((status, location, axum::Json(campaign)).into_response())
}

/// Shows how far a redrive is.
#[utoipa::path(get, path = "/v1/redrives/{id}", operation_id = "showRedrive", tag = "dead letters", params(("id" = String, Path)),
    responses((status = 200, description = "as it is now", body = Campaign)))]
pub async fn show(State(edge): State<Arc<Edge>>, Id(id): Id) -> Result<axum::Json<Campaign>, Problem> {
    let found = edge.projections.reader.campaign(&id).await?;
    found.map(axum::Json).ok_or_else(|| {
        Problem::new(code::CAMPAIGN_NOT_FOUND, format!("there is no redrive `{id}`"))
            .hint("`GET /v1/redrives` lists what there is")
    })
}

/// A redrive sends nothing until it is resumed.
#[utoipa::path(post, path = "/v1/redrives/{id}/pause", operation_id = "pauseRedrive", tag = "dead letters", params(("id" = String, Path)), request_body = Option<Reason>,
    responses((status = 200, description = "as it is now", body = Campaign)))]
pub async fn pause(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<axum::Json<Campaign>, Problem> {
    let Reason { by, reason } = body.or(CALLER);
    change(&edge, caller, &id, Command::Pause { by, reason }).await
}

/// A redrive goes on.
#[utoipa::path(post, path = "/v1/redrives/{id}/resume", operation_id = "resumeRedrive", tag = "dead letters", params(("id" = String, Path)), request_body = Option<ResumeRedrive>,
    responses((status = 200, description = "as it is now", body = Campaign)))]
pub async fn resume(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    OptionalJson(body): OptionalJson<ResumeRedrive>,
) -> Result<axum::Json<Campaign>, Problem> {
    let Reason { by, .. } = Reason { by: body.by, reason: String::new() }.or(CALLER);
    change(&edge, caller, &id, Command::Resume { rate: body.rate, by }).await
}

/// A redrive ends: what was not sent stays where it is.
#[utoipa::path(post, path = "/v1/redrives/{id}/cancel", operation_id = "cancelRedrive", tag = "dead letters", params(("id" = String, Path)), request_body = Option<Reason>,
    responses((status = 200, description = "as it is now", body = Campaign)))]
pub async fn cancel(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    OptionalJson(body): OptionalJson<Reason>,
) -> Result<axum::Json<Campaign>, Problem> {
    let Reason { by, reason } = body.or(CALLER);
    change(&edge, caller, &id, Command::Cancel { by, reason }).await
}

async fn change(
    edge: &Edge,
    caller: Caller,
    id: &Key,
    command: Command,
) -> Result<axum::Json<Campaign>, Problem> {
    let accepted = ask(edge, caller, id.clone(), &command).await?;
    at(edge, id, accepted.revision).await.map(axum::Json)
}

/// The campaign as of a revision: what was acknowledged is shown.
async fn at(edge: &Edge, id: &Key, revision: Revision) -> Result<Campaign, Problem> {
    let found = edge.projections.until(VISIBLE_PATIENCE, |reader| {
        let id = id.clone();
        async move { Ok(reader.campaign(&id).await?.filter(|campaign| campaign.revision >= revision)) }
    });
    found.await?.ok_or_else(|| behind(edge))
}
