//! Halts: what stands still, why, and since when; stopping, and going on in stages.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bus_schemas::commands::halt::Command;
use bus_schemas::{Key, Revision};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Edge;
use super::ask::{CALLER, ask};
use super::extract::{Id, Json, OptionalJson};
use super::layer::Caller;
use super::problem::Problem;
use super::tasks::{VISIBLE_PATIENCE, behind};
use crate::projections::halt::Halt;

/// How long running work has to end by itself where nothing is said, in milliseconds.
const GRACE_MS: u64 = 5_000;

/// What to stop, and why.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHalt {
    /// `all`, `lane.…`, `agent.…`, or `task.…` for a task and everything below it.
    #[schema(value_type = String)]
    scope: Key,
    /// Why: somebody will ask.
    reason: String,
    /// Who. Default: `rest`.
    by: Option<String>,
    /// How long running work has to end by itself, in milliseconds, before it is killed. Default: 5,000.
    #[schema(maximum = 60000)]
    #[serde(deserialize_with = "crate::rest::extract::int64", default)]
    grace_ms: Option<u64>,
}

/// How it goes on.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResumeHalt {
    /// Why. Default: `resumed`.
    reason: Option<String>,
    /// Who. Default: `rest`.
    by: Option<String>,
    /// Jobs that may begin in the first minute, in each lane: twice as many in each minute after it, and
    /// so many again after a failure. For `all` and lanes.
    #[schema(minimum = 1)]
    per_minute: Option<u32>,
}

/// Everything that stands still.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HaltList {
    /// By scope.
    pub halts: Vec<Halt>,
}

/// Lists what stands still.
#[utoipa::path(get, path = "/v1/halts", operation_id = "listHalts", tag = "halts", responses((status = 200, description = "as it is now", body = HaltList)))]
pub async fn list(State(edge): State<Arc<Edge>>) -> Result<axum::Json<HaltList>, Problem> {
    Ok(axum::Json(HaltList { halts: edge.projections.reader.halts().await? }))
}

/// Stops something, before its next effect.
#[utoipa::path(post, path = "/v1/halts", operation_id = "halt", tag = "halts", request_body = NewHalt,
    responses((status = 201, description = "it stands still", body = Halt), (status = 200, description = "it stood still for this reason already", body = Halt)))]
pub async fn create(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Json(body): Json<NewHalt>,
) -> Result<Response, Problem> {
    let NewHalt { scope, reason, by, grace_ms } = body;
    let by = by.unwrap_or_else(|| CALLER.to_owned());
    let command = Command::Halt { reason, by, grace_ms: grace_ms.unwrap_or(GRACE_MS) };
    let accepted = ask(&edge, caller, scope.clone(), &command).await?;
    let halt = at(&edge, &scope, accepted.revision).await?;
    let status = if accepted.events > 0 { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, "/v1/halts")], axum::Json(halt)).into_response())
}

/// Lets what was halted go on, in stages.
#[utoipa::path(post, path = "/v1/halts/{scope}/resume", operation_id = "resumeHalt", tag = "halts", params(("scope" = String, Path)), request_body = Option<ResumeHalt>,
    responses((status = 200, description = "it goes on", body = Halt)))]
pub async fn resume(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Caller>,
    Id(scope): Id,
    OptionalJson(body): OptionalJson<ResumeHalt>,
) -> Result<axum::Json<Halt>, Problem> {
    let ResumeHalt { reason, by, per_minute } = body;
    let reason = reason.unwrap_or_else(|| "resumed".to_owned());
    let by = by.unwrap_or_else(|| CALLER.to_owned());
    let accepted = ask(&edge, caller, scope.clone(), &Command::Lift { reason, by, per_minute }).await?;
    at(&edge, &scope, accepted.revision).await.map(axum::Json)
}

/// The halt as of a revision: what was acknowledged is shown.
async fn at(edge: &Edge, scope: &Key, revision: Revision) -> Result<Halt, Problem> {
    let found = edge.projections.until(VISIBLE_PATIENCE, |reader| {
        let scope = scope.clone();
        async move { Ok(reader.halt(&scope).await?.filter(|halt| halt.revision >= revision)) }
    });
    found.await?.ok_or_else(|| behind(edge))
}
